package sqldb_test

import (
	"context"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestConnectionsShareOrigins: what the connections of a database know of where columns come from is held once, whatever is in their
// names, until a table is another.
func TestConnectionsShareOrigins(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	mustExec(t, e.raw, `ALTER TABLE patients ADD COLUMN "of; 1 'é\" text, ADD COLUMN gone text; ALTER TABLE patients DROP COLUMN gone`)
	db, err := sqldb.Open(context.Background(), e.dsn, clinicSchema, e.guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	next := func() (origins any) {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		must(t, conn.Raw(func(dc any) error {
			origins = sqldb.OriginsOf(dc)
			return nil
		}))
		return origins
	}
	for _, change := range []string{`SELECT`, `ALTER TABLE patients ADD COLUMN more text`, `ALTER TABLE patients RENAME COLUMN more TO others`,
		`ALTER TABLE patients DROP COLUMN others`, `DROP TABLE visits`} {
		before := next()
		mustExec(t, e.raw, change)
		after := next()
		if (after == before) != (change == `SELECT`) {
			t.Errorf("%s: shared: %t", change, after == before)
		}
		for range 2 {
			if next() != after {
				t.Errorf("%s: not shared afterwards", change)
			}
		}
	}
}
