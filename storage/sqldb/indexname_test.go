package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// namesAlike are tables and index columns whose names, put together and cut off, are the same, or a table's own.
func namesAlike() (sqldb.Schema, []string) {
	schema, tables := sqldb.Schema{}, []string{"visits", "visits_of", strings.Repeat("x", 58), strings.Repeat("y", 63)}
	for i, columns := range [][]string{{"of_note"}, {"note"}, {"note_1", "note_2"}, {"note"}} {
		sealed := sqldb.Columns{}
		for n, column := range columns {
			sealed[fmt.Sprintf("text%d", n)] = sqldb.Text().Searchable(column)
		}
		schema[tables[i]] = sqldb.Table{Sealed: sealed}
	}
	return schema, tables
}

// TestBlindIndexesHaveNamesOfTheirOwn: an index whose name another table's has would be taken for made.
func TestBlindIndexesHaveNamesOfTheirOwn(t *testing.T) {
	schema, tables := namesAlike()
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			raw, dsn, _ := newRaw(t, d)
			for _, name := range tables {
				mustExec(t, raw, fmt.Sprintf(`CREATE TABLE "%s" (id bigint NOT NULL)`, name))
			}
			ddl, err := schema.DDL(d, nil)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, raw, ddl)
			if d == dialect.PostgreSQL {
				mustExec(t, raw, ddl)
			}
			haveBlindIndexes(t, raw, d, schema)
			if err := openErr(t, dsn, schema, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func haveBlindIndexes(t *testing.T, raw *sql.DB, d dialect.Dialect, schema sqldb.Schema) {
	t.Helper()
	for name, table := range schema {
		query := `SELECT count(*) FROM pragma_index_list($1)`
		if d == dialect.PostgreSQL {
			query = `SELECT count(*) FROM pg_indexes WHERE tablename = $1 AND indexdef LIKE '%(tenant_id, %note%)'`
		}
		var n int
		if err := raw.QueryRow(query, name).Scan(&n); err != nil || n != len(table.Sealed) {
			t.Errorf("%s has %d blind indexes, not %d, %v", name, n, len(table.Sealed), err)
		}
	}
}

// TestDDLKeepsAnIndexThatIsThere: one that was made under another name, by hand or by an earlier version, is not made again.
func TestDDLKeepsAnIndexThatIsThere(t *testing.T) {
	schema := sqldb.Schema{"visits_of": {Sealed: sqldb.Columns{"text": sqldb.Text().Searchable("note")}}}
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		index string
		makes bool
	}{
		"under another name":      {`CREATE INDEX visits_of_note_blind ON visits_of (tenant_id, note)`, false},
		"which is a unique key":   {`ALTER TABLE visits_of ADD UNIQUE (tenant_id, note, id)`, false},
		"in another order":        {`CREATE INDEX visits_of_note_blind ON visits_of (note, tenant_id)`, true},
		"of some rows":            {`CREATE INDEX visits_of_note_blind ON visits_of (tenant_id, note) WHERE id > 3`, true},
		"which finds no equality": {`CREATE INDEX visits_of_note_blind ON visits_of USING brin (tenant_id, note)`, true},
		"of another table":        {`CREATE TABLE other (tenant_id text, note bytea); CREATE INDEX visits_of_note_blind ON other (tenant_id, note)`, true},
	} {
		t.Run(what, func(t *testing.T) {
			raw, _, _ := newRaw(t, dialect.PostgreSQL)
			mustExec(t, raw, `CREATE TABLE visits_of (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, note bytea); `+c.index)
			var before, after int
			count := func() (n int) {
				if err := raw.QueryRow(`SELECT count(*) FROM pg_indexes WHERE tablename = 'visits_of'`).Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			before = count()
			mustExec(t, raw, ddl)
			if after = count(); (after > before) != c.makes {
				t.Errorf("%d indexes before it, and %d after", before, after)
			}
		})
	}
}

// TestMigrationBuildsEachIndex: as above, and an index of the name that is somebody else's is neither taken for made nor dropped.
func TestMigrationBuildsEachIndex(t *testing.T) {
	schema, tables := namesAlike()
	raw, dsn, super := newRaw(t, dialect.PostgreSQL)
	m := &moving{raw: raw, app: openPool(t, dsn), super: openBare(t, super), dsn: dsn, ring: newRing(t, tenantA), log: &recorder{}}
	for _, name := range tables {
		mustExec(t, raw, fmt.Sprintf(`CREATE TABLE "%[1]s" (id bigint PRIMARY KEY, tenant_id text COLLATE "C" NOT NULL, text0 text, text1 text); INSERT INTO "%[1]s" VALUES (1, 'clinic', 'kept', 'too')`, name))
	}
	m.plan = sqldb.Migration{DSN: ownerURL(dsn), Schema: schema, Guard: storage.Guard{Keys: m.ring, Audit: m.log}, Actor: "operator", Purpose: "moving in"}
	mustExec(t, raw, `CREATE TABLE other (id bigint)`)
	// Whichever name it is to have: the plan says.
	plan, err := sqldb.PlanMigration(context.Background(), m.plan)
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	for _, step := range plan.Steps {
		if step.Table == "visits" && strings.Contains(step.SQL, `"of_note")`) && strings.HasPrefix(step.SQL, "CREATE INDEX CONCURRENTLY ") {
			name = strings.Fields(step.SQL)[3]
		}
	}
	m.to(t, sqldb.MigrateBackfill)
	mustExec(t, raw, `CREATE INDEX `+name+` ON other (id)`)
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateKeys); err == nil || !strings.Contains(err.Error(), "other") {
		t.Errorf("an index of another table: %v", err)
	}
	mustExec(t, m.super, `UPDATE pg_index SET indisvalid = false WHERE indrelid = 'other'::regclass`)
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateKeys); err == nil {
		t.Error("an index of another table that is not valid was dropped")
	}
	if got := m.one(t, `SELECT count(*) FROM pg_index WHERE indrelid = 'other'::regclass`); got != "1" {
		t.Error("it is gone")
	}
	mustExec(t, raw, `DROP TABLE other`)
	m.to(t, sqldb.MigrateDrop)
	haveBlindIndexes(t, raw, dialect.PostgreSQL, schema)
	if err := openErr(t, dsn, schema, nil); err != nil {
		t.Error(err)
	}
}
