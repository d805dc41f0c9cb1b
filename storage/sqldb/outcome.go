package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"slices"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// How a write went is the engine's to say. Where something else came in the place of its answer, the write may stand: it is
// then unknown how it went, for the caller and in the trail, whatever kind of error it was. An engine that knows better says
// so with one of the two errors here.

// noAnswerError is the end of a connection, of a context or of the driver's patience that came in the place of the
// database's answer to what had been sent.
type noAnswerError struct{ err error }

func (e *noAnswerError) Error() string { return "sqldb: no answer came: " + e.err.Error() }
func (e *noAnswerError) Unwrap() error { return e.err }

// unsentError is a failure before anything reached the database.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// unanswered tells whether err came in the place of the engine's answer. The end of a context does, unless the engine says
// that nothing had been sent: some drivers report it also for what the database has done by then.
func unanswered(err error) bool {
	var unsent *unsentError
	if errors.As(err, &unsent) || errors.Is(err, errCommitRolledBack) {
		return false
	}
	var lost *noAnswerError
	return errors.As(err, &lost) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// errTxUnknown is the answer to every statement of a transaction after one whose effect in it is not known.
var errTxUnknown = errors.New("sqldb: it is not known what an earlier statement did in the transaction; roll it back")

// send marks a statement as sent. One whose context has ended is not: it is known not to take place.
func (c *conn) send(ctx context.Context, a *access) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.sent = true
	if c.tx != nil && a.writes() {
		c.tx.wrote = true
	}
	return nil
}

// writes tells whether it matters later if the statement took place.
func (a *access) writes() bool {
	return a.plan.Verb != sqlplan.Read && a.plan.Verb != sqlplan.Savepoint
}

// doubt keeps a transaction from being committed in which it is not known what took place: what the trail calls a failure
// would stand.
func (c *conn) doubt(a *access) {
	if a.tx != nil && a.plan.Verb != sqlplan.Read {
		a.tx.unknown = true
	}
}

// exhaust reads a write's result to its end and closes it, whereupon the engine has said how the write went. Rows are kept
// where a caller wants to see them. Done tells that the write took place although its rows could not be read.
func exhaust(cur cursor, keep bool) (kept *keptRows, n int64, done bool, err error) {
	if keep {
		kept = keepColumns(cur, nil)
	}
	n, done, err = exhaustInto(cur, kept)
	return kept, n, done, err
}

// exhaustInto is exhaust for a result whose columns are kept already, or nil.
func exhaustInto(cur cursor, kept *keptRows) (n int64, done bool, err error) {
	keep := kept != nil
	var dest []driver.Value
	switch {
	case !keep:
		dest = make([]driver.Value, len(cur.columns()))
	case kept.native == nil: // or there are no values to fill in
		dest = make([]driver.Value, len(kept.names))
	}
	for {
		if err = cur.next(dest); err != nil {
			break
		}
		n++
		if keep && kept.keepWire(cur) {
			continue
		}
		if keep {
			kept.rows = append(kept.rows, dest)
			dest = make([]driver.Value, len(dest))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	cerr := cur.close()
	return n, err != nil && cerr == nil, errors.Join(err, cerr)
}

// keptRows is the result of a write outside a transaction: its rows came before the write was permanent, and are handed out
// after it.
type keptRows struct {
	names, types []string
	origins      []keptOrigin
	rows         [][]driver.Value
	native       *keptWire // in place of rows, of a nativeCursor
}

type keptOrigin struct {
	table, column string
	known         bool
}

// keepColumns keeps what an open cursor says of its columns. Before may be an earlier result of the same connection, with which a result that is
// described alike shares what follows from the description, as the statements of a batch often do.
func keepColumns(cur cursor, before *keptRows) *keptRows {
	k := &keptRows{names: cur.columns()} // its own: rows call its columns what their plan does
	wire, native := cur.(wireRows)
	if native && before != nil && slices.Equal(before.native.described, wire.fields()) {
		k.origins, k.types, k.native = before.origins, before.types, &keptWire{described: before.native.described}
		return k
	}
	k.origins, k.types = make([]keptOrigin, len(k.names)), make([]string, len(k.names))
	for i := range k.names {
		o := &k.origins[i]
		o.table, o.column, o.known = cur.origin(i)
		k.types[i] = cur.databaseType(i)
	}
	if native {
		k.native = &keptWire{described: slices.Clone(wire.fields())}
	}
	return k
}

// cursor hands the rows out.
func (k *keptRows) cursor() cursor {
	if k.native != nil {
		return keptNative{k}
	}
	return k
}

func (k *keptRows) columns() []string { return k.names }

func (k *keptRows) origin(i int) (table, column string, known bool) {
	o := k.origins[i]
	return o.table, o.column, o.known
}

func (k *keptRows) databaseType(i int) string { return k.types[i] }

func (k *keptRows) next(dest []driver.Value) error {
	if len(k.rows) == 0 {
		return io.EOF
	}
	copy(dest, k.rows[0])
	k.rows = k.rows[1:]
	return nil
}

func (k *keptRows) close() error { return nil }
