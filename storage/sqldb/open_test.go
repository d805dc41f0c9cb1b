package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

func openErr(t *testing.T, dsn string, schema sqldb.Schema, opts *sqldb.Options) error {
	t.Helper()
	guard := storage.Guard{Keys: newRing(t), Audit: &recorder{}}
	db, err := sqldb.Open(context.Background(), dsn, schema, guard, opts)
	if err == nil {
		db.Close()
	}
	return err
}

func TestOpenRefusesConnectionStrings(t *testing.T) {
	schema := sqldb.Schema{"t": {}}
	for dsn, want := range map[string]string{
		"":                        "scheme",
		"mysql://h/d":             "no engine",
		"sqlite:":                 "file",
		"sqlite::memory:":         "file",
		"sqlite:a.db?mode=memory": "parameters",
		"sqlite:" + filepath.Join(t.TempDir(), "absent.db"):                       "raw handle",
		"postgres://u:s3cr3t@db.example.com/d?sslmode=disable":                    "InsecureAllowPlaintext",
		"postgres://u:s3cr3t@db.example.com/d?sslmode=prefer":                     "InsecureAllowPlaintext",
		"postgres://u:s3cr3t@127.0.0.1,db.example.com/d?sslmode=disable":          "InsecureAllowPlaintext",
		"postgres://u:s3cr3t@127.0.0.1/d?sslmode=bogus":                           "connection string",
		"postgres://u:s3cr3t@127.0.0.1/d?default_query_exec_mode=simple_protocol": "simple_protocol",
		"postgres://u:s3cr3t@127.0.0.1/d?strongroom.tenant=clinic":                "strongroom.tenant",
		"postgres://u:s3cr3t@127.0.0.1/d?options=-c%20row_security%3Doff":         "options",
		"postgres://u:s3cr3t@127.0.0.1:1/d?connect_timeout=2":                     "failed",
	} {
		err := openErr(t, dsn, schema, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want it to name %q", dsn, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: the error shows the password: %v", dsn, err)
		}
	}
}

func TestOpenRefusesGuardsWithoutFences(t *testing.T) {
	ctx, schema := context.Background(), sqldb.Schema{"t": {}}
	if _, err := sqldb.Open(ctx, "sqlite:x.db", schema, storage.Guard{Audit: &recorder{}}, nil); err == nil || !strings.Contains(err.Error(), "Guard.Keys") {
		t.Errorf("without keys: %v", err)
	}
	if _, err := sqldb.Open(ctx, "sqlite:x.db", schema, storage.Guard{Keys: newRing(t)}, nil); err == nil || !strings.Contains(err.Error(), "Guard.Audit") {
		t.Errorf("without a log: %v", err)
	}
}

func TestSchemaIsCheckedWithoutADatabase(t *testing.T) {
	for want, schema := range map[string]sqldb.Schema{
		"declares no table":       {},
		"shared table has sealed": {"t": {Shared: true, Sealed: sqldb.Columns{"a": sqldb.Text()}}},
		"no logical type":         {"t": {Sealed: sqldb.Columns{"a": sqldb.Column{}}}},
		"the tenant column and":   {"t": {Sealed: sqldb.Columns{"tenant_id": sqldb.Text()}}},
		"is empty":                {"": {}},
		"contains a dot":          {"public.t.u": {}},
		"the default schema's":    {"public.t": {}},
		"over PostgreSQL's":       {strings.Repeat("x", 64): {}},
		"the blind index of":      {"t": {Sealed: sqldb.Columns{"a": sqldb.Text().Searchable("i"), "b": sqldb.Text().Searchable("i")}}},
	} {
		err := openErr(t, "sqlite:never-opened.db", schema, nil)
		var se *sqldb.SchemaError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want it to say %q", err, want)
		}
	}
}

// TestOpenChecksTheTables makes each mistake on purpose and expects it to be named, with the table, in one error.
func TestOpenChecksTheTables(t *testing.T) {
	type mistake struct{ what, ddl, want string }
	const good = `tenant_id text NOT NULL, id bigint NOT NULL, `
	mistakes := []mistake{
		{"absent", ``, "not in"},
		{"a view", `CREATE VIEW t AS SELECT 'x' AS tenant_id, 1 AS id`, "view"},
		{"no tenant column", `CREATE TABLE t (id bigint NOT NULL, secret BLOBTYPE)`, "tenant column is missing"},
		{"nullable tenant", `CREATE TABLE t (tenant_id text, id bigint, secret BLOBTYPE)`, "can be NULL"},
		{"numeric tenant", `CREATE TABLE t (tenant_id numeric NOT NULL, secret BLOBTYPE)`, "different ids as equal"},
		{"primary key", `CREATE TABLE t (tenant_id text NOT NULL, id bigint PRIMARY KEY, secret BLOBTYPE)`, "lacks the tenant column"},
		{"unique index", `CREATE TABLE t (` + good + `secret BLOBTYPE, UNIQUE (id))`, "lacks the tenant column"},
		{"partial unique index", `CREATE TABLE t (` + good + `secret BLOBTYPE); CREATE UNIQUE INDEX u ON t (id) WHERE id > 3`, "lacks the tenant column"},
		{"expression index", `CREATE TABLE t (` + good + `secret BLOBTYPE); CREATE UNIQUE INDEX u ON t (abs(id))`, "lacks the tenant column"},
		{"no sealed column", `CREATE TABLE t (` + good + `other text)`, "t.secret: the sealed column is missing"},
		{"sealed column's type", `CREATE TABLE t (` + good + `secret text)`, "has type"},
		{"sealed column's default", `CREATE TABLE t (` + good + `secret BLOBTYPE DEFAULT 'clear')`, "default"},
		{"foreign key", `CREATE TABLE t (` + good + `secret BLOBTYPE, up bigint, PRIMARY KEY (tenant_id, id)); CREATE TABLE u (` + good + ` up bigint, PRIMARY KEY (tenant_id, id), UNIQUE (id), FOREIGN KEY (up) REFERENCES u (id))`, "parent of the same tenant"},
		{"undeclared parent", `CREATE TABLE p (id bigint PRIMARY KEY); CREATE TABLE t (` + good + `secret BLOBTYPE, up bigint REFERENCES p (id))`, "not declared"},
		{"parent that sets the tenant", `CREATE TABLE u (` + good + `x text, PRIMARY KEY (tenant_id, id)); CREATE TABLE t (` + good + `secret BLOBTYPE, FOREIGN KEY (tenant_id, id) REFERENCES u (tenant_id, id) ON DELETE SET DEFAULT)`, "moves the row to another tenant"},
		{"shared with a tenant column", `CREATE TABLE t (` + good + `secret BLOBTYPE); CREATE TABLE u (` + good + `x text); CREATE TABLE s (` + good + `x text)`, "declared shared"},
	}
	perEngine := map[dialect.Dialect][]mistake{
		dialect.SQLite: {
			{"folding primary key", `CREATE TABLE t (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, secret BLOB, PRIMARY KEY (tenant_id COLLATE NOCASE, id))`, "collation NOCASE"},
			{"folding unique key", `CREATE TABLE t (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, secret BLOB, UNIQUE (tenant_id COLLATE NOCASE, id))`, "collation NOCASE"},
			{"implicit parent in another order", `CREATE TABLE u (tenant_id TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (id, tenant_id)); CREATE TABLE t (tenant_id TEXT NOT NULL, up TEXT, secret BLOB, FOREIGN KEY (tenant_id, up) REFERENCES u)`, "parent of the same tenant"},
			{"folding collation", `CREATE TABLE t (tenant_id TEXT COLLATE NOCASE NOT NULL, secret BLOB)`, "collation"},
			{"trimming collation", `CREATE TABLE t (tenant_id TEXT COLLATE RTRIM NOT NULL, secret BLOB)`, "collation"},
			{"trigger", `CREATE TABLE t (` + good + `secret BLOB); CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END`, "trigger"},
			{"rowid key", `CREATE TABLE t (tenant_id TEXT NOT NULL, id INTEGER PRIMARY KEY, secret BLOB)`, "lacks the tenant column"},
		},
		dialect.PostgreSQL: {
			{"folding key", `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE t (` + good + `secret bytea); CREATE UNIQUE INDEX k ON t (tenant_id COLLATE ci, id)`, "different ids may be equal"},
			{"partition's key", `CREATE TABLE t (` + good + `secret bytea, PRIMARY KEY (tenant_id, id)) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9); CREATE UNIQUE INDEX ON t1 (id)`, "lacks the tenant column"},
			{"undeclared trigger", `CREATE TABLE t (` + good + `secret bytea); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end'; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()`, "the trigger g, which is not declared"},
			{"partition's trigger", `CREATE TABLE t (` + good + `secret bytea) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'begin return new; end'; CREATE TRIGGER g BEFORE INSERT ON t1 FOR EACH ROW EXECUTE FUNCTION f()`, "owner's rights"},
			{"child's rule", `CREATE TABLE t (` + good + `secret bytea); CREATE TABLE t1 () INHERITS (t); CREATE RULE r AS ON INSERT TO t1 DO ALSO DELETE FROM t1`, "rules"},
			{"citext-like collation", `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE t (tenant_id text COLLATE ci NOT NULL, secret bytea)`, "nondeterministic"},
			{"blank-padded", `CREATE TABLE t (tenant_id char(20) NOT NULL, secret bytea)`, "different ids as equal"},
			{"RLS off", `CREATE TABLE t (` + good + `secret bytea)`, "row-level security is off"},
			{"RLS not forced", `CREATE TABLE t (` + good + `secret bytea); ALTER TABLE t ENABLE ROW LEVEL SECURITY`, "owner"},
			{"no policy", `CREATE TABLE t (` + good + `secret bytea); ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY`, "policy strongroom_tenant is missing"},
			{"weak policy", `CREATE TABLE t (` + good + `secret bytea); ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY strongroom_tenant ON t USING (true) WITH CHECK (true)`, "not as the guard needs it"},
			{"second policy", `CREATE TABLE t (` + good + `secret bytea); GOODPOLICY; CREATE POLICY support ON t USING (true)`, "lets rows through by itself"},
			{"exclusion constraint", `CREATE TABLE t (` + good + `secret bytea, during int4range, EXCLUDE USING gist (during WITH &&))`, "exclusion"},
			{"rule", `CREATE TABLE t (` + good + `secret bytea); CREATE RULE r AS ON INSERT TO t DO ALSO DELETE FROM t`, "rules"},
			{"definer's trigger", `CREATE TABLE t (` + good + `secret bytea); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'begin return new; end'; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()`, "owner's rights"},
		},
	}
	schema := sqldb.Schema{"t": {Sealed: sqldb.Columns{"secret": sqldb.Text()}}}
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		for _, m := range append(mistakes, perEngine[d]...) {
			t.Run(string(d)+"/"+m.what, func(t *testing.T) {
				raw, dsn, _ := newRaw(t, d)
				blob := map[dialect.Dialect]string{dialect.SQLite: "BLOB", dialect.PostgreSQL: "bytea"}[d]
				ddl := strings.ReplaceAll(m.ddl, "BLOBTYPE", blob)
				if strings.Contains(ddl, "GOODPOLICY") {
					policy, err := schema.DDL(d, nil)
					if err != nil {
						t.Fatal(err)
					}
					ddl = strings.ReplaceAll(ddl, "GOODPOLICY", policy)
				}
				if d == dialect.SQLite && ddl == "" {
					ddl = `CREATE TABLE other (x)`
				}
				mustExec(t, raw, ddl)
				s := schema
				if strings.Contains(ddl, "CREATE TABLE u") {
					s = sqldb.Schema{"t": schema["t"], "u": {}}
				}
				if strings.Contains(ddl, "CREATE TABLE s ") {
					s = sqldb.Schema{"s": {Shared: true}}
				}
				err := openErr(t, dsn, s, nil)
				var se *sqldb.SchemaError
				if !errors.As(err, &se) {
					t.Fatalf("Open: %v", err)
				}
				if !strings.Contains(err.Error(), m.want) {
					t.Errorf("%v\nwant it to say %q", err, m.want)
				}
				for _, p := range se.Problems {
					if p.Fix == "" {
						t.Errorf("%v has no remedy", p)
					}
				}
			})
		}
	}
}

func TestOpenRefusesRolesThatRLSDoesNotBind(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	err := openErr(t, database.SuperURL, sqldb.Schema{"t": {}}, nil)
	if err == nil || !strings.Contains(err.Error(), "superuser") {
		t.Errorf("as a superuser: %v", err)
	}
}

// TestDDLMakesTablesFit: what Schema.DDL prints for a table made by hand is what Open asks for.
func TestDDLMakesTablesFit(t *testing.T) {
	schema := sqldb.Schema{`Odd "name"`: {Sealed: sqldb.Columns{"s": sqldb.Text().Searchable("s_index")}}}
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			raw, dsn, _ := newRaw(t, d)
			mustExec(t, raw, `CREATE TABLE "Odd ""name""" (id bigint NOT NULL)`)
			ddl, err := schema.DDL(d, nil)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, raw, ddl)
			if d == dialect.PostgreSQL {
				mustExec(t, raw, ddl) // it can be run again
			}
			if err := openErr(t, dsn, schema, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRLSAloneLetsNothingThrough opens the database as the application's role without the guard.
func TestRLSAloneLetsNothingThrough(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	bare := openBare(t, e.dsn)
	ctx := context.Background()
	count := func(q interface {
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}, want int) {
		t.Helper()
		var n int
		if err := q.QueryRowContext(ctx, `SELECT count(*) FROM patients`).Scan(&n); err != nil || n != want {
			t.Errorf("%d rows, %v; want %d", n, err, want)
		}
	}
	count(bare, 0)
	if _, err := bare.ExecContext(ctx, `INSERT INTO patients (tenant_id, id) VALUES ('clinic', 99)`); err == nil {
		t.Error("row-level security let a row in")
	}
	tx, err := bare.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, `SELECT set_config('strongroom.tenant', 'clinic', true)`); err != nil {
		t.Fatal(err)
	}
	count(tx, 3)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	count(bare, 0) // the setting is '' now, not NULL
}
