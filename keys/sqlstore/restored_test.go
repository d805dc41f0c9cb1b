package sqlstore_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// A table that is restored from a backup, and written to, before a keyring asks again: a tenant in use that is suspended by then
// is served no longer than the bound, although as many changes were made as the keyring knows of.
func TestRestoredWithinTheBound(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { testRestored(t, dialect.SQLite, "sqlite", sqliteDSN(t)) })
	t.Run("PostgreSQL", func(t *testing.T) {
		testRestored(t, dialect.PostgreSQL, "pgx", testenv.Postgres(t).NewDatabase(t).OwnerURL)
	})
}

func testRestored(t *testing.T, d dialect.Dialect, driver, dsn string) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db := openDB(t, driver, dsn)
	create(t, db, d)
	store := newStore(t, db, d)
	kek, err := localkek.Open(filepath.Join(t.TempDir(), "kek.json"), nil)
	must(err)
	open := func() *keys.Keyring {
		ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: time.Second})
		must(err)
		t.Cleanup(func() { ring.Close() })
		return ring
	}
	ring, other, id := open(), open(), tenant.MustParse("a")
	beside := []tenant.ID{tenant.MustParse("b"), tenant.MustParse("c"), tenant.MustParse("d")} // one alone is read as a whole
	for _, id := range append(beside, id) {
		must(other.Provision(t.Context(), id))
	}
	backup, err := store.Get(t.Context(), id)
	must(err)
	must(other.Suspend(t.Context(), id, "x"))
	must(other.Resume(t.Context(), id, "x"))
	for _, id := range append(beside, id) {
		_, err = ring.Tenant(t.Context(), id)
		must(err)
	}
	known, err := store.Get(t.Context(), id)
	must(err)

	_, err = db.ExecContext(t.Context(), "DELETE FROM "+sqlstore.DefaultTable+" WHERE tenant = $1", id.String())
	must(err)
	insert := "INSERT INTO " + sqlstore.DefaultTable + " (tenant, version, data) VALUES ($1, $2, $3)"
	_, err = db.ExecContext(t.Context(), insert, id.String(), backup.Version, backup.Data)
	must(err)
	_, err = store.Put(t.Context(), id, backup.Data, backup.Version)
	must(err)
	must(open().Suspend(t.Context(), id, "x"))

	for deadline := time.Now().Add(15 * time.Second); ; {
		for _, id := range beside {
			_, err := ring.Tenant(t.Context(), id)
			must(err)
		}
		_, err := ring.Tenant(t.Context(), id)
		switch {
		case errors.Is(err, keys.ErrSuspended):
			return
		case err != nil && !errors.Is(err, keys.ErrUnavailable):
			t.Fatal(err)
		case time.Now().After(deadline):
			now, err := store.Get(t.Context(), id)
			t.Fatalf("the suspended tenant is served on: version %d is stored, version %d is known, %v", now.Version, known.Version, err)
		}
	}
}
