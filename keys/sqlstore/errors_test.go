package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

var idA = tenant.MustParse("a")

func TestNames(t *testing.T) {
	for _, name := range []string{"x; DROP TABLE y", `"q"`, "a.b.c", "a.", ".a", "1a", "A", strings.Repeat("a", 64), "é"} {
		if ddl, err := sqlstore.DDL(dialect.SQLite, name); err == nil {
			t.Errorf("the table name %q was accepted: %s", name, ddl)
		}
	}
	for _, name := range []string{"", "k", "s.k", "a_1"} {
		for _, d := range []dialect.Dialect{dialect.PostgreSQL, dialect.SQLite} {
			if _, err := sqlstore.DDL(d, name); err != nil {
				t.Errorf("the table name %q: %v", name, err)
			}
		}
	}
	if _, err := sqlstore.DDL("", ""); err == nil {
		t.Error("a dialect that does not exist was accepted")
	}
	if _, err := sqlstore.Open(t.Context(), nil, dialect.SQLite, nil); err == nil {
		t.Error("no database was accepted")
	}
}

func TestNoTable(t *testing.T) {
	db := openDB(t, "sqlite", sqliteDSN(t))
	_, err := sqlstore.Open(t.Context(), db, dialect.SQLite, nil)
	if err == nil || !strings.Contains(err.Error(), "sqlstore.Create") || errors.Is(err, keys.ErrUnavailable) {
		t.Errorf("a missing table: %v", err)
	}
	if _, err := db.Exec("CREATE TABLE strongroom_keys (tenant TEXT)"); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlstore.Open(t.Context(), db, dialect.SQLite, nil); err == nil {
		t.Error("a table without the columns was accepted")
	}
}

// TestAFoldingCollation: a table somebody made with a case-insensitive key still keeps tenants apart.
func TestAFoldingCollation(t *testing.T) {
	db := openDB(t, "sqlite", sqliteDSN(t))
	if _, err := db.Exec("CREATE TABLE strongroom_keys (tenant TEXT COLLATE NOCASE PRIMARY KEY, version INTEGER, data BLOB)"); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, db, dialect.SQLite)
	if _, err := s.Put(t.Context(), idA, []byte("a's"), 0); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.Get(t.Context(), tenant.MustParse("A")); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("tenant A was given %q, %v", rec.Data, err)
	}
	if _, err := s.Put(t.Context(), tenant.MustParse("A"), []byte("A's"), 0); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("tenant A over tenant a: %v", err)
	}
}

// TestNumbersAreNoIDs: of a table of SQLite's with another type two ids may be one.
func TestNumbersAreNoIDs(t *testing.T) {
	for declared, refused := range map[string]bool{"INTEGER": true, "NUMERIC": true, "REAL": true, "CHARINT": true, "DATE": true, "VARCHAR(128)": false, "": false, "text": false, "BLOB": false} {
		db := openDB(t, "sqlite", sqliteDSN(t))
		if _, err := db.Exec("CREATE TABLE strongroom_keys (tenant " + declared + " PRIMARY KEY, version INTEGER, data BLOB)"); err != nil {
			t.Fatal(err)
		}
		s, err := sqlstore.Open(t.Context(), db, dialect.SQLite, nil)
		if (err != nil) != refused {
			t.Errorf("%q: %v", declared, err)
		}
		if err != nil {
			continue
		}
		seven, other := tenant.MustParse("007"), tenant.MustParse("7")
		if _, err := s.Put(t.Context(), seven, []byte("007's"), 0); err != nil {
			t.Fatal(err)
		}
		if rec, err := s.Get(t.Context(), other); !errors.Is(err, keys.ErrNotFound) {
			t.Errorf("%q: tenant 7 was given %q, %v", declared, rec.Data, err)
		}
	}
}

// TestNumbersAreNoIDsOnPostgreSQL: nor are UUIDs, which are the same in another case, nor bytes.
func TestNumbersAreNoIDsOnPostgreSQL(t *testing.T) {
	server := testenv.Postgres(t)
	for declared, refused := range map[string]bool{"integer": true, "numeric": true, "uuid": true, "bytea": true, "date": true, "text": false, "varchar(128)": false, "name": false} {
		db := openDB(t, "pgx", server.NewDatabase(t).SuperURL)
		if _, err := db.Exec("CREATE TABLE strongroom_keys (tenant " + declared + " PRIMARY KEY, version bigint, data bytea)"); err != nil {
			t.Fatal(err)
		}
		s, err := sqlstore.Open(t.Context(), db, dialect.PostgreSQL, nil)
		if (err != nil) != refused {
			t.Errorf("%s: %v", declared, err)
		}
		if err != nil {
			continue
		}
		for one, other := range map[string]string{"007": "7", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"} {
			if _, err := s.Put(t.Context(), tenant.MustParse(one), []byte("of the one"), 0); err != nil {
				continue
			}
			if rec, err := s.Get(t.Context(), tenant.MustParse(other)); !errors.Is(err, keys.ErrNotFound) {
				t.Errorf("%s: tenant %s was given %q of %s, %v", declared, other, rec.Data, one, err)
			}
		}
	}
}

// TestATypeOrACollationThatFolds: a table that somebody made for PostgreSQL with a key that is the same in another case still keeps tenants
// apart: whoever comes second is refused, and nobody is given, changes or deletes the other's record.
func TestATypeOrACollationThatFolds(t *testing.T) {
	server := testenv.Postgres(t)
	for what, ddl := range map[string][]string{
		"collation": {`CREATE COLLATION folds (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
			`CREATE TABLE strongroom_keys (tenant text COLLATE folds PRIMARY KEY, version bigint, data bytea)`},
		"type": {`CREATE EXTENSION citext`, `CREATE TABLE strongroom_keys (tenant citext PRIMARY KEY, version bigint, data bytea)`},
	} {
		t.Run(what, func(t *testing.T) {
			database := server.NewDatabase(t)
			db := openDB(t, "pgx", database.SuperURL)
			for _, statement := range ddl {
				if _, err := db.Exec(statement); err != nil {
					t.Fatal(err)
				}
			}
			s, err := sqlstore.Open(t.Context(), db, dialect.PostgreSQL, nil)
			if err != nil {
				return // it is refused as a whole
			}
			upper := tenant.MustParse("A")
			version, err := s.Put(t.Context(), idA, []byte("a's"), 0)
			if err != nil {
				t.Fatal(err)
			}
			if rec, err := s.Get(t.Context(), upper); !errors.Is(err, keys.ErrNotFound) {
				t.Errorf("tenant A was given %q, %v", rec.Data, err)
			}
			all, err := s.GetChanged(t.Context(), []tenant.ID{upper, idA}, make([]int64, 2))
			if err != nil || all[0].Version != 0 || string(all[1].Data) != "a's" {
				t.Errorf("%+v, %v", all, err)
			}
			if _, err := s.Put(t.Context(), upper, []byte("A's"), 0); !errors.Is(err, keys.ErrConflict) {
				t.Errorf("tenant A beside tenant a: %v", err)
			}
			if _, err := s.Put(t.Context(), upper, []byte("A's"), version); !errors.Is(err, keys.ErrConflict) {
				t.Errorf("tenant A over tenant a: %v", err)
			}
			if err := s.Delete(t.Context(), upper, version); !errors.Is(err, keys.ErrNotFound) {
				t.Errorf("tenant A deletes tenant a's: %v", err)
			}
			if rec, err := s.Get(t.Context(), idA); err != nil || string(rec.Data) != "a's" {
				t.Errorf("tenant a has %q, %v", rec.Data, err)
			}
			if ids, err := s.List(t.Context(), upper, 2); err != nil || len(ids) != 1 || ids[0] != idA {
				t.Errorf("behind A there is %v, %v", ids, err)
			}
		})
	}
}

func TestABusyDatabaseIsUnavailable(t *testing.T) {
	dsn := strings.Replace(sqliteDSN(t), "busy_timeout(5000)", "busy_timeout(0)", 1)
	db, other := openDB(t, "sqlite", dsn), openDB(t, "sqlite", dsn)
	create(t, db, dialect.SQLite)
	s := newStore(t, db, dialect.SQLite)
	conn, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), idA, []byte("x"), 0); !errors.Is(err, keys.ErrUnavailable) {
		t.Errorf("a locked database: %v", err)
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), idA, []byte("x"), 0); err != nil {
		t.Error(err)
	}
}

func TestAServerThatWentAwayIsUnavailable(t *testing.T) {
	server := testenv.Postgres(t)
	database := server.NewDatabase(t)
	db := openDB(t, "pgx", database.OwnerURL)
	create(t, db, dialect.PostgreSQL)
	s := newStore(t, db, dialect.PostgreSQL)
	super := openDB(t, "pgx", strings.Replace(database.SuperURL, "/"+database.Name, "/postgres", 1))
	if _, err := super.ExecContext(t.Context(), "ALTER DATABASE "+database.Name+" ALLOW_CONNECTIONS false"); err != nil {
		t.Fatal(err)
	}
	// Which returns once they are gone, and not when they have been told to go.
	if _, err := super.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = $1", database.Owner); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(t.Context(), idA)
	if !errors.Is(err, keys.ErrUnavailable) {
		t.Fatalf("a server that went away: %v", err)
	}
	dead := openDB(t, "pgx", "postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable")
	_, err = sqlstore.Open(t.Context(), dead, dialect.PostgreSQL, nil)
	if !errors.Is(err, keys.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an unreachable server: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, idA); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestRightsOfTheRole: what the documentation says the role needs is enough, and less is told.
func TestRightsOfTheRole(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	owner, app := openDB(t, "pgx", database.OwnerURL), openDB(t, "pgx", database.AppURL)
	create(t, owner, dialect.PostgreSQL)
	s := newStore(t, app, dialect.PostgreSQL)
	if _, err := owner.ExecContext(t.Context(), "REVOKE INSERT ON strongroom_keys FROM "+database.App); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), idA, []byte("x"), 0)
	if err == nil || errors.Is(err, keys.ErrUnavailable) || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("without INSERT: %v", err)
	}
}

// TestNoErrorShowsTheConnectionString: drivers repeat it, password and all.
func TestNoErrorShowsTheConnectionString(t *testing.T) {
	for _, dsn := range []string{"postgres://u:hunter2@127.0.0.1:1/x?sslmode=nosuch&password=hunter2", "host=127.0.0.1 port=1 user=u password=hunter2 sslmode=nosuch",
		"postgres://u:hunter2@127.0.0.1:port/x", "postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable"} {
		db, err := sql.Open("pgx", dsn)
		if err == nil {
			_, err = sqlstore.Open(t.Context(), db, dialect.PostgreSQL, nil)
			db.Close()
		}
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
	// A driver that is less careful.
	sql.Register("careless", careless{})
	db, err := sql.Open("careless", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = sqlstore.Open(t.Context(), db, dialect.PostgreSQL, nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") || !errors.Is(err, errCareless) {
		t.Errorf("%v", err)
	}
}

var errCareless = errors.New("cannot connect to postgres://u:hunter2@h/d?sslpassword=hunter2 (password=hunter2)")

type careless struct{}

func (careless) Open(string) (driver.Conn, error) { return nil, errCareless }
