package sqlplan

import (
	"cmp"
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

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
)

var generated = flag.Int("generated", 400, "how many generated statements to run on each engine")

// catalogOf is what the planner is told of a generated schema.
func catalogOf(s *sqlgen.Schema) *Catalog {
	cat := &Catalog{Dialect: PostgreSQL, IndexVersions: 1, Tables: map[string]*Table{}}
	schema := "public"
	if s.Lite {
		cat.Dialect, schema = SQLite, ""
	}
	for _, t := range s.Tables {
		made := &Table{Schema: cmp.Or(t.Schema, schema), Name: t.Declared(), Shared: t.Shared(), TenantColumn: t.Tenant, PrimaryKey: t.Key}
		tenant := func(i int) {
			if i == t.TenantAt && !t.Shared() {
				made.Columns = append(made.Columns, Column{Name: t.Tenant, Type: cmp.Or(t.TenantType, "text"), NotNull: true})
			}
		}
		var indexes []Column
		unique := slices.Clone(t.Unique)
		for i, c := range t.Columns {
			tenant(i)
			column := Column{Name: c.Name, Type: s.TypeOf(c, false), NotNull: c.NotNull, HasDefault: c.Default != "", Generated: c.Generated != "", Sealed: c.Sealed}
			if c.Sealed {
				column.Plain = string(builtin.Canonical(s.TypeOf(c, true)))
			}
			if c.Searchable {
				column.IndexColumn = c.Index()
				indexes = append(indexes, Column{Name: c.Index(), Type: s.TypeOf(c, false), Index: true})
				if len(unique) == 1 && unique[0] == c.Name {
					unique[0] = c.Index()
				}
			}
			made.Columns = append(made.Columns, column)
		}
		tenant(len(t.Columns))
		made.Columns = append(made.Columns, indexes...)
		if !t.Shared() {
			made.PrimaryKey = append([]string{t.Tenant}, made.PrimaryKey...)
			if unique != nil {
				unique = append([]string{t.Tenant}, unique...)
			}
		}
		if unique != nil {
			made.UniqueKeys = [][]string{unique}
		}
		cat.Tables[made.Name] = made
	}
	actions := map[string]Action{"CASCADE": Cascades, "SET NULL": SetsColumns}
	for _, t := range s.Tables {
		for _, k := range t.References {
			parent := cat.Tables[k.Parent.Declared()]
			parent.Cascades = append(parent.Cascades, Cascade{Table: t.Declared(), OnDelete: actions[k.OnDelete], OnUpdate: actions[k.OnUpdate], Columns: parent.PrimaryKey})
		}
	}
	if tr := s.Trigger; tr != nil {
		does := Trigger{Deletes: []string{tr.Other.Declared()}}
		if tr.Column != "" {
			does = Trigger{Writes: does.Deletes}
		}
		cat.Tables[tr.Table.Declared()].Triggers = []Trigger{does}
	}
	return cat
}

// genWorld is one generated schema with its data: in a database that the tenants share, and in one for each, in
// transactions that are never committed.
type genWorld struct {
	dialect Dialect
	// comment goes behind every statement: pgx keeps statements by their text, and tables of another round have its names.
	comment string
	cat     *Catalog
	schema  *sqlgen.Schema
	shared  *sql.Tx
	plain   map[string]*sql.Tx
	content map[string][]string // the tenants' rows in the shared database, as they are stored
}

func (e engine) genWorld(t *testing.T, r *rand.Rand, round uint64) *genWorld {
	t.Helper()
	s := sqlgen.NewSchema(r, e.dialect == SQLite)
	s.Before17 = e.dialect == PostgreSQL && e.major < 17
	varied := round%4 >= 2
	if varied {
		s.Vary(r)
	}
	if round%2 == 1 { // for every write of a table reaches many others then
		s.Relate(r)
	}
	if varied {
		s.Fire(r)
	}
	made := map[string]map[*sqlgen.Table][][]any{}
	return e.worldOf(t, s, func(table *sqlgen.Table, tenant string) [][]any {
		if made[tenant] == nil {
			made[tenant] = map[*sqlgen.Table][][]any{}
		}
		made[tenant][table] = table.Related(r, table.Rows(r), func(parent *sqlgen.Table) [][]any { return made[tenant][parent] })
		return made[tenant][table]
	}, round)
}

func (e engine) worldOf(t *testing.T, s *sqlgen.Schema, rowsOf func(*sqlgen.Table, string) [][]any, round uint64) *genWorld {
	t.Helper()
	w := &genWorld{dialect: e.dialect, comment: fmt.Sprintf(" -- %d", round), cat: catalogOf(s), schema: s, plain: map[string]*sql.Tx{}}
	begin := func(db *sql.DB, ddl []string) *sql.Tx {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		for _, create := range ddl {
			if _, err := tx.Exec(create); err != nil {
				t.Fatalf("%s: %v", create, err)
			}
		}
		return tx
	}
	w.shared = begin(e.shared, append(s.Shared(), s.TriggerDDL(true)...))
	for i, tenant := range s.Tenants() {
		w.plain[tenant] = begin(e.plain[interferenceTenants[i]], append(s.Plain(tenant), s.TriggerDDL(true)...))
	}
	for _, table := range s.Tables {
		if table.Shared() {
			rows := rowsOf(table, "")
			w.insert(t, w.shared, table, "", rows)
			for _, tx := range w.plain {
				w.insert(t, tx, table, "", rows)
			}
			continue
		}
		for _, tenant := range s.Tenants() {
			rows := rowsOf(table, tenant)
			w.insert(t, w.shared, table, tenant, rows)
			w.insert(t, w.plain[tenant], table, "", rows)
		}
	}
	for _, tx := range w.all() {
		savepoint(t, tx)
	}
	return w
}

func (w *genWorld) all() []*sql.Tx {
	return append([]*sql.Tx{w.shared}, slices.Collect(maps.Values(w.plain))...)
}

// insert stores rows as the guard would for a tenant, or plain ones.
func (w *genWorld) insert(t *testing.T, tx *sql.Tx, table *sqlgen.Table, tenant string, rows [][]any) {
	t.Helper()
	for _, row := range rows {
		var names, marks []string
		var values []any
		add := func(name string, v any) {
			names, values = append(names, sqlgen.Quote(name)), append(values, v)
			marks = append(marks, fmt.Sprintf("$%d", len(values)))
		}
		for i, c := range table.Stored() {
			p := Param{Table: table.Declared(), Column: c.Name}
			if tenant == "" || !c.Sealed {
				add(c.Name, row[i])
				continue
			}
			add(c.Name, seal(p, row[i]))
			if c.Searchable {
				add(c.Index(), blindIndex(p, tenant, row[i]))
			}
		}
		if tenant != "" {
			add(table.Tenant, tenant)
		}
		query := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table.SQL(), strings.Join(names, ", "), strings.Join(marks, ", "))
		if w.dialect == SQLite {
			query = numbered(query)
		}
		if _, err := tx.Exec(query+w.comment, values...); err != nil {
			t.Fatalf("%s %v: %v", query, values, err)
		}
	}
}

// contentQuery reads all rows of all tables as pairs of a tenant and a text.
func (w *genWorld) contentQuery(plain bool) string {
	var parts []string
	for i, table := range w.schema.Tables {
		tenant, text := "''", fmt.Sprintf("'%d'", i)
		if !table.Shared() {
			tenant = "CAST(" + sqlgen.Quote(table.Tenant) + " AS text)"
		}
		field := func(name string, sealed bool) {
			value := "CAST(" + sqlgen.Quote(name) + " AS text)"
			if sealed && !plain && w.dialect == PostgreSQL {
				value = "convert_from(" + sqlgen.Quote(name) + ", 'UTF8')"
			}
			text += " || '|' || coalesce(" + value + ", '~')"
		}
		for _, c := range table.Columns {
			field(c.Name, c.Sealed)
			if c.Searchable && plain {
				field(c.Name, false)
			} else if c.Searchable {
				field(c.Index(), true)
			}
		}
		parts = append(parts, fmt.Sprintf("SELECT %s, %s FROM %s", tenant, text, table.SQL()))
	}
	return strings.Join(parts, " UNION ALL ")
}

// read returns the rows of each tenant, sorted; those of shared tables under "".
func (w *genWorld) read(t *testing.T, tx *sql.Tx, plain bool) map[string][]string {
	t.Helper()
	rows, err := tx.Query(w.contentQuery(plain) + w.comment)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string][]string{}
	for rows.Next() {
		var tenant, text string
		if err := rows.Scan(&tenant, &text); err != nil {
			t.Fatal(err)
		}
		out[tenant] = append(out[tenant], text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, texts := range out {
		slices.Sort(texts)
	}
	return out
}

var genSealed = regexp.MustCompile(`sealed\|[^|]*\|[^|]*\|\d+\||index\|[^|]*\|[^|]*\|[^|]*\|0\|`)

// opened returns rows as they would be without sealing.
func opened(rows []string) []string {
	var out []string
	for _, row := range rows {
		out = append(out, genSealed.ReplaceAllString(row, ""))
	}
	slices.Sort(out)
	return out
}

// reset undoes what was written since the beginning.
func (w *genWorld) reset(t *testing.T) {
	t.Helper()
	for _, tx := range w.all() {
		rollbackTo(t, tx)
	}
	w.content = w.read(t, w.shared, false)
}

// unwritable are refusals of what the parser's library cannot read or write: too deep, or a form that its text loses.
var unwritable = regexp.MustCompile("over the limit of depth|cannot be described without its literals|not read as it is written")

const (
	timedOut   = "57014" // query_canceled
	foreignKey = "23503" // foreign_key_violation
)

var errSame = errors.New("both failed")

// check runs a statement for a tenant through its plan and as it is, and returns how they differ; "" if not at all. Where
// both failed it returns errSame, and the world must be reset.
func (w *genWorld) check(t *testing.T, tenant string, plan *Plan, st sqlgen.Statement) (string, error) {
	t.Helper()
	original := st.SQL
	if w.dialect == SQLite {
		original = numbered(cmp.Or(st.Plain, st.SQL))
	}
	got, gotErr := run(w.shared, plan.SQL+w.comment, bindPlan(plan, tenant, st.Args), plan.Outputs, plan.ReturnsRows)
	want, wantErr := run(w.plain[tenant], original+w.comment, st.Args, nil, plan.ReturnsRows)
	if gotErr != nil && wantErr != nil && errorClass(gotErr) == errorClass(wantErr) {
		return "", errSame
	}
	if errorCode(gotErr) == timedOut || errorCode(wantErr) == timedOut {
		return "", errSame // a query over too much of everything
	}
	if gotErr != nil || wantErr != nil {
		return fmt.Sprintf("guarded: %v; plain: %v", gotErr, wantErr), nil
	}
	if !slices.Equal(got.rows, want.rows) || got.affected != want.affected {
		return fmt.Sprintf("guarded:\n%v\nplain:\n%v", got, want), nil
	}
	if w.dialect == PostgreSQL && !slices.Equal(got.names, want.names) {
		return fmt.Sprintf("columns %q, plain %q", got.names, want.names), nil
	}
	if st.Reads {
		return "", nil
	}
	before := w.content
	w.content = w.read(t, w.shared, false)
	for _, other := range append([]string{""}, w.schema.Tenants()...) {
		if other != tenant && !slices.Equal(before[other], w.content[other]) {
			return fmt.Sprintf("tenant %q changed:\n%v\n%v", other, before[other], w.content[other]), nil
		}
	}
	if diff := w.unplanned(plan, before[tenant], w.content[tenant]); diff != "" {
		return diff, nil
	}
	if mine, alone := opened(w.content[tenant]), w.read(t, w.plain[tenant], true)[tenant]; !slices.Equal(mine, alone) {
		return fmt.Sprintf("stored:\n%v\nplain:\n%v", mine, alone), nil
	}
	return "", nil
}

// unplanned tells what a statement did to its tenant's rows that its plan does not say: the tables that changed, and whether
// rows went away or are new.
func (w *genWorld) unplanned(plan *Plan, before, after []string) string {
	for i, table := range w.schema.Tables {
		of := func(rows []string) []string {
			return slices.DeleteFunc(slices.Clone(rows), func(row string) bool { return !strings.HasPrefix(row, fmt.Sprintf("%d|", i)) })
		}
		was, is := of(before), of(after)
		switch deletes := plan.Verb == Delete || plan.AlsoDeletes; {
		case slices.Equal(was, is):
		case !slices.Contains(plan.Tables, table.Declared()):
			return fmt.Sprintf("%s changed, and the plan's tables are %q:\n%q\n%q", table.Declared(), plan.Tables, was, is)
		case len(is) < len(was) && !deletes:
			return fmt.Sprintf("rows of %s were deleted, and the plan is a %s:\n%q\n%q", table.Declared(), plan.Verb, was, is)
		case plan.Verb != Write && slices.ContainsFunc(is, func(row string) bool { return !slices.Contains(was, row) }):
			return fmt.Sprintf("rows of %s were written, and the plan is a %s:\n%q\n%q", table.Declared(), plan.Verb, was, is)
		}
	}
	return ""
}

// checkGenerated runs generated statements over generated schemas, each for all tenants in turn on the one connection,
// and lets what they write stand for some statements. The number of statements that were run and the first difference are
// returned. With a mutant, only the statements that it breaks are run, of at most that many.
func checkGenerated(t *testing.T, e engine, seed uint64, statements int, mutate mutant) (ran int, diff string) {
	t.Helper()
	failed, refused, changed := 0, 0, 0
	for round, made := uint64(0), 0; ran < statements && made < statements; round++ {
		r := rand.New(rand.NewPCG(seed, round))
		w := e.genWorld(t, r, round+seed>>32) // so that each worker begins with another kind of schema
		w.reset(t)
		for i := range 150 {
			made++
			if i%5 == 4 {
				w.reset(t)
			}
			st := w.schema.Random(r)
			plan, err := New(st.SQL, w.cat)
			if err != nil {
				if !unwritable.MatchString(err.Error()) {
					return ran, fmt.Sprintf("seed %d, round %d: %s\n%v", seed, round, st.SQL, err)
				}
				refused++
				continue
			}
			if mutate != nil {
				var broken bool
				if plan, st, broken = mutate(r, *plan, st, w.schema); !broken {
					continue
				}
			}
			for _, j := range r.Perm(len(interferenceTenants)) {
				tenant := w.schema.Tenants()[j]
				diff, err := w.check(t, tenant, plan, st)
				if diff != "" {
					w.close()
					return ran, fmt.Sprintf("seed %d, round %d, tenant %s: %s %v\n%s\n%s", seed, round, tenant, st.SQL, st.Args, plan.SQL, diff)
				}
				ran++
				if err != nil {
					failed++
					w.reset(t)
				} else if !st.Reads {
					changed++
				}
			}
		}
		w.close()
	}
	t.Logf("%d statements ran: %d changed something or could have, %d failed alike; %d were refused as unwritable", ran, changed, failed, refused)
	if mutate == nil && (failed > ran/4 || refused > ran/10 || changed < ran/10) {
		t.Error("the statements say little")
	}
	return ran, ""
}

func (w *genWorld) close() {
	for _, tx := range w.all() {
		tx.Rollback()
	}
}

// emptyEngine is an engine without tables.
func emptyEngine(t testing.TB, dialect Dialect) engine {
	open := func() *sql.DB {
		if dialect == SQLite {
			return openLite(t, "PRAGMA foreign_keys = on")
		}
		return openPostgres(t, postgresServer(t), "")
	}
	e := engine{dialect: dialect, shared: open(), plain: map[string]*sql.DB{}}
	if dialect == PostgreSQL {
		e.major = postgresServer(t).Major
	}
	for _, tenant := range interferenceTenants {
		e.plain[tenant] = open()
	}
	return e
}

// generatedWorkers is how many databases of an engine are worked on at a time.
const generatedWorkers = 4

func testGenerated(t *testing.T, dialect Dialect) {
	for i := range uint64(generatedWorkers) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			if _, diff := checkGenerated(t, emptyEngine(t, dialect), *seed+i<<32, *generated/generatedWorkers, nil); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGeneratedPostgreSQL(t *testing.T) { testGenerated(t, PostgreSQL) }
func TestGeneratedSQLite(t *testing.T)     { testGenerated(t, SQLite) }

// errorClass is what two databases have in common whose keys differ by the tenant column: SQLite's text names the key, and
// which of several constraints a statement violates first depends on the order of its rows.
func errorClass(err error) string {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return fmt.Sprint(coded.Code() & 0xff)
	}
	code := errorCode(err)
	if strings.HasPrefix(code, "23") {
		return "integrity constraint violation"
	}
	return code
}

// errorCode is an error without its text, which may name the row that failed first.
func errorCode(err error) string {
	var pgError *pgconn.PgError
	if errors.As(err, &pgError) {
		return pgError.Code
	}
	return cmp.Or(fmt.Sprint(err), "no error")
}
