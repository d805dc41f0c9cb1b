package sqldb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestAllProblemsOfATableInOneRound: whoever mends what one opening names has nothing to mend at the next.
func TestAllProblemsOfATableInOneRound(t *testing.T) {
	schema := sqldb.Schema{"t": {Sealed: sqldb.Columns{"secret": sqldb.Text().Searchable("secret_index"), "note": sqldb.Text()}}, "u": {}}
	ddl := map[sqldb.Dialect]string{
		sqldb.PostgreSQL: `CREATE TABLE u (id bigint PRIMARY KEY, up bigint);
			CREATE TABLE t (id bigint PRIMARY KEY, code text, secret text DEFAULT 'clear', up bigint CONSTRAINT parent REFERENCES u (id), UNIQUE (code));
			CREATE UNIQUE INDEX plain ON t (up);
			INSERT INTO u VALUES (1, 1); INSERT INTO t VALUES (1, 'a', 'plain', 1)`,
		sqldb.SQLite: `CREATE TABLE u (id INTEGER PRIMARY KEY, up INTEGER);
			CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT, secret TEXT DEFAULT 'clear', up INTEGER REFERENCES u (id), UNIQUE (code));
			CREATE UNIQUE INDEX plain ON t (up);
			INSERT INTO u VALUES (1, 1); INSERT INTO t VALUES (1, 'a', 'plain', 1)`,
	}
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.PostgreSQL} {
		t.Run(string(dialect), func(t *testing.T) {
			raw, dsn, _ := newRaw(t, dialect)
			mustExec(t, raw, ddl[dialect])
			want := []string{
				"t.tenant_id: the tenant column is missing", "u.tenant_id: the tenant column is missing",
				"t: unique index t_code_key (code)", "t: unique index plain (up)", "u: unique index u_pkey (id)", "t: unique index t_pkey (id)",
				"t: foreign key parent (up)", "t.secret: the sealed column has type text", "t.secret: the sealed column has a default",
				"t.secret_index: the blind index column is missing", "t.note: the sealed column is missing",
				"t: row-level security is off", "t: row-level security does not bind", "t: the policy strongroom_tenant is missing", "u: the policy strongroom_tenant is missing",
			}
			if dialect == sqldb.SQLite {
				want = []string{
					"t.tenant_id: the tenant column is missing", "u.tenant_id: the tenant column is missing",
					"t: unique index sqlite_autoindex_t_1 (code)", "t: unique index plain (up)", "u: the primary key (id)", "t: the primary key (id)",
					"t: foreign key to u (up)", "t.secret: the sealed column has type TEXT", "t.secret: the sealed column has a default",
					"t.secret_index: the blind index column is missing", "t.note: the sealed column is missing",
				}
			}
			err := openErr(t, dsn, schema, nil)
			for _, w := range want {
				if err == nil || !strings.Contains(err.Error(), "- "+w) {
					t.Errorf("%q is not named", w)
				}
			}
			if t.Failed() {
				t.Logf("%v", err)
			}
		})
	}
}

// TestFixesWorkOnATableWithRows runs what an opening prints, with the dots filled in.
func TestFixesWorkOnATableWithRows(t *testing.T) {
	raw, dsn, _ := newRaw(t, sqldb.PostgreSQL)
	mustExec(t, raw, `CREATE TABLE t (id bigint PRIMARY KEY, code text UNIQUE, secret text DEFAULT 'clear', made bytea GENERATED ALWAYS AS ('x'::bytea) STORED, sealed bytea DEFAULT 'clear');
		CREATE UNIQUE INDEX plain ON t (code, id); INSERT INTO t VALUES (1, 'a', 'plain', DEFAULT, NULL), (2, 'b', 'plain', DEFAULT, NULL);
		CREATE TABLE n (tenant_id text, id bigint, up bigint); INSERT INTO n VALUES (NULL, 1, 1);
		CREATE TABLE o (tenant_id char(9) NOT NULL, id bigint, PRIMARY KEY (tenant_id, id)); INSERT INTO o VALUES ('clinic', 1);
		CREATE TABLE f (tenant_id text NOT NULL, id bigint, up bigint, PRIMARY KEY (tenant_id, id), UNIQUE (id)); INSERT INTO f VALUES ('clinic', 1, 1);
		ALTER TABLE f ADD CONSTRAINT self FOREIGN KEY (up) REFERENCES f (id)`)
	schema := sqldb.Schema{"n": {}, "o": {}, "f": {}, "t": {Sealed: sqldb.Columns{
		"secret": sqldb.Text().Searchable("secret_index"), "made": sqldb.Bytes(), "sealed": sqldb.Text(),
	}}}
	var se *sqldb.SchemaError
	if err := openErr(t, dsn, schema, nil); !errors.As(err, &se) {
		t.Fatal(err)
	}
	var later []string
	for _, p := range se.Problems {
		fix := strings.ReplaceAll(p.Fix, "…", "'clinic'")
		if strings.Contains(fix, "foreign keys that refer to it go first") || strings.Contains(fix, "REFERENCES") {
			later = append([]string{fix}, later...) // the foreign keys were named last
			continue
		}
		if _, err := raw.Exec(fix); err != nil {
			t.Errorf("%s: %v", fix, err)
		}
	}
	for _, fix := range later {
		if _, err := raw.Exec(fix); err != nil {
			t.Errorf("%s: %v", fix, err)
		}
	}
	if err := openErr(t, dsn, schema, nil); err != nil {
		t.Errorf("after the fixes: %v", err)
	}
}
