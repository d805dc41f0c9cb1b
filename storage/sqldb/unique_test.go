package sqldb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// While two index keys live a unique key on a blind index still admits a value once: also what a row from before the rotation
// holds.
func TestUniqueIndexesDuringARotation(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 10)
		e.admit(t, tenantB, 0, 10)
		e.rotate(t, tenantA, keys.PurposeIndex)
		e.admit(t, tenantA, 10, 20) // under the newer key
		before := fmt.Sprint(e.raws(t, tenantA))
		try := func(query string, args ...any) error {
			_, err := e.db.ExecContext(as(tenantA), query, args...)
			return err
		}
		for _, c := range []struct {
			query string
			args  []any
		}{
			{`INSERT INTO patients (id, ssn) VALUES (77, $1)`, []any{ssn(4)}},
			{`INSERT INTO patients (id, ssn) VALUES (76, 'new'), (77, $1)`, []any{ssn(4)}},
			{`INSERT INTO patients (id, ssn) VALUES (77, '004-00-0001')`, nil},
			{`INSERT INTO patients (id, ssn) VALUES (77, $1) ON CONFLICT DO NOTHING`, []any{ssn(4)}},
			{`INSERT INTO patients (id, ssn) VALUES (12, 'new') ON CONFLICT (id) DO UPDATE SET ssn = $1`, []any{ssn(4)}},
			{`UPDATE patients SET ssn = $1 WHERE id = 12`, []any{ssn(4)}},
			{`UPDATE patients SET ssn = $1 WHERE id = 5`, []any{ssn(4)}},
		} {
			e.log.take()
			if err := try(c.query, c.args...); !errors.Is(err, sqldb.ErrDuplicate) || errors.Is(err, sqldb.ErrOutcomeUnknown) || strings.Contains(err.Error(), ssn(4)) {
				t.Errorf("%s: %v", c.query, err)
			}
			if !e.log.has(func(ev *audit.Event) bool { return ev.Phase == audit.Outcome && ev.Status == audit.Failure }) {
				t.Errorf("%s is not recorded as failed", c.query)
			}
			if _, err := e.tryRows(as(tenantA), c.query+` RETURNING id`, c.args...); !errors.Is(err, sqldb.ErrDuplicate) {
				t.Errorf("%s RETURNING id: %v", c.query, err)
			}
			if fmt.Sprint(e.raws(t, tenantA)) != before {
				t.Fatalf("%s changed something all the same", c.query)
			}
		}
		// In a transaction it can only be rolled back.
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(as(tenantA), `INSERT INTO patients (id, ssn) VALUES (77, $1)`, ssn(4)); !errors.Is(err, sqldb.ErrDuplicate) {
			t.Errorf("in a transaction: %v", err)
		}
		if err := tx.Commit(); err == nil || fmt.Sprint(e.raws(t, tenantA)) != before {
			t.Errorf("it was committed: %v", err)
		}
		// Whatever is there once goes on, and so does the other tenant.
		for _, c := range []struct {
			id    tenant.ID
			query string
			args  []any
		}{
			{tenantA, `UPDATE patients SET ssn = $1, ward = 'B' WHERE id = 4`, []any{ssn(4)}},
			{tenantA, `UPDATE patients SET ssn = $1 WHERE id = 13`, []any{ssn(13)}},
			{tenantA, `INSERT INTO patients (id, ssn) VALUES (77, 'new'), (78, NULL), (79, NULL)`, nil},
			{tenantA, `DELETE FROM patients WHERE ssn = $1`, []any{ssn(6)}},
			{tenantA, `INSERT INTO patients (id, ssn) VALUES (6, $1)`, []any{ssn(6)}},
			{tenantB, `UPDATE patients SET ssn = 'new' WHERE id = 4`, nil},
		} {
			e.exec(t, c.id, c.query, c.args...)
		}
		if got := e.rows(t, tenantA, `INSERT INTO patients (id, ssn) VALUES (80, 'newer') RETURNING id, ssn`); len(got) != 1 || got[0][1] != "newer" {
			t.Errorf("returned %v", got)
		}
		if report, err := sqldb.Reseal(as(tenantA), e.db, nil); err != nil || len(report.Left) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

// Nor does it depend on how many values a statement writes, and how many index keys live.
func TestUniqueIndexesOfManyValues(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 1)
		e.rotate(t, tenantA, keys.PurposeIndex, keys.PurposeIndex)
		for _, at := range []int{0, 333, 334, 399} {
			var rows []string
			var args []any
			for i := range 400 {
				n := i + 1
				if i == at {
					n = 0
				}
				rows = append(rows, fmt.Sprintf("(%d, $%d)", i+1, i+1))
				args = append(args, ssn(n))
			}
			if _, err := e.db.ExecContext(as(tenantA), `INSERT INTO patients (id, ssn) VALUES `+strings.Join(rows, ", "), args...); !errors.Is(err, sqldb.ErrDuplicate) {
				t.Errorf("value %d of 400: %v", at, err)
				e.exec(t, tenantA, `DELETE FROM patients WHERE id > 0`)
			}
		}
	})
}

// uniqueTables have unique keys with a blind index and another column, and values of that: of the first two the database says
// that they are the same, of the last two that they are not.
var uniqueTables = map[dialect.Dialect][]struct {
	table, column, key     string
	same1, same2           any
	different1, different2 any
}{
	dialect.SQLite: {
		{"folded", "TEXT COLLATE NOCASE", "UNIQUE", "a", "A", "a", "b"},
		{"numbered", "INTEGER", "UNIQUE", 7, 7, 2_000_000, 3_000_000},
		{"indexfolded", "TEXT", "UNIQUE NOCASE", "a", "A", "a", "b"},
		{"partial", "INTEGER", "UNIQUE WHERE other > 5", 7, 7, 5, 5},
	},
	dialect.PostgreSQL: {
		{"decimal", "numeric", "UNIQUE", "1.0", "1.00", "1.0", "1.01"},
		{"numbered", "bigint", "UNIQUE", 7, 7, 2_000_000, 3_000_000},
		{"nulls", "bigint", "UNIQUE NULLS NOT DISTINCT", nil, nil, nil, 1},
		{"deferred", "bigint", "UNIQUE DEFERRABLE INITIALLY DEFERRED", 7, 7, 7, 8},
		{"partial", "bigint", "UNIQUE WHERE other > 5", 7, 7, 5, 5},
	},
}

// What is the same in a key's other columns is for the database to say, as without a rotation.
func TestUniqueIndexesBesideOtherColumns(t *testing.T) {
	for d, tables := range uniqueTables {
		t.Run(string(d), func(t *testing.T) {
			e := &env{dialect: d, log: &recorder{}, ring: newRingIn(t, t.TempDir(), quick(), tenantA)}
			e.raw, e.dsn, e.super = newRaw(t, d)
			id, blob := `tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL`, "bytea"
			if d == dialect.SQLite {
				id, blob = "tenant_id TEXT NOT NULL, id INTEGER NOT NULL", "BLOB"
			}
			schema := sqldb.Schema{}
			for _, c := range tables {
				schema[c.table] = sqldb.Table{Sealed: sqldb.Columns{"v": sqldb.Text().Searchable("v_index")}}
				columns, index := fmt.Sprintf(`%s, other %s, v %s, v_index %s, PRIMARY KEY (tenant_id, id)`, id, c.column, blob, blob), ""
				if _, where, ok := strings.Cut(c.key, " WHERE "); ok {
					index = fmt.Sprintf(`CREATE UNIQUE INDEX %s_key ON %s (tenant_id, other, v_index) WHERE %s`, c.table, c.table, where)
				} else if strings.HasSuffix(c.key, " NOCASE") {
					index = fmt.Sprintf(`CREATE UNIQUE INDEX %s_key ON %s (tenant_id, other COLLATE NOCASE, v_index)`, c.table, c.table)
				} else if unique, timing, ok := strings.Cut(c.key, " DEFERRABLE"); ok {
					columns += ", " + unique + " (tenant_id, other, v_index) DEFERRABLE" + timing
				} else {
					columns += ", " + c.key + " (tenant_id, other, v_index)"
				}
				mustExec(t, e.raw, withChecks(d, schema, fmt.Sprintf(`CREATE TABLE %s (%s)`, c.table, columns)))
				if index != "" {
					mustExec(t, e.raw, index)
				}
			}
			if d == dialect.PostgreSQL {
				ddl, err := schema.DDL(d, nil)
				if err != nil {
					t.Fatal(err)
				}
				mustExec(t, e.raw, ddl)
			}
			db, err := sqldb.Open(t.Context(), e.dsn, schema, storage.Guard{Keys: e.ring, Audit: e.log}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			e.db = db
			for _, c := range tables {
				e.exec(t, tenantA, `INSERT INTO `+c.table+` (id, other, v) VALUES (1, $1, 'x'), (2, $2, 'y')`, c.same1, c.different1)
			}
			e.rotate(t, tenantA, keys.PurposeIndex)
			for _, c := range tables {
				insert := `INSERT INTO ` + c.table + ` (id, other, v) VALUES ($1, $2, $3)`
				if _, err := db.ExecContext(as(tenantA), insert, 3, c.same2, "x"); !errors.Is(err, sqldb.ErrDuplicate) {
					t.Errorf("%s: what is there already: %v", c.table, err)
				}
				if _, err := db.ExecContext(as(tenantA), insert, 4, c.different2, "y"); err != nil {
					t.Errorf("%s: what is not there: %v", c.table, err)
				}
			}
		})
	}
}
