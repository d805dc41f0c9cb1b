package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/sqlstore/pgxlisten"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

var idB = tenant.MustParse("b")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openKEK(t testing.TB, dir string) *localkek.KEK {
	t.Helper()
	kek, err := localkek.Open(filepath.Join(dir, "kek"), nil)
	must(t, err)
	return kek
}

func openRing(t testing.TB, kek keys.KEK, store keys.Store, o keys.Options) *keys.Keyring {
	t.Helper()
	o.InsecureWithoutAudit = true
	r, err := keys.Open(t.Context(), kek, store, &o)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// listeners returns how many connections to the database listen. One that has only sent its LISTEN hears nothing yet.
func listeners(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	must(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE 'LISTEN %' AND state = 'idle'`).Scan(&n))
	return n
}

// cutListeners ends the connections that listen. It returns once they are gone: a backend ends some time after it was
// told to.
func cutListeners(t testing.TB, db *sql.DB) {
	t.Helper()
	var gone int
	must(t, db.QueryRowContext(t.Context(), `SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE 'LISTEN %'`).Scan(&gone))
	if gone == 0 {
		t.Fatal("nobody listened")
	}
}

// TestASuspensionIsHeardOf by a keyring that would not ask for an hour, before and after its connection was lost, and
// while the database is full of forged news.
func TestASuspensionIsHeardOf(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	create(t, openDB(t, "pgx", database.OwnerURL), dialect.PostgreSQL)
	super := openDB(t, "pgx", database.SuperURL)
	kek := openKEK(t, t.TempDir())
	// Who changes does not listen.
	operator := openRing(t, kek, newStore(t, openDB(t, "pgx", database.AppURL), dialect.PostgreSQL), keys.Options{})
	must(t, operator.Provision(t.Context(), idA))
	must(t, operator.Provision(t.Context(), idB))

	db := openDB(t, "pgx", database.AppURL)
	store, err := sqlstore.Open(t.Context(), db, dialect.PostgreSQL, &sqlstore.Options{Listen: pgxlisten.DB(db)})
	must(t, err)
	r := openRing(t, kek, store, keys.Options{SuspendWithin: time.Hour})
	serves := func(id tenant.ID) bool { _, err := r.Tenant(t.Context(), id); return err == nil }
	for range 2 {
		until(t, "listening", func() bool { return listeners(t, super) == 1 })
		if !serves(idA) || !serves(idB) {
			t.Fatal("not served")
		}
		for _, forged := range []string{"", "x", "1", " ", "1 ", "x a", "9223372036854775807 b", "9999999999999999999999 a", "2 nobody", "2 ../b", "-1 a"} {
			if _, err := super.ExecContext(t.Context(), "SELECT pg_notify($1, $2)", sqlstore.Channel, forged); err != nil {
				t.Fatal(err)
			}
		}
		must(t, operator.Suspend(t.Context(), idA, ""))
		until(t, "suspended", func() bool {
			_, err := r.Tenant(t.Context(), idA)
			if err != nil && !errors.Is(err, keys.ErrSuspended) {
				t.Fatal(err)
			}
			return err != nil
		})
		if !serves(idB) {
			t.Fatal("another tenant is not served")
		}
		must(t, operator.Resume(t.Context(), idA, ""))
		until(t, "resumed", func() bool { return serves(idA) })
		cutListeners(t, super)
	}
	must(t, r.Close())
	until(t, "no longer listening", func() bool { return listeners(t, super) == 0 })
}

// TestWhatIsTold is that a record changed, once it has, and nothing of the record.
func TestWhatIsTold(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	create(t, openDB(t, "pgx", database.OwnerURL), dialect.PostgreSQL)
	db := openDB(t, "pgx", database.AppURL)
	store := newStore(t, db, dialect.PostgreSQL)
	var mu sync.Mutex
	var told []string
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- pgxlisten.DB(db)(ctx, sqlstore.Channel, func(payload string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, payload)
		})
	}()
	super := openDB(t, "pgx", database.SuperURL)
	until(t, "listening", func() bool { return listeners(t, super) == 1 })
	put := func(version int64, want bool) int64 {
		t.Helper()
		next, err := store.Put(t.Context(), idA, []byte("secret"), version)
		if (err == nil) != want {
			t.Fatal(err)
		}
		return next
	}
	one := put(0, true)
	put(0, false)
	two := put(one, true)
	put(one, false)
	if err := store.Delete(t.Context(), idA, one); !errors.Is(err, keys.ErrConflict) {
		t.Fatal(err)
	}
	must(t, store.Delete(t.Context(), idA, two))
	if _, err := db.ExecContext(t.Context(), "SELECT pg_notify($1, 'end')", sqlstore.Channel); err != nil {
		t.Fatal(err)
	}
	all := func() []string { mu.Lock(); defer mu.Unlock(); return told }
	until(t, "the end", func() bool { got := all(); return len(got) > 0 && got[len(got)-1] == "end" })
	if got, want := all(), []string{fmt.Sprint(one, " a"), fmt.Sprint(two, " a"), fmt.Sprint(two+1, " a"), "end"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	// The connection that listened is nobody else's. The server learns a moment later that it is closed.
	until(t, "no longer listening", func() bool { return listeners(t, super) == 0 })
}

func TestWhoCannotListen(t *testing.T) {
	dsn := sqliteDSN(t)
	db := openDB(t, "sqlite", dsn)
	create(t, db, dialect.SQLite)
	store := newStore(t, db, dialect.SQLite)
	if err := store.Watch(t.Context(), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("no Listen: %v", err)
	}
	if _, err := sqlstore.Open(t.Context(), db, dialect.SQLite, &sqlstore.Options{Listen: pgxlisten.DB(db)}); err == nil {
		t.Error("SQLite listens")
	}
	if err := pgxlisten.DB(db)(t.Context(), sqlstore.Channel, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("another driver: %v", err)
	}
}
