package alltenants

import (
	"context"
	"database/sql"
	"iter"

	"github.com/strongroom-go/strongroom/tenant"
)

// Row is a row of one tenant's. It is good until the next one is asked for.
type Row struct {
	Tenant tenant.ID
	rows   *sql.Rows
}

// Scan copies the row's columns, as [sql.Rows.Scan] does.
func (r *Row) Scan(dest ...any) error { return r.rows.Scan(dest...) }

// Columns are the names of the row's columns.
func (r *Row) Columns() ([]string, error) { return r.rows.Columns() }

// Query runs a statement for every tenant, and hands the rows out tenant by tenant, in the byte order of the tenants' ids, and of each in the
// statement's order. Db is a database that [sqldb.Open] opened. It is asked for up to Parallel tenants at once: their results wait on connections
// of their own, and no more than that is in memory. The loop's body needs a connection besides if it uses the database.
//
// A tenant whose statement fails yields a nil row and a [*TenantError], and the next tenant follows if the loop goes on. Any other error is the
// last. Leaving the loop ends what has been begun.
func (j Job) Query(ctx context.Context, db *sql.DB, query string, args ...any) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		if err := j.check(ctx); err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		ahead, turns := make(chan *asked, j.Parallel), make(chan struct{}, j.Parallel)
		listed := make(chan struct{})
		defer func() {
			cancel()
			for a := range ahead { // what was asked and nobody reads
				a.close()
			}
			<-listed
		}()
		go j.ask(ctx, db, query, args, turns, ahead, listed)
		for a := range ahead {
			if !a.hand(yield) {
				return
			}
			<-turns
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// asked is a tenant's statement on its way.
type asked struct {
	id   tenant.ID
	conn *sql.Conn
	rows *sql.Rows
	err  error
	came chan struct{}
	last bool // err ends the list
}

// ask sends the statement for one tenant after the other, each when it is its turn.
func (j *Job) ask(ctx context.Context, db *sql.DB, query string, args []any, turns chan<- struct{}, ahead chan<- *asked, listed chan<- struct{}) {
	defer close(listed)
	defer close(ahead)
	for t, err := range j.Keys.TenantsAfter(ctx, j.After, j.Statuses...) {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		a := &asked{id: t.ID, err: err, came: make(chan struct{}), last: err != nil && t.ID.IsZero()}
		ahead <- a // it has room for as many as have a turn
		if err != nil {
			close(a.came)
			continue
		}
		// The connections are taken in the order in which they are read: else one that is waited for might wait for another.
		conn, err := liveConn(ctx, db)
		if err != nil {
			a.err = err
			close(a.came)
		} else {
			go func() {
				defer close(a.came)
				a.conn = conn
				a.rows, a.err = conn.QueryContext(tenant.NewContext(ctx, j.access(t.ID)), query, args...)
			}()
		}
	}
}

// maxBadConns is how many connections are tried that turn out to be gone, as database/sql does it for statements.
const maxBadConns = 3

// liveConn takes a connection whose server answers: a statement on a connection that is taken is not tried on another one.
func liveConn(ctx context.Context, db *sql.DB) (conn *sql.Conn, err error) {
	for range maxBadConns {
		if conn, err = db.Conn(ctx); err != nil {
			return nil, err
		}
		if err = conn.PingContext(ctx); err == nil {
			return conn, nil
		}
		conn.Close()
	}
	return nil, err
}

// close waits for the answer and lets go of it.
func (a *asked) close() {
	if <-a.came; a.rows != nil {
		a.rows.Close()
	}
	if a.conn != nil {
		a.conn.Close()
	}
}

// hand gives a tenant's rows out, and tells whether others may follow.
func (a *asked) hand(yield func(*Row, error) bool) bool {
	defer a.close()
	fail := func(err error) bool {
		if a.last {
			yield(nil, err)
			return false
		}
		return yield(nil, &TenantError{a.id, err})
	}
	if <-a.came; a.err != nil {
		return fail(a.err)
	}
	row := &Row{Tenant: a.id, rows: a.rows}
	for a.rows.Next() {
		if !yield(row, nil) {
			return false
		}
	}
	if err := a.rows.Err(); err != nil {
		return fail(err)
	}
	if err := a.rows.Close(); err != nil {
		return fail(err)
	}
	return true
}
