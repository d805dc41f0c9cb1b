package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// A batch whose answer was withheld is recorded as it went: it is not committed.
func TestPoolBatchWithheldIsNotCommitted(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	before := fmt.Sprint(e.raws(t, tenantA))
	q := newQueueing()
	guard := e.guard
	guard.Audit = q
	pool := newPool(t, e, guard, nil)
	tx, err := pool.Begin(as(tenantA))
	must(t, err)
	ctx, cancel := context.WithCancel(as(tenantA))
	answer := make(chan error, 1)
	go func() {
		answer <- tx.SendBatch(ctx, batchOf(`UPDATE patients SET ward = 'changed'`)).Close()
	}()
	<-q.waits
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	done := make(chan error, 1)
	go func() { done <- tx.Commit(as(tenantA)) }()
	for {
		select {
		case q.release <- nil:
			continue
		case err = <-done:
		}
		break
	}
	changed := fmt.Sprint(e.raws(t, tenantA)) != before
	failed := q.has(func(ev *audit.Event) bool {
		return ev.Phase == audit.Outcome && ev.Code == audit.CodeExec && ev.Status == audit.Failure
	})
	if changed && failed {
		t.Errorf("the trail says that the statement failed, and it was committed: %v", err)
	}
}

// While an index key is rotated, a batch that stops in the middle leaves nothing in its transaction to be committed.
func TestPoolBatchDuringRotationInTransaction(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	must(t, e.ring.Rotate(t.Context(), tenantA, keys.PurposeIndex, "test"))
	before := fmt.Sprint(e.raws(t, tenantA))
	e.log.take()
	tx, err := pool.Begin(as(tenantA))
	must(t, err)
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO patients (id, ssn) VALUES (70, 'new')`)
	b.Queue(`UPDATE patients SET ward = 'x' WHERE id = $1`, struct{}{})
	if err := tx.SendBatch(as(tenantA), b).Close(); err == nil {
		t.Error("a struct was taken for a number")
	}
	err = tx.Commit(as(tenantA))
	failed := e.log.has(func(ev *audit.Event) bool {
		return ev.Phase == audit.Outcome && ev.Code == audit.CodeExec && ev.Status == audit.Failure
	})
	if changed := fmt.Sprint(e.raws(t, tenantA)) != before; changed && failed {
		t.Errorf("the trail says that the statements failed, and one was committed: %v", err)
	}
}

// Results that are left open when a batch is closed are closed with it, and recorded.
func TestPoolBatchCloseClosesResults(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	results := pool.SendBatch(as(tenantA), batchOf(`SELECT ward FROM patients`, `SELECT id FROM patients`))
	first, err := results.Query()
	must(t, err)
	if !first.Next() {
		t.Fatal(first.Err())
	}
	must(t, results.Close())
	if first.Next() || first.RawValues() != nil {
		t.Error("a result is read after its batch was closed")
	}
	outcomes := 0
	for _, ev := range e.log.take() {
		if ev.Phase == audit.Outcome {
			outcomes++
		}
	}
	if outcomes != 2 {
		t.Errorf("%d outcomes of 2 statements", outcomes)
	}
}

// Results of one batch that are described alike, and such that are not, are each what their own statement says.
func TestPoolBatchOfUnlikeResults(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	for _, in := range []string{"a batch", "a transaction"} {
		b := batchOf(`SELECT id, name FROM patients WHERE id = 1`, `SELECT id, name FROM patients WHERE id = 2`, `SELECT id, ssn FROM patients WHERE id = 2`,
			`SELECT id, ward FROM patients WHERE id = 2`, `SELECT id AS other, ward AS name FROM patients WHERE id = 2`, `SELECT patient_id, note FROM visits WHERE id = 3`,
			`UPDATE patients SET ward = ward WHERE id = 1`, `SELECT id, ssn FROM patients WHERE id = 3`, `SELECT 7::bigint AS id, 'x' AS ssn`)
		send := pool.SendBatch
		if in == "a transaction" {
			tx, err := pool.Begin(as(tenantA))
			must(t, err)
			defer tx.Rollback(as(tenantA))
			send = tx.SendBatch
		}
		results := send(as(tenantA), b)
		var got []string
		for range b.QueuedQueries {
			rows, err := results.Query()
			must(t, err)
			names := ""
			for _, f := range rows.FieldDescriptions() {
				names += f.Name + " "
			}
			for rows.Next() {
				values, err := rows.Values()
				must(t, err)
				got = append(got, names+fmt.Sprintf("%v %v", values...))
			}
			must(t, rows.Err())
		}
		must(t, results.Close())
		want := []string{"id name 1 Þóra 1 of clinic", "id name 2 Þóra 2 of clinic", "id ssn 2 ssn-2", "id ward 2 west", "other name 2 west", "patient_id note 3 note of clinic", "id ssn 3 ssn-3", "id ssn 7 x"}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("in %s:\ngot  %q\nwant %q", in, got, want)
		}
	}
}
