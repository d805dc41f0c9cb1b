package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/tenant"
)

// transaction is an open transaction. It belongs to the tenant that began it.
type transaction struct {
	conn *conn
	ctx  context.Context // the one that began it: Commit and Rollback have none of their own
	id   tenant.ID
	uid  string
	// wrote tells that a statement was sent which may have changed something.
	wrote bool
	// unknown tells that it is not known what a statement did: the transaction is not committed any more.
	unknown bool
	// unsettled are the statements whose intents may not be in the trail yet, and unrecorded says why one's cannot be: then
	// the transaction is not committed.
	unsettled  []*gate.Pass
	unrecorded error
	// withheld tells that the caller of a statement gave up before its intent was in the trail, and did not see its answer.
	withheld bool
}

// maxUnsettled bounds what a transaction keeps of its statements. Those in the first half of them are long in the trail.
const maxUnsettled = 128

// owes takes a statement in for whose intent COMMIT waits.
func (t *transaction) owes(ctx context.Context, pass *gate.Pass) error {
	if len(t.unsettled) >= maxUnsettled {
		if err := t.settle(ctx, maxUnsettled/2); err != nil {
			return err
		}
	}
	t.unsettled = append(t.unsettled, pass)
	return nil
}

// lacks notes that an event is not in the trail, unless who waited for it gave up: then the next statement, or COMMIT, waits
// for it once more.
func (t *transaction) lacks(ctx context.Context, err error) error {
	if t.withheld = true; ctx.Err() == nil {
		t.unrecorded = err
	}
	return err
}

// admitted waits until a statement's intent is in the trail.
func (t *transaction) admitted(ctx context.Context, pass *gate.Pass) error {
	if err := pass.Wait(ctx); err != nil {
		return t.lacks(ctx, err)
	}
	return nil
}

// settle waits until the intents of the oldest n statements are in the trail.
func (t *transaction) settle(ctx context.Context, n int) error {
	for len(t.unsettled) > 0 && n > 0 {
		if err := t.admitted(ctx, t.unsettled[0]); err != nil {
			return err
		}
		t.unsettled = t.unsettled[1:]
		n--
	}
	return nil
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (_ driver.Tx, err error) {
	began := ctx // that of the caller, which COMMIT goes on with
	ctx, reported := c.db.telemetry.Command(ctx, "BEGIN")
	defer func() { reported.End(ctx, outcomeOf(err)) }()
	if c.tx != nil {
		return nil, errors.New("sqldb: the connection is in a transaction already")
	}
	op := &gate.Op{
		Code:   audit.CodeQuery,
		Action: tenant.Action{Verb: tenant.Read, Store: c.db.store, Name: c.db.engine.name()},
	}
	acc, err := c.db.gate.Check(ctx, op)
	if err != nil {
		return nil, err
	}
	uid, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("sqldb: no randomness for a transaction id: %w", err)
	}
	if err := c.session.begin(ctx, acc.Tenant, opts); err != nil {
		if unanswered(err) && ctx.Err() == nil {
			return nil, driver.ErrBadConn // what began, if anything did, went with the connection: another one does as well
		}
		return nil, err
	}
	c.tx = &transaction{conn: c, ctx: began, id: acc.Tenant, uid: uid.String()}
	return c.tx, nil
}

// Begin implements driver.Conn.
func (c *conn) Begin() (driver.Tx, error) { return nil, errNoContext }

// Commit implements driver.Tx. Only a transaction that wrote leaves an event: its reads were recorded one by one.
func (t *transaction) Commit() (err error) {
	ending := t.ends("COMMIT")
	defer func() { ending.end(err) }()
	if t.wrote {
		// Who lost access since the transaction began does not make it permanent.
		if _, err := t.conn.db.gate.Check(t.ctx, t.op(audit.CodeCommit)); err != nil {
			return errors.Join(err, t.Rollback())
		}
	}
	if t.unrecorded == nil {
		t.settle(t.ctx, len(t.unsettled))
	}
	if err := t.mustNotCommit(); err != nil {
		t.conn.tx = nil
		err = errors.Join(err, t.conn.session.rollback(context.WithoutCancel(t.ctx)))
		return t.record(audit.CodeCommit, gate.Result{Rows: -1, Bytes: -1, Err: err})
	}
	t.conn.tx = nil
	err = t.conn.session.commit(t.ctx)
	unknown := t.wrote && unanswered(err)
	if unknown {
		err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return t.record(audit.CodeCommit, gate.Result{Rows: -1, Bytes: -1, Err: err, Unknown: unknown})
}

// mustNotCommit says why COMMIT is not sent: the context has ended already, or something may stand that nobody knows of.
func (t *transaction) mustNotCommit() error {
	if t.unknown {
		return fmt.Errorf("%w (%w)", errCommitRolledBack, errTxUnknown)
	}
	if t.unrecorded != nil {
		return fmt.Errorf("%w (%w)", errCommitRolledBack, t.unrecorded)
	}
	return t.ctx.Err()
}

// Rollback implements driver.Tx. It does not end with the context: a cancelled request is rolled back too.
func (t *transaction) Rollback() (err error) {
	ending := t.ends("ROLLBACK")
	defer func() { ending.end(err) }()
	t.conn.tx = nil
	err = t.conn.session.rollback(context.WithoutCancel(t.ctx))
	return t.record(audit.CodeRollback, gate.Result{Rows: -1, Bytes: -1, Err: err})
}

func (t *transaction) record(code audit.Code, r gate.Result) error {
	if !t.wrote {
		return r.Err
	}
	if err := t.conn.db.gate.RecordAfter(t.ctx, t.op(code), r); err != nil {
		return errors.Join(r.Err, err)
	}
	return r.Err
}

func (t *transaction) op(code audit.Code) *gate.Op {
	db := t.conn.db
	return &gate.Op{
		Code: code, Transaction: t.uid,
		Action: tenant.Action{Verb: tenant.Write, Store: db.store, Name: db.engine.name()},
	}
}
