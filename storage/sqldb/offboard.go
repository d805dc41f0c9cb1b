package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// DefaultOffboardRows is how many rows [Offboard] deletes at a time.
const DefaultOffboardRows = 10_000

// OffboardOptions are the optional settings of [Offboard]; nil and the zero value are safe.
type OffboardOptions struct {
	// DryRun counts the tenant's rows and deletes none, after the same checks. It is for a tenant in any state, and recorded as
	// well.
	DryRun bool
	// Suspended admits a tenant that is suspended and not shredded. Its rows are gone then and its keys are not: what a
	// backup holds of it can still be read, and Resume opens an empty room. It does not admit an active tenant: nothing does.
	Suspended bool
	// BatchRows is how many rows a statement deletes, 1 to 1,000,000. Default [DefaultOffboardRows].
	BatchRows int
	// Progress is called after each statement, and in a dry run after each table.
	Progress func(OffboardProgress)
}

// OffboardProgress is how far an offboarding has come.
type OffboardProgress struct {
	Table string // that is being worked on
	Rows  int64  // of it, so far
}

// OffboardReport is what was done, or with DryRun would be.
type OffboardReport struct {
	Engine   dialect.Dialect
	Database string // its name
	// Tables are all of the tenant's tables, in the order in which they were worked on, with how many rows were deleted of
	// each. An offboarding that was interrupted and is run again counts what was left.
	Tables []OffboardedTable
	// Correlation is what the events in the audit trail have in common.
	Correlation string
}

// OffboardedTable counts the rows of one table.
type OffboardedTable struct {
	Table string
	Rows  int64
}

// Rows is how many rows there are in all tables together.
func (r *OffboardReport) Rows() (n int64) {
	for _, t := range r.Tables {
		n += t.Rows
	}
	return n
}

// Offboard deletes every row that a tenant has in a database which [Open] returned, of every declared table that is not
// shared. It is for a tenant that was shredded ([keys.Keyring.Shred]), and needs no keys: those of the columns that are not
// sealed, and the tenant's id itself, are all that could still be read. Whose rows are deleted stands twice, in the access
// in ctx and as id, and both must be the same. The authorizer is asked for [tenant.Offboard].
//
// The tables are worked on in the order of their foreign keys, by statements of BatchRows rows that are each permanent by
// themselves. Where foreign keys form a circle, or a table refers to itself, a column of them that may be NULL is made so
// first; if there is none, those tables are emptied in one statement. The tables are held against the schema anew before
// anything is deleted, as Open does, and so is whether the role may delete from all of them, by privileges and policies: all
// problems are in one [*SchemaError].
//
// For each row that goes the database looks for rows that refer to it, which it does by reading a whole table where the
// foreign key's columns have no index: a large tenant wants one for each foreign key.
//
// Offboard may be interrupted at any time and run again; it then deletes what is left. It takes twice
// [keys.Options.SuspendWithin] at least, until no process can still have keys, and looks through all tables once more after that. A
// statement of another process that runs for longer than this is not waited for.
//
// The intent is recorded before, then each statement's table and number of rows, then how it went. As there are no keys, the
// events have the actor as a pseudonym under the log's own key and nothing that would be sealed. Where there was an error
// the report has what was deleted until then.
func Offboard(ctx context.Context, db *sql.DB, id tenant.ID, opts *OffboardOptions) (*OffboardReport, error) {
	var o OffboardOptions
	if opts != nil {
		o = *opts
	}
	switch {
	case o.BatchRows == 0:
		o.BatchRows = DefaultOffboardRows
	case o.BatchRows < 0 || o.BatchRows > 1_000_000:
		return nil, fmt.Errorf("sqldb: OffboardOptions.BatchRows is %d; use 1 to 1,000,000, or 0 for %d", o.BatchRows, DefaultOffboardRows)
	}
	if id.IsZero() {
		return nil, fmt.Errorf("sqldb: %w: it is the zero ID; obtain it from tenant.Parse", tenant.ErrInvalidID)
	}
	one, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer one.Close()
	var report *OffboardReport
	var failed error
	err = one.Raw(func(driverConn any) error {
		c, ok := driverConn.(*conn)
		if !ok {
			return errors.New("sqldb: Offboard needs a database that Open returned")
		}
		report, failed = c.offboard(ctx, id, o)
		return nil
	})
	return report, errors.Join(err, failed)
}

// offboard passes the gate, and leaves it.
func (c *conn) offboard(ctx context.Context, id tenant.ID, o OffboardOptions) (*OffboardReport, error) {
	op := &gate.Op{
		Code:      audit.CodeOffboard,
		Action:    tenant.Action{Verb: tenant.Offboard, Store: c.db.store, Name: c.db.engine.name()},
		Statement: "OFFBOARD",
	}
	if o.DryRun {
		op.Statement = "OFFBOARD DRY RUN"
	}
	for _, name := range sortedKeys(c.db.schema) {
		if !c.db.schema[name].Shared {
			op.Action.Tables = append(op.Action.Tables, name)
		}
	}
	leave, err := c.db.gate.Depart(ctx, op, gate.Terms{Tenant: id, Suspended: o.Suspended, DryRun: o.DryRun})
	if err != nil {
		return nil, err
	}
	r := &OffboardReport{Engine: c.db.engine.dialect(), Database: c.db.engine.name(), Correlation: leave.Correlation()}
	err = c.sweep(ctx, id, leave, o, r)
	result := gate.Result{Rows: r.Rows(), Bytes: -1, Err: err, Unknown: err != nil && unanswered(err)}
	return r, errors.Join(err, leave.Leave(ctx, result))
}

// emptier is an engine that knows beforehand what would keep tables from being emptied.
type emptier interface {
	mayDelete(ctx context.Context, cat *sqlplan.Catalog, steps []offboardStep) ([]Problem, error)
}

// sweep finds out what is to be deleted in which order, and deletes it.
func (c *conn) sweep(ctx context.Context, id tenant.ID, leave *gate.Departure, o OffboardOptions, r *OffboardReport) error {
	cat, err := c.db.look(ctx)
	if err != nil {
		return err
	}
	steps := offboardSteps(cat)
	s := &sweeper{conn: c, id: id, departure: leave, opts: o, report: r, at: map[string]int{}}
	for _, step := range steps {
		for _, t := range step.tables {
			s.at[t.Name] = len(r.Tables)
			r.Tables = append(r.Tables, OffboardedTable{Table: t.Name})
		}
	}
	if e, ok := c.db.engine.(emptier); ok {
		problems, err := e.mayDelete(ctx, cat, steps)
		if err == nil {
			err = newSchemaError(problems)
		}
		if err != nil {
			return fmt.Errorf("sqldb: nothing was deleted: %w", err)
		}
	}
	if o.DryRun {
		return s.count(ctx, steps)
	}
	return s.run(ctx, steps)
}

// look reads the tables anew: what was so when the database was opened, maybe long ago, is no ground to delete on.
func (d *database) look(ctx context.Context) (*sqlplan.Catalog, error) {
	quiet := *d.opts
	quiet.Logger = slog.New(slog.DiscardHandler)
	cat, problems, err := d.engine.introspect(ctx, d.schema, &quiet)
	if err == nil {
		err = newSchemaError(problems)
	}
	return cat, err
}
