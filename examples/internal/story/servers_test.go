package story_test

import (
	"bytes"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/examples/internal/story"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/storage/stackurl"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestStoryOnServers tells the quickstart's story on PostgreSQL, Vault and an S3 server, opened by one URL.
func TestStoryOnServers(t *testing.T) {
	postgres, vault, s3 := testenv.Postgres(t).NewDatabase(t), testenv.Vault(t), s3env.Server(t)
	ctx := t.Context()
	exec := func(dsn string, statements ...string) *sql.DB {
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		for _, statement := range statements {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		return db
	}
	policies, err := story.Schema().DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	exec(postgres.OwnerURL, story.Tables(dialect.PostgreSQL), policies)

	keysDB := exec(testenv.Postgres(t).NewDatabase(t).OwnerURL)
	if err := sqlstore.Create(ctx, keysDB, dialect.PostgreSQL, ""); err != nil {
		t.Fatal(err)
	}
	store, err := sqlstore.Open(ctx, keysDB, dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	s3.Setenv(t)
	bucketURL, home := s3.BucketURL(s3.NewBucket(t)), t.TempDir()
	query := vaultParameters(t, vault)
	query.Set("db.clinic", withoutPassword(t, postgres.AppURL))
	query.Set("bucket.scans", bucketURL)
	at := url.URL{Scheme: stackurl.Scheme, Path: home, RawQuery: query.Encode()}
	s, err := stackurl.Open(ctx, at.String(), stack.Config{
		Store: store, AuditOptions: &audit.Options{Timeout: time.Minute}, // for a disk that others keep busy
		Databases: map[string]stack.Database{"clinic": {Schema: story.Schema()}},
		Buckets:   map[string]stack.Bucket{"scans": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := filepath.Join(home, "audit")
	rawBucket, err := blob.OpenBucket(ctx, bucketURL)
	if err != nil {
		t.Fatal(err)
	}
	defer rawBucket.Close()

	raw := exec(postgres.SuperURL) // row-level security does not bind a superuser
	var out bytes.Buffer
	err = story.Run(ctx, story.World{
		DB: s.DB["clinic"], Bucket: s.Bucket["scans"], RawDB: raw, RawBucket: rawBucket, Dialect: dialect.PostgreSQL,
		Keys: s.Keys, Log: s.Audit.(*audit.Log), AuditDir: dir, Out: &out,
		AtRest: []story.Place{
			story.Files(dir), story.Objects(rawBucket), story.Rows(raw, "patients", "visits", "departments"), story.Rows(keysDB, sqlstore.DefaultTable),
		},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

// vaultParameters are those of a role with the rights that the library prints for a service, and no more.
func vaultParameters(t *testing.T, vault *testenv.VaultServer) url.Values {
	t.Helper()
	ctx, root, mount := t.Context(), vault.Client(t), vault.EnableTransit(t)
	if err := root.Sys().PutPolicyWithContext(ctx, "story-"+mount, vaultkek.Policy(mount, "")); err != nil {
		t.Fatal(err)
	}
	login := vault.EnableAppRole(t)
	role := "auth/" + login + "/role/story"
	if _, err := root.Logical().WriteWithContext(ctx, role, map[string]any{"token_policies": "story-" + mount, "token_no_default_policy": true}); err != nil {
		t.Fatal(err)
	}
	id, err := root.Logical().ReadWithContext(ctx, role+"/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := root.Logical().WriteWithContext(ctx, role+"/secret-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	return url.Values{
		"kek": {strings.Replace(vault.Addr, "http:", "vault-http:", 1) + "/" + mount}, "kek.auth": {"approle"}, "kek.auth_mount": {login},
		"kek.role_id_file":   {secretFile(t, id.Data["role_id"].(string))},
		"kek.secret_id_file": {secretFile(t, secret.Data["secret_id"].(string))},
	}
}

func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutPassword puts a connection string's password into a file that the string names.
func withoutPassword(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	query := u.Query()
	query.Set("passfile", secretFile(t, strings.Join([]string{u.Hostname(), u.Port(), "*", u.User.Username(), password}, ":")))
	u.User, u.RawQuery = url.User(u.User.Username()), query.Encode()
	return u.String()
}
