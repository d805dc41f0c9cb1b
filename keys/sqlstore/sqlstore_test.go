package sqlstore_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/storetest"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func openDB(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func create(t testing.TB, db *sql.DB, d dialect.Dialect) {
	t.Helper()
	for range 2 {
		if err := sqlstore.Create(t.Context(), db, d, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func newStore(t testing.TB, db *sql.DB, d dialect.Dialect) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), db, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sqliteDSN(t testing.TB) string {
	return "file:" + filepath.Join(t.TempDir(), "keys.db") + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"
}

func TestConformanceSQLite(t *testing.T) {
	storetest.Run(t, func(t testing.TB) (first, second keys.Store) {
		dsn := sqliteDSN(t)
		one, two := openDB(t, "sqlite", dsn), openDB(t, "sqlite", dsn)
		create(t, one, dialect.SQLite)
		return newStore(t, one, dialect.SQLite), newStore(t, two, dialect.SQLite)
	})
}

func TestConformancePostgreSQL(t *testing.T) {
	server := testenv.Postgres(t)
	storetest.Run(t, func(t testing.TB) (first, second keys.Store) {
		db := server.NewDatabase(t)
		create(t, openDB(t, "pgx", db.OwnerURL), dialect.PostgreSQL)
		// The role that owns nothing: what the documentation says suffices does.
		return newStore(t, openDB(t, "pgx", db.AppURL), dialect.PostgreSQL), newStore(t, openDB(t, "pgx", db.AppURL), dialect.PostgreSQL)
	})
}
