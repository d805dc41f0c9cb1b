package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

var load = flag.Duration("load", 0, "how long the tests of load go on; a few rounds if 0")

// behindRelay opens the environment's database through a network that can fail.
func behindRelay(t *testing.T) (*env, *testenv.Relay) {
	t.Helper()
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	e.db.Close()
	r, dsn := testenv.NewRelay(t, e.dsn)
	db, err := sqldb.Open(context.Background(), dsn, clinicSchema, e.guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	e.db = db
	db.SetMaxOpenConns(1)
	return e, r
}

// TestAnswersThatAreLost: a write whose answer is lost is neither a success nor a failure, for the caller and in the trail.
func TestAnswersThatAreLost(t *testing.T) {
	e, r := behindRelay(t)
	const update = `UPDATE patients SET ward = 'lost' WHERE id = 1`
	statement := func(ctx context.Context, lose func()) error {
		lose()
		_, err := e.db.ExecContext(ctx, update)
		return err
	}
	returning := func(ctx context.Context, lose func()) error {
		lose()
		_, err := e.tryRows(ctx, update+` RETURNING id`)
		return err
	}
	commit := func(ctx context.Context, lose func()) error {
		tx, err := e.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, update); err != nil {
			return err
		}
		lose()
		return tx.Commit()
	}
	for _, c := range []struct {
		what   string
		write  func(ctx context.Context, lose func()) error
		code   audit.Code
		lose   string
		cancel bool // the caller gives up, or the network breaks
		stands string
		reason string
	}{
		{"a statement's answer", statement, audit.CodeExec, "replies", false, "lost", "error"},
		{"a statement", statement, audit.CodeExec, "requests", false, "west", "error"},
		{"a statement's answer, cancelled", statement, audit.CodeExec, "replies", true, "lost", "cancelled"},
		{"a returning statement's answer", returning, audit.CodeExec, "replies", false, "lost", "error"},
		{"a returning statement's answer, cancelled", returning, audit.CodeExec, "replies", true, "lost", "cancelled"},
		{"a commit's answer", commit, audit.CodeCommit, "replies", false, "lost", "error"},
		{"a commit", commit, audit.CodeCommit, "requests", false, "west", "error"},
		{"a commit's answer, cancelled", commit, audit.CodeCommit, "replies", true, "lost", "cancelled"},
	} {
		for _, before := range []tenant.ID{tenantA, tenantB} {
			t.Run(c.what+" after "+before.String(), func(t *testing.T) {
				// Once without loss: the connection has the statements prepared, and each is one round trip.
				for _, id := range []tenant.ID{tenantB, tenantA} {
					if err := c.write(as(id), func() {}); err != nil {
						t.Fatal(err)
					}
					e.exec(t, id, `UPDATE patients SET ward = 'west'`)
				}
				e.rows(t, before, `SELECT id FROM patients`) // the last to use the connection
				e.log.take()
				ctx, cancel := context.WithCancel(as(tenantA))
				defer cancel()
				lost := make(chan (<-chan struct{}), 1)
				done := make(chan error, 1)
				go func() { done <- c.write(ctx, func() { lost <- r.Lose(c.lose) }) }()
				<-<-lost
				if c.cancel {
					cancel()
				} else {
					r.Cut()
				}
				err := <-done
				r.Cut()
				e.db.SetMaxIdleConns(0) // pgx may still wait for the server
				e.db.SetMaxIdleConns(1)
				if !errors.Is(err, sqldb.ErrOutcomeUnknown) || c.cancel && !errors.Is(err, context.Canceled) {
					t.Errorf("the caller is told: %v", err)
				}
				events := e.log.take()
				last := events[len(events)-1]
				intents := 0
				for _, ev := range events {
					if ev.Phase == audit.Intent {
						intents++
					}
				}
				if intents != 1 {
					t.Errorf("it was tried %d times", intents)
				}
				if last.Status != audit.Unknown || last.Code != c.code || last.Reason != c.reason || last.Tenant != tenantA {
					t.Errorf("the trail says %s %s, %q", last.Code, last.Status, last.Reason)
				}
				for _, id := range []tenant.ID{tenantB, tenantA} {
					want := "west"
					if id == tenantA {
						want = c.stands
					}
					if got := e.rows(t, id, `SELECT ward, name FROM patients WHERE id = 1`); len(got) != 1 || got[0][0] != want || got[0][1] != "Þóra 1 of "+id.String() {
						t.Errorf("afterwards %s reads %v, want %s", id, got, want)
					}
				}
			})
		}
	}
}

// TestBrokenConnections has the server end sessions, and the network break, in every state that a connection can be in. Who
// comes next is another tenant.
func TestBrokenConnections(t *testing.T) {
	e, r := behindRelay(t)
	super := openBare(t, e.super)
	breaks := map[string]func(){
		"by the server": func() {
			// Until they are gone: a session that was only told to end answers once more.
			mustExec(t, super, `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'strongroom' AND datname = current_database()`)
		},
		"by the network": r.Cut,
	}
	states := map[string]func(t *testing.T, broken func()){
		"idle": func(t *testing.T, broken func()) {
			e.rows(t, tenantA, `SELECT id FROM patients`)
			broken()
		},
		"in a transaction": func(t *testing.T, broken func()) {
			tx, err := e.db.BeginTx(as(tenantA), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = 'never'`); err != nil {
				t.Fatal(err)
			}
			broken()
			if _, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = 'never'`); err == nil || errors.Is(err, sqldb.ErrOutcomeUnknown) {
				t.Errorf("a statement on a broken connection: %v", err)
			}
			if err := tx.Rollback(); err != nil {
				t.Errorf("what went with its connection is rolled back: %v", err)
			}
		},
		"at its commit": func(t *testing.T, broken func()) {
			tx, err := e.db.BeginTx(as(tenantA), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = 'never'`); err != nil {
				t.Fatal(err)
			}
			broken()
			if err := tx.Commit(); err == nil {
				t.Error("a commit on a broken connection succeeded")
			}
		},
		"in a result": func(t *testing.T, broken func()) {
			rows, err := e.db.QueryContext(as(tenantA), `SELECT g, repeat('x', 1000) FROM generate_series(1, 1000000) g`)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			n := 0
			for rows.Next() {
				if n++; n == 10 {
					broken()
				}
			}
			if rows.Err() == nil {
				t.Errorf("a result that was cut off looks whole: %d rows", n)
			}
		},
		"prepared": func(t *testing.T, broken func()) {
			st, err := e.db.PrepareContext(as(tenantA), `SELECT name FROM patients WHERE id = $1`)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			for i := range 6 {
				id := []tenant.ID{tenantA, tenantB}[i%2]
				var name string
				err := st.QueryRowContext(as(id), 1).Scan(&name)
				if err != nil && i != 4 { // the first that notices may be told
					t.Errorf("round %d: %v", i, err)
				}
				if err == nil && name != "Þóra 1 of "+id.String() {
					t.Errorf("%s reads %q", id, name)
				}
				if i == 3 {
					broken()
				}
			}
		},
	}
	for who, broken := range breaks {
		for state, in := range states {
			t.Run(state+" "+who, func(t *testing.T) {
				in(t, broken)
				for _, id := range []tenant.ID{tenantB, tenantA, tenantB} {
					got, err := e.tryRows(as(id), `SELECT name, ward FROM patients WHERE id = 1`)
					if err != nil { // the first that notices may be told
						got, err = e.tryRows(as(id), `SELECT name, ward FROM patients WHERE id = 1`)
					}
					if err != nil || len(got) != 1 || got[0][0] != "Þóra 1 of "+id.String() || got[0][1] != "west" {
						t.Errorf("afterwards %s reads %v, %v", id, got, err)
					}
				}
			})
		}
	}
}

// TestNoAcknowledgedWriteIsLost has 8 tenants write while the server ends their sessions under them.
func TestNoAcknowledgedWriteIsLost(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	e.db.SetMaxOpenConns(4)
	super := openBare(t, e.super)
	var ids []tenant.ID
	for i := range 8 {
		ids = append(ids, tenant.MustParse(fmt.Sprintf("tenant-%d", i)))
		if err := e.ring.Provision(context.Background(), ids[i]); err != nil {
			t.Fatal(err)
		}
	}
	acknowledged, refused := make([][]int, len(ids)), make([][]int, len(ids))
	var wg sync.WaitGroup
	var broken atomic.Int64
	const writes = 150
	for i, id := range ids {
		wg.Go(func() {
			for n := range writes {
				err := write(e, id, n)
				if err == nil {
					acknowledged[i] = append(acknowledged[i], n)
					continue
				}
				broken.Add(1)
				if !errors.Is(err, sqldb.ErrOutcomeUnknown) {
					refused[i] = append(refused[i], n)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			mustExec(t, super, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strongroom' AND datname = current_database() ORDER BY random() LIMIT 1`)
		}
	}
	if broken.Load() == 0 {
		t.Error("no connection was broken: the test proves nothing")
	}
	for i, id := range ids {
		rows, err := e.tryRows(as(id), `SELECT id, name FROM patients`)
		for err != nil { // sessions that were ended are still in the pool
			rows, err = e.tryRows(as(id), `SELECT id, name FROM patients`)
		}
		found := map[int64]bool{}
		for _, row := range rows {
			found[row[0].(int64)] = true
			if row[1] != fmt.Sprintf("%v of %s", row[0], id) {
				t.Errorf("%s reads %v", id, row)
			}
		}
		for _, n := range acknowledged[i] {
			if !found[int64(n)] {
				t.Errorf("%s: row %d was acknowledged and is gone", id, n)
			}
		}
		for _, n := range refused[i] {
			if found[int64(n)] {
				t.Errorf("%s: row %d was said to have failed and is there", id, n)
			}
		}
	}
}

// write inserts a row: alone, with RETURNING, or in a transaction.
func write(e *env, id tenant.ID, n int) error {
	ctx := as(id)
	args := []any{n, fmt.Sprintf("%d of %s", n, id), fmt.Sprint("ssn-", n), nil, "w"}
	switch n % 3 {
	case 0:
		_, err := e.db.ExecContext(ctx, insertPatient, args...)
		return err
	case 1:
		var got int
		return e.db.QueryRowContext(ctx, insertPatient+` RETURNING id`, args...).Scan(&got)
	}
	tx, err := e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, insertPatient, args...); err != nil {
		return err
	}
	return tx.Commit()
}
