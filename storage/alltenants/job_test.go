package alltenants_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/alltenants"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// trail keeps events.
type trail struct {
	mu     sync.Mutex
	events []audit.Event
}

func (r *trail) Record(_ context.Context, e *audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
	return nil
}

func newRing(t *testing.T, ids ...tenant.ID) *keys.Keyring {
	t.Helper()
	dir := t.TempDir()
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	must(t, err)
	ring, err := keys.Open(context.Background(), kek, store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: 300 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { ring.Close() })
	for _, id := range ids {
		must(t, ring.Provision(context.Background(), id))
	}
	return ring
}

func tenants(n int) (ids []tenant.ID) {
	for i := range n {
		ids = append(ids, tenant.MustParse(fmt.Sprintf("t-%03d", i)))
	}
	return ids
}

func job(ring *keys.Keyring) alltenants.Job {
	return alltenants.Job{Keys: ring, Actor: "cron", Purpose: "retention", Request: "run-1", Parallel: 3}
}

func TestForEach(t *testing.T) {
	ids := tenants(20)
	ring := newRing(t, ids...)
	must(t, ring.Suspend(t.Context(), ids[4], "test"))
	var (
		mu          sync.Mutex
		seen        []string
		now, at     atomic.Int64
		checkpoints []string
	)
	j := job(ring)
	j.Checkpoint = func(id tenant.ID) error { checkpoints = append(checkpoints, id.String()); return nil }
	boom := errors.New("boom")
	report, err := j.ForEach(t.Context(), func(ctx context.Context, id tenant.ID) error {
		n := now.Add(1)
		defer now.Add(-1)
		for m := at.Load(); n > m && !at.CompareAndSwap(m, n); m = at.Load() {
		}
		a, err := tenant.FromContext(ctx)
		if err != nil || a != (tenant.Access{Tenant: id, Actor: "cron", Purpose: "retention", Request: "run-1"}) {
			t.Errorf("%s: access %+v, %v", id, a, err)
		}
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, id.String())
		switch id {
		case ids[10]:
			return boom
		case ids[15]:
			panic("a defect")
		}
		return nil
	})
	slices.Sort(seen)
	if len(seen) != 19 || slices.Contains(seen, ids[4].String()) || len(slices.Compact(seen)) != 19 {
		t.Errorf("%d tenants: %v", len(seen), seen)
	}
	if at.Load() > 3 {
		t.Errorf("%d at once", at.Load())
	}
	if report != (alltenants.Report{Done: 17, Failed: 2, Through: ids[9]}) {
		t.Errorf("%+v", report)
	}
	var one *alltenants.TenantError
	if !errors.Is(err, boom) || !errors.As(err, &one) || one.Tenant != ids[10] && one.Tenant != ids[15] || strings.Contains(err.Error(), "a defect") || !strings.Contains(err.Error(), "job_test.go") {
		t.Errorf("%v", err)
	}
	if !slices.IsSorted(checkpoints) || len(checkpoints) == 0 || checkpoints[len(checkpoints)-1] != ids[9].String() {
		t.Errorf("checkpoints %v", checkpoints)
	}
	// It goes on where it was.
	seen = nil
	j.After, j.Checkpoint = report.Through, nil
	report, err = j.ForEach(t.Context(), func(_ context.Context, id tenant.ID) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, id.String())
		return nil
	})
	slices.Sort(seen)
	if err != nil || len(seen) != 10 || seen[0] != ids[10].String() || report.Through != ids[19] {
		t.Errorf("%v, %+v, %v", seen, report, err)
	}
}

func TestForEachEnds(t *testing.T) {
	ids := tenants(50)
	ring := newRing(t, ids...)
	j := job(ring)
	full := errors.New("disk full")
	calls := 0
	j.Parallel = 1
	j.Checkpoint = func(id tenant.ID) error {
		if id == ids[2] {
			return full
		}
		return nil
	}
	report, err := j.ForEach(t.Context(), func(context.Context, tenant.ID) error { calls++; return nil })
	if !errors.Is(err, full) || calls > 4 || report.Through != ids[2] && report.Through != ids[3] {
		t.Errorf("a checkpoint that was not kept: %v after %d, %+v", err, calls, report)
	}
	ctx, cancel := context.WithCancel(t.Context())
	j.Checkpoint, calls = nil, 0
	_, err = j.ForEach(ctx, func(context.Context, tenant.ID) error {
		if calls++; calls == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls > 4 {
		t.Errorf("a context that ended: %v after %d", err, calls)
	}
	must(t, ring.Close())
	if _, err := j.ForEach(t.Context(), func(context.Context, tenant.ID) error { return nil }); !errors.Is(err, keys.ErrClosed) {
		t.Errorf("a list that ended: %v", err)
	}
}

// No request of a tenant's reaches the others this way, and an incomplete job reaches nobody.
func TestRefused(t *testing.T) {
	ring := newRing(t, tenants(2)...)
	request := tenant.NewContext(t.Context(), tenant.Access{Tenant: tenants(1)[0], Actor: "dr.adams", Purpose: "treatment"})
	incomplete := tenant.NewContext(t.Context(), tenant.Access{})
	for what, c := range map[string]struct {
		ctx context.Context
		job alltenants.Job
		is  error
	}{
		"a request":                  {request, job(ring), alltenants.ErrInRequest},
		"a request without an actor": {incomplete, job(ring), alltenants.ErrInRequest},
		"no keyring":                 {t.Context(), alltenants.Job{Actor: "cron", Purpose: "x"}, nil},
		"no actor":                   {t.Context(), alltenants.Job{Keys: ring, Purpose: "x"}, tenant.ErrInvalidAccess},
		"no purpose":                 {t.Context(), alltenants.Job{Keys: ring, Actor: "cron"}, tenant.ErrInvalidAccess},
		"too many at once":           {t.Context(), alltenants.Job{Keys: ring, Actor: "cron", Purpose: "x", Parallel: 1000}, nil},
	} {
		check := func(err error) {
			t.Helper()
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := c.job.ForEach(c.ctx, func(context.Context, tenant.ID) error { t.Errorf("%s: called", what); return nil })
		check(err)
		for row, err := range c.job.Query(c.ctx, nil, `SELECT 1`) {
			if row != nil {
				t.Errorf("%s: a row", what)
			}
			check(err)
		}
	}
}

// openNotes opens a database in which each tenant has as many notes as its number says.
func openNotes(t *testing.T, ring *keys.Keyring, ids []tenant.ID, log audit.Recorder) *sql.DB {
	t.Helper()
	schema := sqldb.Schema{"notes": {Sealed: sqldb.Columns{"text": sqldb.Text()}}}
	path := filepath.Join(t.TempDir(), "app.db")
	raw, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	defer raw.Close()
	_, err = raw.Exec(`CREATE TABLE notes (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, text BLOB, PRIMARY KEY (tenant_id, id), ` + strings.Join(schema["notes"].Checks(dialect.SQLite), ", ") + `)`)
	must(t, err)
	db, err := sqldb.Open(t.Context(), "sqlite:"+path, schema, storage.Guard{Keys: ring, Audit: log}, nil)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	for n, id := range ids {
		ctx := tenant.NewContext(t.Context(), tenant.Access{Tenant: id, Actor: "fill", Purpose: "test"})
		for i := range n {
			_, err := db.ExecContext(ctx, `INSERT INTO notes (id, text) VALUES ($1, $2)`, i, fmt.Sprintf("note %d of %s", i, id))
			must(t, err)
		}
	}
	return db
}

func TestQuery(t *testing.T) {
	ids := tenants(12)
	ring := newRing(t, ids...)
	log := &trail{}
	db := openNotes(t, ring, ids, log)
	log.events = nil
	for _, parallel := range []int{1, 4} {
		for _, conns := range []int{1, 10} {
			db.SetMaxOpenConns(conns)
			j := job(ring)
			j.Parallel = parallel
			var got, want []string
			for row, err := range j.Query(t.Context(), db, `SELECT text FROM notes WHERE id < $1 ORDER BY id`, 100) {
				must(t, err)
				var text string
				must(t, row.Scan(&text))
				if n := db.Stats().InUse; n > parallel {
					t.Errorf("%d connections for %d at once", n, parallel)
				}
				got = append(got, row.Tenant.String()+": "+text)
			}
			for n, id := range ids {
				for i := range n {
					want = append(want, fmt.Sprintf("%s: note %d of %s", id, i, id))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d at once on %d connections: %v", parallel, conns, got)
			}
		}
	}
	for _, e := range log.events {
		if e.Actor != "cron" || e.Purpose != "retention" || e.Request != "run-1" {
			t.Fatalf("recorded as %+v", e)
		}
	}
	if len(log.events) != 4*2*len(ids) {
		t.Errorf("%d events", len(log.events))
	}
	// One tenant that fails does not keep the others from the report.
	db.SetMaxOpenConns(10)
	must(t, ring.Suspend(t.Context(), ids[3], "test"))
	j := job(ring)
	j.Statuses = []keys.Status{keys.StatusActive, keys.StatusSuspended}
	rows, failed := 0, []tenant.ID{}
	for row, err := range j.Query(t.Context(), db, `SELECT text FROM notes`) {
		var one *alltenants.TenantError
		switch {
		case errors.As(err, &one) && errors.Is(err, keys.ErrSuspended) && row == nil:
			failed = append(failed, one.Tenant)
		case err != nil:
			t.Fatal(err)
		default:
			rows++
		}
	}
	if rows != 66-3 || !slices.Equal(failed, ids[3:4]) {
		t.Errorf("%d rows, failed %v", rows, failed)
	}
	// Who leaves the loop leaves nothing open; a refused statement is each tenant's; the end of the context is told.
	for range job(ring).Query(t.Context(), db, `SELECT text FROM notes`) {
		break
	}
	refused := 0
	for _, err := range job(ring).Query(t.Context(), db, `SELECT * FROM secrets`) {
		var why *sqldb.RefusedError
		if errors.As(err, &why) {
			refused++
		}
	}
	if refused != len(ids)-1 {
		t.Errorf("%d refusals", refused)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range job(ring).Query(ctx, db, `SELECT text FROM notes`) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("the last is %v", last)
	}
	if n := db.Stats().InUse; n != 0 {
		t.Errorf("%d connections are in use", n)
	}
}

// A tenant whose turn is ended from within, as t.FailNow does it, is none for which all was done.
func TestGoexitIsAFailure(t *testing.T) {
	a, b := tenant.MustParse("a"), tenant.MustParse("b")
	job := alltenants.Job{Keys: newRing(t, a, b), Actor: "cron", Purpose: "retention", Parallel: 1}
	report, err := job.ForEach(t.Context(), func(_ context.Context, id tenant.ID) error {
		if id == b {
			runtime.Goexit()
		}
		return nil
	})
	var failed *alltenants.TenantError
	if !errors.As(err, &failed) || failed.Tenant != b || report != (alltenants.Report{Done: 1, Failed: 1, Through: a}) {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestACheckpointThatPanicsIsAnError: it is kept on a goroutine of the run's, and would end the process and the work for all tenants.
func TestACheckpointThatPanicsIsAnError(t *testing.T) {
	j := job(newRing(t, tenants(3)...))
	j.Checkpoint = func(tenant.ID) error { runtime.Goexit(); return nil }
	if _, err := j.ForEach(t.Context(), func(context.Context, tenant.ID) error { return nil }); err == nil || !strings.Contains(err.Error(), "the checkpoint was not kept: Job.Checkpoint ended") {
		t.Errorf("one that ends the goroutine: %v", err)
	}
	j.Checkpoint = func(tenant.ID) error { panic("of the application's") }
	_, err := j.ForEach(t.Context(), func(context.Context, tenant.ID) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "the checkpoint was not kept: Job.Checkpoint panicked") || strings.Contains(err.Error(), "of the application's") {
		t.Errorf("%v", err)
	}
}
