package storagetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// outcome is how a statement went, and what the tenant had after it.
type outcome struct {
	result string // rows, or their number
	err    error
	left   string
}

func (o outcome) String() string {
	if o.err != nil {
		return "error: " + o.err.Error()
	}
	return o.result + "\nand after it:\n" + o.left
}

// outcomes runs the statements, each in a transaction that is rolled back, and tells how they went.
func (c *check) outcomes(id tenant.ID) []outcome {
	outcomes := make([]outcome, len(c.Statements))
	for i, st := range c.Statements {
		outcomes[i] = c.outcome(id, st)
	}
	return outcomes
}

func (c *check) outcome(id tenant.ID, st Statement) (o outcome) {
	ctx := access(c.ctx, id)
	trail := c.Trail
	if c.parallel { // and so are the events of both
		trail = nil
	}
	if trail != nil {
		trail.Events()
	}
	tx, err := c.DB.BeginTx(ctx, nil)
	if err != nil {
		return outcome{err: err}
	}
	defer tx.Rollback()
	o.result, o.err = result(ctx, tx, st, id)
	var refused *sqldb.RefusedError
	if errors.As(o.err, &refused) {
		c.problem("%s\nis refused: %v", st.SQL, o.err)
	}
	if trail != nil && !slices.ContainsFunc(trail.Events(), func(e audit.Event) bool { return e.Tenant == id && e.Phase == audit.Intent }) && refused == nil {
		c.problem("%s\nleft no event of the tenant's: was DB opened with this Trail?", st.SQL)
	}
	if o.err == nil {
		o.left = c.snapshot(ctx, tx).String()
	}
	return o
}

// execer is a database or a transaction.
type execer interface {
	querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// result sends a statement.
func result(ctx context.Context, db execer, st Statement, id tenant.ID) (string, error) {
	if returnsRows(st.SQL) {
		rows, err := db.QueryContext(ctx, st.SQL, st.args(id)...)
		if err != nil {
			return "", err
		}
		all, err := lines(rows)
		return strings.Join(all, "\n"), err
	}
	result, err := db.ExecContext(ctx, st.SQL, st.args(id)...)
	if err != nil {
		return "", err
	}
	n, err := result.RowsAffected()
	return fmt.Sprintf("%d rows", n), err
}

// returnsRows tells whether there are rows to be seen. A statement of which that is not known is asked for them.
func returnsRows(text string) bool {
	upper := strings.ToUpper(strings.TrimSpace(text))
	for _, verb := range []string{"INSERT", "UPDATE", "DELETE", "MERGE"} {
		if strings.HasPrefix(upper, verb) {
			return strings.Contains(upper, "RETURNING")
		}
	}
	return true
}

// meant tells of statements that fail and are not to, or the other way round.
func (c *check) meant(outcomes []outcome) {
	for i, st := range c.Statements {
		switch err := outcomes[i].err; {
		case errors.As(err, new(*sqldb.RefusedError)): // which is told already
		case err != nil && !st.Fails:
			c.problem("%s\nfails, and so shows nothing: set Fails where that is meant: %v", st.SQL, err)
		case err == nil && st.Fails:
			c.problem("%s\ndoes not fail, as Fails says that it does", st.SQL)
		}
	}
}

// compare tells of statements that went otherwise than before.
func (c *check) compare(before, now []outcome, when string) {
	for i, st := range c.Statements {
		if !st.Varies && before[i].String() != now[i].String() {
			c.problem("%s\nis not the same when %s:\nbefore: %s\nnow: %s", st.SQL, when, before[i], now[i])
		}
	}
}

// alone sends the statements that only read without a transaction, and tells of those that went otherwise than in one.
func (c *check) alone(id tenant.ID, within []outcome) {
	for i, st := range c.Statements {
		if st.Varies || st.Fails || within[i].err != nil || !strings.HasPrefix(strings.ToUpper(strings.TrimSpace(st.SQL)), "SELECT") {
			continue
		}
		if got, err := result(access(c.ctx, id), c.DB, st, id); err != nil || got != within[i].result {
			c.problem("%s\nis not the same without a transaction:\nwithin: %s\nwithout: %s%s", st.SQL, within[i].result, got, errorText(err))
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return "error: " + err.Error()
}

// rounds is how often the statements of both tenants are run at once.
const rounds = 4

// atOnce runs the statements of both tenants at the same time, on connections that go from one to the other, and tells of those that
// went otherwise than before.
func (c *check) atOnce(a, b []outcome) {
	c.parallel = true
	defer func() { c.parallel = false }()
	for range rounds {
		var both sync.WaitGroup
		both.Go(func() { c.compare(a, c.outcomes(c.a), "another tenant's run at the same time") })
		both.Go(func() { c.compare(b, c.outcomes(c.b), "another tenant's run at the same time") })
		both.Wait()
	}
}

// commit runs the statements as a tenant so that what they do stays, each in a transaction or without one. Those that fail after the others
// are passed over.
func (c *check) commit(id tenant.ID, transactions bool) {
	ctx := access(c.ctx, id)
	for _, st := range c.Statements {
		if !transactions {
			_, _ = result(ctx, c.DB, st, id)
			continue
		}
		tx, err := c.DB.BeginTx(ctx, nil)
		if err != nil {
			c.problem("begin a transaction: %v", err)
			return
		}
		if _, err := result(ctx, tx, st, id); err != nil {
			tx.Rollback()
		} else if err := tx.Commit(); err != nil && !st.Fails {
			c.problem("%s\ncannot be committed: %v", st.SQL, err)
		}
	}
}

// foreign looks through what a tenant got for what the other alone has.
func (c *check) foreign(id tenant.ID, own, other snapshot, outcomes []outcome) {
	ownText := own.String()
	for i, st := range c.Statements {
		for table, rows := range other {
			for _, row := range rows {
				for value := range strings.SplitSeq(row, " ") {
					if len(value) > 5 && !strings.Contains(ownText, value) && strings.Contains(outcomes[i].String(), strings.Trim(value, `"`)) {
						c.problem("%s\nas %s shows what another tenant has in %s: %s", st.SQL, id, table, value)
					}
				}
			}
		}
	}
}
