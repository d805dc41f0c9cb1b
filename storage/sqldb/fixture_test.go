package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var (
	tenantA = tenant.MustParse("clinic")
	tenantB = tenant.MustParse("Clinic") // differs in case alone
	tenantC = tenant.MustParse("clinic-b")
)

// as returns a context of one tenant's request.
func as(id tenant.ID) context.Context {
	return tenant.NewContext(context.Background(), tenant.Access{Tenant: id, Actor: "dr.adams", Purpose: "treatment"})
}

// recorder keeps events, and fails where it is told to.
type recorder struct {
	mu     sync.Mutex
	events []audit.Event
	fail   func(*audit.Event) bool
}

var errDisk = errors.New("disk gone")

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil && r.fail(e) {
		return errDisk
	}
	r.events = append(r.events, *e)
	return nil
}

func (r *recorder) failing(f func(*audit.Event) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

// has tells whether an event like that has been recorded.
func (r *recorder) has(like func(*audit.Event) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.events, func(e audit.Event) bool { return like(&e) })
}

// await returns once an event like that has been recorded.
func (r *recorder) await(like func(*audit.Event) bool) {
	for !r.has(like) {
		runtime.Gosched()
	}
}

// take returns the events since it was last called.
func (r *recorder) take() []audit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// env is one database opened through the guard, and the raw handle of its owner.
type env struct {
	dialect dialect.Dialect
	db      *sql.DB
	raw     *sql.DB
	dsn     string
	super   string // PostgreSQL's superuser, of this database
	ring    *keys.Keyring
	log     *recorder
	guard   storage.Guard
}

var clinicSchema = sqldb.Schema{
	"patients": {Sealed: sqldb.Columns{
		"name": sqldb.Text().Searchable("name_index").FoldCase().TrimSpace(),
		"ssn":  sqldb.Text().Searchable("ssn_index"),
		"born": sqldb.Date(),
	}},
	"visits":    {Sealed: sqldb.Columns{"note": sqldb.Text()}},
	"countries": {Shared: true},
}

var clinicTables = map[dialect.Dialect][]string{
	dialect.SQLite: allWithChecks(dialect.SQLite,
		`CREATE TABLE patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, name_index BLOB, ssn BLOB, ssn_index BLOB, born BLOB, ward TEXT, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, ssn_index))`,
		`CREATE TABLE visits (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, patient_id INTEGER NOT NULL, note BLOB, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id))`,
		`CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT NOT NULL)`,
		`CREATE TABLE secrets (id INTEGER PRIMARY KEY, what TEXT)`,
		`INSERT INTO countries VALUES ('is', 'Iceland')`,
		`INSERT INTO secrets VALUES (1, 'undeclared')`,
	),
	dialect.PostgreSQL: allWithChecks(dialect.PostgreSQL,
		`CREATE TABLE patients (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, name bytea, name_index bytea, ssn bytea, ssn_index bytea, born bytea, ward text, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, ssn_index))`,
		`CREATE TABLE visits (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, patient_id bigint NOT NULL, note bytea, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id))`,
		`CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL)`,
		`CREATE TABLE secrets (id bigint PRIMARY KEY, what text)`,
		`INSERT INTO countries VALUES ('is', 'Iceland')`,
		`INSERT INTO secrets VALUES (1, 'undeclared')`,
	),
}

func allWithChecks(d dialect.Dialect, ddl ...string) []string {
	for i, create := range ddl {
		ddl[i] = withChecks(d, clinicSchema, create)
	}
	return ddl
}

// onBoth runs a test on SQLite, and on PostgreSQL where containers can be had.
func onBoth(t *testing.T, opts *sqldb.Options, test func(*testing.T, *env)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newEnv(t, dialect.SQLite, opts)) })
	t.Run("postgresql", func(t *testing.T) { test(t, newEnv(t, dialect.PostgreSQL, opts)) })
}

func newEnv(t *testing.T, d dialect.Dialect, opts *sqldb.Options) *env {
	t.Helper()
	return newEnvOn(t, d, opts, newRing(t, tenantA, tenantB, tenantC))
}

// newEnvOn is newEnv with the keys of a ring.
func newEnvOn(t *testing.T, d dialect.Dialect, opts *sqldb.Options, ring *keys.Keyring) *env {
	t.Helper()
	e := &env{dialect: d, log: &recorder{}, ring: ring}
	e.raw, e.dsn, e.super = newRaw(t, d)
	for _, ddl := range clinicTables[d] {
		mustExec(t, e.raw, ddl)
	}
	if d == dialect.PostgreSQL {
		ddl, err := clinicSchema.DDL(d, opts)
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, e.raw, ddl)
	}
	e.guard = storage.Guard{Keys: e.ring, Audit: e.log}
	db, err := sqldb.Open(context.Background(), e.dsn, clinicSchema, e.guard, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	e.db = db
	return e
}

// withChecks adds the constraints of the sealed columns to a CREATE TABLE.
func withChecks(d dialect.Dialect, schema sqldb.Schema, ddl string) string {
	for name, table := range schema {
		of := strings.HasPrefix(ddl, "CREATE TABLE "+name+" ") || strings.HasPrefix(ddl, `CREATE TABLE `+quotedName(name)+` `)
		if checks := table.Checks(d); of && len(checks) > 0 {
			return strings.TrimSuffix(ddl, ")") + ", " + strings.Join(checks, ", ") + ")"
		}
	}
	return ddl
}

// quotedName is a table's name, with its schema in front where it has one, as SQL.
func quotedName(name string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(name, `"`, `""`), `.`, `"."`) + `"`
}

// ownerURLs are the owners' connection strings by the applications'.
var ownerURLs sync.Map

// newRaw returns the owner's handle of an empty database, the application's connection string, and the superuser's.
func newRaw(t *testing.T, d dialect.Dialect) (raw *sql.DB, dsn, super string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.db")
	driver, url := "sqlite", "file:"+path+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)"
	dsn = "sqlite:" + path
	if d == dialect.PostgreSQL {
		database := testenv.Postgres(t).NewDatabase(t)
		driver, url, dsn, super = "pgx", database.OwnerURL, database.AppURL, database.SuperURL
	}
	raw, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	ownerURLs.Store(dsn, url)
	return raw, dsn, super
}

func newRing(t *testing.T, ids ...tenant.ID) *keys.Keyring {
	t.Helper()
	return newRingIn(t, t.TempDir(), &keys.Options{InsecureWithoutAudit: true}, ids...)
}

func newRingIn(t *testing.T, dir string, opts *keys.Options, ids ...tenant.ID) *keys.Keyring {
	t.Helper()
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(context.Background(), kek, store, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	for _, id := range ids {
		if err := ring.Provision(context.Background(), id); err != nil {
			t.Fatal(err)
		}
	}
	return ring
}

// openBare opens a database without the guard, on one connection.
func openBare(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// exec runs a guarded statement.
func (e *env) exec(t *testing.T, id tenant.ID, query string, args ...any) int64 {
	t.Helper()
	res, err := e.db.ExecContext(as(id), query, args...)
	if err != nil {
		t.Fatalf("%s for %s: %v", query, id, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// rows returns a guarded query's whole result.
func (e *env) rows(t *testing.T, id tenant.ID, query string, args ...any) [][]any {
	t.Helper()
	out, err := e.tryRows(as(id), query, args...)
	if err != nil {
		t.Fatalf("%s for %s: %v", query, id, err)
	}
	return out
}

func (e *env) tryRows(ctx context.Context, query string, args ...any) ([][]any, error) {
	rows, err := e.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows)
}

func collect(rows *sql.Rows) ([][]any, error) {
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out [][]any
	for rows.Next() {
		row := make([]any, len(names))
		dest := make([]any, len(names))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return out, err
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		return out, err
	}
	return out, rows.Close()
}
