package testenv_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestPostgresRoles(t *testing.T) {
	server := testenv.Postgres(t)
	db, other := server.NewDatabase(t), server.NewDatabase(t)
	ctx := t.Context()

	owner, app := connect(t, db.OwnerURL), connect(t, db.AppURL)
	for _, statement := range []string{
		`CREATE TABLE patients (id bigserial PRIMARY KEY, tenant text NOT NULL)`,
		`ALTER TABLE patients ENABLE ROW LEVEL SECURITY`,
		`CREATE POLICY mine ON patients USING (tenant = current_setting('app.tenant', true))`,
	} {
		if _, err := owner.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}

	t.Run("the application role writes through a sequence, and reads under row-level security", func(t *testing.T) {
		if _, err := app.Exec(ctx, `SELECT set_config('app.tenant', 'a', false)`); err != nil {
			t.Fatal(err)
		}
		if _, err := app.Exec(ctx, `INSERT INTO patients (tenant) VALUES ('a')`); err != nil {
			t.Fatal(err)
		}
		if _, err := owner.Exec(ctx, `INSERT INTO patients (tenant) VALUES ('b')`); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := app.QueryRow(ctx, `SELECT count(*) FROM patients`).Scan(&n); err != nil || n != 1 {
			t.Fatalf("the application role sees %d rows, %v; want 1", n, err)
		}
	})

	t.Run("neither role is special", func(t *testing.T) {
		var special, owned int
		err := app.QueryRow(ctx, `SELECT
			(SELECT count(*) FROM pg_roles WHERE rolname IN ($1, $2)
				AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)),
			(SELECT count(*) FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid WHERE r.rolname = $2 AND d.deptype = 'o')`,
			db.Owner, db.App).Scan(&special, &owned)
		if err != nil || special != 0 || owned != 0 {
			t.Fatalf("%d special roles, %d objects owned by the application role, %v; want none", special, owned, err)
		}
		for _, statement := range []string{`CREATE TABLE mine ()`, `ALTER TABLE patients DISABLE ROW LEVEL SECURITY`, `TRUNCATE patients`} {
			_, err := app.Exec(ctx, statement)
			if pg := (*pgconn.PgError)(nil); !errors.As(err, &pg) || pg.Code != "42501" {
				t.Errorf("%s by the application role: %v; want insufficient privilege", statement, err)
			}
		}
	})

	t.Run("a role of another database cannot connect", func(t *testing.T) {
		config, err := pgx.ParseConfig(other.AppURL)
		if err != nil {
			t.Fatal(err)
		}
		config.Database = db.Name
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			conn.Close(ctx)
			t.Fatal("it connected")
		}
	})
}

func TestPostgresDropsWhatItMade(t *testing.T) {
	server := testenv.Postgres(t)
	keeper := connect(t, server.NewDatabase(t).SuperURL)
	var db *testenv.Database
	t.Run("use", func(t *testing.T) {
		db = server.NewDatabase(t)
		connect(t, db.AppURL) // is closed after the database is dropped, which must not hold that up
	})
	var left int
	err := keeper.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_database WHERE datname = $1)
		+ (SELECT count(*) FROM pg_roles WHERE rolname IN ($2, $3))`, db.Name, db.Owner, db.App).Scan(&left)
	if err != nil || left != 0 {
		t.Fatalf("%d databases and roles left, %v; want none", left, err)
	}
}

func TestVaultTransit(t *testing.T) {
	server := testenv.Vault(t)
	client, mount := server.Client(t), server.EnableTransit(t)
	if other := server.EnableTransit(t); other == mount {
		t.Fatalf("two tests would share the mount %s", mount)
	}
	ctx, vault := t.Context(), client.Logical()
	if _, err := vault.WriteWithContext(ctx, mount+"/keys/k", nil); err != nil {
		t.Fatal(err)
	}
	sealed, err := vault.WriteWithContext(ctx, mount+"/encrypt/k", map[string]any{"plaintext": "c2VjcmV0"})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := vault.WriteWithContext(ctx, mount+"/decrypt/k", map[string]any{"ciphertext": sealed.Data["ciphertext"]})
	if err != nil || opened.Data["plaintext"] != "c2VjcmV0" {
		t.Fatalf("decrypted %v, %v", opened, err)
	}
}

func TestVaultAppRole(t *testing.T) {
	server := testenv.Vault(t)
	client, mount := server.Client(t), server.EnableAppRole(t)
	ctx, vault := t.Context(), client.Logical()
	if _, err := vault.WriteWithContext(ctx, "auth/"+mount+"/role/app", map[string]any{"token_ttl": "1m"}); err != nil {
		t.Fatal(err)
	}
	role, err := vault.ReadWithContext(ctx, "auth/"+mount+"/role/app/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := vault.WriteWithContext(ctx, "auth/"+mount+"/role/app/secret-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	login, err := vault.WriteWithContext(ctx, "auth/"+mount+"/login",
		map[string]any{"role_id": role.Data["role_id"], "secret_id": secret.Data["secret_id"]})
	if err != nil || login.Auth == nil {
		t.Fatalf("login: %v, %v", login, err)
	}
	client.SetToken(login.Auth.ClientToken)
	var refused *api.ResponseError
	if _, err := vault.ListWithContext(ctx, "sys/policies/acl"); !errors.As(err, &refused) || refused.StatusCode != 403 {
		t.Fatalf("a role without policies lists policies: %v; want 403", err)
	}
}

// TestPostgresVersion runs itself again with a version that is not the image's, and with one that there is none of.
func TestPostgresVersion(t *testing.T) {
	if os.Getenv("TESTENV_INNER") != "" {
		testenv.Postgres(t)
		t.Fatal("there is a server")
	}
	server := testenv.Postgres(t)
	var version string
	if err := connect(t, server.NewDatabase(t).AppURL).QueryRow(t.Context(), "SHOW server_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(version, fmt.Sprint(server.Major, ".")) {
		t.Errorf("the server is %s, Major is %d", version, server.Major)
	}
	image := cmp.Or(os.Getenv("STRONGROOM_POSTGRES_IMAGE"), "postgres:17-alpine")
	other := map[int]string{17: "15", 15: "17"}[server.Major]
	if server.Major == 15 {
		image = cmp.Or(os.Getenv("STRONGROOM_POSTGRES15_IMAGE"), "postgres:15-alpine")
	}
	for asked, want := range map[string]string{other: "names has PostgreSQL " + fmt.Sprint(server.Major), "16": "set it to 15 or 17"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPostgresVersion$", "-test.v")
		cmd.Env = append(os.Environ(), "TESTENV_INNER=1", "STRONGROOM_POSTGRES="+asked, "STRONGROOM_POSTGRES_IMAGE="+image, "STRONGROOM_POSTGRES15_IMAGE="+image)
		if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("STRONGROOM_POSTGRES=%s: %v; want %q, got:\n%s", asked, err, want, out)
		}
	}
}

// TestWithoutServer runs itself again where PostgreSQL's image is not to be had (or, on a machine without a container
// engine, where that is missing), in both modes.
func TestWithoutServer(t *testing.T) {
	if os.Getenv("TESTENV_INNER") != "" {
		testenv.Postgres(t)
		t.Fatal("there is a server")
	}
	for _, c := range []struct {
		containers, want string
		fails            bool
	}{
		{"", "--- SKIP", false},
		{"required", "--- FAIL", true},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWithoutServer$", "-test.v")
		cmd.Env = append(os.Environ(), "TESTENV_INNER=1", "STRONGROOM_CONTAINERS="+c.containers,
			"STRONGROOM_POSTGRES=", "STRONGROOM_POSTGRES_IMAGE=127.0.0.1:1/no/such:image") // nothing listens on port 1
		out, err := cmd.CombinedOutput()
		if (err != nil) != c.fails || !bytes.Contains(out, []byte(c.want)) || !bytes.Contains(out, []byte("testenv: no ")) {
			t.Errorf("STRONGROOM_CONTAINERS=%q: %v; want %s and the reason, got:\n%s", c.containers, err, c.want, out)
		}
		if told := bytes.Contains(out, []byte("server in a container: 1;")); told == c.fails {
			t.Errorf("STRONGROOM_CONTAINERS=%q: a line at the end says that a test was skipped: %v, of:\n%s", c.containers, told, out)
		}
	}
}

// TestKilled runs itself again and kills that process, which then can remove no container.
func TestKilled(t *testing.T) {
	if os.Getenv("TESTENV_INNER") != "" {
		u, err := url.Parse(testenv.Postgres(t).NewDatabase(t).AppURL)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("\naddress %s\n", u.Host)
		<-t.Context().Done() // never
	}
	testenv.Postgres(t) // or else this test is skipped
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "TESTENV_INNER=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var address string
	for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
		address, _ = strings.CutPrefix(lines.Text(), "address ")
	}
	dial := func() error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Fatalf("the inner process has no server at %q: %v", address, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for tick := time.Tick(50 * time.Millisecond); dial() == nil; <-tick {
	}
	if ctx.Err() != nil {
		t.Fatal("the container of a process that was killed still runs")
	}
}

// TestBothSpeakOfTheSame: the program is a module that imports nothing of this one, so it has a copy of what both say.
func TestBothSpeakOfTheSame(t *testing.T) {
	ours, err := os.ReadFile("wire/wire.go")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile("containers/wire.go")
	if err != nil {
		t.Fatal(err)
	}
	_, ours, _ = bytes.Cut(ours, []byte("package wire\n"))
	_, theirs, _ = bytes.Cut(theirs, []byte("package main\n"))
	if len(ours) == 0 || !bytes.Equal(ours, theirs) {
		t.Error("containers/wire.go is not what wire/wire.go is but for its package")
	}
}
