package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/tenant"
)

// nativeTx is a transaction, or a savepoint in one, in pgx's form.
type nativeTx struct {
	*sharedTx
	savepoint string // empty for the transaction itself
	closed    bool
}

// sharedTx is what a transaction has in common with the savepoints in it.
type sharedTx struct {
	held *held
	tx   *transaction
	// mu is held while the connection is in use, and to end the transaction: after that the connection is another's, and nothing that
	// is still under way here may reach it.
	mu         sync.Mutex
	ended      bool
	savepoints int             // how many there have been
	batches    []*batchResults // that may not be closed yet
	rows       []*nativeRows   // that may not be closed yet: one, but where the others are
}

var _ pgx.Tx = (*nativeTx)(nil)

// txOptions makes database/sql's options of pgx's. A statement of the caller's own to begin or to commit with would go past the guard.
func txOptions(o pgx.TxOptions) (options driver.TxOptions, err error) {
	if o.DeferrableMode != "" || o.BeginQuery != "" || o.CommitQuery != "" {
		return options, errors.New("sqldb: of pgx.TxOptions only IsoLevel and AccessMode are supported")
	}
	levels := map[pgx.TxIsoLevel]sql.IsolationLevel{
		"": sql.LevelDefault, pgx.ReadUncommitted: sql.LevelReadUncommitted, pgx.ReadCommitted: sql.LevelReadCommitted,
		pgx.RepeatableRead: sql.LevelRepeatableRead, pgx.Serializable: sql.LevelSerializable,
	}
	level, known := levels[pgx.TxIsoLevel(strings.ToLower(string(o.IsoLevel)))]
	if !known {
		return options, fmt.Errorf("sqldb: PostgreSQL has no isolation level %q; use pgx.Serializable", o.IsoLevel)
	}
	switch o.AccessMode {
	case "", pgx.ReadWrite:
	case pgx.ReadOnly:
		options.ReadOnly = true
	default:
		return options, fmt.Errorf("sqldb: PostgreSQL has no access mode %q; use pgx.ReadOnly or pgx.ReadWrite", o.AccessMode)
	}
	options.Isolation = driver.IsolationLevel(level)
	return options, nil
}

func beginNative(ctx context.Context, h *held, options driver.TxOptions) (*nativeTx, error) {
	if _, err := h.conn.BeginTx(ctx, options); err != nil {
		return nil, err
	}
	return &nativeTx{sharedTx: &sharedTx{held: h, tx: h.conn.tx}}, nil
}

// savepointName begins the names of savepoints, so that they are none of the application's own.
const savepointName = "strongroom_savepoint_"

var errTxBusy = errors.New("sqldb: the transaction is running another statement; it can run one at a time")

// run runs a statement of the transaction's, or tells that the transaction or the savepoint is over.
func (t *nativeTx) run(statement func(*conn) error) error {
	if !t.mu.TryLock() {
		return errTxBusy
	}
	defer t.mu.Unlock()
	if t.ended || t.closed {
		return pgx.ErrTxClosed
	}
	return lostTx(statement(t.held.conn))
}

// Begin implements pgx.Tx: it sets a savepoint.
func (t *nativeTx) Begin(ctx context.Context) (pgx.Tx, error) {
	nested := &nativeTx{sharedTx: t.sharedTx}
	err := t.run(func(c *conn) error {
		t.savepoints++
		nested.savepoint = fmt.Sprintf("%s%d", savepointName, t.savepoints)
		_, err := c.execNative(ctx, "SAVEPOINT "+nested.savepoint, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return nested, nil
}

// Commit implements pgx.Tx. The access is that of the context that began the transaction, whose end does not matter; that of ctx does.
func (t *nativeTx) Commit(ctx context.Context) error {
	if t.savepoint != "" {
		return t.leave(ctx, "RELEASE SAVEPOINT ")
	}
	return t.end(ctx, t.tx.Commit)
}

// Rollback implements pgx.Tx. It does not end with ctx.
func (t *nativeTx) Rollback(ctx context.Context) error {
	if t.savepoint != "" {
		return t.leave(context.WithoutCancel(ctx), "ROLLBACK TO SAVEPOINT ")
	}
	return t.end(ctx, t.tx.Rollback)
}

// leave ends a savepoint. Where that fails, what its caller takes for undone may stand, and the transaction is not committed any more.
func (t *nativeTx) leave(ctx context.Context, how string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || t.closed {
		return pgx.ErrTxClosed
	}
	if err := t.mayEnd(ctx); err != nil {
		return err
	}
	t.closed = true
	_, err := t.held.conn.execNative(endingContext{ctx, t.tx.ctx}, how+t.savepoint, nil)
	var answer *pgconn.PgError
	if err != nil && !errors.As(err, &answer) { // after an answer the server commits nothing itself
		t.tx.unknown = true
	}
	return lostTx(err)
}

// mayEnd refuses another tenant's context. One without an access will do.
func (t *nativeTx) mayEnd(ctx context.Context) error {
	if acc, err := tenant.FromContext(ctx); err == nil && acc.Tenant != t.tx.id {
		return t.held.conn.refuse(ctx, ErrTxTenant)
	}
	return nil
}

func (t *nativeTx) end(ctx context.Context, end func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return pgx.ErrTxClosed
	}
	if err := t.mayEnd(ctx); err != nil {
		return err
	}
	t.ended = true
	t.tx.ctx = endingContext{ctx, t.tx.ctx}
	for _, b := range t.batches {
		b.abandon()
	}
	for _, r := range t.rows {
		r.cut()
	}
	err := t.held.run(func(*held) error { return end() })
	t.held.release(err)
	if errors.Is(err, errCommitRolledBack) {
		err = errors.Join(pgx.ErrTxCommitRollback, err)
	}
	return err
}

// endingContext ends with one context, and has the values, the access among them, of another.
type endingContext struct {
	context.Context
	values context.Context
}

func (c endingContext) Value(key any) any { return c.values.Value(key) }

// Exec implements pgx.Tx.
func (t *nativeTx) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	err = t.run(func(c *conn) error {
		tag, err = c.execNative(ctx, sql, args)
		return err
	})
	return tag, err
}

// Query implements pgx.Tx.
func (t *nativeTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	var rows pgx.Rows
	err := t.run(func(c *conn) (err error) {
		rows, err = c.queryNative(ctx, sql, args, func(error) {})
		if r, open := rows.(*nativeRows); open {
			r.tx = t.sharedTx
			t.rows = append(slices.DeleteFunc(t.rows, func(r *nativeRows) bool { return r.closed }), r)
		}
		return err
	})
	if err != nil {
		return &failedRows{err: err}, err
	}
	return rows, nil
}

// QueryRow implements pgx.Tx.
func (t *nativeTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := t.Query(ctx, sql, args...)
	return nativeRow{rows}
}

// SendBatch implements pgx.Tx.
func (t *nativeTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	var results *batchResults
	err := t.run(func(c *conn) (err error) {
		if results, err = c.sendBatch(ctx, b, func(error) {}); err == nil {
			open := slices.DeleteFunc(t.batches, func(b *batchResults) bool { return b.closed })
			t.batches = append(open, results)
		}
		return err
	})
	if err != nil {
		return failedResults{err}
	}
	return results
}

// lostTx explains the end of a transaction's connection, which no other one can take the place of.
func lostTx(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return fmt.Errorf("sqldb: the connection of the transaction is gone, and with it the transaction: %w", err)
	}
	return err
}

// LargeObjects implements pgx.Tx. Large objects are no tenant's: what it returns panics when it is used.
func (t *nativeTx) LargeObjects() pgx.LargeObjects { return pgx.LargeObjects{} }

// Prepare implements pgx.Tx. It refuses: statements are prepared by themselves when they run for the first time.
func (t *nativeTx) Prepare(context.Context, string, string) (*pgconn.StatementDescription, error) {
	return nil, errors.New("sqldb: named prepared statements are not supported; pass the text each time, it is prepared once for each connection")
}

// Conn returns nil: a connection would run statements past the guard.
func (t *nativeTx) Conn() *pgx.Conn { return nil }
