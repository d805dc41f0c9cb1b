package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// newPool opens the database of e as a Pool.
func newPool(t *testing.T, e *env, guard storage.Guard, opts *sqldb.PoolOptions) *sqldb.Pool {
	t.Helper()
	pool, err := sqldb.OpenPool(t.Context(), e.dsn, clinicSchema, guard, opts)
	must(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The names and types of a row, as pgx's helpers fill a struct.
type patient struct {
	ID   int64
	Name string
	SSN  *string
	Born pgtype.Date
}

const selectPatients = `SELECT id, name, ssn, born FROM patients ORDER BY id`

func TestPoolIsPgx(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	for _, id := range []tenant.ID{tenantA, tenantB} {
		rows, err := pool.Query(as(id), selectPatients)
		must(t, err)
		got, err := pgx.CollectRows(rows, pgx.RowToStructByName[patient])
		must(t, err)
		if len(got) != 3 || got[0].Name != "Þóra 1 of "+id.String() || *got[2].SSN != "ssn-3" || got[0].Born.Time.Format(time.DateOnly) != "1984-02-29" {
			t.Errorf("%s: %+v", id, got)
		}
		if rows.CommandTag().String() != "SELECT 3" {
			t.Errorf("command tag %q", rows.CommandTag())
		}
	}
	// Parameters are the types of pgx, of the application, or named.
	var name pgtype.Text
	must(t, pool.QueryRow(as(tenantA), `SELECT name FROM patients WHERE ssn = @ssn AND ward = @ward`,
		pgx.NamedArgs{"ssn": pgtype.Text{String: "ssn-2", Valid: true}, "ward": "west"}).Scan(&name))
	if name.String != "Þóra 2 of clinic" {
		t.Errorf("%+v", name)
	}
	rows, err := pool.Query(as(tenantA), `SELECT id FROM patients WHERE id = ANY ($1) AND ssn = ANY ($2)`, []int32{1, 3, 9}, []string{"ssn-3", "ssn-2"})
	must(t, err)
	if ids, err := pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil || !reflect.DeepEqual(ids, []int64{3}) {
		t.Errorf("%v, %v", ids, err)
	}
	tag, err := pool.Exec(as(tenantA), `UPDATE patients SET ssn = $1, born = $2 WHERE id = 2`, nil, pgtype.Date{})
	if err != nil || tag.String() != "UPDATE 1" {
		t.Errorf("%s, %v", tag, err)
	}
	var ssn *string
	must(t, pool.QueryRow(as(tenantA), `SELECT ssn FROM patients WHERE id = 2`).Scan(&ssn))
	if ssn != nil {
		t.Errorf("NULL came back as %q", *ssn)
	}
	if err := pool.QueryRow(as(tenantA), `SELECT ssn FROM patients WHERE id = 99`).Scan(&ssn); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("no rows: %v", err)
	}
	// RETURNING is over before its first row is handed out.
	rows, err = pool.Query(as(tenantA), `UPDATE patients SET name = 'new ' || $1 WHERE id = 1 RETURNING id`, "x")
	if err == nil {
		t.Errorf("a computed value for a sealed column: %v", rows)
	}
	must(t, pool.QueryRow(as(tenantA), `UPDATE patients SET name = $1 WHERE id = 1 RETURNING name`, "New").Scan(&name))
	if name.String != "New" {
		t.Errorf("RETURNING: %+v", name)
	}
	values, err := pool.Query(as(tenantA), `SELECT id, name, born, ward FROM patients WHERE id = 1`)
	must(t, err)
	if !values.Next() {
		t.Fatal(values.Err())
	}
	if v, err := values.Values(); err != nil || fmt.Sprint(v) != "[1 New 1984-02-29 00:00:00 +0000 UTC west]" {
		t.Errorf("%v, %v", v, err)
	}
	if values.Conn() != nil {
		t.Error("a result hands out its connection")
	}
	values.Close()
	if n := pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are in use at the end", n)
	}
}

// Whatever goes wrong, it is the guard's error, and the connection goes back.
func TestPoolRefuses(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	var refused *sqldb.RefusedError
	for _, query := range []string{`SELECT * FROM secrets`, `BEGIN`, `SELECT pg_sleep(1)`, `COPY patients TO STDOUT`, `SELECT 1; SELECT 2`, `SAVEPOINT s`} {
		if _, err := pool.Exec(as(tenantA), query); !errors.As(err, &refused) {
			t.Errorf("%s: %v", query, err)
		}
		if err := pool.SendBatch(as(tenantA), batchOf(query)).Close(); !errors.As(err, &refused) {
			t.Errorf("%s in a batch: %v", query, err)
		}
	}
	const search = `SELECT id FROM patients WHERE ward = $1`
	for _, args := range [][]any{
		{pgx.QueryExecModeSimpleProtocol, "west"}, {pgx.QueryResultFormats{1}, "west"}, {"west", pgx.QueryExecModeExec}, {pgx.QueryExecModeSimpleProtocol},
		{queryRewriter{}, "west"}, {queryRewriter{}}, {pgx.NamedArgs{"x": 1}, "west"}, {"west", "east"}, {},
	} {
		rows, err := pool.Query(as(tenantA), search, args...)
		if err == nil || rows.Next() || rows.Err() == nil {
			t.Errorf("%v was taken: %v", args, err)
		}
		rows.Close()
	}
	if _, err := pool.Exec(context.Background(), search, "west"); !errors.Is(err, tenant.ErrMissing) {
		t.Errorf("without a tenant: %v", err)
	}
	if _, err := pool.Begin(context.Background()); !errors.Is(err, tenant.ErrMissing) {
		t.Errorf("a transaction without a tenant: %v", err)
	}
	if err := pool.SendBatch(context.Background(), batchOf(search)).Close(); !errors.Is(err, tenant.ErrMissing) {
		t.Errorf("a batch without a tenant: %v", err)
	}
	if _, err := pool.Exec(as(tenantA), `INSERT INTO patients (tenant_id, id) VALUES ($1, 50)`, "Clinic"); !errors.Is(err, storage.ErrIsolation) {
		t.Errorf("another tenant's id: %v", err)
	}
	if _, err := pool.Exec(as(tenantA), `INSERT INTO patients (tenant_id, id) VALUES ($1, 50)`, pgtype.Text{String: "Clinic", Valid: true}); !errors.Is(err, storage.ErrIsolation) {
		t.Errorf("another tenant's id in a type of pgx: %v", err)
	}
	// What a sealed column holds is not in the error of a destination that it does not fit.
	var n int
	if err := pool.QueryRow(as(tenantA), `SELECT ssn FROM patients WHERE id = 1`).Scan(&n); err == nil || strings.Contains(err.Error(), "ssn-1") {
		t.Errorf("an error with the value: %v", err)
	}
	if n := pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are in use at the end", n)
	}
	if _, err := sqldb.OpenPool(t.Context(), "sqlite:x.db", clinicSchema, e.guard, nil); err == nil {
		t.Error("a pool of SQLite")
	}
}

type queryRewriter struct{}

func (queryRewriter) RewriteQuery(context.Context, *pgx.Conn, string, []any) (string, []any, error) {
	return `SELECT what FROM secrets`, nil, nil
}

// Tenants that share connections do not meet, whatever they do on them at once.
func TestPoolTenantsDoNotMeet(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	dsn := e.dsn
	e.dsn += "&pool_max_conns=3"
	if !strings.Contains(dsn, "?") {
		e.dsn = dsn + "?pool_max_conns=3"
	}
	pool := newPool(t, e, e.guard, nil)
	var group sync.WaitGroup
	for worker := range 12 {
		id := []tenant.ID{tenantA, tenantB, tenantC}[worker%3]
		want := map[bool]int{true: 3}[id != tenantC]
		group.Go(func() {
			check := func(rows pgx.Rows, err error) {
				names, cerr := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil || cerr != nil || len(names) != want {
					t.Errorf("%s: %v, %v, %v", id, names, err, cerr)
				}
				for _, name := range names {
					if !strings.HasSuffix(name, " of "+id.String()) {
						t.Errorf("%s reads %q", id, name)
					}
				}
			}
			const query = `SELECT name FROM patients WHERE id < 100`
			for round := range 15 {
				check(pool.Query(as(id), query))
				b := batchOf(query, query)
				results := pool.SendBatch(as(id), b)
				check(results.Query())
				check(results.Query())
				if err := results.Close(); err != nil {
					t.Error(err)
				}
				// A context that ends in the middle leaves nothing of a tenant on the connection.
				ctx, cancel := context.WithCancel(as(id))
				if rows, err := pool.Query(ctx, query); err == nil {
					rows.Next()
					cancel()
					rows.Close()
				}
				cancel()
				err := pgx.BeginFunc(as(id), pool, func(tx pgx.Tx) error {
					check(tx.Query(as(id), query))
					if _, err := tx.Exec(as(id), `INSERT INTO patients (id, name) VALUES ($1, $2)`, 100+worker, "gone of "+id.String()); err != nil {
						return err
					}
					if round%2 == 0 {
						return errRollback
					}
					_, err := tx.Exec(as(id), `DELETE FROM patients WHERE id = $1`, 100+worker)
					return err
				})
				if err != nil && !errors.Is(err, errRollback) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

var errRollback = errors.New("rolled back")

// A value that was moved is withheld with the row, and raises the alert.
func TestPoolMovedValuesDoNotOpen(t *testing.T) {
	opts := &sqldb.Options{InsecureWithoutRLS: true}
	e := newEnv(t, dialect.PostgreSQL, opts)
	mustExec(t, e.raw, `ALTER TABLE patients NO FORCE ROW LEVEL SECURITY; ALTER TABLE patients DISABLE ROW LEVEL SECURITY; ALTER TABLE visits DISABLE ROW LEVEL SECURITY`)
	fill(t, e)
	mustExec(t, e.raw, `UPDATE patients SET name = (SELECT o.name FROM patients o WHERE o.tenant_id = 'Clinic' AND o.id = 1) WHERE tenant_id = 'clinic' AND id = 2`)
	pool := newPool(t, e, e.guard, &sqldb.PoolOptions{Options: *opts})
	read := map[string]func() (pgx.Rows, error){
		"query": func() (pgx.Rows, error) { return pool.Query(as(tenantA), `SELECT name FROM patients ORDER BY id`) },
		"batch": func() (pgx.Rows, error) {
			results := pool.SendBatch(as(tenantA), batchOf(`SELECT name FROM patients ORDER BY id`))
			t.Cleanup(func() { results.Close() })
			return results.Query()
		},
	}
	for how, read := range read {
		e.log.take()
		rows, err := read()
		must(t, err)
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if !errors.Is(err, storage.ErrIsolation) || len(names) > 1 || rows.RawValues() != nil {
			t.Errorf("%s: %v, %v", how, names, err)
		}
		if !e.log.has(func(ev *audit.Event) bool { return ev.Code == audit.CodeIsolation && ev.Tenant == tenantA }) {
			t.Errorf("%s: no alert", how)
		}
		if !e.log.has(func(ev *audit.Event) bool { return ev.Phase == audit.Outcome && ev.Status == audit.Failure }) {
			t.Errorf("%s is not recorded as failed", how)
		}
	}
}

// Nothing of an answer is released before its intent is in the trail.
func TestPoolWaitsForIntents(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	q := newQueueing()
	guard := e.guard
	guard.Audit = q
	pool := newPool(t, e, guard, nil)
	ways := map[string]func() error{
		"query": func() error {
			return pool.QueryRow(as(tenantA), `SELECT id FROM patients WHERE id = 1`).Scan(new(int))
		},
		"error": func() error { return pool.QueryRow(as(tenantA), `SELECT 1 / (id - 1) FROM patients`).Scan(new(int)) },
		"batch": func() error {
			return pool.SendBatch(as(tenantA), batchOf(`SELECT id FROM patients WHERE id = 1`)).QueryRow().Scan(new(int))
		},
		"count of a transaction's write": func() error {
			return pgx.BeginFunc(as(tenantA), pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(as(tenantA), `UPDATE patients SET ward = 'x' WHERE id = 1`)
				return err
			})
		},
		"copy": func() error {
			_, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, []string{"id"}, pgx.CopyFromRows([][]any{{1}})) // a duplicate
			if err == nil || strings.Contains(err.Error(), "23505") {
				t.Errorf("the database's answer to a copy was shown: %v", err)
			}
			return err
		},
	}
	for what, way := range ways {
		answer := make(chan error, 1)
		go func() { answer <- way() }()
		<-q.waits
		select {
		case err := <-answer:
			t.Fatalf("%s: released before its intent is in the trail: %v", what, err)
		default:
		}
		q.release <- audit.ErrUnavailable
		if err := <-answer; !errors.Is(err, audit.ErrUnavailable) || strings.Contains(err.Error(), "zero") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A connection whose server is gone is replaced.
func TestPoolReplacesBrokenConnections(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	super := openBare(t, e.super)
	for range 3 {
		must(t, pool.QueryRow(as(tenantA), `SELECT id FROM patients WHERE id = 1`).Scan(new(int)))
		mustExec(t, super, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'app' OR application_name = '' AND pid <> pg_backend_pid() AND datname = current_database()`)
	}
	must(t, pool.QueryRow(as(tenantB), `SELECT id FROM patients WHERE id = 1`).Scan(new(int)))
}
