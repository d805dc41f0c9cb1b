package sqldb_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// queueing is a trail that takes events at once, and holds whoever waits for them.
type queueing struct {
	*recorder
	release chan error    // what Wait returns, once for each; closed: nil for all
	waits   chan struct{} // gets a token when somebody waits
}

func newQueueing() *queueing {
	return &queueing{recorder: &recorder{}, release: make(chan error), waits: make(chan struct{}, 100)}
}

func (q *queueing) Queue(ctx context.Context, e *audit.Event) (audit.Pending, error) {
	return &held{q: q}, q.Record(ctx, e)
}

type held struct{ q *queueing }

func (h *held) Wait(ctx context.Context) error {
	h.q.waits <- struct{}{}
	select {
	case err := <-h.q.release:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func overlapping(t *testing.T, test func(t *testing.T, e *env, q *queueing)) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		q := newQueueing()
		g := e.guard
		g.Audit = q
		db, err := sqldb.Open(context.Background(), e.dsn, clinicSchema, g, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		e.db = db
		test(t, e, q)
	})
}

// A read is sent while its intent is on its way, and nothing of its answer is released before that is in the trail.
func TestReadsWaitForTheirIntent(t *testing.T) {
	overlapping(t, func(t *testing.T, e *env, q *queueing) {
		for _, query := range []string{`SELECT name FROM patients WHERE id = 1`, `SELECT 1 / (id - 1) FROM patients`} {
			answer := make(chan error, 1)
			go func() {
				_, err := e.tryRows(as(tenantA), query)
				answer <- err
			}()
			<-q.waits // the database has been asked
			select {
			case err := <-answer:
				t.Fatalf("%s: released before its intent is in the trail: %v", query, err)
			default:
			}
			q.release <- audit.ErrUnavailable
			if err := <-answer; !errors.Is(err, audit.ErrUnavailable) || strings.Contains(err.Error(), "zero") {
				t.Errorf("%s: %v", query, err)
			}
			ctx, cancel := context.WithCancel(as(tenantA))
			go func() {
				_, err := e.tryRows(ctx, query)
				answer <- err
			}()
			<-q.waits
			cancel()
			if err := <-answer; !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "zero") {
				t.Errorf("%s: %v", query, err)
			}
		}
		close(q.release)
		if got := e.rows(t, tenantA, `SELECT id FROM patients WHERE id = 1`); len(got) != 1 {
			t.Errorf("%v", got)
		}
	})
}

// A statement of a transaction is sent while its intent is on its way, and COMMIT is not before all intents are in the
// trail. Where one cannot be, nothing is committed.
func TestCommitWaitsForAllIntents(t *testing.T) {
	overlapping(t, func(t *testing.T, e *env, q *queueing) {
		stored := func() int { return overlapped(t, e) }
		for _, outcome := range []error{audit.ErrUnavailable, nil} {
			tx, err := e.db.BeginTx(as(tenantA), nil)
			if err != nil {
				t.Fatal(err)
			}
			for id := 900; id < 903; id++ {
				if _, err := tx.ExecContext(as(tenantA), `INSERT INTO patients (id, name, ward) VALUES ($1, 'x', 'overlap')`, id); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error, 1)
			go func() { done <- tx.Commit() }()
			<-q.waits
			if e.dialect == dialect.PostgreSQL && stored() != 0 {
				t.Error("committed before its intents are in the trail")
			}
			select {
			case err := <-done:
				t.Fatalf("COMMIT returned: %v", err)
			default:
			}
			if outcome == nil {
				close(q.release)
			} else {
				q.release <- outcome
			}
			err = <-done
			if !errors.Is(err, outcome) {
				t.Errorf("COMMIT: %v, want %v", err, outcome)
			}
			if want := map[bool]int{true: 3}[outcome == nil]; stored() != want {
				t.Errorf("%d rows are stored, want %d", stored(), want)
			}
		}
	})
}

// A write by itself is sent when its intent is in the trail.
func TestWritesWaitBeforeTheyAreSent(t *testing.T) {
	overlapping(t, func(t *testing.T, e *env, q *queueing) {
		q.failing(func(*audit.Event) bool { return true })
		if _, err := e.db.ExecContext(as(tenantA), `INSERT INTO patients (id, name, ward) VALUES (900, 'x', 'overlap')`); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		if n := overlapped(t, e); n != 0 {
			t.Errorf("%d rows are stored", n)
		}
	})
}

// overlapped counts the rows that these tests store, whoever's.
func overlapped(t *testing.T, e *env) (n int) {
	t.Helper()
	db := e.raw
	if e.dialect == dialect.PostgreSQL {
		db = openBare(t, e.super) // the owner is under row-level security
	}
	if err := db.QueryRow(`SELECT count(*) FROM patients WHERE ward = 'overlap'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
