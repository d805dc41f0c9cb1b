package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	acme   = tenant.MustParse("acme")
	globex = tenant.MustParse("globex")

	schema = sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}}, "visits": {}, "countries": {Shared: true}}
)

// site is an installation: a world whose configuration names everything, and a service that runs beside the tool, with a trail
// of its own.
type site struct {
	*world
	guard  storage.Guard
	db     *sql.DB
	bucket *blob.Bucket
	raw    *sql.DB // past the guard
	// records is the store's database, where that is one of PostgreSQL.
	records *testenv.Database
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func schemaJSON(t testing.TB) string {
	data, err := json.Marshal(schema)
	must(t, err)
	return string(data)
}

// serve opens the service's keyring.
func (s *site) serve(kek keys.KEK, store keys.Store, within time.Duration) {
	s.t.Helper()
	log, err := audit.OpenLog(filepath.Join(s.dir, "service-trail"), &audit.Options{ReserveBytes: -1})
	must(s.t, err)
	s.t.Cleanup(func() { log.Close() })
	ring, err := keys.Open(s.t.Context(), kek, store, &keys.Options{Audit: log, SuspendWithin: within})
	must(s.t, err)
	s.t.Cleanup(func() { ring.Close() })
	s.guard = storage.Guard{Keys: ring, Audit: log}
}

// newEmbedded is a site of the embedded default.
func newEmbedded(t *testing.T) *site {
	t.Helper()
	s := &site{world: newWorld(t, `{
  "keyring": {"suspendWithin": "200ms"},
  "kek": {"local": {"file": "kek.json"}},
  "store": {"files": {"dir": "keys"}},
  "audit": {"dir": "trail"},
  "databases": [{"name": "clinics", "sqlite": {"file": "clinics.db"}, "schema": `+schemaJSON(t)+`}],
  "buckets": [{"label": "scans", "dir": "bucket"}],
  "complete": true,
  "certificates": {"keyset": "signer.json", "keyId": "k1"}
}`)}
	path := filepath.Join(s.dir, "clinics.db")
	var err error
	s.raw, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	must(t, err)
	t.Cleanup(func() { s.raw.Close() })
	checks := ", " + strings.Join(schema["patients"].Checks(dialect.SQLite), ", ")
	for _, ddl := range []string{
		`CREATE TABLE patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, name_index BLOB, PRIMARY KEY (tenant_id, id)` + checks + `)`,
		`CREATE INDEX patients_name ON patients (tenant_id, name_index)`,
		`CREATE TABLE visits (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, patient INTEGER NOT NULL, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, patient) REFERENCES patients (tenant_id, id))`,
		`CREATE TABLE countries (code TEXT PRIMARY KEY)`,
	} {
		_, err := s.raw.Exec(ddl)
		must(t, err)
	}
	must(t, os.Chmod(path, 0o600))
	must(t, os.Mkdir(filepath.Join(s.dir, "bucket"), 0o700))
	s.try(exitOK, "init")
	kek, err := localkek.Open(filepath.Join(s.dir, "kek.json"), nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(s.dir, "keys"), nil)
	must(t, err)
	s.serve(kek, store, 200*time.Millisecond)
	s.db, err = sqldb.Open(t.Context(), "sqlite:"+path, schema, s.guard, nil)
	must(t, err)
	t.Cleanup(func() { s.db.Close() })
	inner, err := fileblob.OpenBucket(filepath.Join(s.dir, "bucket"), &fileblob.Options{NoTempDir: true})
	must(t, err)
	s.bucket, err = blobs.Wrap(inner, s.guard, &blobs.Options{Label: "scans"})
	must(t, err)
	t.Cleanup(func() { s.bucket.Close() })
	return s
}

// apart takes the password out of a URL, into a file.
func (w *world) apart(name, text string) (string, string) {
	w.t.Helper()
	u, err := url.Parse(text)
	must(w.t, err)
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	return u.String(), w.secret(name, password)
}

// newServers is a site of Vault, PostgreSQL and S3, with the least privileges.
func newServers(t *testing.T) *site {
	t.Helper()
	pg, vault, objects := testenv.Postgres(t), testenv.Vault(t), s3env.Server(t)
	data, records := pg.NewDatabase(t), pg.NewDatabase(t)
	mount, bucketName := vault.EnableTransit(t), objects.NewBucket(t)
	objects.Setenv(t)
	roleID, secretID, method := operator(t, vault, mount)
	s := &site{world: newWorld(t, "{}"), records: records}
	dataURL, dataPassword := s.apart("data-password", data.AppURL)
	recordsURL, recordsPassword := s.apart("records-password", records.AppURL)
	secret := s.secret("secret-id", secretID)
	s.hidden = append(s.hidden, objects.SecretKey)
	s.write("keyctl.json", fmt.Sprintf(`{
  "keyring": {"suspendWithin": "500ms"},
  "kek": {"vault": {"address": %q, "mount": %q, "auth": {"appRole": {"roleId": %q, "secretId": %s, "mount": %q}}}},
  "store": {"postgresql": {"url": %q, "password": %s}},
  "audit": {"dir": "trail"},
  "databases": [{"name": "clinics", "postgresql": {"url": %q, "password": %s}, "schema": %s}],
  "buckets": [{"label": "scans", "url": %q, "leftovers": true}],
  "complete": true,
  "certificates": {"keyset": "signer.json", "keyId": "k1"}
}`, vault.Addr, mount, roleID, secret, method, recordsURL, recordsPassword, dataURL, dataPassword, schemaJSON(t), objects.BucketURL(bucketName)))

	owner := openSQL(t, data.OwnerURL)
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	must(t, err)
	for _, statement := range []string{
		`CREATE TABLE patients (tenant_id text NOT NULL, id bigint NOT NULL, name bytea, name_index bytea, PRIMARY KEY (tenant_id, id))`,
		`CREATE TABLE visits (tenant_id text NOT NULL, id bigint NOT NULL, patient bigint NOT NULL, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, patient) REFERENCES patients (tenant_id, id))`,
		`CREATE TABLE countries (code text PRIMARY KEY)`,
		ddl,
	} {
		_, err := owner.ExecContext(t.Context(), statement)
		must(t, err)
	}
	must(t, sqlstore.Create(t.Context(), openSQL(t, records.OwnerURL), dialect.PostgreSQL, ""))
	s.try(exitOK, "init")

	kek, err := vaultkek.Open(t.Context(), vault.Addr, vaultkek.Token(vault.RootToken), &vaultkek.Options{Mount: mount})
	must(t, err)
	t.Cleanup(func() { kek.Close() })
	store, err := sqlstore.Open(t.Context(), openSQL(t, records.AppURL), dialect.PostgreSQL, nil)
	must(t, err)
	s.serve(kek, store, 500*time.Millisecond)
	s.raw = openSQL(t, data.SuperURL)
	s.db, err = sqldb.Open(t.Context(), data.AppURL, schema, s.guard, nil)
	must(t, err)
	t.Cleanup(func() { s.db.Close() })
	s.bucket, err = blobs.Open(t.Context(), objects.BucketURL(bucketName), s.guard, &blobs.Options{Label: "scans"})
	must(t, err)
	t.Cleanup(func() { s.bucket.Close() })
	return s
}

func openSQL(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// operator makes a role of Vault's with the operators' policy and nothing else.
func operator(t *testing.T, vault *testenv.VaultServer, mount string) (roleID, secretID, method string) {
	t.Helper()
	root := vault.Client(t)
	method = vault.EnableAppRole(t)
	must(t, root.Sys().PutPolicyWithContext(t.Context(), "keyctl-"+method, vaultkek.Policy(mount, "")))
	role := "auth/" + method + "/role/keyctl"
	_, err := root.Logical().WriteWithContext(t.Context(), role, map[string]any{"token_policies": "keyctl-" + method, "token_no_default_policy": true, "token_ttl": "1h"})
	must(t, err)
	id, err := root.Logical().ReadWithContext(t.Context(), role+"/role-id")
	must(t, err)
	secret, err := root.Logical().WriteWithContext(t.Context(), role+"/secret-id", nil)
	must(t, err)
	return id.Data["role_id"].(string), secret.Data["secret_id"].(string), method
}

func as(id tenant.ID) context.Context {
	return tenant.NewContext(context.Background(), tenant.Access{Tenant: id, Actor: "ann", Purpose: "treatment"})
}

// fill gives a tenant rows and objects.
func (s *site) fill(id tenant.ID) {
	s.t.Helper()
	for i := 1; i <= 3; i++ {
		_, err := s.db.ExecContext(as(id), `INSERT INTO patients (id, name) VALUES ($1, $2)`, i, fmt.Sprint(canary, i))
		must(s.t, err)
		_, err = s.db.ExecContext(as(id), `INSERT INTO visits (id, patient) VALUES ($1, $1)`, i)
		must(s.t, err)
		must(s.t, s.bucket.WriteAll(as(id), fmt.Sprint("scan-", i), []byte(canary), nil))
	}
}

// left is what there is of a tenant.
func (s *site) left(id tenant.ID) (rows int) {
	s.t.Helper()
	must(s.t, s.raw.QueryRow(`SELECT (SELECT count(*) FROM patients WHERE tenant_id = $1) + (SELECT count(*) FROM visits WHERE tenant_id = $1)`, id.String()).Scan(&rows))
	return rows
}

// reads tells whether the service reads all that fill wrote.
func (s *site) reads(id tenant.ID) error {
	for i := 1; i <= 3; i++ {
		var found int
		if err := s.db.QueryRowContext(as(id), `SELECT id FROM patients WHERE name = $1`, fmt.Sprint(canary, i)).Scan(&found); err != nil {
			return err
		}
		if _, err := s.bucket.ReadAll(as(id), fmt.Sprint("scan-", i)); err != nil {
			return err
		}
	}
	return nil
}
