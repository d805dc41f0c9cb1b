package sqldb_test

import (
	"database/sql/driver"
	"runtime"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestAValueThatPanicsKeepsNoConnection: database/sql has arguments converted while it holds the connection, and takes neither that back nor,
// in a transaction, the lock that Rollback waits for, where the conversion panics. One tenant's requests with such an argument would use
// up the connections of all.
func TestAValueThatPanicsKeepsNoConnection(t *testing.T) {
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) { valueKeepsNoConnection(t, d, panics{}) })
		t.Run(string(d)+", ending the goroutine", func(t *testing.T) { valueKeepsNoConnection(t, d, exits{}) })
		t.Run(string(d)+", behind pointers", func(t *testing.T) {
			p, value := &panics{}, any(exits{})
			valueKeepsNoConnection(t, d, &p)
			valueKeepsNoConnection(t, d, &value)
		})
	}
}

// exits is a value that ends the goroutine, as a test's FailNow does.
type exits struct{}

func (exits) Value() (driver.Value, error) { runtime.Goexit(); return nil, nil }

func valueKeepsNoConnection(t *testing.T, d dialect.Dialect, value any) {
	e := newEnv(t, d, nil)
	fill(t, e)
	db, err := sqldb.Open(t.Context(), e.dsn, clinicSchema, e.guard, nil)
	must(t, err)
	db.SetMaxOpenConns(1)
	const read, write = `SELECT id FROM patients WHERE name = $1`, `UPDATE patients SET name = $1`
	for what, f := range map[string]func() error{
		"a read":  func() error { return db.QueryRowContext(as(tenantA), read, value).Scan(new(int)) },
		"a write": func() error { _, err := db.ExecContext(as(tenantA), write, value); return err },
		"a prepared statement": func() error {
			s, err := db.PrepareContext(as(tenantA), read)
			must(t, err)
			defer s.Close()
			return s.QueryRowContext(as(tenantA), value).Scan(new(int))
		},
		"a transaction": func() error {
			tx, err := db.BeginTx(as(tenantA), nil)
			must(t, err)
			err = tx.QueryRowContext(as(tenantA), read, value).Scan(new(int))
			must(t, tx.Rollback())
			return err
		},
	} {
		err = returns(f)
		if stats := db.Stats(); stats.InUse != 0 {
			t.Fatalf("%s: the connection has not come back", what) // and Close would wait for it
		}
		if err == nil || !strings.Contains(err.Error(), "$1") || strings.Contains(err.Error(), "of the application's") || strings.Contains(err.Error(), "0x") {
			t.Errorf("%s: %v; want the argument named, and nothing of what the panic says or calls were given, which may be a value", what, err)
		}
	}
	must(t, db.QueryRowContext(as(tenantB), `SELECT id FROM patients WHERE id = 1`).Scan(new(int)))
	must(t, db.Close())
}
