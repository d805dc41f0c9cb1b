package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/tenant"
)

// conn is a guarded connection. It implements the driver's interfaces and nothing else, so that what
// (*sql.Conn).Raw hands out is guarded as well.
type conn struct {
	db      *database
	session session
	tx      *transaction // nil outside one
	taken   time.Time    // when database/sql gave it out last
}

// restedLong is how long a connection of database/sql's pool may have rested that is given out without a look at whether its server
// is still there. It is pgx's own, for its pool and for database/sql.
const restedLong = time.Second

var (
	_ driver.Conn               = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
)

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	ctx, a, err := c.enter(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if !a.plan.ReturnsRows {
		_, err := c.run(ctx, a)
		return emptyRows{}, err
	}
	cur, err := c.query(ctx, a)
	if err != nil {
		return nil, c.failed(ctx, a, err)
	}
	if err := c.admitted(ctx, a); err != nil {
		c.abandon(a, cur)
		return nil, err
	}
	r, err := newRows(ctx, c, a, cur)
	if err != nil {
		c.abandon(a, cur)
		return nil, c.failed(ctx, a, err)
	}
	return r, nil
}

// query sends a statement that returns rows. A write by itself is over before any of its rows is handed out: they come
// before it is permanent, and a caller whose context ends while it reads them hears of that alone, from database/sql.
func (c *conn) query(ctx context.Context, a *access) (_ cursor, err error) {
	ctx, span := c.db.telemetry.Send(ctx)
	defer func() { span.End(gate.Class(err)) }()
	if err := c.send(ctx, a); err != nil {
		return nil, err
	}
	if len(a.once) > 0 {
		var kept *keptRows
		err := c.alone(ctx, a, func() error {
			cur, err := c.session.query(ctx, a.id, a.plan.SQL, a.values)
			if err != nil {
				return err
			}
			kept, _, _, err = exhaust(cur, true)
			return err
		})
		a.done = err == nil
		if err != nil {
			return nil, err
		}
		return kept.cursor(), nil
	}
	cur, err := c.session.query(ctx, a.id, a.plan.SQL, a.values)
	if err != nil || a.tx != nil || !a.writes() {
		return cur, err
	}
	kept, _, done, err := exhaust(cur, true)
	if a.done = done || err == nil; err != nil {
		return nil, err
	}
	return kept.cursor(), nil
}

// abandon closes a result that the caller does not get to see.
func (c *conn) abandon(a *access, cur cursor) {
	if cur.close() == nil && a.writes() {
		c.doubt(a) // the write stands in the transaction
	}
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	ctx, a, err := c.enter(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return c.run(ctx, a)
}

// run executes a statement without showing its rows. Its result is how many it changed or would have returned.
func (c *conn) run(ctx context.Context, a *access) (driver.Result, error) {
	if a.pass == nil {
		err := c.savepoint(ctx, a)
		a.reported.End(ctx, outcomeOf(err))
		return result{}, err
	}
	n, err := c.exec(ctx, a)
	return c.ran(ctx, a, n, err)
}

// ran records how an executed statement went, and returns its result.
func (c *conn) ran(ctx context.Context, a *access, n int64, err error) (driver.Result, error) {
	if err != nil {
		return nil, c.failed(ctx, a, err)
	}
	r := result{rows: n}
	if a.tx != nil && a.writes() { // what it writes, COMMIT waits for, and its result for itself
		tx, ctx := a.tx, context.WithoutCancel(ctx) // a result is asked without a context, maybe after that of its statement
		r.admitted = func() error { return tx.admitted(ctx, a.pass) }
	} else if err := c.admitted(ctx, a); err != nil {
		return nil, err
	}
	return r, a.pass.Leave(ctx, gate.Result{Rows: a.recorded(n), Bytes: -1})
}

// recorded is what the trail says of the number of rows: nothing where a write in WITH is not in that number.
func (a *access) recorded(rows int64) int64 {
	if a.plan.WritesInWith {
		return -1
	}
	return rows
}

// exec sends a statement and counts its rows. Their values stay sealed.
func (c *conn) exec(ctx context.Context, a *access) (n int64, err error) {
	ctx, span := c.db.telemetry.Send(ctx)
	defer func() { span.End(gate.Class(err)) }()
	if err := c.send(ctx, a); err != nil {
		return 0, err
	}
	if len(a.once) > 0 {
		err = c.alone(ctx, a, func() (err error) { n, err = c.execute(ctx, a); return err })
		if err != nil && a.tx == nil {
			a.done = false // it was taken back, or nobody knows
		}
		return n, err
	}
	return c.execute(ctx, a)
}

func (c *conn) execute(ctx context.Context, a *access) (int64, error) {
	if !a.plan.ReturnsRows {
		return c.session.exec(ctx, a.id, a.plan.SQL, a.values)
	}
	cur, err := c.session.query(ctx, a.id, a.plan.SQL, a.values)
	if err != nil {
		return 0, err
	}
	_, n, done, err := exhaust(cur, false)
	a.done = done
	return n, err
}

// savepoint sends a statement that touches no data. Where it is not known whether it took place, a later ROLLBACK TO could
// lead to another savepoint of that name.
func (c *conn) savepoint(ctx context.Context, a *access) error {
	if err := c.send(ctx, a); err != nil {
		return err
	}
	_, err := c.session.exec(ctx, a.id, a.plan.SQL, nil)
	if unanswered(err) {
		c.doubt(a)
	}
	return err
}

// access is one admitted statement.
type access struct {
	plan   *sqlplan.Plan
	id     tenant.ID
	pass   *gate.Pass // nil for a savepoint, which touches no data
	values []driver.Value
	once   []once       // what a unique key admits once, to be looked for after the statement
	tx     *transaction // that it runs in, nil for none
	sent   bool         // it may have reached the database
	done   bool         // the database has done it, whatever became of its answer

	reported *telemetry.Access // nil where telemetry is off
}

// admit plans the statement, passes the gate and binds the arguments.
func (c *conn) admit(ctx context.Context, reported *telemetry.Access, query string, args []driver.NamedValue) (*access, error) {
	if _, err := tenant.FromContext(ctx); err != nil { // before a text of whoever it is costs anything
		return nil, c.refuse(ctx, err)
	}
	plan, err := c.db.plan(ctx, query, 1)
	if err != nil {
		return nil, c.refuse(ctx, err)
	}
	c.db.describe(reported, plan)
	if err := c.checkTx(ctx); err != nil {
		return nil, err
	}
	if len(args) != plan.NumInput {
		return nil, fmt.Errorf("sqldb: the statement takes %d parameters and was given %d", plan.NumInput, len(args))
	}
	if err := c.checkArgs(plan, args); err != nil {
		return nil, err
	}
	if plan.Verb == sqlplan.Savepoint {
		if c.tx == nil {
			// SQLite would begin a transaction with it, that nobody knows of and nobody ends.
			return nil, c.refuse(ctx, sqlplan.Refused("savepoint outside a transaction", "SAVEPOINT", 0, "begin a transaction with BeginTx"))
		}
		acc, err := c.db.gate.Check(ctx, c.db.op(plan, c.tx))
		if err != nil {
			return nil, err
		}
		return &access{plan: plan, id: acc.Tenant, tx: c.tx, reported: reported}, nil
	}
	pass, err := c.pass(ctx, reported, plan)
	if err != nil {
		return nil, err
	}
	a := &access{plan: plan, id: pass.Tenant(), pass: pass, tx: c.tx}
	if versions := len(pass.Keys().IndexKeyIDs()); versions > 1 {
		// The tenant's index key is being rotated: search under every live version.
		if plan, err = c.db.plan(ctx, query, versions); err != nil {
			return nil, c.failed(ctx, a, err) // which records it by the plan that the gate was told of
		}
		a.plan = plan
	}
	if err := c.db.checkTenants(ctx, a, args); err != nil {
		return nil, c.failed(ctx, a, err)
	}
	if a.values, err = c.db.bind(pass, a.plan, args); err != nil {
		return nil, c.failed(ctx, a, err)
	}
	if a.once, err = c.db.onceOf(a, args); err != nil {
		return nil, c.failed(ctx, a, err)
	}
	c.db.planned.Barriers(a.plan.Barriers)
	return a, nil
}

// pass passes the gate. A read, and a statement of a transaction, is sent while its intent is on its way to the trail: what
// waits for it is what the database answers, and COMMIT. A write by itself waits, for the database makes it permanent, and so
// does what draws from a sequence or calls a declared function, of which it is not known what ROLLBACK takes back.
func (c *conn) pass(ctx context.Context, reported *telemetry.Access, plan *sqlplan.Plan) (*gate.Pass, error) {
	op := c.db.op(plan, c.tx)
	op.Access = reported
	if c.tx == nil && plan.Verb != sqlplan.Read || plan.Effects {
		return c.db.gate.Enter(ctx, op)
	}
	pass, err := c.db.gate.Begin(ctx, op)
	if err == nil && c.tx != nil {
		err = c.tx.owes(ctx, pass)
	}
	return pass, err
}

// admitted waits until the statement's intent is in the trail. Where it does not get there, nothing of what the database
// said is to be released.
func (c *conn) admitted(ctx context.Context, a *access) error {
	var err error
	if a.tx != nil {
		err = a.tx.admitted(ctx, a.pass)
	} else {
		err = a.pass.Wait(ctx)
	}
	if err == nil {
		return nil
	}
	if lerr := a.pass.Leave(ctx, a.result(-1, err)); lerr != nil {
		return errors.Join(err, lerr)
	}
	return err
}

// checkTx refuses another tenant's statement in a transaction.
func (c *conn) checkTx(ctx context.Context) error {
	if c.tx == nil {
		return nil
	}
	acc, err := tenant.FromContext(ctx)
	if err == nil && acc.Tenant != c.tx.id {
		err = ErrTxTenant
	}
	if err != nil {
		return c.refuse(ctx, err)
	}
	if c.tx.unknown {
		return errTxUnknown
	}
	if c.tx.withheld {
		// How the next statement goes would tell how the one went whose answer nobody was to see.
		if err := c.tx.settle(ctx, len(c.tx.unsettled)); err != nil {
			return err
		}
		c.tx.withheld = false
	}
	return c.tx.unrecorded
}

// refuse records a refusal made before the gate.
func (c *conn) refuse(ctx context.Context, why error) error {
	return c.db.gate.Refuse(ctx, &gate.Op{
		Code:   audit.CodeQuery,
		Action: tenant.Action{Verb: tenant.Read, Store: c.db.store, Name: c.db.engine.name()},
	}, why)
}

// failed records that an admitted statement failed, and returns why.
func (c *conn) failed(ctx context.Context, a *access, why error) error {
	if a.sent && (a.done || unanswered(why)) {
		c.doubt(a)
	}
	if a.sent {
		if err := c.admitted(ctx, a); err != nil {
			return err // and nothing of what the database said
		}
	}
	r := a.result(-1, why)
	if err := a.pass.Leave(ctx, r); err != nil {
		return errors.Join(r.Err, err)
	}
	return r.Err
}

// result is how the statement went. A write by itself may stand although its answer was lost, or not shown; a transaction
// in which one may stand is not committed.
func (a *access) result(rows int64, err error) gate.Result {
	r := gate.Result{Rows: a.recorded(rows), Bytes: -1, Err: err}
	if err == nil || !a.sent || a.tx != nil || !a.writes() {
		return r
	}
	if r.Unknown = a.done || unanswered(err); r.Unknown && !errors.Is(err, ErrOutcomeUnknown) {
		r.Err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return r
}

// op describes a planned statement to the gate.
func (d *database) op(p *sqlplan.Plan, tx *transaction) *gate.Op {
	op := &gate.Op{
		Code: audit.CodeExec,
		Action: tenant.Action{
			Verb: tenant.Write, Store: d.store, Name: d.engine.name(),
			Tables: p.Tables, Columns: p.Columns,
		},
		AlsoDeletes:   p.AlsoDeletes,
		SealedColumns: p.SealedColumns, Statement: p.Statement, Fingerprint: p.Fingerprint,
	}
	switch p.Verb {
	case sqlplan.Read, sqlplan.Savepoint:
		op.Code, op.Action.Verb = audit.CodeQuery, tenant.Read
	case sqlplan.Delete:
		op.Action.Verb = tenant.Delete
	}
	if tx != nil {
		op.Transaction = tx.uid
	}
	return op
}

// Ping implements driver.Pinger. It touches no data and needs no tenant.
func (c *conn) Ping(ctx context.Context) error { return c.session.ping(ctx) }

// Close implements driver.Conn. A transaction that is still open is rolled back by it.
func (c *conn) Close() error {
	if c.tx != nil {
		return errors.Join(c.tx.Rollback(), c.session.close())
	}
	return c.session.close()
}

// ResetSession implements driver.SessionResetter. A server that was restarted, or has failed over, ends the sessions that rest in a pool:
// whoever was given one of them would be told that nobody knows whether his write took place.
func (c *conn) ResetSession(ctx context.Context) error {
	if !c.IsValid() {
		return driver.ErrBadConn
	}
	now := time.Now()
	if now.Sub(c.taken) > restedLong && c.session.ping(ctx) != nil {
		return driver.ErrBadConn
	}
	c.taken = now
	return nil
}

// IsValid implements driver.Validator: a connection with an open transaction is not handed to another request.
func (c *conn) IsValid() bool { return c.tx == nil && c.session.usable() }

// result is how many rows a statement changed. There is no LastInsertId: PostgreSQL has none, and SQLite's would be
// of a table's rowid.
type result struct {
	rows int64
	// admitted waits until the statement's intent is in the trail, where that was not waited for: the number is an answer of
	// the database's.
	admitted func() error
}

func (r result) LastInsertId() (int64, error) {
	return 0, errors.New("sqldb: LastInsertId is not supported; use INSERT … RETURNING id")
}

func (r result) RowsAffected() (int64, error) {
	if r.admitted != nil {
		if err := r.admitted(); err != nil {
			return 0, err
		}
	}
	return r.rows, nil
}
