package stack_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/memblob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var schema = sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}}}

const (
	liteTable = `CREATE TABLE IF NOT EXISTS patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, name_index BLOB, PRIMARY KEY (tenant_id, id))`
	pgTable   = `CREATE TABLE IF NOT EXISTS patients (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, name bytea, name_index bytea, PRIMARY KEY (tenant_id, id));`
)

func embedded(dir string) stack.Config {
	return stack.Config{
		Dir:       filepath.Join(dir, "strongroom"),
		Databases: map[string]stack.Database{"clinic": {URL: "sqlite:" + filepath.Join(dir, "clinic.db"), Schema: schema, Tables: []string{liteTable}}},
		Buckets:   map[string]stack.Bucket{"scans": {URL: "file://" + dir + "/scans?create_dir=true&no_tmp_dir=true"}},
	}
}

func as(id string) context.Context {
	return tenant.NewContext(context.Background(), tenant.Access{Tenant: tenant.MustParse(id), Actor: "dr.adams", Purpose: "treatment"})
}

// use stores and reads a row and an object for two tenants, whether they are there already or not.
func use(t *testing.T, s *stack.Stack) {
	t.Helper()
	for _, id := range []string{"north", "south"} {
		if err := s.Keys.Provision(t.Context(), tenant.MustParse(id)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.DB["clinic"].ExecContext(as(id), `INSERT INTO patients (id, name) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET name = excluded.name`, "Ada of "+id); err != nil {
			t.Fatal(err)
		}
		if b := s.Bucket["scans"]; b != nil {
			if err := b.WriteAll(as(id), "scan", []byte(id), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	var n int
	var name string
	if err := s.DB["clinic"].QueryRowContext(as("north"), `SELECT id, name FROM patients WHERE name = $1`, "Ada of north").Scan(&n, &name); err != nil || n != 1 {
		t.Errorf("%d, %q, %v", n, name, err)
	}
	if b := s.Bucket["scans"]; b != nil {
		if got, err := b.ReadAll(as("south"), "scan"); err != nil || string(got) != "south" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// A program of the embedded default runs a second time on what it left.
func TestEmbedded(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		s, err := stack.Open(t.Context(), embedded(dir))
		if err != nil {
			t.Fatal(err)
		}
		use(t, s)
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if err := s.DB["clinic"].PingContext(t.Context()); err == nil {
			t.Error("the database is open after Close")
		}
	}
	report, err := audit.Verify(t.Context(), filepath.Join(dir, "strongroom", "audit"), nil)
	if err != nil || report.Events == 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "strongroom")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// What has no URL is in the directory, which may be moved. A name that is no file's has no such place.
func TestDefaults(t *testing.T) {
	dir := t.TempDir()
	c := embedded(dir)
	c.Databases["clinic"] = stack.Database{Schema: schema, Tables: []string{liteTable}}
	c.Buckets["scans"] = stack.Bucket{}
	for _, moved := range []string{"strongroom", "elsewhere"} {
		if c.Dir != filepath.Join(dir, moved) {
			if err := os.Rename(c.Dir, filepath.Join(dir, moved)); err != nil {
				t.Fatal(err)
			}
			c.Dir = filepath.Join(dir, moved)
		}
		s, err := stack.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if moved == "strongroom" {
			use(t, s)
		} else if got, err := s.Bucket["scans"].ReadAll(as("south"), "scan"); err != nil || string(got) != "south" {
			t.Errorf("after the directory was moved: %q, %v", got, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"clinic.db", "buckets/scans", "audit", "keys", "kek.json"} {
		if _, err := os.Stat(filepath.Join(c.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "..", "../x", "a/b", "Clinic", "a.b"} {
		for _, c := range []stack.Config{
			{Dir: c.Dir, Databases: map[string]stack.Database{name: {Schema: schema}}}, {Dir: c.Dir, Buckets: map[string]stack.Bucket{name: {}}},
		} {
			if _, err := stack.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "its name cannot be a file's") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

// closing notes the order in which parts are closed.
type closing struct {
	name  string
	order *[]string
}

func (c closing) Close() error { *c.order = append(*c.order, c.name); return nil }

type recorder struct {
	closing
	recorded int
}

func (r *recorder) Record(context.Context, *audit.Event) error { r.recorded++; return nil }

type kek struct {
	keys.KEK
	closing
}

// What is given open is closed with the rest, and when something does not open.
func TestClosesWhatItWasGiven(t *testing.T) {
	for what, spoil := range map[string]func(*stack.Config){
		"nothing":    func(*stack.Config) {},
		"a database": func(c *stack.Config) { c.Databases["other"] = stack.Database{URL: "nothing:x", Schema: schema} },
		"a bucket":   func(c *stack.Config) { c.Buckets["other"] = stack.Bucket{URL: "nothing://x"} },
		"the keys":   func(c *stack.Config) { c.Dir = filepath.Join(c.Dir, "\x00") },
		"the tables": func(c *stack.Config) {
			c.Databases["other"] = stack.Database{URL: "postgres://app@127.0.0.1/x", Schema: schema, Tables: []string{pgTable}}
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir, order := t.TempDir(), []string{}
			inner, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
			if err != nil {
				t.Fatal(err)
			}
			log := &recorder{closing: closing{"trail", &order}}
			c := embedded(dir)
			c.Audit, c.KEK = log, kek{inner, closing{"kek", &order}}
			spoil(&c)
			s, err := stack.Open(t.Context(), c)
			if (err == nil) != (what == "nothing") {
				t.Fatalf("%v", err)
			}
			if err == nil {
				use(t, s)
				if log.recorded == 0 {
					t.Error("nothing is in the trail")
				}
				err = s.Close()
				if err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(order, []string{"kek", "trail"}) {
				t.Errorf("closed: %v", order)
			}
		})
	}
	if _, err := stack.Open(t.Context(), stack.Config{}); err == nil || !strings.Contains(err.Error(), "Config.Dir") {
		t.Errorf("without a directory: %v", err)
	}
}

// On PostgreSQL the owner makes the tables, and the service opens them as its own role.
func TestPostgreSQL(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	c := embedded(t.TempDir())
	c.Buckets = nil
	c.Databases["clinic"] = stack.Database{URL: database.AppURL, Owner: database.OwnerURL, Schema: schema, Tables: []string{pgTable}}
	for range 2 {
		s, err := stack.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		use(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := sql.Open("pgx", database.SuperURL)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	var plain int
	if err := owner.QueryRow(`SELECT count(*) FROM patients WHERE position('Ada'::bytea IN name) > 0`).Scan(&plain); err != nil || plain != 0 {
		t.Errorf("%d in the clear, %v", plain, err)
	}
}

// The owner of the tables, who can take every fence down, does not log in over a connection that others can read, and no part of its
// connection string is in an error.
func TestOwnerIsNotSentInTheClear(t *testing.T) {
	const app = "postgres://app@db.invalid/clinic?sslmode=verify-full"
	for owner, want := range map[string]string{
		"postgres://owner:sesame@db.invalid/clinic":                         "without TLS",
		"postgres://owner:sesame@db.invalid/clinic?sslmode=disable":         "without TLS",
		"host=192.0.2.1 user=owner password=sesame sslmode=prefer":          "without TLS",
		"postgres://owner:open:sesame@50%@db.invalid/clinic":                "that can be read",
		"postgres://owner:sesame@db.invalid/clinic?sslmode=not-one-of-them": "that can be read",
	} {
		c := embedded(t.TempDir())
		c.Databases["clinic"] = stack.Database{URL: app, Owner: owner, Schema: schema, Tables: []string{pgTable}}
		s, err := stack.Open(t.Context(), c)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "open:") || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", owner, err)
		}
	}
	c := embedded(t.TempDir())
	c.Databases["clinic"] = stack.Database{
		URL: app, Owner: "postgres://owner@db.invalid/clinic?sslmode=disable", Schema: schema, Tables: []string{pgTable},
		Options: &sqldb.Options{InsecureAllowPlaintext: true},
	}
	if _, err := stack.Open(t.Context(), c); err == nil || strings.Contains(err.Error(), "without TLS") {
		t.Errorf("where it is allowed: %v", err)
	}
}
