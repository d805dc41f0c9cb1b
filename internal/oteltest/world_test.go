package oteltest

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// Every canary ends in the same word, which must not be anywhere in what is exported.
const (
	canary  = "kanarienvogel"
	actor   = "dr-" + canary
	purpose = "treatment-" + canary
	request = "request-" + canary
	object  = "scans/of-" + canary + ".png"
	value   = "Ada " + canary
	ours    = "north-" + canary
	theirs  = "south-" + canary
	nobody  = "nobody-" + canary
)

var schema = sqldb.Schema{
	"patients": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}},
	"visits":   {},
}

var tables = map[dialect.Dialect][]string{
	dialect.SQLite: {
		`CREATE TABLE IF NOT EXISTS patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, ward TEXT, name BLOB, name_index BLOB, PRIMARY KEY (tenant_id, id))`,
		`CREATE TABLE IF NOT EXISTS visits (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, patient INTEGER, note TEXT, PRIMARY KEY (tenant_id, id))`,
	},
	dialect.PostgreSQL: {
		`CREATE TABLE IF NOT EXISTS patients (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, ward text, name bytea, name_index bytea, PRIMARY KEY (tenant_id, id))`,
		`CREATE TABLE IF NOT EXISTS visits (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, patient bigint, note text, PRIMARY KEY (tenant_id, id))`,
	},
}

// world is a service with telemetry that a test reads.
type world struct {
	*stack.Stack
	pool   *sqldb.Pool // of PostgreSQL; nil for SQLite
	owner  *sql.DB
	spans  *tracetest.InMemoryExporter
	tracer *sdktrace.TracerProvider
	reader *sdkmetric.ManualReader
	lines  *lines
}

// lines are what was logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// deny is an authorizer that says more than it should.
type deny struct{}

func (deny) Error() string       { return "not for " + canary }
func (deny) AuditReason() string { return "refused: " + canary }

func newWorld(t *testing.T, d dialect.Dialect, change func(*stack.Config, *audit.Telemetry)) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader(), lines: &lines{}}
	w.tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans))
	telemetry := &audit.Telemetry{
		TracerProvider: w.tracer,
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)),
		Logger:         slog.New(slog.NewJSONHandler(w.lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	db := stack.Database{URL: "sqlite:" + filepath.Join(dir, "app.db"), Schema: schema, Tables: tables[d], Options: &sqldb.Options{PlanCacheSize: 2}}
	driver, owner := "sqlite", filepath.Join(dir, "app.db")
	if d == dialect.PostgreSQL {
		server := testenv.Postgres(t).NewDatabase(t)
		db.URL, db.Owner, driver, owner = server.AppURL, server.OwnerURL, "pgx", server.OwnerURL
	}
	c := stack.Config{
		Dir: filepath.Join(dir, "strongroom"), Telemetry: telemetry,
		AuditOptions: &audit.Options{Origin: "audit.example.com"}, // a trail's name is in its metrics
		KeyOptions:   &keys.Options{CacheSize: 1},
		Authorizer: tenant.AuthorizerFunc(func(_ context.Context, a tenant.Access, act tenant.Action) error {
			if a.Purpose == "curiosity" {
				return deny{}
			}
			return nil
		}),
		Databases: map[string]stack.Database{"clinic": db},
		Buckets:   map[string]stack.Bucket{"scans": {URL: "file://" + filepath.Join(dir, "scans") + "?create_dir=true&no_tmp_dir=true"}},
	}
	if change != nil {
		change(&c, telemetry)
	}
	var err error
	if w.Stack, err = stack.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	if w.owner, err = sql.Open(driver, owner); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.owner.Close() })
	if d == dialect.PostgreSQL {
		if w.pool, err = sqldb.OpenPool(t.Context(), db.URL, schema, w.Guard, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.pool.Close)
	}
	return w
}

func as(ctx context.Context, id string) context.Context {
	return tenant.NewContext(ctx, tenant.Access{Tenant: tenant.MustParse(id), Actor: actor, Purpose: purpose, Request: request})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s was not refused", what)
	}
}

// liar is a parameter whose error says more than it should.
type liar struct{}

func (liar) Value() (driver.Value, error) { return nil, errors.New("cannot encode " + canary) }

// use does all that the library reports, once at least.
func (w *world) use(t *testing.T) {
	t.Helper()
	ctx := as(t.Context(), ours)
	for _, id := range []string{ours, theirs} {
		must(t, w.Keys.Provision(t.Context(), tenant.MustParse(id)))
	}
	db := w.DB["clinic"]
	exec := func(ctx context.Context, query string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(ctx, query, args...)
		must(t, err)
	}
	exec(ctx, `INSERT INTO patients (id, ward, name) VALUES ($1, '`+canary+`', $2) /* `+canary+` */`, 1, value)
	exec(as(t.Context(), theirs), `INSERT INTO patients (id, name) VALUES (1, $1)`, value)
	exec(ctx, `INSERT INTO visits (id, patient, note) VALUES (7, 1, $1)`, canary)
	var n int
	must(t, db.QueryRowContext(ctx, `SELECT count(*) FROM patients WHERE name = '`+value+`' AND ward <> 'no `+canary+`'`).Scan(&n))
	if n != 1 {
		t.Errorf("%d rows", n)
	}
	var name string
	must(t, db.QueryRowContext(ctx, `WITH p AS (SELECT id, name FROM patients) SELECT p.name FROM p JOIN visits v ON v.patient = p.id WHERE v.note = $1`, canary).Scan(&name))
	// A condition that may fail, on a derived table, wants a barrier.
	rows, err := db.QueryContext(ctx, `SELECT s.id FROM (SELECT id, note FROM visits) s WHERE abs(s.id) > 0 AND s.note = '`+canary+`'`)
	must(t, err)
	for rows.Next() {
	}
	must(t, errors.Join(rows.Err(), rows.Close()))

	for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
		tx, err := db.BeginTx(ctx, nil)
		must(t, err)
		_, err = tx.ExecContext(ctx, `SAVEPOINT s1`)
		must(t, err)
		_, err = tx.ExecContext(ctx, `UPDATE patients SET ward = $1 WHERE id = 1`, canary)
		must(t, err)
		must(t, end(tx))
	}

	fails := func(what string, ctx context.Context, query string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(ctx, query, args...)
		refused(t, what, err)
	}
	fails("a repeated key", ctx, `INSERT INTO patients (id, ward) VALUES (1, $1)`, canary)
	fails("another tenant's id", ctx, `INSERT INTO patients (tenant_id, id) VALUES ($1, 99)`, theirs)
	fails("no SQL", ctx, `SELEKT '`+canary+`' `+canary)
	fails("an unknown table", ctx, `SELECT `+canary+` FROM `+canary)
	fails("an unknown function", ctx, `SELECT `+canary+`('`+canary+`')`)
	fails("a bad parameter", ctx, `UPDATE patients SET name = $1`, liar{})
	fails("too few parameters", ctx, `UPDATE patients SET name = $1`)
	fails("no number", ctx, `UPDATE visits SET patient = $1`, struct{ canary int }{1})
	fails("nobody", as(t.Context(), nobody), `DELETE FROM patients`)
	fails("no access", t.Context(), `DELETE FROM patients`)
	curious := tenant.NewContext(t.Context(), tenant.Access{Tenant: tenant.MustParse(ours), Actor: actor, Purpose: "curiosity"})
	fails("curiosity", curious, `DELETE FROM patients`)
	if w.pool != nil {
		fails("a division", ctx, `UPDATE visits SET patient = 1 / ($1::bigint - 1)`, 1)
		batch := &pgx.Batch{}
		batch.Queue(`INSERT INTO visits (id, note) VALUES ($1, $2)`, 8, canary)
		batch.Queue(`SELECT note FROM visits WHERE note = $1`, canary)
		must(t, w.pool.SendBatch(ctx, batch).Close())
		_, err := w.pool.CopyFrom(ctx, pgx.Identifier{"visits"}, []string{"id", "note"}, pgx.CopyFromRows([][]any{{9, canary}, {10, canary}}))
		must(t, err)
		must(t, w.pool.QueryRow(ctx, `SELECT name FROM patients WHERE name = $1`, value).Scan(&name))
	}
	if name != value {
		t.Errorf("read %q", name)
	}

	// A value of another tenant's does not open.
	must(t, w.steal(t.Context()))
	refused(t, "a stolen value", db.QueryRowContext(ctx, `SELECT name FROM patients`).Scan(&name))

	bucket := w.Bucket["scans"]
	must(t, bucket.WriteAll(ctx, object, []byte(value), &blob.WriterOptions{Metadata: map[string]string{"of": canary}}))
	if read, err := bucket.ReadAll(ctx, object); err != nil || string(read) != value {
		t.Errorf("read %q, %v", read, err)
	}
	_, err = bucket.Attributes(ctx, object)
	must(t, err)
	must(t, bucket.Copy(ctx, "copy-of-"+canary, object, nil))
	for it := bucket.List(&blob.ListOptions{Prefix: "scans/of-" + canary}); ; {
		if _, err := it.Next(ctx); err != nil {
			break
		}
	}
	_, err = bucket.ReadAll(ctx, "absent-"+canary)
	refused(t, "an absent object", err)
	_, err = bucket.ReadAll(as(t.Context(), nobody), object)
	refused(t, "nobody's object", err)
	must(t, bucket.Delete(ctx, object))

	us := tenant.MustParse(ours)
	must(t, w.Keys.Rotate(t.Context(), us, keys.PurposeData, "because of "+canary))
	must(t, w.Keys.RotateKEK(t.Context(), us, "because of "+canary))
	must(t, w.Keys.Suspend(t.Context(), us, "because of "+canary))
	fails("a suspended tenant", ctx, `DELETE FROM patients`)
	must(t, w.Keys.Resume(t.Context(), us, "because of "+canary))
	exec(ctx, `DELETE FROM visits`)
	for _, err := range w.Keys.Tenants(t.Context()) {
		must(t, err)
	}
	must(t, w.Keys.Shred(t.Context(), tenant.MustParse(theirs), "because of "+canary))
}

// steal puts one tenant's value into the other's row.
func (w *world) steal(ctx context.Context) error {
	query := `UPDATE patients SET name = (SELECT p.name FROM patients p WHERE p.tenant_id = '` + theirs + `') WHERE tenant_id = '` + ours + `'`
	if w.pool != nil {
		query = `ALTER TABLE patients NO FORCE ROW LEVEL SECURITY; ` + query + `; ALTER TABLE patients FORCE ROW LEVEL SECURITY`
	}
	_, err := w.owner.ExecContext(ctx, query)
	return err
}

// collect returns what the meters have now.
func (w *world) collect(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	var rm metricdata.ResourceMetrics
	must(t, w.reader.Collect(t.Context(), &rm))
	found := map[string]metricdata.Metrics{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

// points returns a metric's attributes and values; of a histogram the value is how often it was recorded.
func points(t *testing.T, m metricdata.Metrics) (sets []attribute.Set, values []float64) {
	t.Helper()
	add := func(s attribute.Set, v float64) { sets, values = append(sets, s), append(values, v) }
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, float64(p.Value))
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, float64(p.Value))
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, p.Value)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, float64(p.Count))
		}
	case nil:
	default:
		t.Fatalf("%s is a %T", m.Name, data)
	}
	return sets, values
}

// sum adds the values of the points that have all of some attributes, as key=value.
func sum(t *testing.T, m metricdata.Metrics, want ...string) (total float64) {
	t.Helper()
	sets, values := points(t, m)
	for i, s := range sets {
		has := true
		for _, w := range want {
			key, value, _ := strings.Cut(w, "=")
			v, ok := s.Value(attribute.Key(key))
			has = has && ok && v.String() == value
		}
		if has {
			total += values[i]
		}
	}
	return total
}

// exported is all that was exported, as text.
func (w *world) exported(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, s := range w.spans.GetSpans() {
		fmt.Fprintf(&all, "%s %v %v %v %v %v\n", s.Name, s.Attributes, s.Events, s.Status, s.Links, s.InstrumentationScope)
	}
	for _, m := range w.collect(t) {
		text, err := json.Marshal(m.Data)
		must(t, err)
		sets, _ := points(t, m)
		fmt.Fprintf(&all, "%s %s %s", m.Name, m.Description, text)
		for _, s := range sets {
			fmt.Fprintf(&all, " %v", s.ToSlice())
		}
		all.WriteByte('\n')
	}
	return all.String() + w.lines.String()
}

var _ = storage.Guard{}
