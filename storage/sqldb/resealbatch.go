package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
)

// walker goes through one table in batches, each its own access.
type walker struct {
	*reseal
	table *resealTable
	write bool
	after []driver.Value // the last row's key; nil at the beginning
	limit int
	// single is set after a batch that a duplicate, or somebody who may yet write one, kept from being written: as many rows are then
	// taken one by one, and of the duplicate the index values are left alone.
	single       int
	leaveIndexes bool
	done         bool
}

// resealRow is a row that was read, and what is to be stored in it.
type resealRow struct {
	key                 []driver.Value
	old, new            []driver.Value // of the table's stored columns
	resealed, reindexed int64
}

// busyTries is how often a batch is tried that the database gave up on in favour of somebody else.
const busyTries = 10

// next does one batch and returns how many rows it looked at.
func (w *walker) next(ctx context.Context) (int, error) {
	limit := w.limit
	if w.single > 0 {
		limit = 1
	}
	if w.limiter != nil {
		if err := w.limiter.WaitN(ctx, limit); err != nil {
			return 0, err
		}
	}
	for try := 1; ; try++ {
		before := w.faults.clone()
		var rows []resealRow
		err := w.on(ctx, func(ctx context.Context) (err error) {
			rows, err = w.batch(ctx, limit)
			return err
		})
		switch {
		case errors.Is(err, audit.ErrUnavailable): // what the batch came to is not recorded, and trying again would hide it
			return 0, err
		case err == nil:
			if w.leaveIndexes && len(rows) == 1 {
				w.duplicate(rows[0])
			}
			w.leaveIndexes = false
			w.advance(rows, limit)
			return len(rows), nil
		case len(rows) > 1 && (isUniqueViolation(err) || isLockTimeout(err)):
			w.single, w.faults = len(rows), before
			return 0, nil
		case isUniqueViolation(err) && len(rows) == 1 && !w.leaveIndexes:
			w.single, w.leaveIndexes, w.faults = max(1, w.single), true, before
			return 0, nil
		case !isBusy(err) || try == busyTries:
			return 0, err
		}
		w.faults = before
		select {
		case <-time.After(time.Duration(try) * 10 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (w *walker) advance(rows []resealRow, limit int) {
	w.single = max(0, w.single-len(rows))
	w.done = len(rows) < limit || len(w.table.key) == 0
	if len(rows) > 0 {
		w.after = rows[len(rows)-1].key
	}
}

func (w *walker) duplicate(row resealRow) {
	if w.faults.duplicates++; w.faults.duplicates == 1 {
		w.faults.duplicate = w.table.name
	}
	if len(w.report.Duplicates) < MaxDuplicates {
		key := make([]any, len(row.key))
		for i, v := range row.key {
			key[i] = v
		}
		w.report.Duplicates = append(w.report.Duplicates, Duplicate{w.table.name, key})
	}
}

// batch passes the gate, reads rows, and writes what is to be changed in one transaction. The rows are returned with an error
// where the database answered that a write violates a unique key, or would have to be waited for.
func (w *walker) batch(ctx context.Context, limit int) (rows []resealRow, err error) {
	op := w.table.counting()
	if w.write {
		op = &w.table.op
	}
	pass, err := w.conn.db.gate.Enter(ctx, op)
	if err != nil {
		return nil, err
	}
	b := &resealBatch{walker: w, pass: pass}
	rows, err = b.run(ctx, limit)
	result := gate.Result{Rows: int64(len(rows)), Bytes: -1, Err: err}
	if w.write {
		result.Rows = b.changed
	}
	if b.sent && unanswered(err) {
		result.Unknown, result.Err = true, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	if lerr := pass.Leave(ctx, result); lerr != nil {
		return rows, errors.Join(result.Err, lerr)
	}
	return rows, result.Err
}

// resealBatch is one batch under way.
type resealBatch struct {
	*walker
	pass    *gate.Pass
	inTx    bool
	sent    bool // COMMIT was
	changed int64
	newest  uint32
	indexID []uint32
}

func (b *resealBatch) run(ctx context.Context, limit int) (rows []resealRow, err error) {
	defer func() {
		if b.inTx {
			b.inTx = false
			err = errors.Join(err, b.conn.session.rollback(context.WithoutCancel(ctx)))
		}
	}()
	b.newest, b.indexID = b.pass.Keys().DataKeyID(), b.pass.Keys().IndexKeyIDs()
	if len(b.indexID) == 0 {
		return nil, errors.New("sqldb: the tenant has no index key")
	}
	if b.write && b.table.locks {
		if err := b.begin(ctx); err != nil {
			return nil, err
		}
	}
	if rows, err = b.read(ctx, limit); err != nil {
		return nil, err
	}
	var args [][]driver.Value
	var changing []*resealRow
	for i := range rows {
		row := &rows[i]
		if err := b.renew(ctx, row); err != nil {
			return nil, err
		}
		if b.write && row.resealed+row.reindexed > 0 {
			changing, args = append(changing, row), append(args, b.arguments(row))
		}
	}
	if !b.write || len(args) == 0 {
		return rows, nil
	}
	if !b.inTx {
		if err := b.begin(ctx); err != nil {
			return nil, err
		}
	}
	if err := b.waitFor(ctx, len(args)); err != nil {
		return nil, err
	}
	changed, err := b.conn.session.update(ctx, b.pass.Tenant(), b.table.update, args)
	if err != nil {
		return rows, err
	}
	b.inTx, b.sent = false, true
	if err := b.conn.session.commit(ctx); err != nil {
		return rows, err
	}
	for i, row := range changing {
		if changed[i] {
			b.changed++
			b.report.Resealed += row.resealed
			b.report.Reindexed += row.reindexed
		}
	}
	return rows, nil
}

// lockTimeout is how long the writes of a batch wait together, at the most, for somebody else, whose own wait for a row of the batch
// must not be what ends in a deadlock: PostgreSQL looks for those after a second.
const lockTimeout = 500 * time.Millisecond

// waitFor bounds each wait for a lock from now on in the transaction, for updates of so many rows. PostgreSQL's bound is for one wait,
// and an update may have several.
func (b *resealBatch) waitFor(ctx context.Context, rows int) error {
	if b.table.lite || b.table.waits == 0 {
		return nil
	}
	each := max(lockTimeout/time.Duration(rows*b.table.waits), time.Millisecond)
	_, err := b.all(ctx, fmt.Sprintf("SELECT pg_catalog.set_config('lock_timeout', '%dms', true)", each.Milliseconds()), nil)
	return err
}

func (b *resealBatch) begin(ctx context.Context) error {
	var opts driver.TxOptions
	if !b.table.lite {
		opts.Isolation = driver.IsolationLevel(sql.LevelReadCommitted)
	}
	if err := b.conn.session.begin(ctx, b.pass.Tenant(), opts); err != nil {
		return err
	}
	b.inTx = true
	return b.waitFor(ctx, 1) // reading passes over what is locked
}

// read reads the next rows.
func (b *resealBatch) read(ctx context.Context, limit int) ([]resealRow, error) {
	args, err := b.tenantArgs()
	if err != nil {
		return nil, err
	}
	args = append(args, b.after...)
	args = append(args, int64(limit))
	found, err := b.all(ctx, b.table.batch(b.after != nil, b.write), args)
	if err != nil {
		return nil, err
	}
	n := len(b.table.key)
	rows := make([]resealRow, len(found))
	for i, values := range found {
		rows[i] = resealRow{key: values[:n:n], old: values[n:]}
	}
	return rows, nil
}

// tenantArgs are the first parameters of what reads rows: the tenant and, where the database finds them, the newest key.
func (b *resealBatch) tenantArgs() ([]driver.Value, error) {
	id, err := canonicalTenant(b.pass.Tenant().String(), b.table.tenant)
	args := []driver.Value{id}
	if b.table.stale != "" {
		args = append(args, envelope.FieldPrefix(b.newest))
	}
	return args, err
}

// all reads a result to its end.
func (b *resealBatch) all(ctx context.Context, text string, args []driver.Value) ([][]driver.Value, error) {
	cur, err := b.conn.session.query(ctx, b.pass.Tenant(), text, args)
	if err != nil {
		return nil, err
	}
	kept, _, _, err := exhaust(cur, true)
	return kept.rows, err
}

// arguments are the parameters of the update of a row.
func (b *resealBatch) arguments(row *resealRow) []driver.Value {
	id, _ := canonicalTenant(b.pass.Tenant().String(), b.table.tenant) // it was bound to read the row
	args := append([]driver.Value{id}, row.key...)
	for i := range row.old {
		args = append(args, row.new[i], row.old[i])
	}
	return args
}

// isUniqueViolation tells that the database refused a second row with the same key.
func isUniqueViolation(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23505"
	}
	var lite interface{ Code() int }
	return errors.As(err, &lite) && (lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// isBusy tells that the database gave up in favour of somebody else, and that nothing was changed.
func isBusy(err error) bool {
	if unanswered(err) {
		return false
	}
	if errors.Is(err, driver.ErrBadConn) { // it had ended in the pool, and nothing was sent
		return true
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40001" || pg.Code == "40P01" || pg.Code == "55P03"
	}
	var lite interface{ Code() int }
	return errors.As(err, &lite) && (lite.Code()&0xff == sqlite3.SQLITE_BUSY || lite.Code()&0xff == sqlite3.SQLITE_LOCKED)
}
