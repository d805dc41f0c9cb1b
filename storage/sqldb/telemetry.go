package sqldb

import (
	"context"
	"database/sql/driver"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/internal/telemetry"
)

// observe has the database's statements and its cache of plans reported, where telemetry is on.
func (d *database) observe(t *audit.Telemetry) (err error) {
	store := telemetry.Store{System: d.store, Namespace: d.engine.name()}
	if err := d.gate.Observe(t, store); err != nil {
		return err
	}
	d.telemetry = d.gate.Telemetry()
	d.planned, err = telemetry.NewPlans((*telemetry.Config)(t), store, d.plans.Len)
	return err
}

// Close implements [io.Closer]: the *sql.DB calls it when it is closed.
func (d *database) Close() error {
	d.planned.Close()
	return nil
}

// enter admits a statement, and has it reported from here until its outcome is. What is done with it is done with the context.
func (c *conn) enter(ctx context.Context, query string, args []driver.NamedValue) (context.Context, *access, error) {
	ctx, reported := c.db.telemetry.Statement(ctx)
	a, err := c.admit(ctx, reported, query, args)
	if err != nil {
		reported.End(ctx, outcomeOf(err))
	}
	return ctx, a, err
}

// outcomeOf is how a statement went that passed no gate, or not entirely.
func outcomeOf(err error) telemetry.Outcome {
	return telemetry.Outcome{Class: gate.Class(err), Rows: -1, Bytes: -1}
}

// describe says what was planned, in the words of the semantic conventions for databases.
func (d *database) describe(a *telemetry.Access, p *sqlplan.Plan) {
	if a == nil {
		return
	}
	table := ""
	if len(p.Tables) == 1 {
		table = p.Tables[0]
	}
	a.Planned(operation(p), table, p.Statement)
}

// operation is a statement's first word; behind WITH it is what the plan says.
func operation(p *sqlplan.Plan) string {
	word, _, _ := strings.Cut(p.Statement, " ")
	switch {
	case word != "WITH":
		return strings.TrimLeft(word, "(")
	case p.Verb == sqlplan.Read:
		return "SELECT"
	case p.Verb == sqlplan.Delete:
		return "DELETE"
	}
	return "WITH"
}

// ending is a command that ends a transaction, as it is reported. The zero value reports nothing.
type ending struct {
	tx     *transaction
	began  context.Context
	access *telemetry.Access
}

// ends begins to report a command that ends the transaction: what that does is done in its context.
func (t *transaction) ends(command string) ending {
	db := t.conn.db
	if db.telemetry == nil {
		return ending{}
	}
	e := ending{tx: t, began: t.ctx}
	t.ctx, e.access = db.telemetry.Command(t.ctx, command)
	return e
}

func (e ending) end(err error) {
	if e.tx != nil {
		e.access.End(e.tx.ctx, outcomeOf(err))
		e.tx.ctx = e.began
	}
}
