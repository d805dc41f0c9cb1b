package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestOpenRowsOfSeveralTenants reads results of two tenants in turns, and leaves some unread and some to a cancelled context.
func TestOpenRowsOfSeveralTenants(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		const query = `SELECT id, name FROM patients ORDER BY id`
		open := map[tenant.ID]*sql.Rows{}
		for _, id := range []tenant.ID{tenantA, tenantB} {
			rows, err := e.db.QueryContext(as(id), query)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			open[id] = rows
		}
		ctx, cancel := context.WithCancel(as(tenantA))
		defer cancel()
		abandoned, err := e.db.QueryContext(ctx, query)
		if err != nil {
			t.Fatal(err)
		}
		defer abandoned.Close()
		if !abandoned.Next() {
			t.Fatal(abandoned.Err())
		}
		for i := 1; i <= 3; i++ {
			for id, rows := range open {
				var n int
				var name string
				if !rows.Next() {
					t.Fatal(rows.Err())
				}
				if err := rows.Scan(&n, &name); err != nil || n != i || name != fmt.Sprintf("Þóra %d of %s", i, id) {
					t.Errorf("%s reads %d %q, %v", id, n, name, err)
				}
			}
			if i == 1 {
				cancel()
			}
		}
		for abandoned.Next() {
		}
		if err := abandoned.Err(); err != nil && !errors.Is(err, context.Canceled) { // it may have been read before that
			t.Errorf("the abandoned result: %v", err)
		}
		for id, rows := range open {
			if rows.Next() || rows.Err() != nil {
				t.Errorf("%s: a fourth row, or %v", id, rows.Err())
			}
		}
		// What was left unread has its outcome in the trail as well.
		unread, err := e.db.QueryContext(as(tenantB), query)
		if err != nil {
			t.Fatal(err)
		}
		e.log.take()
		unread.Close()
		ev := slices.DeleteFunc(e.log.take(), func(ev audit.Event) bool { return ev.Tenant == tenantA })
		if len(ev) != 1 || ev[0].Phase != audit.Outcome || ev[0].Rows != 0 || ev[0].Tenant != tenantB {
			t.Errorf("events of an unread result: %+v", ev)
		}
	})
}

func TestQueryRow(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.db.SetMaxOpenConns(1) // an error that kept the connection would be waited for
		var n int
		var name string
		for range 3 {
			if err := e.db.QueryRowContext(as(tenantC), `SELECT name FROM patients WHERE id = 1`).Scan(&name); !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("no row: %v", err)
			}
			if err := e.db.QueryRowContext(as(tenantA), `SELECT name FROM patients WHERE id = 1`).Scan(&n); err == nil || strings.Contains(err.Error(), "ErrNoRows") {
				t.Errorf("a name into an int: %d, %v", n, err)
			}
			if err := e.db.QueryRowContext(as(tenantA), `SELECT name FROM patients WHERE id = 1`).Scan(&name, &n); err == nil {
				t.Error("one column into two")
			}
			var refused *sqldb.RefusedError
			if err := e.db.QueryRowContext(as(tenantA), `SELECT lower(name) FROM patients`).Scan(&name); !errors.As(err, &refused) {
				t.Errorf("a refusal: %v", err)
			}
			if err := e.db.QueryRowContext(as(tenantA), `INSERT INTO patients (id) VALUES (1) RETURNING id`).Scan(&n); err == nil {
				t.Error("a duplicate was returned")
			}
			if err := e.db.QueryRowContext(as(tenantA), `SELECT name FROM patients ORDER BY id`).Scan(&name); err != nil || name != "Þóra 1 of clinic" {
				t.Errorf("the first of several: %q, %v", name, err)
			}
			if err := e.db.QueryRowContext(as(tenantB), `SELECT name FROM patients WHERE id = 2`).Scan(&name); err != nil || name != "Þóra 2 of Clinic" {
				t.Errorf("the next tenant: %q, %v", name, err)
			}
		}
	})
}

func TestColumnTypes(t *testing.T) {
	names := map[string]string{"text": "TEXT", "bytes": "BYTEA", "int": "INT8", "float": "FLOAT8", "bool": "BOOL", "time": "TIMESTAMPTZ",
		"date": "DATE", "numeric": "NUMERIC", "json": "JSON", "uuid": "UUID"}
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			db, _ := typed(t, d)
			if _, err := db.ExecContext(as(tenantA), `INSERT INTO typed (id, text, bytes, int, float, bool, time, date, numeric, json, uuid)
				VALUES (1, 'a', '\x00', 1, 1.5, true, '2024-02-29 22:59:59+00', '2024-02-29', 1.5, '{}', '550e8400-e29b-41d4-a716-446655440000')`); err != nil {
				t.Fatal(err)
			}
			rows, err := db.QueryContext(as(tenantA), `SELECT text, bytes, int, float, bool, time, date, numeric, json, uuid, id FROM typed`)
			if err != nil {
				t.Fatal(err)
			}
			types, err := rows.ColumnTypes()
			if err != nil {
				t.Fatal(err)
			}
			got, err := collect(rows)
			if err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
			for i, typ := range types[:10] {
				if typ.DatabaseTypeName() != names[typ.Name()] || typ.ScanType() != reflect.TypeOf(got[0][i]) {
					t.Errorf("%s is a %s, scanned into %s, and is a %T", typ.Name(), typ.DatabaseTypeName(), typ.ScanType(), got[0][i])
				}
			}
			if id := types[10]; id.Name() != "id" || id.DatabaseTypeName() != map[dialect.Dialect]string{dialect.PostgreSQL: "INT8", dialect.SQLite: "BIGINT"}[d] {
				t.Errorf("id is a %s", id.DatabaseTypeName())
			}
		})
	}
}

// TestTableChangedUnderneath: columns that are retyped, dropped and exchanged, and a table that is made anew, under a running
// process: an error, or the tenant's own rows, and never what somebody else may have put there.
func TestTableChangedUnderneath(t *testing.T) {
	// SQLite drops no column that a constraint of the table is about.
	const withoutBorn = `PRAGMA foreign_keys = OFF; CREATE TABLE made AS SELECT tenant_id, id, name, name_index, ssn, ssn_index, ward FROM patients;
		DROP TABLE patients; ALTER TABLE made RENAME TO patients; PRAGMA foreign_keys = ON`
	for _, c := range []struct {
		what, change, lite, query string
		want                      string // what may be read afterwards; empty: an error
	}{
		{"a sealed column retyped", `ALTER TABLE patients DROP CONSTRAINT strongroom_sealed_name, ALTER COLUMN name TYPE text USING 'in the clear'`, ``, `SELECT name FROM patients WHERE id = 1`, ""},
		{"a sealed column retyped to a number", `ALTER TABLE patients DROP CONSTRAINT strongroom_sealed_born, ALTER COLUMN born TYPE bigint USING 7`, ``, `SELECT born FROM patients WHERE id = 1`, ""},
		{"an index column retyped", `ALTER TABLE patients DROP CONSTRAINT strongroom_index_ssn_index, ALTER COLUMN ssn_index TYPE text USING encode(ssn_index, 'hex')`, ``, `SELECT id FROM patients WHERE ssn = 'ssn-1'`, ""},
		{"a plain column retyped", `ALTER TABLE patients ALTER COLUMN ward TYPE int USING 5`, ``, `SELECT ward FROM patients WHERE id = 1`, "[[5]]"},
		{"a plain column retyped, compared", `ALTER TABLE patients ALTER COLUMN ward TYPE int USING 5`, ``, `SELECT id FROM patients WHERE ward = 'west' AND id = 1`, ""},
		{"a plain column dropped", `ALTER TABLE patients DROP COLUMN ward`, `ALTER TABLE patients DROP COLUMN ward`, `SELECT id, ward FROM patients`, ""},
		{"a sealed column dropped", `ALTER TABLE patients DROP COLUMN born`, withoutBorn, `SELECT born FROM patients`, ""},
		{"a sealed column made anew", `ALTER TABLE patients DROP COLUMN born; ALTER TABLE patients ADD COLUMN born bytea DEFAULT 'x'`,
			withoutBorn + `; ALTER TABLE patients ADD COLUMN born BLOB DEFAULT 'x'`, `SELECT born FROM patients WHERE id = 1`, ""},
		{"the tenant column dropped", `DROP TABLE visits; ALTER TABLE patients DROP COLUMN tenant_id CASCADE`, ``, `SELECT id FROM patients`, ""},
		{"a column added", `ALTER TABLE patients ADD COLUMN more text DEFAULT 'x'`, `ALTER TABLE patients ADD COLUMN more text DEFAULT 'x'`, `SELECT * FROM patients WHERE id = 3 AND ward = 'none'`, "[]"},
		{"a table made anew as a view", `ALTER TABLE visits RENAME TO v; CREATE VIEW visits AS SELECT tenant_id, id, patient_id, note FROM v; GRANT SELECT ON visits TO PUBLIC`,
			``, `SELECT note FROM visits WHERE id = 1`, "[[note of clinic]]"},
	} {
		t.Run(c.what, func(t *testing.T) {
			onBoth(t, nil, func(t *testing.T, e *env) {
				change := c.change
				if e.dialect == dialect.SQLite {
					if change = c.lite; change == "" {
						return // SQLite has no such change
					}
				}
				fill(t, e)
				e.db.SetMaxOpenConns(1)
				e.tryRows(as(tenantA), c.query) // prepared, on the one connection
				e.tryRows(as(tenantB), c.query)
				mustExec(t, e.raw, change)
				for round := range 4 {
					if round == 2 { // a connection made since
						e.db.SetMaxIdleConns(0)
						e.db.SetMaxIdleConns(1)
					}
					got, err := e.tryRows(as(tenantA), c.query)
					if c.want == "" && (err == nil || len(got) > 0) || err == nil && fmt.Sprint(got) != c.want {
						t.Errorf("round %d: %v, %v", round, got, err)
					}
					if err != nil && strings.Contains(err.Error(), "?") {
						t.Errorf("round %d: the error names no place: %v", round, err)
					}
					if c.want != "" && err != nil && round > 0 { // the first time, a prepared statement may have to go
						t.Errorf("round %d: %v", round, err)
					}
				}
			})
		})
	}
}

// TestWhatChangedIsNamed: the error says which table it is about, and what to do.
func TestWhatChangedIsNamed(t *testing.T) {
	for change, want := range map[string]string{
		`ALTER TABLE patients DROP COLUMN ward; ALTER TABLE patients ADD COLUMN ward text`:   "should be patients.ward and is a column that table patients was given since",
		`ALTER TABLE patients DROP COLUMN born; ALTER TABLE patients ADD COLUMN born bytea`:  "should be patients.born and is a column that table patients was given since",
		`ALTER TABLE patients RENAME TO older; CREATE TABLE patients AS SELECT * FROM older`: "of a table that was made",
	} {
		e := newEnv(t, dialect.PostgreSQL, nil)
		fill(t, e)
		e.db.SetMaxOpenConns(1)
		e.rows(t, tenantA, `SELECT id FROM patients`)
		mustExec(t, e.raw, change)
		if _, err := e.tryRows(as(tenantA), `SELECT ward, born FROM patients WHERE id = 1`); !errors.Is(err, sqldb.ErrSchemaChanged) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "open it again") {
			t.Errorf("after %s: %v", change, err)
		}
	}
}

// TestParametersWithoutNumber: PostgreSQL's protocol counts parameters in 16 bits, and the guard adds its own. A text that
// could name so many is over the limit of length.
func TestParametersWithoutNumber(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	e.db.SetMaxOpenConns(1)
	for _, n := range []int{30000, 65535} {
		list, args := make([]string, n), make([]any, n)
		for i := range list {
			list[i], args[i] = fmt.Sprintf("$%d", i+1), i
		}
		got, err := e.tryRows(as(tenantA), `SELECT id FROM patients WHERE id IN (`+strings.Join(list, ",")+`)`, args...)
		if n == 30000 && (err != nil || len(got) != 3) || n == 65535 && err == nil {
			t.Errorf("%d parameters: %v, %v", n, got, err)
		}
		if got := e.rows(t, tenantB, `SELECT name FROM patients WHERE id = 2`); len(got) != 1 || got[0][0] != "Þóra 2 of Clinic" {
			t.Errorf("after %d parameters: %v", n, got)
		}
	}
}
