package sqldb_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// unended counts the intents that the trail has no outcome of.
func unended(events []audit.Event) (n int) {
	for _, ev := range events {
		switch ev.Phase {
		case audit.Intent:
			n++
		case audit.Outcome:
			n--
		}
	}
	return n
}

// TestWhatARotationRefuses: a statement that cannot be planned while several index keys of its tenant live is refused, whichever way it is sent:
// the connection comes back, for the other tenants, and the trail says what became of it.
func TestWhatARotationRefuses(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 3)
		e.admit(t, tenantB, 0, 3)
		e.db.SetMaxOpenConns(1)
		const upsert, join = `INSERT INTO patients (id, ssn) VALUES (7, 'x') ON CONFLICT (ssn) DO NOTHING`, `SELECT a.id FROM patients a JOIN patients b ON a.ssn = b.ssn`
		const insert, read = `INSERT INTO patients (id, ssn) VALUES (7, 'x')`, `SELECT id FROM patients WHERE ssn = 'x'`
		check := func(what string, call func() error) {
			t.Helper()
			e.log.take()
			err := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s panics: %v", what, p)
						err = errors.New("it panicked")
					}
				}()
				return call()
			}()
			if err == nil || errors.Is(err, sqldb.ErrOutcomeUnknown) {
				t.Errorf("%s: %v", what, err)
			}
			if inUse := e.db.Stats().InUse; inUse != 0 {
				t.Fatalf("%s: the connection has not come back", what)
			}
			if n := unended(e.log.take()); n != 0 {
				t.Errorf("%s: of %d intents the trail does not say what became of them", what, n)
			}
		}
		all := func(what, write, read string) {
			t.Helper()
			check(what+", Exec", func() error { _, err := e.db.ExecContext(as(tenantA), write); return err })
			check(what+", Query", func() error { return e.db.QueryRowContext(as(tenantA), read).Scan(new(int)) })
			check(what+", in a transaction", func() error {
				tx, err := e.db.BeginTx(as(tenantA), nil)
				must(t, err)
				defer tx.Rollback()
				_, err = tx.ExecContext(as(tenantA), write)
				return err
			})
			if e.dialect != dialect.PostgreSQL {
				return
			}
			pool := newNarrowPool(t, e, nil)
			check(what+", Exec of a pool", func() error { _, err := pool.Exec(as(tenantA), write); return err })
			check(what+", Query of a pool", func() error { return pool.QueryRow(as(tenantA), read).Scan(new(int)) })
			check(what+", a batch", func() error { return pool.SendBatch(as(tenantA), batchOf(read, write)).Close() })
			must(t, pool.QueryRow(as(tenantB), `SELECT id FROM patients LIMIT 1`).Scan(new(int)))
		}
		e.rotate(t, tenantA, keys.PurposeIndex)
		all("refused with two keys", upsert, join)
		var refused *sqldb.RefusedError
		if _, err := e.db.ExecContext(as(tenantA), upsert); !errors.As(err, &refused) {
			t.Errorf("%v", err)
		}
		e.exec(t, tenantB, upsert)
		for range 7 { // more than searches can try
			e.rotate(t, tenantA, keys.PurposeIndex)
		}
		all("with nine keys", insert, read)
		if e.dialect == dialect.PostgreSQL {
			pool := newNarrowPool(t, e, nil)
			check("CopyFrom with nine keys", func() error {
				_, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, []string{"id", "ssn"}, pgx.CopyFromRows([][]any{{8, "y"}, {9, "z"}}))
				return err
			})
			must(t, pool.QueryRow(as(tenantB), `SELECT id FROM patients LIMIT 1`).Scan(new(int)))
		}
	})
}
