package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// ErrMigrating means that another process migrates the database at this moment.
var ErrMigrating = errors.New("sqldb: another process migrates the database; wait for it, it can be run again after that")

// MigrateStage is a stage of a migration. Each contains those before it.
type MigrateStage string

// The stages of a migration.
const (
	// MigrateExpand adds the new columns, all nullable, and triggers that keep them right while the application, which
	// knows nothing of them, goes on: they fill the tenant column, and make a sealed copy NULL when its plaintext or
	// its row's tenant changes.
	MigrateExpand MigrateStage = "expand"
	// MigrateBackfill gives every row its tenant, and seals every plaintext into the new column beside it.
	MigrateBackfill MigrateStage = "backfill"
	// MigrateKeys builds the unique indexes and foreign keys that have the tenant column, and the constraints.
	MigrateKeys MigrateStage = "keys"
	// MigrateVerify opens every sealed value and compares it with the plaintext beside it.
	MigrateVerify MigrateStage = "verify"
	// MigrateSwitch has the new columns and keys take the place of the old ones, with row-level security, in one
	// transaction. Only the guarded application works after it. Privileges that row-level security does not bind (TRUNCATE,
	// REFERENCES, TRIGGER, MAINTAIN), for which [Open] refuses a role, are taken from everybody but the owner; a rollback gives
	// them back.
	MigrateSwitch MigrateStage = "switch"
	// MigrateDrop drops the plaintexts. It is the only stage that cannot be rolled back.
	MigrateDrop MigrateStage = "drop"

	// migrateBack is the way back after a switch: the plaintexts have their names again, and what is left is tidying up.
	migrateBack MigrateStage = "rollback"
)

var migrateStages = []MigrateStage{MigrateExpand, MigrateBackfill, MigrateKeys, MigrateVerify, MigrateSwitch, MigrateDrop}

// Bounds of [Migration].BatchSize.
const (
	DefaultMigrateBatch = 500
	MaxMigrateBatch     = 5000
)

// Migration says how a database that an application uses without the guard becomes one that [Open] opens.
type Migration struct {
	// DSN is the connection string of the tables' owner, as [Open] takes one; not through a transaction pooler. SQLite has no
	// owner: it is what Open is given.
	DSN string
	// Schema and Options are what Open is given afterwards. A column of Schema that is sealed and exists holds
	// plaintexts; one that does not is added.
	Schema  Schema
	Options *Options
	// Guard seals. Each batch is an access of one tenant, passes the authorizer as a write of the columns, and is in
	// the audit trail ([audit.CodeMigrate]) before anything is read. Nothing is released to the caller.
	Guard storage.Guard
	// Tenants say whose the rows of each table are that is not shared. A table that is not in it has its tenant column
	// already.
	Tenants map[string]TenantSource
	// Actor, Purpose and Request are who migrates, and why: see [tenant.Access].
	Actor, Purpose, Request string
	// BatchSize is how many rows are sealed in one transaction. They are locked meanwhile. Default [DefaultMigrateBatch],
	// at most [MaxMigrateBatch].
	BatchSize int
	// RowsPerSecond bounds how many rows are written in a second before the switch; 0 for no bound.
	RowsPerSecond int
	// Progress, if set, is called after each batch and each statement that changes a table's definition.
	Progress func(MigrateProgress)
}

// MigrateProgress is how far a migration has come.
type MigrateProgress struct {
	Stage MigrateStage // that is worked on; "rollback" on the way back
	Table string       // empty for what concerns all
	What  string       // what was done: "tenants", "sealed", "verified", "unsealed", or the beginning of a statement
	// Rows were done of the table in this stage, of about Total; both are 0 for a statement.
	Rows, Total int64
}

// TenantSource says where the tenant of a table's rows comes from.
type TenantSource struct {
	column   string
	parent   []string
	constant tenant.ID
}

// FromColumn takes the tenant's id from a column of the table, as text where the tenant column is a text.
func FromColumn(column string) TenantSource { return TenantSource{column: column} }

// FromParent takes the tenant of the row that a foreign key over these columns of the table refers to.
func FromParent(columns ...string) TenantSource { return TenantSource{parent: columns} }

// FromConstant has all rows belong to one tenant.
func FromConstant(id tenant.ID) TenantSource { return TenantSource{constant: id} }

// MigrateReport is what [Migrate] or [RollbackMigration] did.
type MigrateReport struct {
	Stage    MigrateStage // that the database is in; empty where there is no migration
	Tenanted int64        // rows that were given their tenant by this call
	Sealed   int64        // values that were sealed by it
	Verified int64        // sealed values that were opened and compared
	Unsealed int64        // values that were put back as plaintexts
	// Locked is how long the switch kept everybody from the tables, or the way back from it.
	Locked time.Duration
	// Rows counts the rows of each table by tenant, as verification found them.
	Rows map[string]map[tenant.ID]int64
	// Notes are what is left to do by hand.
	Notes []string
}

// Migrate moves an existing application's database in, up to and including a stage, while the application runs. Plan it
// with [PlanMigration] first: Migrate changes nothing where that finds a problem. Until the switch the application
// works as before and needs to know nothing, but that tables have more columns (SELECT *). The triggers that keep the
// new columns right do for it what else each of its statements would have to.
//
// It may be interrupted at any time, killed too, and called again with the same Migration: how far it came is kept in
// the table strongroom_migration of [Options].Schema, which nobody but the owner can read or write. Each stage goes on
// where it ended. Two at once are [ErrMigrating].
//
// Up to the switch it takes no lock for longer than an instant: changes of definitions wait for less than half a second and are
// tried again, indexes are built CONCURRENTLY, constraints are validated without keeping writers away. A batch locks
// its rows while it seals them, and passes over rows that others have locked.
//
// The switch is one transaction with ACCESS EXCLUSIVE locks on all tables. It seals what the application wrote in the
// last moments, swaps names and keys, and commits only where the tables are then what Open takes, and where nobody has
// turned the migration's triggers off meanwhile or made what a plan refuses, such as a view. Stop the application
// before it, and start it with the guard after it: an unguarded one that goes on finds no rows then, changes none, and
// its inserts are refused. The plaintexts stay, under a name of the migration's own
// (strongroom_old_…), which the application's role cannot read, until the stage [MigrateDrop]. After that they are in
// the database's files until VACUUM FULL has rewritten the tables, and in its write-ahead log and backups until these
// expire.
//
// A tenant of a row must be provisioned and active. Rows whose tenant cannot be told keep the migration from going on.
//
// A SQLite file is moved in by copies, since its tables cannot be changed in place: each stage does the same for a new table
// beside each old one, and triggers write down which rows the application changes meanwhile. Everything is a transaction of its
// own with the state in it, short but for the building of an index and the check of foreign keys, and the file is left to others
// for as long as each took. The switch swaps the tables' names. The old ones are kept as strongroom_old_… until [MigrateDrop],
// which overwrites them; SQLite has no roles, so that whoever reads the file reads the plaintexts until then. It takes room for
// the data twice. VACUUM, and definitions of the file that are changed before the switch, have it copy everything anew. After
// the switch nothing but constraints stands before an unguarded application that goes on: they refuse plaintexts, and rows
// without a tenant. A
// connection that has triggers turned off (SQLITE_DBCONFIG_ENABLE_TRIGGER) must not write before the switch. A table WITHOUT
// ROWID, a view or a trigger over declared tables, and a foreign key that is SET NULL, which SQLite cannot do without the tenant
// column, keep it from beginning. A file named as the database's with .migrate-lock behind it stays.
func Migrate(ctx context.Context, m Migration, until MigrateStage) (*MigrateReport, error) {
	at := slices.Index(migrateStages, until)
	if at < 0 {
		return nil, fmt.Errorf("sqldb: Migrate: there is no stage %q; use sqldb.MigrateExpand to sqldb.MigrateDrop", string(until))
	}
	var report *MigrateReport
	err := m.with(ctx, func(g moving) error {
		report = &g.run().report
		return g.forward(ctx, at)
	})
	return report, err
}

// RollbackMigration undoes what [Migrate] did, from any stage but the last, and leaves the tables as they were. After a
// switch it first puts back as plaintexts what was written since, each batch an access of its tenant; tables are locked
// meanwhile, and the application has to be stopped. It changes nothing where that is not possible: where rows of two
// tenants share a key that was unique over all, where a row's tenant is not the one that [Migration].Tenants gives it, or
// where a column that was added has values. It may be interrupted and called again.
func RollbackMigration(ctx context.Context, m Migration) (*MigrateReport, error) {
	var report *MigrateReport
	err := m.with(ctx, func(g moving) error {
		report, g.run().back = &g.run().report, true
		return g.rollback(ctx)
	})
	return report, err
}

// complete checks what can be checked without a database.
func (m *Migration) complete() error {
	o := m.Options.withDefaults()
	m.Options = o
	if err := m.Schema.validate(o); err != nil {
		return err
	}
	m.Schema = m.Schema.withDefaults(o)
	if m.BatchSize == 0 {
		m.BatchSize = DefaultMigrateBatch
	}
	switch {
	case m.BatchSize < 1 || m.BatchSize > MaxMigrateBatch:
		return fmt.Errorf("sqldb: Migration.BatchSize must be 1 to %d; leave it zero for %d", MaxMigrateBatch, DefaultMigrateBatch)
	case m.RowsPerSecond < 0:
		return errors.New("sqldb: Migration.RowsPerSecond is negative; leave it zero for no bound")
	case m.Actor == "" || m.Purpose == "":
		return errors.New("sqldb: Migration.Actor and Purpose say who migrates and why; set both")
	}
	for _, name := range sortedKeys(m.Tenants) {
		s := m.Tenants[name]
		n := 0
		for _, given := range []bool{s.column != "", len(s.parent) > 0, !s.constant.IsZero()} {
			if given {
				n++
			}
		}
		if t, ok := m.Schema[name]; !ok || t.Shared || n != 1 {
			return fmt.Errorf("sqldb: Migration.Tenants: %s is not a declared table of tenants with a source made by FromColumn, FromParent or FromConstant", name)
		}
	}
	return nil
}
