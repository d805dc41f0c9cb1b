package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
)

// Bounds of [ResealOptions].BatchSize.
const (
	DefaultResealBatch = 500
	MaxResealBatch     = 5000
)

// ResealOptions are the optional settings of [Reseal]; nil and the zero value are safe.
type ResealOptions struct {
	// Purposes are what is moved: sealed values to the newest key of [keys.PurposeData], index values to that of
	// [keys.PurposeIndex]. Default both. An index value does not say which key made it, so that every value of a searchable
	// column has to be opened to find out; with PurposeData alone the database itself finds what is left.
	Purposes []keys.Purpose
	// Tables are the declared tables to work on. Default all.
	Tables []string
	// BatchSize is how many rows are read, and written in one transaction, at a time. They are held in memory with what they become.
	// Default [DefaultResealBatch], at most
	// [MaxResealBatch].
	BatchSize int
	// RowsPerSecond bounds how many rows are read in a second; 0 for no bound.
	RowsPerSecond int
	// DryRun changes nothing and counts what is left.
	DryRun bool
	// Progress, if set, is called after each batch.
	Progress func(ResealProgress)
}

// ResealProgress is how far [Reseal] has come with one table.
type ResealProgress struct {
	Table string
	// Pass counts from 1: what others held locked, or changed, in one pass is tried again in the next.
	Pass int
	// Counting tells that the pass changes nothing: it establishes what is left.
	Counting bool
	// Rows have been looked at in this pass, of about Total. Where the database finds what is left by itself, both are of those
	// rows alone.
	Rows, Total int64
	// Resealed and Reindexed are the values changed so far, in all tables.
	Resealed, Reindexed int64
}

// ResealReport is what [Reseal] did and what is left.
type ResealReport struct {
	Resealed  int64 // sealed values that were moved to the newest data key
	Reindexed int64 // index values that were made with the newest index key
	// Left are the values that are not under the newest key, by column and key: exactly those that the last pass found.
	// Counted are the purposes that this pass was about and went through all declared tables for; empty where it did not come to
	// an end, or [ResealOptions].Tables left some out.
	Left    []ResealLeft
	Counted []keys.Purpose
	// Duplicates are rows whose index value could not be made with the newest key, because another row that has it already holds
	// the same value and a unique key includes the index column. At most [MaxDuplicates] are named.
	Duplicates []Duplicate
}

// ResealLeft counts values of one column under one older key.
type ResealLeft struct {
	Table, Column string
	Purpose       keys.Purpose
	// Key is the key's id, as [keys.Keyring.Versions] lists it; 0 for index values that no enabled key made of the value.
	Key    uint32
	Values int64
}

// Duplicate is a row that holds the same value as another one.
type Duplicate struct {
	Table string
	// Key are the values of the primary key's columns, without the tenant column.
	Key []any
}

// MaxDuplicates is how many duplicates a report names.
const MaxDuplicates = 100

// Remaining returns how many values of a purpose are not under the newest key; an error where that was not counted in all
// tables and to the end, lest a key be destroyed for a count that was not made.
func (r ResealReport) Remaining(p keys.Purpose) (n int64, err error) {
	if !slices.Contains(r.Counted, p) {
		return 0, fmt.Errorf("sqldb: the values that need an older key of the purpose %q were not counted; call Reseal with that purpose and for all tables, and see what its error says", string(p))
	}
	for _, l := range r.Left {
		if l.Purpose == p {
			n += l.Values
		}
	}
	return n, nil
}

// Reseal moves the sealed values of the tenant in ctx to its newest data key, and its blind indexes to the newest index key,
// after [keys.Keyring.Rotate], while statements go on. Db is what [Open] returned. The report is there with an error too.
//
// It works in batches in the order of the primary key, and takes a connection from the pool for each. A row is written
// only where its sealed columns hold what was read, so that what somebody else stores meanwhile stands: the next pass
// looks at it. On PostgreSQL it locks the rows of a batch and passes over those that others have locked. Where it has to
// wait all the same, for unique keys or in declared triggers, it gives up after half a second in all, before PostgreSQL
// looks for a deadlock (deadlock_timeout, by default a second), and tries again. So it makes no statement fail at the level READ COMMITTED, unless that asks
// not to wait; a transaction of a higher level can fail to serialize, as with any other writer. On SQLite it reads and
// opens before it takes the write lock. Triggers that are declared run as with any UPDATE.
//
// There is no checkpoint to keep: a sealed value begins with the id of its key, and an index value is made anew and compared.
// After a crash, or an error, call it again; what is done is not written again. At the end it counts what is left, which is
// nothing unless others kept rows locked, or processes still seal with the older key: those see a rotation within
// [keys.Options].SuspendWithin.
//
// Each batch passes the authorizer as a write of the table's sealed columns, and is in the audit trail before anything is
// read ([audit.CodeReseal]); counting is a read. Nothing is released to the caller. The tenant's keys are asked for anew with
// each batch: a suspension ends it.
//
// A value that does not open stays as it is, raises an alert and is counted; the rest goes on, and in the end the error wraps
// [storage.ErrIsolation], or [keys.ErrKeyDisabled] where its key is a disabled one of the tenant. Too many of them end it.
//
// While a tenant has two index keys, a unique key on an index column sees values of one at a time. The guard looks for what a
// statement writes under both and refuses it with [ErrDuplicate]; what it does not see is a value that another process still
// writes with the older key, within [keys.Options].SuspendWithin of the rotation or in a transaction that began before, and a
// statement that changes the key's other columns alone, and on SQLite a key that includes an expression. Reseal finds
// such rows: they stay as they are, are named in the report, and the error wraps ErrDuplicate. Change or delete them,
// and call it again.
func Reseal(ctx context.Context, db *sql.DB, opts *ResealOptions) (ResealReport, error) {
	var o ResealOptions
	if opts != nil {
		o = *opts
	}
	if err := o.complete(); err != nil {
		return ResealReport{}, err
	}
	r := &reseal{opts: o, db: db}
	err := r.run(ctx)
	r.report.Left = r.left.list()
	return r.report, err
}

func (o *ResealOptions) complete() error {
	if o.Purposes == nil {
		o.Purposes = []keys.Purpose{keys.PurposeData, keys.PurposeIndex}
	}
	for _, p := range o.Purposes {
		if p != keys.PurposeData && p != keys.PurposeIndex {
			return fmt.Errorf("sqldb: Reseal does not move the purpose %q; use keys.PurposeData, keys.PurposeIndex or both", string(p))
		}
	}
	if o.BatchSize == 0 {
		o.BatchSize = DefaultResealBatch
	}
	if o.BatchSize < 1 || o.BatchSize > MaxResealBatch {
		return fmt.Errorf("sqldb: ResealOptions.BatchSize must be 1 to %d; leave it zero for %d", MaxResealBatch, DefaultResealBatch)
	}
	if o.RowsPerSecond < 0 {
		return errors.New("sqldb: ResealOptions.RowsPerSecond is negative; leave it zero for no bound")
	}
	return nil
}

// reseal is one run.
type reseal struct {
	opts    ResealOptions
	db      *sql.DB
	conn    *conn // while a batch has one
	tables  []*resealTable
	limiter *rate.Limiter // nil for no bound
	report  ResealReport
	left    leftBy
	faults  faults
}

// resealPasses is how often rows are tried that others hold, and resealPause how long it waits before the second pass; it
// doubles each time.
const (
	resealPasses = 5
	resealPause  = 50 * time.Millisecond
)

func (r *reseal) run(ctx context.Context) error {
	if r.opts.RowsPerSecond > 0 {
		r.limiter = rate.NewLimiter(rate.Limit(r.opts.RowsPerSecond), r.opts.BatchSize)
	}
	if err := r.on(ctx, r.prepare); err != nil {
		return err
	}
	if r.opts.DryRun {
		if err := r.pass(ctx, 1, false); err != nil {
			return err
		}
		return r.faults.err()
	}
	for pass := 1; ; pass++ {
		if err := r.pass(ctx, pass, true); err != nil {
			return errors.Join(err, r.faults.err())
		}
		if err := r.pass(ctx, pass, false); err != nil {
			return errors.Join(err, r.faults.err())
		}
		if len(r.left) == 0 || r.faults.any() || pass == resealPasses {
			return r.faults.err()
		}
		select {
		case <-time.After(resealPause << (pass - 1)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// on does something with a connection of the pool's, which goes back after it: others wait for one no longer than a batch takes.
func (r *reseal) on(ctx context.Context, do func(context.Context) error) error {
	c, err := r.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Raw(func(driverConn any) error {
		guarded, ok := driverConn.(*conn)
		if !ok {
			return errors.New("sqldb: the handle is none that sqldb.Open returned")
		}
		r.conn = guarded
		return do(ctx)
	})
}

// prepare finds the tables that have something to move.
func (r *reseal) prepare(ctx context.Context) error {
	db := r.conn.db
	for _, name := range r.opts.Tables {
		if _, ok := db.schema[name]; !ok {
			return fmt.Errorf("sqldb: Reseal: the table %s is not declared", name)
		}
	}
	for _, name := range sortedKeys(db.schema) {
		if len(db.schema[name].Sealed) == 0 || r.opts.Tables != nil && !slices.Contains(r.opts.Tables, name) {
			continue
		}
		t, err := db.resealTable(ctx, name, r.opts.Purposes)
		if err != nil {
			return err
		}
		if t != nil {
			r.tables = append(r.tables, t)
		}
	}
	return nil
}

// pass goes through all tables once. One that counts begins the count anew.
func (r *reseal) pass(ctx context.Context, pass int, write bool) error {
	if !write {
		r.left, r.report.Counted = leftBy{}, nil
	}
	for _, t := range r.tables {
		if !write && t.data {
			if err := r.count(ctx, t); err != nil {
				return err
			}
		}
		if !write && !t.indexes {
			continue
		}
		if err := r.walk(ctx, t, pass, write); err != nil {
			return err
		}
	}
	if !write && r.opts.Tables == nil {
		r.report.Counted = slices.Clone(r.opts.Purposes)
	}
	return nil
}

// walk goes through a table in batches.
func (r *reseal) walk(ctx context.Context, t *resealTable, pass int, write bool) error {
	p := ResealProgress{Table: t.name, Pass: pass, Counting: !write}
	if r.opts.Progress != nil {
		var err error
		if p.Total, err = r.total(ctx, t); err != nil {
			return err
		}
	}
	w := walker{reseal: r, table: t, write: write, limit: r.opts.BatchSize}
	for !w.done {
		n, err := w.next(ctx)
		if err != nil {
			return err
		}
		p.Rows, p.Resealed, p.Reindexed = p.Rows+int64(n), r.report.Resealed, r.report.Reindexed
		if r.opts.Progress != nil {
			r.opts.Progress(p)
		}
	}
	return nil
}

// leftBy counts values that are not under the newest key.
type leftBy map[ResealLeft]int64

func (l leftBy) add(t *resealTable, column string, p keys.Purpose, key uint32, n int64) {
	l[ResealLeft{Table: t.name, Column: column, Purpose: p, Key: key}] += n
}

func (l leftBy) list() []ResealLeft {
	var out []ResealLeft
	for entry, n := range l {
		entry.Values = n
		out = append(out, entry)
	}
	slices.SortFunc(out, compareLeft)
	return out
}

// maxUnopened ends a run that meets too many values that do not open: each is an alert.
const maxUnopened = 100

// faults are what keeps values from being moved.
type faults struct {
	unopened   int
	where      string // of the first of them
	disabled   map[uint32]int64
	duplicates int64
	duplicate  string // the first one's table
}

func (f faults) clone() faults {
	f.disabled = maps.Clone(f.disabled)
	return f
}

func (f *faults) any() bool { return f.unopened > 0 || len(f.disabled) > 0 || f.duplicates > 0 }

func (f *faults) err() error {
	var errs []error
	if f.unopened > 0 {
		errs = append(errs, fmt.Errorf("%w: %d values were left as they are, the first in %s; alerts are in the audit trail", storage.ErrIsolation, f.unopened, f.where))
	}
	for _, key := range slices.Sorted(maps.Keys(f.disabled)) {
		errs = append(errs, fmt.Errorf("%w: %d values need data key %d; enable it with Keyring.EnableKey and call Reseal again", keys.ErrKeyDisabled, f.disabled[key], key))
	}
	if f.duplicates > 0 {
		errs = append(errs, fmt.Errorf("%w: %d rows, the first in %s, kept an older index value; change or delete those that the report names, and call Reseal again", ErrDuplicate, f.duplicates, f.duplicate))
	}
	return errors.Join(errs...)
}
