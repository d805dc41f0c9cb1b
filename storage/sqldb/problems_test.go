package sqldb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestAllProblemsOfATableInOneRound: whoever mends what one opening names has nothing to mend at the next.
func TestAllProblemsOfATableInOneRound(t *testing.T) {
	schema := sqldb.Schema{"t": {Sealed: sqldb.Columns{"secret": sqldb.Text().Searchable("secret_index"), "note": sqldb.Text()}}, "u": {}}
	ddl := map[dialect.Dialect]string{
		dialect.PostgreSQL: `CREATE TABLE u (id bigint PRIMARY KEY, up bigint);
			CREATE TABLE t (id bigint PRIMARY KEY, code text, secret text DEFAULT 'clear', up bigint CONSTRAINT parent REFERENCES u (id), UNIQUE (code));
			CREATE UNIQUE INDEX plain ON t (up);
			INSERT INTO u VALUES (1, 1); INSERT INTO t VALUES (1, 'a', 'plain', 1)`,
		dialect.SQLite: `CREATE TABLE u (id INTEGER PRIMARY KEY, up INTEGER);
			CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT, secret TEXT DEFAULT 'clear', up INTEGER REFERENCES u (id), UNIQUE (code));
			CREATE UNIQUE INDEX plain ON t (up);
			INSERT INTO u VALUES (1, 1); INSERT INTO t VALUES (1, 'a', 'plain', 1)`,
	}
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			raw, dsn, _ := newRaw(t, d)
			mustExec(t, raw, ddl[d])
			want := []string{
				"t.tenant_id: the tenant column is missing", "u.tenant_id: the tenant column is missing",
				"t: unique index t_code_key (code)", "t: unique index plain (up)", "u: unique index u_pkey (id)", "t: unique index t_pkey (id)",
				"t: foreign key parent (up)", "t.secret: the sealed column has type text", "t.secret: the sealed column has a default",
				"t.secret_index: the blind index column is missing", "t.note: the sealed column is missing",
				"t: row-level security is off", "t: row-level security does not bind", "t: the policy strongroom_tenant is missing", "u: the policy strongroom_tenant is missing",
			}
			if d == dialect.SQLite {
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

// TestFixesWorkOnATableWithRows runs what an opening prints, exactly as it is printed, on tables with rows, in rounds between
// which the owner does what only the owner can: say whose each row is. No row and no plaintext goes, and it ends in a database that opens.
func TestFixesWorkOnATableWithRows(t *testing.T) {
	raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
	mustExec(t, raw, `CREATE TABLE t (id bigint PRIMARY KEY, code text UNIQUE, secret text NOT NULL DEFAULT 'clear', made bytea GENERATED ALWAYS AS ('x'::bytea) STORED, sealed bytea DEFAULT 'clear');
		CREATE UNIQUE INDEX plain ON t (code, id); INSERT INTO t VALUES (1, 'a', 'plain', DEFAULT, NULL), (2, 'b', 'plain', DEFAULT, NULL);
		CREATE TABLE "n */ x" (tenant_id text, id bigint, up bigint); INSERT INTO "n */ x" VALUES (NULL, 1, 1);
		CREATE TABLE o (tenant_id char(9) NOT NULL, id bigint, PRIMARY KEY (tenant_id, id)); INSERT INTO o VALUES ('clinic', 1);
		CREATE TABLE f (tenant_id text NOT NULL, id bigint, up bigint, PRIMARY KEY (tenant_id, id), UNIQUE (id)); INSERT INTO f VALUES ('clinic', 1, 1);
		ALTER TABLE f ADD CONSTRAINT self FOREIGN KEY (up) REFERENCES f (id)`)
	schema := sqldb.Schema{"n */ x": {}, "o": {}, "f": {}, "t": {Sealed: sqldb.Columns{
		"secret": sqldb.Text().Searchable("secret_index"), "made": sqldb.Bytes(), "sealed": sqldb.Text(),
	}}}
	for round := 1; ; round++ {
		err := openErr(t, dsn, schema, nil)
		if err == nil {
			break
		}
		var se *sqldb.SchemaError
		if !errors.As(err, &se) || round > 4 {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, p := range se.Problems {
			if _, err := raw.Exec(p.Fix); err != nil {
				t.Logf("round %d: refused: %s: %v", round, p.Fix, err)
			}
		}
		if round == 1 {
			mustExec(t, raw, `UPDATE t SET tenant_id = 'clinic'; UPDATE "n */ x" SET tenant_id = 'clinic'`)
		}
	}
	kept := 0
	mustExec(t, raw, `ALTER TABLE t NO FORCE ROW LEVEL SECURITY; ALTER TABLE "n */ x" NO FORCE ROW LEVEL SECURITY; ALTER TABLE o NO FORCE ROW LEVEL SECURITY; ALTER TABLE f NO FORCE ROW LEVEL SECURITY`)
	err := raw.QueryRow(`SELECT (SELECT count(*) FROM t WHERE secret_plain = 'plain' AND tenant_id = 'clinic') + (SELECT count(*) FROM "n */ x") + (SELECT count(*) FROM o) + (SELECT count(*) FROM f)`).Scan(&kept)
	if err != nil || kept != 5 {
		t.Errorf("%d rows are left, %v", kept, err)
	}
}

// TestFixesWorkOnASQLiteTableWithRows does the same where SQLite needs no rebuilding, which the owner writes.
func TestFixesWorkOnASQLiteTableWithRows(t *testing.T) {
	raw, dsn, _ := newRaw(t, dialect.SQLite)
	mustExec(t, raw, `CREATE TABLE t (id INTEGER NOT NULL, secret TEXT, made BLOB); INSERT INTO t VALUES (1, 'plain', NULL), (2, 'plain', NULL)`)
	schema := sqldb.Schema{"t": {Sealed: sqldb.Columns{"secret": sqldb.Text().Searchable("secret_index"), "made": sqldb.Bytes(), "more": sqldb.Text()}}}
	for round := 1; ; round++ {
		err := openErr(t, dsn, schema, nil)
		if err == nil {
			break
		}
		var se *sqldb.SchemaError
		if !errors.As(err, &se) || round > 2 {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, p := range se.Problems {
			if _, err := raw.Exec(p.Fix); err != nil && !strings.Contains(p.Fix, "the statement is printed then") {
				t.Errorf("round %d: %s: %v", round, p.Fix, err)
			}
		}
	}
	n := 0
	if err := raw.QueryRow(`SELECT count(*) FROM t WHERE secret_plain = 'plain' AND tenant_id = ''`).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows are left, %v", n, err)
	}
}

// TestDDLOnTablesWithRows: what Schema.DDL prints runs on tables with rows, changes no value and takes nothing from a program
// that still works without the guard; once each row has a tenant and the plaintexts are out of the way it finishes.
func TestDDLOnTablesWithRows(t *testing.T) {
	schema := sqldb.Schema{"t": {Sealed: sqldb.Columns{"secret": sqldb.Text().Searchable("secret_index"), "raw": sqldb.Bytes(), "more": sqldb.Text()}}, "$strongroom$ O'Neil\\": {}}
	t.Run("postgresql", func(t *testing.T) {
		raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
		const odd = `"$strongroom$ O'Neil\"`
		mustExec(t, raw, `CREATE TABLE t (id bigint NOT NULL, secret text, raw bytea); INSERT INTO t VALUES (1, 'plain', 'plain'), (2, 'plain', NULL);
			CREATE TABLE `+odd+` (id bigint NOT NULL); INSERT INTO `+odd+` VALUES (1)`)
		ddl, err := schema.DDL(dialect.PostgreSQL, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			mustExec(t, raw, ddl)
			mustExec(t, raw, `INSERT INTO t (id, secret, raw) VALUES (3, 'plain', 'plain')`) // by the program
		}
		n := 0
		if err := raw.QueryRow(`SELECT count(*) FROM t WHERE secret = 'plain' AND tenant_id IS NULL`).Scan(&n); err != nil || n != 4 {
			t.Fatalf("%d rows are there, %v", n, err)
		}
		if err := openErr(t, dsn, schema, nil); err == nil || !strings.Contains(err.Error(), "t.tenant_id: the tenant column can be NULL") || !strings.Contains(err.Error(), "t: row-level security is off") {
			t.Errorf("what is left is not named: %v", err)
		}
		mustExec(t, raw, `UPDATE t SET tenant_id = 'clinic'; UPDATE `+odd+` SET tenant_id = 'clinic'; ALTER TABLE t RENAME secret TO secret_plain; UPDATE t SET raw = NULL`)
		mustExec(t, raw, ddl)
		mustExec(t, raw, ddl)
		if err := openErr(t, dsn, schema, nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("sqlite", func(t *testing.T) {
		raw, dsn, _ := newRaw(t, dialect.SQLite)
		mustExec(t, raw, `CREATE TABLE t (id INTEGER NOT NULL, kept TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'); CREATE TABLE "$strongroom$ O'Neil\" (id INTEGER NOT NULL); INSERT INTO "$strongroom$ O'Neil\" VALUES (1)`)
		ddl, err := schema.DDL(dialect.SQLite, nil)
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, raw, ddl)
		n := 0
		if err := raw.QueryRow(`SELECT count(*) FROM t WHERE kept IN ('a', 'b') AND tenant_id = ''`).Scan(&n); err != nil || n != 2 {
			t.Errorf("%d rows are there, %v", n, err)
		}
		if err := openErr(t, dsn, schema, nil); err != nil {
			t.Error(err)
		}
	})
}
