package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// panicking is a recorder that panics about the events of tenantA that are as is said, or ends the goroutine, as t.FailNow does.
type panicking struct {
	recorder
	like     func(*audit.Event) bool
	exits    bool
	panicked atomic.Int32
}

func (p *panicking) about(e *audit.Event) {
	if e.Tenant == tenantA && p.like(e) {
		p.panicked.Add(1)
		if p.exits {
			runtime.Goexit()
		}
		panic("of the application's")
	}
}

func (p *panicking) Record(ctx context.Context, e *audit.Event) error {
	p.about(e)
	return p.recorder.Record(ctx, e)
}

// panickingQueue is one that queues, and panics as it does, or late, where somebody waits.
type panickingQueue struct {
	*panicking
	late bool
}

func (p panickingQueue) Queue(ctx context.Context, e *audit.Event) (audit.Pending, error) {
	if !p.late {
		p.about(e)
	}
	return panickingPending{p, *e}, p.recorder.Record(ctx, e)
}

type panickingPending struct {
	of panickingQueue
	e  audit.Event
}

func (p panickingPending) Wait(context.Context) error {
	if p.of.late {
		p.of.about(&p.e)
	}
	return nil
}

// panicsAtEach calls test with recorders that panic in each of their methods about events of each kind.
func panicsAtEach(t *testing.T, test func(*testing.T, *panicking, audit.Recorder)) {
	for method, of := range map[string]func(*panicking) audit.Recorder{
		"Record": func(p *panicking) audit.Recorder { return p },
		"Queue":  func(p *panicking) audit.Recorder { return panickingQueue{p, false} },
		"Wait":   func(p *panicking) audit.Recorder { return panickingQueue{p, true} },
	} {
		for event, like := range map[string]func(*audit.Event) bool{
			"an intent":  func(e *audit.Event) bool { return e.Phase == audit.Intent },
			"an outcome": func(e *audit.Event) bool { return e.Phase == audit.Outcome },
			"the end":    func(e *audit.Event) bool { return e.Code == audit.CodeCommit || e.Code == audit.CodeRollback },
			"a denial":   func(e *audit.Event) bool { return e.Status == audit.Denied },
		} {
			for how, exits := range map[string]bool{"": false, ", ending the goroutine": true} {
				t.Run(method+" of "+event+how, func(t *testing.T) {
					p := &panicking{like: like, exits: exits}
					test(t, p, of(p))
					if p.panicked.Load() == 0 && (method != "Wait" || event == "an intent") { // of the others nobody waits
						t.Error("nothing panicked")
					}
				})
			}
		}
	}
}

// returns is what a call returns, or an error that says that it did not.
func returns(call func() error) error {
	over, err := make(chan struct{}), errors.New("the call did not return")
	go func() {
		defer close(over)
		defer func() { recover() }()
		err = call()
	}()
	<-over
	return err
}

// holds runs calls, each of which has an error that says that the trail failed where the recorder panicked, and none leaves a
// connection in use.
func (p *panicking) holds(t *testing.T, inUse func() int, calls map[string]func() error) {
	t.Helper()
	for what, call := range calls {
		before := p.panicked.Load()
		err := returns(call)
		if inUse() != 0 {
			t.Fatalf("%s: the connection has not come back", what) // and Close would wait for it
		}
		if p.panicked.Load() == before {
			continue
		}
		if !errors.Is(err, audit.ErrUnavailable) || strings.Contains(err.Error(), "of the application's") || strings.Contains(err.Error(), "0x") {
			t.Errorf("%s: %v; want that the trail is unavailable, and nothing of what the panic says", what, err)
		}
	}
}

const (
	panicsRead, panicsWrite = `SELECT id FROM patients WHERE id = 1`, `UPDATE patients SET ward = 'west'`
	panicsRefused           = `SELECT what FROM secrets`
)

// TestARecorderThatPanicsKeepsNoConnection: database/sql takes no connection back whose driver panics, nor the lock that the end of a
// transaction waits for.
func TestARecorderThatPanicsKeepsNoConnection(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		panicsAtEach(t, func(t *testing.T, p *panicking, rec audit.Recorder) {
			guard := e.guard
			guard.Audit = rec
			db, err := sqldb.Open(t.Context(), e.dsn, clinicSchema, guard, nil)
			must(t, err)
			t.Cleanup(func() { db.Close() })
			db.SetMaxOpenConns(1)
			inTx := func(end func(*sql.Tx) error) func() error {
				return func() error {
					tx, err := db.BeginTx(as(tenantA), nil)
					if err != nil {
						return err
					}
					_, err = tx.ExecContext(as(tenantA), panicsWrite)
					return errors.Join(err, end(tx))
				}
			}
			p.holds(t, func() int { return db.Stats().InUse }, map[string]func() error{
				"a read":                  func() error { return db.QueryRowContext(as(tenantA), panicsRead).Scan(new(int)) },
				"a write":                 func() error { _, err := db.ExecContext(as(tenantA), panicsWrite); return err },
				"a refusal":               func() error { _, err := db.ExecContext(as(tenantA), panicsRefused); return err },
				"a committed transaction": inTx((*sql.Tx).Commit),
				"a transaction undone":    inTx((*sql.Tx).Rollback),
			})
			must(t, db.QueryRowContext(as(tenantB), panicsRead).Scan(new(int)))
		})
	})
}

// TestPoolOutlivesItsRecordersPanics: a result, the results of a batch and a transaction hold a connection until they are closed, and
// closing them records.
func TestPoolOutlivesItsRecordersPanics(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	var visits atomic.Int64
	visits.Store(100)
	panicsAtEach(t, func(t *testing.T, p *panicking, rec audit.Recorder) {
		guard := e.guard
		guard.Audit = rec
		pool, err := sqldb.OpenPool(t.Context(), e.dsn, clinicSchema, guard, nil)
		must(t, err)
		inTx := func(end func(pgx.Tx, context.Context) error) func() error {
			return func() error {
				tx, err := pool.Begin(as(tenantA))
				if err != nil {
					return err
				}
				_, err = tx.Exec(as(tenantA), panicsWrite)
				return errors.Join(err, end(tx, as(tenantA)))
			}
		}
		p.holds(t, func() int { return int(pool.Stat().AcquiredConns()) }, map[string]func() error{
			"a read":                  func() error { return pool.QueryRow(as(tenantA), panicsRead).Scan(new(int)) },
			"a write":                 func() error { _, err := pool.Exec(as(tenantA), panicsWrite); return err },
			"a refusal":               func() error { _, err := pool.Exec(as(tenantA), panicsRefused); return err },
			"a batch":                 func() error { return pool.SendBatch(as(tenantA), batchOf(panicsRead, panicsWrite)).Close() },
			"a committed transaction": inTx(pgx.Tx.Commit),
			"a transaction undone":    inTx(pgx.Tx.Rollback),
			"CopyFrom": func() error {
				_, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"visits"}, []string{"id", "patient_id"}, pgx.CopyFromRows([][]any{{visits.Add(1), 1}}))
				return err
			},
		})
		must(t, pool.QueryRow(as(tenantB), panicsRead).Scan(new(int)))
		pool.Close()
	})
}
