package sqldb_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// typed is a table with a searchable sealed column of every logical type.
func typed(t *testing.T, d dialect.Dialect) (*sql.DB, *recorder) {
	t.Helper()
	columns := sqldb.Columns{
		"text": sqldb.Text(), "bytes": sqldb.Bytes(), "int": sqldb.Int(), "float": sqldb.Float(), "bool": sqldb.Bool(),
		"time": sqldb.Time(), "date": sqldb.Date(), "numeric": sqldb.Numeric(), "json": sqldb.JSON(), "uuid": sqldb.UUID(),
	}
	for name, c := range columns {
		columns[name] = c.Searchable(name + "_index")
	}
	schema := sqldb.Schema{"typed": {Sealed: columns}}
	raw, dsn, _ := newRaw(t, d)
	mustExec(t, raw, `CREATE TABLE typed (id bigint NOT NULL)`)
	ddl, err := schema.DDL(d, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw, ddl)
	key := `CREATE UNIQUE INDEX typed_id ON typed (tenant_id, id)`
	if d == dialect.PostgreSQL {
		key = `ALTER TABLE typed ADD PRIMARY KEY (tenant_id, id)`
	}
	mustExec(t, raw, key)
	log := &recorder{}
	e := &env{log: log, ring: newRing(t, tenantA, tenantB)}
	e.guard.Keys, e.guard.Audit = e.ring, log
	db, err := sqldb.Open(context.Background(), dsn, schema, e.guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, log
}

func TestLogicalTypes(t *testing.T) {
	moment := time.Date(2026, 11, 22, 23, 59, 59, 123456789, time.FixedZone("", 3600))
	day := time.Date(1912, 6, 23, 0, 0, 0, 0, time.UTC)
	cases := []struct {
		column    string
		in, want  any
		elsewhere any // another spelling of the same value, which must find it
	}{
		{"text", "naïve \x00 'quoted' \"twice\"\n", "naïve \x00 'quoted' \"twice\"\n", "nai\u0308ve \x00 'quoted' \"twice\"\n"},
		{"text", "", "", ""},
		{"text", strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20), nil},
		{"bytes", bytes.Repeat([]byte{0, 255}, 1<<19), bytes.Repeat([]byte{0, 255}, 1<<19), nil},
		{"json", `"` + strings.Repeat("x", 1<<20) + `"`, []byte(`"` + strings.Repeat("x", 1<<20) + `"`), nil},
		{"bytes", []byte{0, 255, 1}, []byte{0, 255, 1}, []byte{0, 255, 1}},
		{"int", math.MinInt64, int64(math.MinInt64), int64(math.MinInt64)},
		{"float", -0.5, -0.5, float32(-0.5)},
		{"bool", true, true, int64(1)},
		{"time", moment, moment.UTC(), moment.UTC()},
		{"date", day, day, "1912-06-23"},
		{"numeric", "0012345678901234567890.50", "12345678901234567890.5", "12345678901234567890.500"},
		{"json", `{"a": [1, null]}`, []byte(`{"a": [1, null]}`), nil},
		{"uuid", "550E8400-E29B-41D4-A716-446655440000", "550e8400-e29b-41d4-a716-446655440000", nil},
	}
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			db, _ := typed(t, d)
			ctx := as(tenantA)
			for i, c := range cases {
				if _, err := db.ExecContext(ctx, fmt.Sprintf(`INSERT INTO typed (id, "%s") VALUES ($1, $2)`, c.column), i, c.in); err != nil {
					t.Errorf("%s: %v", c.column, err)
					continue
				}
				var got any
				if err := db.QueryRowContext(ctx, fmt.Sprintf(`SELECT "%s" FROM typed WHERE id = $1`, c.column), i).Scan(&got); err != nil || !reflect.DeepEqual(got, c.want) {
					t.Errorf("%s: read %#v, %v; want %#v", c.column, got, err, c.want)
				}
				other := c.elsewhere
				if other == nil {
					other = c.in
				}
				var id int
				if err := db.QueryRowContext(ctx, fmt.Sprintf(`SELECT id FROM typed WHERE "%s" = $1`, c.column), other).Scan(&id); err != nil || id != i {
					t.Errorf("%s: searching finds row %d, %v; want %d", c.column, id, err, i)
				}
			}
			// NULL stays NULL, and is found by IS NULL alone.
			if _, err := db.ExecContext(ctx, `INSERT INTO typed (id, "text") VALUES (100, $1)`, nil); err != nil {
				t.Fatal(err)
			}
			var none sql.NullString
			if err := db.QueryRowContext(ctx, `SELECT "text" FROM typed WHERE id = 100 AND "text" IS NULL`).Scan(&none); err != nil || none.Valid {
				t.Errorf("NULL became %v, %v", none, err)
			}
			rows, err := db.QueryContext(ctx, `SELECT id FROM typed WHERE "text" = $1`, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := collect(rows); err != nil || len(got) != 0 {
				t.Errorf("= NULL finds %v, %v", got, err)
			}
		})
	}
}

// TestValuesStayOutOfErrors: what a caller passed in, and what is stored, never turns up in an error or an event.
func TestValuesStayOutOfErrors(t *testing.T) {
	const canary = "canary4711"
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			db, log := typed(t, d)
			e := newEnv(t, d, nil)
			fill(t, e)
			failing := []struct {
				db    *sql.DB
				query string
				args  []any
			}{
				{db, `INSERT INTO typed (id, "int") VALUES (1, $1)`, []any{canary}},
				{db, `INSERT INTO typed (id, "uuid") VALUES (1, $1)`, []any{canary}},
				{db, `INSERT INTO typed (id, "json") VALUES (1, $1)`, []any{"{" + canary}},
				{db, `INSERT INTO typed (id, "date") VALUES (1, '` + canary + `')`, nil},
				{db, `SELECT id FROM typed WHERE "numeric" = $1`, []any{canary}},
				{db, `SELECT id FROM typed WHERE "text" LIKE '` + canary + `%'`, nil},
				{db, `SELECT ` + canary + `('` + canary + `')`, nil},
				{db, `SELECT '` + canary, nil},
				{db, `SELECT id FROM typed WHERE id = $1`, []any{canary, canary}},
				{db, `SELECT id FROM typed WHERE id = $1`, []any{sql.Named("x", canary)}},
				{e.db, insertPatient, []any{1, canary, "ssn-" + canary, nil, canary}},
				{e.db, `INSERT INTO visits (id, patient_id, note) VALUES (77, 4711, $1)`, []any{canary}},
			}
			if d == dialect.PostgreSQL {
				failing = append(failing, []struct {
					db    *sql.DB
					query string
					args  []any
				}{
					{db, `SELECT id FROM typed WHERE id = $1`, []any{canary}},
					{db, `SELECT CAST($1 AS int)`, []any{canary}},
				}...)
			}
			for _, f := range failing {
				rows, err := f.db.QueryContext(as(tenantA), f.query, f.args...)
				if err == nil {
					_, err = collect(rows)
				}
				if err == nil {
					t.Errorf("%s succeeded", f.query)
					continue
				}
				for cause := err; cause != nil; cause = errors.Unwrap(cause) {
					// A function's or table's name is the statement's own; a literal or a value is not.
					if text := strings.ReplaceAll(cause.Error(), "allowlist: "+canary, ""); strings.Contains(text, canary) {
						t.Errorf("%s: the error shows the value: %v", f.query, cause)
					}
				}
				var pg *pgconn.PgError
				if errors.As(err, &pg) && strings.Contains(fmt.Sprintf("%+v", *pg), canary) {
					t.Errorf("%s: PostgreSQL's error shows the value: %+v", f.query, *pg)
				}
			}
			for _, ev := range append(log.take(), e.log.take()...) {
				ev.Sealer = nil
				if text := strings.ReplaceAll(fmt.Sprintf("%+v", ev), canary+"(", ""); strings.Contains(text, canary) {
					t.Errorf("an event shows the value: %s", text)
				}
			}
		})
	}
}

func TestTransactionsLeaveTheirEnd(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		for _, end := range []struct {
			code audit.Code
			call func(*sql.Tx) error
		}{{audit.CodeCommit, (*sql.Tx).Commit}, {audit.CodeRollback, (*sql.Tx).Rollback}} {
			tx, err := e.db.BeginTx(as(tenantA), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = 'tx' WHERE id = 1`); err != nil {
				t.Fatal(err)
			}
			for _, savepoint := range []string{`SAVEPOINT a`, `ROLLBACK TO SAVEPOINT a`, `RELEASE SAVEPOINT a`} {
				if _, err := tx.ExecContext(as(tenantA), savepoint); err != nil {
					t.Fatal(err)
				}
			}
			if err := end.call(tx); err != nil {
				t.Fatal(err)
			}
			ev := e.log.take()
			if len(ev) != 3 || ev[2].Code != end.code || ev[2].Transaction == "" || ev[1].Transaction != ev[2].Transaction {
				t.Errorf("events %+v", ev)
			}
		}
		// A transaction that only read leaves nothing more.
		tx, err := e.db.BeginTx(as(tenantA), &sql.TxOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if ev := e.log.take(); len(ev) != 0 {
			t.Errorf("events %+v", ev)
		}
	})
}

func TestRowsClosedEarlyAreCounted(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		rows, err := e.db.QueryContext(as(tenantA), `SELECT name FROM patients`)
		if err != nil {
			t.Fatal(err)
		}
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
		types, err := rows.ColumnTypes()
		if err != nil || types[0].DatabaseTypeName() != "TEXT" || types[0].ScanType() != reflect.TypeFor[string]() {
			t.Errorf("column types %v, %v", types, err)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		if ev := e.log.take(); len(ev) != 2 || ev[1].Phase != audit.Outcome || ev[1].Rows != 1 {
			t.Errorf("events %+v", ev)
		}
	})
}

// TestPatternsAreCheckedBeforeRowsAre: PostgreSQL refuses such a pattern only when a value matches up to its end, which
// would tell values apart, other tenants' included.
func TestPatternsAreCheckedBeforeRowsAre(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		if e.dialect == dialect.SQLite {
			return // its LIKE fails for no pattern
		}
		fill(t, e)
		const query = `SELECT id FROM patients WHERE ward LIKE $1`
		for _, pattern := range []any{`we\`, `nothing matches this\`, []byte(`we\`), 7} {
			if got, err := e.tryRows(as(tenantA), query, pattern); err == nil || !strings.Contains(err.Error(), "LIKE pattern") {
				t.Errorf("%q: %v, %v", pattern, got, err)
			}
		}
		for pattern, want := range map[string]int{`we%`: 3, `we\\`: 0, `w\est`: 3} {
			if got := e.rows(t, tenantA, query, pattern); len(got) != want {
				t.Errorf("%q finds %v", pattern, got)
			}
		}
	})
}
