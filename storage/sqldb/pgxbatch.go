package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/tenant"
)

// batchItem is one statement of a batch.
type batchItem struct {
	access *access
	kept   *keptRows
	tag    pgconn.CommandTag
	left   bool // its outcome is recorded
}

// count is how many rows the statement returned, or changed.
func (i *batchItem) count() int64 {
	if i.access.plan.ReturnsRows {
		return int64(len(i.kept.native.rows))
	}
	return i.tag.RowsAffected()
}

var (
	errBatchUnsent = errors.New("sqldb: the batch was not sent: another statement of it was not admitted")
	errBatchEnded  = errors.New("sqldb: a method of one of its values ended the goroutine (runtime.Goexit)")
	errBatchFailed = errors.New("sqldb: another statement of the batch failed")
)

// maxBatchWaits bounds how many intents of a batch are written to the trail at once.
const maxBatchWaits = 64

// sendBatch admits all statements, sends them, and keeps what comes back until all of it is known to stand.
// Release is called once, when the results are closed or there are none.
func (c *conn) sendBatch(ctx context.Context, b *pgx.Batch, release func(error)) (results *batchResults, err error) {
	defer func() {
		if err != nil {
			release(err)
		}
	}()
	items, err := c.admitBatch(ctx, b.QueuedQueries)
	if err != nil {
		return nil, err
	}
	if len(items) > 0 {
		sending, span := c.db.telemetry.Batch(ctx, len(items))
		failed, err := c.runBatch(sending, items)
		span.End(gate.Class(err))
		if err != nil {
			return nil, c.failedBatch(ctx, items, failed, err)
		}
	}
	for _, item := range items {
		item.access.done = true
	}
	for i, item := range items {
		if err := c.admitted(ctx, item.access); err != nil {
			item.left = true
			c.doubt(item.access) // it stands in the transaction
			return nil, c.failedBatch(ctx, items, i, err)
		}
	}
	return &batchResults{ctx: ctx, conn: c, release: release, types: c.session.(*pgSession).conn.TypeMap(), items: items, queued: b.QueuedQueries}, nil
}

// admitBatch plans and gates the statements. Outside a transaction the intents of those that write are waited for, many at a time.
func (c *conn) admitBatch(ctx context.Context, queued []*pgx.QueuedQuery) ([]*batchItem, error) {
	items, errs := make([]*batchItem, len(queued)), make([]error, len(queued))
	admit := func(i int) {
		query, values, err := nativeCall(ctx, queued[i].SQL, queued[i].Arguments)
		if err == nil {
			var a *access
			if _, a, err = c.enter(ctx, query, values); err == nil {
				items[i] = &batchItem{access: a}
			}
		}
		if err == nil && items[i].access.pass == nil {
			items[i] = nil
			err = c.refuse(ctx, sqlplan.Refused("savepoint in a batch", "SAVEPOINT", 0, "send it by itself, or use Begin of the transaction"))
		}
		errs[i] = err
	}
	if c.tx != nil || c.readsOnly(ctx, queued) {
		for i := range queued {
			if admit(i); errs[i] != nil {
				break // what comes after it is not looked at
			}
		}
	} else {
		var wait sync.WaitGroup
		turns := make(chan struct{}, maxBatchWaits)
		panics := make(chan any, len(queued))
		for i := range queued {
			turns <- struct{}{}
			wait.Go(func() {
				errs[i] = errBatchEnded // until the application's code has returned
				defer func() {
					if p := recover(); p != nil {
						panics <- p
					}
					<-turns
				}()
				admit(i)
			})
		}
		wait.Wait()
		if len(panics) > 0 { // of the application's code, such as a driver.Valuer's: it is the caller's to recover from
			c.leaveBatch(ctx, slices.DeleteFunc(items, func(i *batchItem) bool { return i == nil }), errBatchUnsent)
			panic(<-panics)
		}
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		admitted := slices.DeleteFunc(items, func(i *batchItem) bool { return i == nil })
		return nil, errors.Join(fmt.Errorf("sqldb: statement %d of the batch: %w", i+1, err), c.leaveBatch(ctx, admitted, errBatchUnsent))
	}
	if c.tx == nil && slices.ContainsFunc(items, func(i *batchItem) bool { return i.access.writes() || i.access.plan.Effects }) {
		// What it writes stands once it is sent, and then nothing of it may be withheld.
		for i, item := range items {
			if err := c.admitted(ctx, item.access); err != nil {
				item.left = true
				return nil, errors.Join(fmt.Errorf("sqldb: statement %d of the batch: %w", i+1, err), c.leaveBatch(ctx, items, errBatchUnsent))
			}
		}
	}
	return items, nil
}

// readsOnly tells whether no statement waits for its intent before it is sent.
func (c *conn) readsOnly(ctx context.Context, queued []*pgx.QueuedQuery) bool {
	if _, err := tenant.FromContext(ctx); err != nil {
		return true // and the first statement is refused, before a text of whoever it is costs anything
	}
	return !slices.ContainsFunc(queued, func(q *pgx.QueuedQuery) bool {
		plan, err := c.db.plan(ctx, q.SQL, 1)
		return err != nil || plan.Verb != sqlplan.Read || plan.Effects
	})
}

// runBatch sends the statements, and returns the place of the one that failed.
func (c *conn) runBatch(ctx context.Context, items []*batchItem) (failed int, err error) {
	oneByOne := false
	for _, item := range items {
		if err := c.send(ctx, item.access); err != nil {
			return 0, &unsentError{err}
		}
		oneByOne = oneByOne || len(item.access.once) > 0
	}
	if !oneByOne {
		return c.session.(*pgSession).sendAll(ctx, items[0].access.id, items)
	}
	// While an index key is rotated a look follows each write: see alone.
	if c.tx != nil {
		return c.oneByOne(ctx, items)
	}
	if err := c.session.begin(ctx, items[0].access.id, driver.TxOptions{}); err != nil {
		return 0, &unsentError{err}
	}
	if failed, err = c.oneByOne(ctx, items); err != nil {
		if rerr := c.session.rollback(context.WithoutCancel(ctx)); rerr != nil {
			return failed, errors.Join(err, rerr)
		}
		return failed, &unsentError{err} // whatever was sent is taken back
	}
	return 0, c.session.commit(ctx)
}

func (c *conn) oneByOne(ctx context.Context, items []*batchItem) (failed int, err error) {
	session := c.session.(*pgSession)
	for i, item := range items {
		a := item.access
		cur, err := session.query(ctx, a.id, a.plan.SQL, a.values)
		if err == nil {
			item.kept, _, _, err = exhaust(cur, true)
		}
		if item.tag = session.tag; err != nil {
			return i, err
		}
		a.done = c.tx != nil // whatever becomes of the batch, nothing but the caller takes it back
		if err := c.onlyOnce(ctx, a); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// sendAll runs the statements in one round trip, and outside a transaction as one.
func (s *pgSession) sendAll(ctx context.Context, id tenant.ID, items []*batchItem) (failed int, err error) {
	if s.reading {
		return 0, errReading
	}
	if !s.inTx {
		if err := s.describeAnew(ctx); err != nil {
			return 0, err
		}
	}
	batch, switching := &pgx.Batch{}, s.switching(id)
	if switching {
		if s.inTx {
			return 0, errTxTenant
		}
		batch = s.settingTenant(id)
	}
	for _, item := range items {
		batch.Queue(item.access.plan.SQL, anys(item.access.values)...)
	}
	results := s.conn.SendBatch(ctx, batch)
	if switching {
		if _, err := results.Exec(); err != nil {
			results.Close()
			return 0, s.badConn(err)
		}
	}
	var before *keptRows
	for i, item := range items {
		rows, err := results.Query()
		if err == nil {
			var cur cursor
			if cur, err = newPgCursor(s, rows, nil); err == nil {
				item.kept = keepColumns(cur, before)
				_, _, err = exhaustInto(cur, item.kept)
				item.tag, before = s.tag, item.kept
			}
		}
		if err != nil {
			results.Close()
			if i == 0 && !switching {
				return 0, s.badConn(err)
			}
			return i, s.lost(err)
		}
	}
	if err := results.Close(); err != nil {
		return len(items) - 1, s.lost(err)
	}
	if switching {
		s.remember(id)
	}
	return 0, nil
}

// failedBatch records the outcome of a batch of which a statement failed, and returns why.
func (c *conn) failedBatch(ctx context.Context, items []*batchItem, failed int, why error) error {
	others := errBatchFailed
	if unanswered(why) {
		others = why // of none is it known
	}
	err := why
	if !items[failed].left {
		items[failed].left = true
		err = c.failed(ctx, items[failed].access, why)
	}
	if !errors.Is(err, driver.ErrBadConn) {
		err = fmt.Errorf("sqldb: statement %d of the batch: %w", failed+1, err)
	}
	return errors.Join(err, c.leaveBatch(ctx, items, others))
}

// leaveBatch records that the statements failed whose outcome is not recorded yet.
func (c *conn) leaveBatch(ctx context.Context, items []*batchItem, why error) error {
	var errs []error
	for _, item := range items {
		if item.left {
			continue
		}
		item.left = true
		if err := c.failed(ctx, item.access, why); errors.Is(err, audit.ErrUnavailable) || errors.Is(err, ErrOutcomeUnknown) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// batchResults are the results of a batch, in pgx's form. They are in memory, and known to stand.
type batchResults struct {
	ctx     context.Context
	conn    *conn
	types   *pgtype.Map
	items   []*batchItem
	queued  []*pgx.QueuedQuery
	release func(error)
	read    int
	open    []*nativeRows // which may not be closed yet
	closed  bool
	err     error
}

var _ pgx.BatchResults = (*batchResults)(nil)

var errBatchRead = errors.New("sqldb: the batch has no further result, or is closed")

func (b *batchResults) take() (*batchItem, error) {
	if b.closed || b.read == len(b.items) {
		return nil, errBatchRead
	}
	b.read++
	return b.items[b.read-1], nil
}

// Exec implements pgx.BatchResults.
func (b *batchResults) Exec() (pgconn.CommandTag, error) {
	item, err := b.take()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	return item.tag, b.fail(item.leave(b.ctx))
}

// leave records the outcome of a statement whose rows nobody is shown.
func (i *batchItem) leave(ctx context.Context) error {
	if i.left {
		return nil
	}
	i.left = true
	return i.access.pass.Leave(ctx, gate.Result{Rows: i.access.recorded(i.count()), Bytes: -1})
}

func (b *batchResults) fail(err error) error {
	if b.err == nil {
		b.err = err
	}
	return err
}

// Query implements pgx.BatchResults.
func (b *batchResults) Query() (pgx.Rows, error) {
	item, err := b.take()
	if err != nil {
		return &failedRows{err: err}, err
	}
	if !item.access.plan.ReturnsRows {
		err := b.fail(item.leave(b.ctx))
		return &failedRows{err: err, tag: item.tag}, err
	}
	item.left = true
	r, err := newRows(b.ctx, b.conn, item.access, item.kept.cursor())
	if err != nil {
		err = b.fail(b.conn.failed(b.ctx, item.access, err))
		return &failedRows{err: err}, err
	}
	rows := newNativeRows(r, b.types, func() pgconn.CommandTag { return item.tag }, func(err error) { b.fail(err) })
	b.open = append(b.open, rows)
	return rows, nil
}

// QueryRow implements pgx.BatchResults.
func (b *batchResults) QueryRow() pgx.Row {
	rows, _ := b.Query()
	return nativeRow{rows}
}

// Close implements pgx.BatchResults: it calls the functions that were queued with statements whose results nobody has read, closes
// the results that are open, and records the outcomes. One of the functions may close it, or end the transaction.
func (b *batchResults) Close() (err error) {
	if b.closed {
		return b.err
	}
	defer func() { // also where one of the functions panics
		if !b.closed {
			b.end()
		}
		err = b.err
	}()
	for !b.closed && b.read < len(b.items) && b.err == nil {
		if fn := b.queued[b.read].Fn; fn != nil {
			read := b.read
			b.fail(fn(b))
			b.read = read + 1
		} else {
			b.Exec()
		}
	}
	return nil
}

// abandon closes the batch, if it is not closed, without calling the functions that were queued: its transaction ends.
func (b *batchResults) abandon() {
	if b.closed {
		return
	}
	for _, rows := range b.open {
		rows.cut()
	}
	b.end()
}

// end gives the connection back.
func (b *batchResults) end() {
	b.closed = true
	for _, rows := range b.open {
		rows.Close()
	}
	for _, item := range b.items {
		b.fail(item.leave(b.ctx))
	}
	b.release(b.err)
}

// Tx implements pgx.BatchResults. It returns nil: a batch begins no transaction.
func (b *batchResults) Tx() pgx.Tx { return nil }

// failedResults are those of a batch that was not sent, or failed.
type failedResults struct{ err error }

func (f failedResults) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, f.err }
func (f failedResults) Query() (pgx.Rows, error)         { return &failedRows{err: f.err}, f.err }
func (f failedResults) QueryRow() pgx.Row                { return nativeRow{&failedRows{err: f.err}} }
func (f failedResults) Close() error                     { return f.err }
func (f failedResults) Tx() pgx.Tx                       { return nil }
