package sqldb_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
)

// How many rows a write of a transaction found is an answer of the database too: of which of a tenant's rows a condition holds.
func TestCountsWaitForTheirIntent(t *testing.T) {
	overlapping(t, func(t *testing.T, e *env, q *queueing) {
		for _, query := range []string{
			`UPDATE patients SET ward = ward WHERE name = 'Ada'`,
			`DELETE FROM visits WHERE patient_id = 1`,
			`INSERT INTO visits (id, patient_id) SELECT 900 + id, id FROM patients WHERE name = 'Ada'`,
		} {
			tx, err := e.db.BeginTx(as(tenantA), nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := tx.ExecContext(as(tenantA), query)
			if err != nil {
				t.Fatal(err)
			}
			type count struct {
				n   int64
				err error
			}
			answer := make(chan count, 1)
			go func() {
				n, err := res.RowsAffected()
				answer <- count{n, err}
			}()
			select {
			case got := <-answer:
				t.Fatalf("%s: %d rows, released before the intent is in the trail: %v", query, got.n, got.err)
			case <-q.waits:
			}
			q.release <- audit.ErrUnavailable
			if got := <-answer; got.n != 0 || !errors.Is(got.err, audit.ErrUnavailable) {
				t.Errorf("%s: %d rows, %v", query, got.n, got.err)
			}
			if err := tx.Commit(); !errors.Is(err, audit.ErrUnavailable) {
				t.Errorf("%s: COMMIT: %v", query, err)
			}
		}
		close(q.release)
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		res, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = ward WHERE id = 1`)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if n, err := res.RowsAffected(); n != 1 || err != nil {
				t.Errorf("%d rows, %v", n, err)
			}
		}
	})
}

// How a statement goes tells whether the one before it failed, whose answer was withheld because its caller gave up.
func TestWithheldAnswersStayWithheld(t *testing.T) {
	overlapping(t, func(t *testing.T, e *env, q *queueing) {
		for _, next := range []string{`SAVEPOINT a`, `INSERT INTO visits (id, patient_id) VALUES (900, 1)`} {
			tx, err := e.db.BeginTx(as(tenantA), nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(as(tenantA))
			answer := make(chan error, 1)
			go func() {
				_, err := tx.ExecContext(ctx, `SELECT 1 / (id - 1) FROM patients`)
				answer <- err
			}()
			<-q.waits
			cancel()
			if err := <-answer; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			go func() {
				_, err := tx.ExecContext(as(tenantA), next)
				answer <- err
			}()
			select {
			case err := <-answer:
				t.Fatalf("%s: answered before the intent of the statement before it is in the trail: %v", next, err)
			case <-q.waits:
			}
			q.release <- audit.ErrUnavailable
			if err := <-answer; !errors.Is(err, audit.ErrUnavailable) || strings.Contains(err.Error(), "abort") {
				t.Errorf("%s: %v", next, err)
			}
			if err := tx.Commit(); !errors.Is(err, audit.ErrUnavailable) {
				t.Errorf("%s: COMMIT: %v", next, err)
			}
		}
	})
}
