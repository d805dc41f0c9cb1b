package stackurl_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "gocloud.dev/blob/fileblob"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/storage/stackurl"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var schema = sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}}}

const (
	liteTable = `CREATE TABLE IF NOT EXISTS patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, name_index BLOB, PRIMARY KEY (tenant_id, id))`
	pgTable   = `CREATE TABLE IF NOT EXISTS patients (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, name bytea, name_index bytea, PRIMARY KEY (tenant_id, id));`
)

func service() stack.Config {
	return stack.Config{
		Databases: map[string]stack.Database{"clinic": {Schema: schema, Tables: []string{liteTable}}},
		Buckets:   map[string]stack.Bucket{"scans": {}},
	}
}

func as(id string) context.Context {
	return tenant.NewContext(context.Background(), tenant.Access{Tenant: tenant.MustParse(id), Actor: "dr.adams", Purpose: "treatment"})
}

func open(t *testing.T, raw string, c stack.Config) *stack.Stack {
	t.Helper()
	s, err := stackurl.Open(t.Context(), raw, c)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fill stores a row and an object.
func fill(t *testing.T, s *stack.Stack) {
	t.Helper()
	must(t, s.Keys.Provision(t.Context(), tenant.MustParse("north")))
	_, err := s.DB["clinic"].ExecContext(as("north"), `INSERT INTO patients (id, name) VALUES (1, $1)`, "Ada")
	must(t, err)
	if b := s.Bucket["scans"]; b != nil {
		must(t, b.WriteAll(as("north"), "a/scan", []byte("pixels"), nil))
	}
	read(t, s)
}

func read(t *testing.T, s *stack.Stack) {
	t.Helper()
	var id int
	if err := s.DB["clinic"].QueryRowContext(as("north"), `SELECT id FROM patients WHERE name = $1`, "Ada").Scan(&id); err != nil || id != 1 {
		t.Errorf("%d, %v", id, err)
	}
	if b := s.Bucket["scans"]; b != nil {
		if got, err := b.ReadAll(as("north"), "a/scan"); err != nil || string(got) != "pixels" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A directory is all that the embedded default needs, and may be moved: absolute or relative, with what needs escaping in its name.
func TestEmbedded(t *testing.T) {
	t.Chdir(t.TempDir())
	first, second := filepath.Join(t.TempDir(), "the clinic's & more%41+"), "moved"
	u := url.URL{Scheme: stackurl.Scheme, Path: first}
	s := open(t, u.String(), service())
	fill(t, s)
	must(t, s.Close())
	for _, name := range []string{"clinic.db", "kek.json", "keys", "audit", "buckets/scans"} {
		if _, err := os.Stat(filepath.Join(first, name)); err != nil {
			t.Error(err)
		}
	}
	must(t, os.Rename(first, second))
	s = open(t, "strongroom://./moved", service())
	read(t, s)
	must(t, s.Close())
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 1 {
		t.Errorf("beside the directory there is more: %v, %v", entries, err)
	}
}

// A value arrives as it was before it was encoded, and each place can be apart from the directory, or there be none.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "passphrase")
	must(t, os.WriteFile(secret, []byte("open sesame\n"), 0o600))
	database := filepath.Join(dir, "a&b=c+d%41 é.db")
	files := url.URL{Scheme: "file", Path: filepath.Join(dir, "ob%je+cts & more"), RawQuery: "create_dir=true&no_tmp_dir=true"}
	u := url.URL{Scheme: stackurl.Scheme, Path: filepath.Join(dir, "trail"), RawQuery: url.Values{
		"kek": {"file://" + dir + "/elsewhere.json"}, "kek.passphrase_file": {secret}, "keys": {"file://" + dir + "/records"},
		"db.clinic": {"sqlite:" + database}, "bucket.scans": {files.String()},
	}.Encode()}
	s := open(t, u.String(), service())
	fill(t, s)
	must(t, s.Close())
	for _, name := range []string{database, files.Path, dir + "/elsewhere.json", dir + "/records"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "trail"))
	if err != nil || len(entries) != 1 || entries[0].Name() != "audit" {
		t.Errorf("in the directory: %v, %v", entries, err)
	}
	moved := files
	moved.Path = filepath.Join(dir, "objects")
	must(t, os.Rename(files.Path, moved.Path)) // the bucket's label is its name, and no path
	q := u.Query()
	q.Set("bucket.scans", moved.String())
	u.RawQuery = q.Encode()
	read(t, open(t, u.String(), service()))
	must(t, os.WriteFile(secret, []byte("another\n"), 0o600))
	if _, err := stackurl.Open(t.Context(), u.String(), service()); err == nil || strings.Contains(err.Error(), "another") || strings.Contains(err.Error(), "sesame") {
		t.Errorf("with another passphrase: %v", err)
	}
}

// pgpass takes the password out of a connection string, and puts it into a file that the string names.
func pgpass(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	must(t, err)
	password, _ := u.User.Password()
	file := filepath.Join(t.TempDir(), "pgpass")
	must(t, os.WriteFile(file, []byte(strings.Join([]string{u.Hostname(), u.Port(), "*", u.User.Username(), password}, ":")+"\n"), 0o600))
	u.User = url.User(u.User.Username())
	q := u.Query()
	q.Set("passfile", file)
	u.RawQuery = q.Encode()
	return u.String()
}

// PostgreSQL and Vault, with credentials in files.
func TestServers(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	data, records, vault := testenv.Postgres(t).NewDatabase(t), testenv.Postgres(t).NewDatabase(t), testenv.Vault(t)
	root, mount, login := vault.Client(t), vault.EnableTransit(t), vault.EnableAppRole(t)
	must(t, root.Sys().PutPolicyWithContext(ctx, "url-"+mount, vaultkek.Policy(mount, "clinic-")))
	role := "auth/" + login + "/role/url"
	_, err := root.Logical().WriteWithContext(ctx, role, map[string]any{"token_policies": "url-" + mount, "token_no_default_policy": true})
	must(t, err)
	id, err := root.Logical().ReadWithContext(ctx, role+"/role-id")
	must(t, err)
	secret, err := root.Logical().WriteWithContext(ctx, role+"/secret-id", nil)
	must(t, err)
	must(t, os.WriteFile(dir+"/role", []byte(id.Data["role_id"].(string)+"\n"), 0o600))
	must(t, os.WriteFile(dir+"/secret", []byte(secret.Data["secret_id"].(string)+"\n"), 0o600))
	owner, err := sql.Open("pgx", records.OwnerURL)
	must(t, err)
	defer owner.Close()
	must(t, sqlstore.Create(ctx, owner, dialect.PostgreSQL, "wrapped"))

	c := service()
	c.Buckets = nil
	c.Databases["clinic"] = stack.Database{Schema: schema, Tables: []string{pgTable}, Owner: data.OwnerURL}
	query := url.Values{
		"kek": {strings.Replace(vault.Addr, "http:", "vault-http:", 1) + "/" + mount}, "kek.prefix": {"clinic-"},
		"kek.auth": {"approle"}, "kek.auth_mount": {login}, "kek.role_id_file": {dir + "/role"}, "kek.secret_id_file": {dir + "/secret"},
		"keys": {pgpass(t, records.OwnerURL)}, "keys.table": {"wrapped"}, "db.clinic": {pgpass(t, data.AppURL)},
	}
	raw := "strongroom://" + dir + "/clinic?" + query.Encode()
	s := open(t, raw, c)
	fill(t, s)
	must(t, s.Close())
	read(t, open(t, raw, c))
	var n int
	must(t, owner.QueryRow(`SELECT count(*) FROM wrapped`).Scan(&n))
	if n != 1 {
		t.Errorf("%d records of keys in the table", n)
	}
	keys, err := root.Logical().ListWithContext(ctx, mount+"/keys")
	must(t, err)
	if names := keys.Data["keys"].([]any); len(names) != 1 || !strings.HasPrefix(names[0].(string), "clinic-") {
		t.Errorf("keys in Vault: %v", names)
	}
	// The same with one key that tenants share: it has to be there, and is the only one.
	must(t, root.Sys().PutPolicyWithContext(ctx, "url-"+mount, vaultkek.SharedUsePolicy(mount, "one")))
	query.Del("kek.prefix")
	query.Set("kek.shared_key", "one")
	query.Set("keys", "file://"+dir+"/shared-keys")
	query.Del("keys.table")
	north := tenant.MustParse("north")
	shared := "strongroom://" + dir + "/shared?" + query.Encode()
	s = open(t, shared, c)
	if err := s.Keys.Provision(ctx, north); err == nil || !strings.Contains(err.Error(), "CreateSharedKey") {
		t.Errorf("provisioned without the shared key: %v", err)
	}
	_, err = root.Logical().WriteWithContext(ctx, mount+"/keys/one", map[string]any{"type": "aes256-gcm96", "derived": true})
	must(t, err)
	must(t, s.Keys.Provision(ctx, north))
	must(t, s.Close())
	_, err = open(t, shared, c).Keys.Tenant(ctx, north)
	must(t, err)
	entries, err := os.ReadDir(dir + "/clinic")
	if err != nil || len(entries) != 1 || !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "audit" }) {
		t.Errorf("in the directory: %v, %v", entries, err)
	}
	if err := os.WriteFile(dir+"/secret", []byte("sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := stackurl.Open(ctx, raw, c); err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("with another secret: %v", err)
	}
}

// A suspension by another process is heard of, long before the bound within which it would be asked about; unless nobody is to listen.
func TestKeysAreListenedFor(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	records := testenv.Postgres(t).NewDatabase(t)
	owner, err := sql.Open("pgx", records.OwnerURL)
	must(t, err)
	defer owner.Close()
	must(t, sqlstore.Create(ctx, owner, dialect.PostgreSQL, ""))
	at := func(name, listen string) string {
		query := url.Values{"keys": {pgpass(t, records.OwnerURL)}, "kek": {"file://" + dir + "/kek.json"}}
		if listen != "" {
			query.Set("keys.listen", listen)
		}
		return "strongroom://" + dir + "/" + name + "?" + query.Encode()
	}
	north := tenant.MustParse("north")
	operator := open(t, at("operator", "no"), stack.Config{})
	must(t, operator.Keys.Provision(ctx, north))
	listeners := func() (n int) {
		t.Helper()
		must(t, owner.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`).Scan(&n))
		return n
	}
	if n := listeners(); n != 0 {
		t.Fatalf("%d listen, and nobody is to", n)
	}
	eventually := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s did not come about", what)
			}
		}
	}
	for _, listen := range []string{"", "yes"} {
		s := open(t, at("service"+listen, listen), stack.Config{KeyOptions: &keys.Options{SuspendWithin: time.Hour}})
		eventually("listening", func() bool { return listeners() == 1 })
		if _, err := s.Keys.Tenant(ctx, north); err != nil {
			t.Fatal(err)
		}
		must(t, operator.Keys.Suspend(ctx, north, ""))
		eventually("the suspension", func() bool {
			_, err := s.Keys.Tenant(ctx, north)
			return errors.Is(err, keys.ErrSuspended)
		})
		must(t, operator.Keys.Resume(ctx, north, ""))
		must(t, s.Close())
		eventually("the end of listening", func() bool { return listeners() == 0 })
	}
}
