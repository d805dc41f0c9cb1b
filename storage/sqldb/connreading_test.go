package sqldb_test

import (
	"errors"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestWhatAConnectionIsAskedWhileItIsReadFrom: a transaction, or whether the server is there, asked of an sql.Conn whose Rows are open is an
// error, which leaves the rows and the connection as they are. Were it told to be broken, database/sql would wait for the rows to be closed,
// which are the caller's.
func TestWhatAConnectionIsAskedWhileItIsReadFrom(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	for what, overdue := range map[string]bool{"": false, ", when its statements are to be described anew": true} {
		conn, err := e.db.Conn(t.Context())
		must(t, err)
		defer conn.Close()
		if overdue {
			must(t, conn.Raw(sqldb.Overdue))
		}
		rows, err := conn.QueryContext(as(tenantA), `SELECT id FROM patients`)
		must(t, err)
		defer rows.Close()
		if overdue {
			must(t, conn.Raw(sqldb.Overdue))
		}
		for name, ask := range map[string]func() error{
			"BeginTx": func() error {
				tx, err := conn.BeginTx(as(tenantB), nil)
				if err == nil {
					err = errors.Join(errors.New("it began"), tx.Rollback())
				}
				return err
			},
			"PingContext": func() error { return conn.PingContext(t.Context()) },
		} {
			answer := make(chan error, 1)
			go func() { answer <- ask() }()
			select {
			case err := <-answer:
				if !errors.Is(err, sqldb.ErrReading) {
					t.Errorf("%s%s: %v", name, what, err)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s%s waits for rows that are its caller's to close", name, what)
			}
		}
		n := 0
		for rows.Next() {
			n++
		}
		if err := rows.Err(); err != nil || n == 0 {
			t.Errorf("%d rows%s: %v", n, what, err)
		}
		must(t, rows.Close())
		tx, err := conn.BeginTx(as(tenantA), nil)
		must(t, err)
		must(t, tx.Commit())
		must(t, conn.Close())
	}
}
