package sqldb

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/tenant"
)

// TestSQLiteAuthorizer sends what a broken planner might let through straight to a session.
func TestSQLiteAuthorizer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for _, ddl := range []string{
		`CREATE TABLE mine (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (tenant_id, id))`,
		`CREATE TABLE shared (code TEXT PRIMARY KEY)`, `CREATE TABLE secrets (what TEXT)`, `CREATE VIEW peek AS SELECT * FROM secrets`,
	} {
		if _, err := raw.Exec(ddl); err != nil {
			t.Fatal(err)
		}
	}
	e, err := openSQLite("sqlite:" + path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	schema := Schema{"mine": {}, "shared": {Shared: true}}
	cat, problems, err := e.introspect(ctx, schema, (*Options)(nil).withDefaults())
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	s, err := e.connect(ctx, cat)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	id := tenant.MustParse("a")
	for _, allowed := range []string{
		`SELECT id FROM main.mine`, `SELECT upper(code) FROM main.shared`, `INSERT INTO main.mine VALUES ('a', 1)`,
		`WITH x AS (SELECT id FROM mine) SELECT count(*) FROM (SELECT * FROM x)`, `UPDATE main.mine SET id = 2`, `DELETE FROM main.mine`,
	} {
		if _, err := s.exec(ctx, id, allowed, nil); err != nil {
			t.Errorf("%s: %v", allowed, err)
		}
	}
	for _, denied := range []string{
		`SELECT what FROM secrets`, `SELECT * FROM peek`, `SELECT name FROM sqlite_schema`, `SELECT name FROM sqlite_master`, `INSERT INTO shared VALUES ('x')`,
		`DELETE FROM shared`, `UPDATE shared SET code = 'x'`, `DROP TABLE mine`, `CREATE TABLE x (y)`, `CREATE TEMP TABLE mine (y)`, `CREATE TEMP VIEW v AS SELECT 1`,
		`ATTACH ':memory:' AS other`, `PRAGMA writable_schema = 1`, `PRAGMA trusted_schema = 1`, `VACUUM INTO 'copy.db'`, `ALTER TABLE mine RENAME TO theirs`,
		`CREATE TRIGGER g AFTER INSERT ON mine BEGIN DELETE FROM mine; END`, `ANALYZE`, `REINDEX`, `SELECT * FROM pragma_table_info('secrets')`,
		`SELECT * FROM dbstat`, `SELECT load_extension('x')`,
	} {
		if _, err := s.exec(ctx, id, denied, nil); err == nil {
			t.Errorf("%s was not denied", denied)
		} else if !strings.Contains(err.Error(), "auth") && !strings.Contains(err.Error(), "no such") && !strings.Contains(err.Error(), "prohibited") {
			t.Logf("%s: %v", denied, err)
		}
	}
}
