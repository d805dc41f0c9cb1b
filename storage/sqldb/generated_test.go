package sqldb_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// Non-interference, as internal/sqlplan has it for plans, through everything: real keys, row-level security, a pool of
// connections, prepared statements that all tenants use, transactions that are committed and rolled back. What a tenant
// gets and stores is what it would get and store in a database of its own.

var generated = flag.Int("generated", 300, "how many generated statements to run on each engine")

// genWorld is a generated schema with its data, guarded and shared, and plain for each tenant.
type genWorld struct {
	*rand.Rand
	schema  *sqlgen.Schema
	tenants []tenant.ID
	raw     *sql.DB // the owner's
	guarded *sql.DB
	plain   map[tenant.ID]*sql.DB
	// In pgx's form, where the statements run through a Pool.
	pool      *sqldb.Pool
	plainPool map[tenant.ID]*pgxpool.Pool
	reopen    func() (*sqldb.Pool, error)
	plainURL  map[tenant.ID]string

	keys *genKeys                // what rotates; nil where nothing does
	next func() sqlgen.Statement // what is run next

	ran    int
	failed int
}

// genOptions are what a world has beside its schema.
type genOptions struct {
	keys *genKeys // that rotate, also between the rows that are there at first
	// alike gives all tenants the first one's rows.
	alike bool
	// patience bounds each wait for a lock in the shared database, as lock_timeout does; empty for none.
	patience string
}

func newGenWorld(t *testing.T, r *rand.Rand, d dialect.Dialect, guard storage.Guard, o genOptions) *genWorld {
	t.Helper()
	w := &genWorld{keys: o.keys, Rand: r, schema: sqlgen.NewSchema(r, d == dialect.SQLite), plain: map[tenant.ID]*sql.DB{}, plainURL: map[tenant.ID]string{}}
	w.keys.unique(w.schema)
	varied := r.IntN(3) > 0
	if varied {
		w.schema.Vary(r)
	}
	w.next = func() sqlgen.Statement { return w.schema.Random(r) }
	w.schema.Relate(r)
	if varied {
		w.schema.Fire(r)
	}
	for _, id := range w.schema.Tenants() {
		w.tenants = append(w.tenants, tenant.MustParse(id))
		if err := guard.Keys.Provision(context.Background(), tenant.MustParse(id)); err != nil {
			t.Fatal(err)
		}
	}
	w.keys.among(w.tenants)
	w.schema.Before17 = d == dialect.PostgreSQL && testenv.Postgres(t).Major < 17
	declared, opts := sqldb.Schema{}, &sqldb.Options{}
	for _, table := range w.schema.Tables {
		sealed := sqldb.Columns{}
		for _, c := range table.Columns {
			if !c.Sealed {
				continue
			}
			column := sqldb.Text()
			if c.Kind == sqlgen.Int {
				column = sqldb.Int()
			}
			if c.Searchable {
				column = column.Searchable(c.Index())
			}
			sealed[c.Name] = column
		}
		declared[table.Declared()] = sqldb.Table{Shared: table.Shared(), Sealed: sealed, TenantColumn: table.Tenant, TenantType: table.TenantType}
	}
	if tr := w.schema.Trigger; tr != nil {
		does := sqldb.Trigger{Deletes: []string{tr.Other.Declared()}}
		if tr.Column != "" {
			does = sqldb.Trigger{Writes: does.Deletes}
		}
		fires := declared[tr.Table.Declared()]
		fires.Triggers = map[string]sqldb.Trigger{sqlgen.TriggerName: does}
		declared[tr.Table.Declared()] = fires
	}
	raw, dsn, _ := newRaw(t, d)
	w.raw = raw
	for _, create := range w.schema.Shared() {
		mustExec(t, raw, withChecks(d, declared, create))
	}
	for _, create := range w.schema.TriggerDDL(false) {
		mustExec(t, raw, create)
	}
	if d == dialect.PostgreSQL {
		ddl, err := declared.DDL(d, opts)
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, raw, ddl)
	}
	if o.patience != "" {
		mustExec(t, raw, fmt.Sprintf(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET lock_timeout = %%L', current_database(), '%s'); END $$`, o.patience))
	}
	w.reopen = func() (*sqldb.Pool, error) {
		return sqldb.OpenPool(context.Background(), dsn, declared, guard, &sqldb.PoolOptions{Options: *opts})
	}
	var err error
	if w.guarded, err = sqldb.Open(context.Background(), dsn, declared, guard, opts); err != nil {
		t.Fatal(err)
	}
	w.guarded.SetMaxOpenConns(3)
	t.Cleanup(func() { w.guarded.Close() })
	for _, id := range w.tenants {
		var app string
		w.plain[id], app, _ = newRaw(t, d)
		if url, ok := ownerURLs.Load(app); ok {
			w.plainURL[id] = url.(string)
		}
		for _, create := range append(w.schema.Plain(id.String()), w.schema.TriggerDDL(false)...) {
			mustExec(t, w.plain[id], create)
		}
	}
	made := map[tenant.ID]map[*sqlgen.Table][][]any{}
	for _, id := range w.tenants {
		made[id] = map[*sqlgen.Table][][]any{}
	}
	for _, table := range w.schema.Tables {
		if table.Shared() {
			rows := table.Rows(r)
			for _, db := range append(slices.Collect(maps.Values(w.plain)), raw) {
				w.fill(t, context.Background(), db, db != w.guarded, table, rows)
			}
			continue
		}
		for _, id := range w.tenants {
			rows := table.Related(r, table.Rows(r), func(parent *sqlgen.Table) [][]any { return made[id][parent] })
			if o.alike && id != w.tenants[0] {
				rows = made[w.tenants[0]][table]
			}
			made[id][table] = rows
			half := len(rows) / 2
			w.fill(t, as(id), w.guarded, false, table, rows[:half])
			w.keys.perhapsRotate(t, id, 3)
			w.fill(t, as(id), w.guarded, false, table, rows[half:])
			w.fill(t, context.Background(), w.plain[id], true, table, rows)
		}
	}
	return w
}

func (w *genWorld) close() {
	w.guarded.Close()
	for _, db := range w.plain {
		db.Close()
	}
	if w.pool != nil {
		w.pool.Close()
	}
	for _, pool := range w.plainPool {
		pool.Close()
	}
}

func (w *genWorld) fill(t *testing.T, ctx context.Context, db *sql.DB, plain bool, table *sqlgen.Table, rows [][]any) {
	t.Helper()
	for _, row := range rows {
		var names, marks []string
		for i, c := range table.Stored() {
			names, marks = append(names, sqlgen.Quote(c.Name)), append(marks, fmt.Sprintf("$%d", i+1))
		}
		query := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table.SQL(), strings.Join(names, ", "), strings.Join(marks, ", "))
		if _, err := db.ExecContext(ctx, w.text(query, plain), row...); err != nil {
			t.Fatalf("%s %v: %v", query, row, err)
		}
	}
}

// genUnwritable are refusals of what the parser's library cannot read or write, and of what PostgreSQL refuses too.
var genUnwritable = regexp.MustCompile("over the limit of depth|cannot be described without its literals|not read as it is written|ambiguous column")

var genParameters = regexp.MustCompile(`\$(\d+)`)

// text is a statement as a database takes it: the guard PostgreSQL's, plain SQLite its own parameters.
func (w *genWorld) text(query string, plain bool) string {
	if plain && w.schema.Lite {
		return genParameters.ReplaceAllString(query, "?$1")
	}
	return query
}

// runner is one of the sides that are compared: what a statement returned on it, as sorted texts.
type runner interface {
	outcome(ctx context.Context, query string, st sqlgen.Statement) (string, error)
}

// sqlRunner is a *sql.DB, *sql.Tx or, with the text left out, a *sql.Stmt.
type sqlRunner struct {
	db interface {
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}
}

type prepared struct{ *sql.Stmt }

func (p prepared) QueryContext(ctx context.Context, _ string, args ...any) (*sql.Rows, error) {
	return p.Stmt.QueryContext(ctx, args...)
}

func (p prepared) ExecContext(ctx context.Context, _ string, args ...any) (sql.Result, error) {
	return p.Stmt.ExecContext(ctx, args...)
}

func (r sqlRunner) outcome(ctx context.Context, query string, st sqlgen.Statement) (string, error) {
	db := r.db
	if !st.Reads && !strings.Contains(query, "RETURNING") {
		res, err := db.ExecContext(ctx, query, st.Args...)
		if err != nil {
			return "", err
		}
		n, err := res.RowsAffected()
		return fmt.Sprint(n), err
	}
	rows, err := db.QueryContext(ctx, query, st.Args...)
	if err != nil {
		return "", err
	}
	values, err := collect(rows)
	return sortedLines(values), err
}

func sortedLines(values [][]any) string {
	var lines []string
	for _, row := range values {
		for i, v := range row {
			switch v := v.(type) {
			case time.Time:
				row[i] = v.UTC().Format(time.RFC3339Nano)
			case []byte:
				row[i] = string(v)
			}
		}
		lines = append(lines, fmt.Sprintf("%q", fmt.Sprint(row...)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (w *genWorld) on() runner {
	if w.pool != nil {
		return pgxRunner{w.pool}
	}
	return sqlRunner{w.guarded}
}

func (w *genWorld) plainOn(id tenant.ID) runner {
	if w.pool != nil {
		return pgxRunner{w.plainPool[id]}
	}
	return sqlRunner{w.plain[id]}
}

const violation = "integrity constraint violation"

// class is what two databases have in common whose keys differ by the tenant column.
func class(err error) string {
	var pg *pgconn.PgError
	var lite interface{ Code() int }
	switch {
	case errors.As(err, &pg) && strings.HasPrefix(pg.Code, "23"):
		return violation
	case errors.As(err, &pg):
		return pg.Code
	case errors.As(err, &lite):
		return fmt.Sprint(lite.Code() & 0xff)
	}
	return fmt.Sprint(err)
}

// check runs one statement on both sides and reports how they differ. It returns false where both failed.
func (w *genWorld) check(t *testing.T, id tenant.ID, guarded, plain runner, st sqlgen.Statement) bool {
	t.Helper()
	diff, ok := w.differ(id, guarded, plain, st)
	if diff != "" {
		t.Error(diff)
	}
	return ok
}

// differ is how both sides differ, and false where the guarded one failed.
func (w *genWorld) differ(id tenant.ID, guarded, plain runner, st sqlgen.Statement) (diff string, ok bool) {
	got, gotErr := guarded.outcome(as(id), w.text(st.SQL, false), st)
	var refused *sqldb.RefusedError
	if errors.As(gotErr, &refused) {
		if wrong := w.refusedWrongly(id, refused, st); wrong != "" {
			diff = fmt.Sprintf("tenant %s: %s\n%v: %s", id, st.SQL, gotErr, wrong)
		}
		return diff, true
	}
	if w.hidden(id, gotErr, st) {
		w.ran, w.failed = w.ran+1, w.failed+1
		if wrong := w.notTwice(id, plain, st); wrong != "" {
			diff = fmt.Sprintf("tenant %s: %s %v\n%v: %s", id, st.SQL, st.Args, gotErr, wrong)
		}
		return diff, false
	}
	want, wantErr := plain.outcome(context.Background(), w.text(cmp.Or(st.Plain, st.SQL), true), st)
	w.ran++
	if !w.alike(id, gotErr, wantErr) || gotErr == nil && got != want {
		diff = fmt.Sprintf("tenant %s: %s %v\nguarded: %v\n%s\nplain: %v\n%s", id, st.SQL, st.Args, gotErr, got, wantErr, want)
	}
	if gotErr != nil {
		w.failed++
	}
	return diff, gotErr == nil
}

// same compares all that a tenant has.
func (w *genWorld) same(t *testing.T, id tenant.ID, guarded, plain runner) {
	t.Helper()
	for _, st := range w.tables() {
		if w.check(t, id, guarded, plain, st) {
			w.ran--
		}
	}
}

// allSame compares all that all tenants have, through the pool.
func (w *genWorld) allSame(t *testing.T) {
	t.Helper()
	for _, id := range w.tenants {
		w.same(t, id, w.on(), w.plainOn(id))
	}
}

// tables are the statements that read all there is.
func (w *genWorld) tables() (all []sqlgen.Statement) {
	for _, table := range w.schema.Tables {
		all = append(all, sqlgen.Statement{SQL: "SELECT * FROM " + table.SQL(), Reads: true})
	}
	return all
}

// transaction runs some statements in one transaction, and commits or rolls back.
func (w *genWorld) transaction(t *testing.T, id tenant.ID) {
	t.Helper()
	if w.pool != nil {
		w.poolTransaction(t, id)
		return
	}
	guarded, err := w.guarded.BeginTx(as(id), nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := w.plain[id].BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ok := w.some(t, id, sqlRunner{guarded}, sqlRunner{plain})
	if ok && w.IntN(2) == 0 {
		if err := errors.Join(guarded.Commit(), plain.Commit()); err != nil {
			t.Error(err)
		}
		return
	}
	if err := errors.Join(guarded.Rollback(), plain.Rollback()); err != nil {
		t.Error(err)
	}
}

// some runs the statements of a transaction, and returns false where one failed on both sides.
func (w *genWorld) some(t *testing.T, id tenant.ID, guarded, plain runner) bool {
	t.Helper()
	for range w.IntN(4) + 1 {
		w.keys.perhapsRotate(t, id, 20)
		if !w.check(t, id, guarded, plain, w.next()) {
			return false
		}
	}
	w.same(t, id, guarded, plain)
	return true
}

// shared prepares a statement once and runs it for all tenants, some more than once.
func (w *genWorld) shared(t *testing.T) {
	t.Helper()
	st := w.next()
	guarded, err := w.guarded.PrepareContext(as(w.tenants[0]), w.text(st.SQL, false))
	if err != nil {
		w.check(t, w.tenants[0], w.on(), w.plainOn(w.tenants[0]), st) // says why
		return
	}
	defer guarded.Close()
	for _, i := range append(w.Perm(3), w.Perm(3)...) {
		id := w.tenants[i]
		w.check(t, id, sqlRunner{prepared{guarded}}, w.plainOn(id), st)
	}
}

func testGenerated(t *testing.T, d dialect.Dialect, native bool) {
	log := &recorder{}
	turns := newGenKeys(t)
	guard := storage.Guard{Keys: turns.ring, Audit: log}
	ran, failed := 0, 0
	for round := uint64(0); ran < *generated && !t.Failed(); round++ {
		turns.begin(*generatedSeed, round)
		w := newGenWorld(t, rand.New(rand.NewPCG(*generatedSeed, round)), d, guard, genOptions{keys: turns})
		if native {
			w.openPools(t)
		}
		for i := 0; i < 100 && !t.Failed() && ran+w.ran < *generated; i++ {
			id := w.tenants[w.IntN(3)]
			switch kind := w.IntN(5); {
			case kind == 0:
				w.transaction(t, id)
			case kind == 1 && native:
				w.batch(t, id)
			case kind == 1:
				w.shared(t)
			default:
				w.check(t, id, w.on(), w.plainOn(id), w.next())
			}
			w.turn(t)
			if i%5 == 4 {
				w.allSame(t)
			}
		}
		w.settled(t, log)
		if t.Failed() {
			t.Logf("seed %d, round %d", *generatedSeed, round)
		}
		ran, failed = ran+w.ran, failed+w.failed
		w.close()
	}
	t.Logf("%d statements ran, %d failed alike; %s", ran, failed, turns)
	if failed > ran/2 {
		t.Error("the statements say little")
	}
}

var generatedSeed = flag.Uint64("seed", 23, "the seed of generated statements")

func TestGeneratedPostgreSQL(t *testing.T) {
	testenv.Postgres(t)
	inNoTime(t, func(t *testing.T) { testGenerated(t, dialect.PostgreSQL, false) })
}

func TestGeneratedSQLite(t *testing.T) {
	inNoTime(t, func(t *testing.T) { testGenerated(t, dialect.SQLite, false) })
}
