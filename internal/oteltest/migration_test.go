package oteltest

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestAMigrationIsOfItsDatabase: what a migration does is told of the database that it moves.
func TestAMigrationIsOfItsDatabase(t *testing.T) {
	w := newWorld(t, dialect.SQLite, nil)
	id := tenant.MustParse(ours)
	must(t, w.Keys.Provision(t.Context(), id))
	file := filepath.Join(t.TempDir(), "moved.db")
	db, err := sql.Open("sqlite", file)
	must(t, err)
	for _, statement := range []string{
		`CREATE TABLE letters (id INTEGER NOT NULL PRIMARY KEY, body TEXT)`,
		`INSERT INTO letters VALUES (1, '` + value + `')`,
	} {
		_, err = db.Exec(statement)
		must(t, err)
	}
	must(t, db.Close())
	_, err = sqldb.Migrate(t.Context(), sqldb.Migration{
		DSN: "sqlite:" + file, Schema: sqldb.Schema{"letters": {Sealed: sqldb.Columns{"body": sqldb.Text()}}},
		Guard: w.Guard, Tenants: map[string]sqldb.TenantSource{"letters": sqldb.FromConstant(id)}, Actor: actor, Purpose: purpose,
	}, sqldb.MigrateSwitch)
	must(t, err)
	found := w.collect(t)
	accesses := found[telemetry.StatementDuration]
	all := sum(t, accesses)
	if moved := sum(t, accesses, "db.system.name=sqlite", "db.namespace="+filepath.Base(file), "db.operation.name=MIGRATE"); moved == 0 || moved != all {
		t.Errorf("%v accesses of %v are told of the database that was moved", moved, all)
		sets, _ := points(t, accesses)
		for _, s := range sets {
			t.Log(s.Encoded(nil))
		}
	}
}
