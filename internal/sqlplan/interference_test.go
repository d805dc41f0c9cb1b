package sqlplan

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// Non-interference: what a tenant's statement returns and changes through a plan, on a database that many tenants
// share, is what the statement as it was written does on a database that holds that tenant's rows alone. And no other
// tenant's row changes. The databases are real; values are sealed by naming their place, which the test checks when it
// opens them.

// engine is a database system with one database as the guard keeps it, and one plain database for each tenant.
type engine struct {
	dialect Dialect
	shared  *sql.DB
	plain   map[string]*sql.DB // by tenant, which is the default of the tenant columns there
	major   int                // PostgreSQL's version
}

var interferenceTenants = []string{"a", "b", "c"}

// seal stands for encryption: it binds a value to its place, and equal values have different ciphertexts.
func seal(p Param, v any) any {
	if v == nil {
		return nil
	}
	return fmt.Appendf(nil, "sealed|%s|%s|%d|%v", p.Table, p.Column, nonces.Add(1), v)
}

var nonces atomic.Uint64

func blindIndex(p Param, tenant string, v any) any {
	if v == nil {
		return nil
	}
	return fmt.Appendf(nil, "index|%s|%s|%s|%d|%v", tenant, p.Table, p.Column, p.IndexVersion, v)
}

// blindIndexes is of every element of an array.
func blindIndexes(p Param, tenant string, v any) any {
	if v == nil {
		return nil
	}
	elements, ok := v.([]*string)
	if !ok { // a literal of simple words, or another test's random argument
		for word := range strings.SplitSeq(strings.Trim(fmt.Sprint(v), "{}"), ",") {
			elements = append(elements, &word)
		}
	}
	out := [][]byte{}
	for _, e := range elements {
		if e == nil {
			out = append(out, nil)
			continue
		}
		out = append(out, blindIndex(p, tenant, *e).([]byte))
	}
	return out
}

func open(o Output, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	prefix := "sealed|" + o.Table + "|" + o.Column + "|"
	text, ok := strings.CutPrefix(asText(v), prefix)
	if !ok {
		return nil, fmt.Errorf("%q does not belong to %s.%s", v, o.Table, o.Column)
	}
	_, text, _ = strings.Cut(text, "|")
	return text, nil
}

func asText(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}

// bindPlan makes the parameters of a plan for a tenant.
func bindPlan(plan *Plan, tenant string, args []any) []any {
	var out []any
	for _, p := range plan.Params {
		var v any
		switch p.Source {
		case FromTenant:
			v = tenant
			if n, err := strconv.ParseInt(tenant, 10, 64); err == nil && p.TenantType == TenantInteger {
				v = n
			}
		case FromCaller:
			v = args[p.Caller-1]
		case FromConst:
			v = p.Const
		}
		switch p.Use {
		case Seal:
			v = seal(p, v)
		case Index:
			if p.Array {
				v = blindIndexes(p, tenant, v)
			} else {
				v = blindIndex(p, tenant, v)
			}
		}
		out = append(out, v)
	}
	return out
}

// givesOwnTenant tells whether what a statement gives as the tenant's id is that. The guard runs no other.
func givesOwnTenant(plan *Plan, tenant string, args []any) bool {
	for _, v := range plan.Tenants {
		given := v.Const
		if v.Caller > 0 {
			given = args[v.Caller-1]
		}
		if fmt.Sprint(given) != tenant {
			return false
		}
	}
	return true
}

// result is rows as texts, sorted, or how many rows were affected.
type result struct {
	rows     []string
	affected int64
	names    []string // of the columns
}

func run(tx *sql.Tx, query string, args []any, outputs []Output, returnsRows bool) (result, error) {
	ctx := context.Background()
	if !returnsRows {
		res, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return result{}, err
		}
		n, err := res.RowsAffected()
		return result{affected: n}, err
	}
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return result{}, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return result{}, err
	}
	if outputs != nil && len(outputs) != len(columns) {
		return result{}, fmt.Errorf("%d outputs planned, %d columns returned", len(outputs), len(columns))
	}
	var out []string
	for rows.Next() {
		values, pointers := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			pointers[i] = &values[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			return result{}, err
		}
		var line strings.Builder
		for i, v := range values {
			if outputs != nil && outputs[i].Sealed {
				if v, err = open(outputs[i], v); err != nil {
					return result{}, err
				}
			}
			if outputs != nil && outputs[i].Name != columns[i] {
				return result{}, fmt.Errorf("column %d is %q, planned %q", i, columns[i], outputs[i].Name)
			}
			if v == nil {
				v = "NULL"
			}
			fmt.Fprintf(&line, "%s\t", asText(v))
		}
		out = append(out, line.String())
	}
	slices.Sort(out)
	return result{rows: out, names: columns}, rows.Err()
}

// data is the content of the tables, by tenant.
type data struct {
	patients, visits map[string][][]any
	odd              map[string][][]any
}

func randomData(r *rand.Rand) data {
	d := data{map[string][][]any{}, map[string][][]any{}, map[string][][]any{}}
	maybe := func(v any) any {
		if r.IntN(4) == 0 {
			return nil
		}
		return v
	}
	for _, tenant := range interferenceTenants {
		ssns := r.Perm(6)
		for id := range r.IntN(5) + 1 {
			d.patients[tenant] = append(d.patients[tenant],
				[]any{id, maybe(fmt.Sprint("name", r.IntN(4))), maybe(fmt.Sprint("s", ssns[id])), fmt.Sprintf("n%d", id*10+r.IntN(3)), maybe(r.IntN(4) * 10), "2024-01-0" + fmt.Sprint(r.IntN(9)+1)})
		}
		for id := range r.IntN(6) {
			d.visits[tenant] = append(d.visits[tenant],
				[]any{id, maybe(r.IntN(6)), maybe(fmt.Sprint("w", r.IntN(3))), r.IntN(5) * 100, maybe(fmt.Sprint("report", r.IntN(3)))})
		}
		for key := range r.IntN(3) {
			d.odd[tenant] = append(d.odd[tenant], []any{key, fmt.Sprint("x", r.IntN(3)), maybe("ü")})
		}
	}
	return d
}

// fill writes the data of some tenants: as the guard keeps it, or plain.
func (d data) fill(t *testing.T, tx *sql.Tx, dialect Dialect, plain bool, tenants ...string) {
	t.Helper()
	exec := func(query string, args ...any) {
		t.Helper()
		if dialect == SQLite { // where a temporary table of the same name lies in wait
			query = strings.Replace(numbered(query), "INTO patients", "INTO main.patients", 1)
		}
		if _, err := tx.Exec(query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	name, ssn := Param{Table: "patients", Column: "name"}, Param{Table: "patients", Column: "ssn"}
	report := Param{Table: "visits", Column: "report"}
	for _, tenant := range tenants {
		for _, v := range d.patients[tenant] {
			if plain {
				exec(`INSERT INTO patients (id, name, ssn, note, age, created) VALUES ($1, $2, $3, $4, $5, $6)`, v...)
				continue
			}
			exec(`INSERT INTO patients (id, tenant_id, name, ssn, ssn_index, note, age, created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
				v[0], tenant, seal(name, v[1]), seal(ssn, v[2]), blindIndex(ssn, tenant, v[2]), v[3], v[4], v[5])
		}
		for _, v := range d.visits[tenant] {
			if plain {
				exec(`INSERT INTO visits (id, patient_id, ward, cost, report) VALUES ($1, $2, $3, $4, $5)`, v...)
				continue
			}
			exec(`INSERT INTO visits (id, tenant_id, patient_id, ward, cost, report, report_index) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				v[0], tenant, v[1], v[2], v[3], seal(report, v[4]), blindIndex(report, tenant, v[4]))
		}
		for _, v := range d.odd[tenant] {
			if plain {
				exec(`INSERT INTO "Odd Table" ("Key", "we""ird", "größe") VALUES ($1, $2, $3)`, v...)
				continue
			}
			exec(`INSERT INTO "Odd Table" ("Key", "Tenant.Id", "we""ird", "größe") VALUES ($1, $2, $3, $4)`, v[0], tenant, v[1], v[2])
		}
	}
	exec(`INSERT INTO countries (code, title) VALUES ('w1', 'Wone'), ('w2', 'Wtwo'), ('n10', 'Note')`)
}

var parameters = regexp.MustCompile(`\$(\d+)`)

// numbered writes a test's statement, which has no parameters in strings, in SQLite's syntax.
func numbered(query string) string { return parameters.ReplaceAllString(query, "?$1") }

// The content of a tenant's tables after a statement, in the shared and in the plain database.
var contents = []struct{ shared, plain string }{
	{`SELECT id, name, ssn, ssn_index, note, age, created FROM patients WHERE tenant_id = $1`,
		`SELECT id, name, ssn, ssn, note, age, created FROM patients WHERE tenant_id = $1`},
	{`SELECT id, patient_id, ward, cost, report, report_index FROM visits WHERE tenant_id = $1`,
		`SELECT id, patient_id, ward, cost, report, report FROM visits WHERE tenant_id = $1`},
	{`SELECT "Key", "we""ird", "größe" FROM "Odd Table" WHERE "Tenant.Id" = $1`,
		`SELECT "Key", "we""ird", "größe" FROM "Odd Table" WHERE "Tenant.Id" = $1`},
	{`SELECT code, title FROM countries WHERE $1 <> ''`, `SELECT code, title FROM countries WHERE $1 <> ''`},
}

var sealedText = regexp.MustCompile(`(sealed\|\w+\|\w+\|\d+|index\|\w+\|\w+\|\w+\|0)\|`)

// snapshot reads a tenant's rows; sealed values and indexes are reduced to what they hold.
func snapshot(t *testing.T, tx *sql.Tx, e engine, tenant string, plain bool) []string {
	t.Helper()
	var all []string
	for _, c := range contents {
		query := c.shared
		if plain {
			query = c.plain
		}
		if e.dialect == SQLite {
			query = strings.Replace(numbered(query), "FROM patients", "FROM main.patients", 1)
		}
		got, err := run(tx, query, []any{tenant}, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range got.rows {
			all = append(all, sealedText.ReplaceAllString(row, ""))
		}
	}
	return all
}

// world is an engine whose databases hold the same data, in transactions that are never committed.
type world struct {
	engine
	shared *sql.Tx
	plain  map[string]*sql.Tx
	before map[string][]string // the tenants' rows in the shared database
}

func (e engine) world(t *testing.T, d data) world {
	t.Helper()
	w := world{engine: e, plain: map[string]*sql.Tx{}, before: map[string][]string{}}
	begin := func(db *sql.DB) *sql.Tx {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	w.shared = begin(e.shared)
	d.fill(t, w.shared, e.dialect, false, interferenceTenants...)
	savepoint(t, w.shared)
	for _, tenant := range interferenceTenants {
		w.plain[tenant] = begin(e.plain[tenant])
		d.fill(t, w.plain[tenant], e.dialect, true, tenant)
		savepoint(t, w.plain[tenant])
		w.before[tenant] = snapshot(t, w.shared, e, tenant, false)
		if !slices.Equal(w.before[tenant], snapshot(t, w.plain[tenant], e, tenant, true)) {
			t.Fatal("the two databases do not begin alike")
		}
	}
	return w
}

func (w world) close() {
	w.shared.Rollback()
	for _, tx := range w.plain {
		tx.Rollback()
	}
}

// interferes runs a statement for a tenant through a plan and as it is, and returns how they differ; "" if not at all.
// Alter, if not nil, may change the plan's SQL. Afterwards the databases are as before.
func (w world) interferes(t *testing.T, tenant string, s shape, args []any, alter func(string) string) string {
	t.Helper()
	plan, err := New(s.sql, testCatalog(w.dialect))
	if err != nil {
		t.Fatalf("%s: %v", s.sql, err)
	}
	if !givesOwnTenant(plan, tenant, args) {
		return ""
	}
	query, original := plan.SQL, s.sql
	if alter != nil {
		query = alter(query)
	}
	if w.dialect == SQLite {
		original = numbered(cmp.Or(s.lite, s.sql))
	}
	defer rollbackTo(t, w.shared)
	defer rollbackTo(t, w.plain[tenant])
	got, gotErr := run(w.shared, query, bindPlan(plan, tenant, args), plan.Outputs, plan.ReturnsRows)
	want, wantErr := run(w.plain[tenant], original, args, nil, plan.ReturnsRows)
	if s.open && (gotErr != nil || wantErr != nil) || gotErr != wantErr && undefined(gotErr, wantErr) {
		return ""
	}
	if s.mistyped && gotErr == nil && mistyped(wantErr) || s.loose && (errorCode(wantErr) == "42601" || errorCode(gotErr) == "42804") {
		return ""
	}
	if (gotErr == nil) != (wantErr == nil) {
		return fmt.Sprintf("guarded: %v; plain: %v", gotErr, wantErr)
	}
	if gotErr != nil {
		if strings.Contains(gotErr.Error(), "syntax error") {
			return fmt.Sprintf("guarded: %v; plain: %v", gotErr, wantErr)
		}
		return ""
	}
	if !s.open && !slices.Equal(got.rows, want.rows) || !s.open && got.affected != want.affected {
		return fmt.Sprintf("guarded:\n%v\nplain:\n%v", got, want)
	}
	if plan.Verb == Read {
		return ""
	}
	for _, other := range interferenceTenants {
		after := snapshot(t, w.shared, w.engine, other, false)
		if other != tenant && !slices.Equal(w.before[other], after) {
			return fmt.Sprintf("tenant %s changed:\n%v\n%v", other, w.before[other], after)
		}
		if other == tenant && !s.open && !slices.Equal(after, snapshot(t, w.plain[tenant], w.engine, tenant, true)) {
			return fmt.Sprintf("stored rows differ from plain ones:\n%v", after)
		}
	}
	return ""
}

func savepoint(t *testing.T, tx *sql.Tx) {
	t.Helper()
	if _, err := tx.Exec("SAVEPOINT before"); err != nil {
		t.Fatal(err)
	}
}

func rollbackTo(t *testing.T, tx *sql.Tx) {
	t.Helper()
	if _, err := tx.Exec("ROLLBACK TO SAVEPOINT before"); err != nil {
		t.Fatal(err)
	}
}

// checkInterference runs every shape for every tenant over random data.
func checkInterference(t *testing.T, e engine, rounds int) {
	for round := range rounds {
		r := rand.New(rand.NewPCG(uint64(round), 7))
		w := e.world(t, randomData(r))
		for _, s := range slices.Concat(shapes, wideShapes) {
			if s.only != 0 && s.only != e.dialect || e.dialect == PostgreSQL && e.major < s.since {
				continue
			}
			var args []any
			for _, a := range s.args {
				args = append(args, a(r))
			}
			for _, tenant := range interferenceTenants {
				if diff := w.interferes(t, tenant, s, args, nil); diff != "" {
					t.Errorf("round %d, tenant %s: %s %v\n%s", round, tenant, s.sql, args, diff)
				}
			}
		}
		for range 25 {
			statement, args := randomSelect(r)
			tenant := interferenceTenants[r.IntN(3)]
			if diff := w.interferes(t, tenant, shape{sql: statement}, args, nil); diff != "" {
				t.Errorf("round %d, tenant %s: %s %v\n%s", round, tenant, statement, args, diff)
			}
		}
		w.close()
		if t.Failed() {
			return
		}
	}
}

// checkBroken is the test of the test: without the predicate on one side of a join, the property fails.
func checkBroken(t *testing.T, e engine, predicate string) {
	for _, statement := range []string{
		"SELECT p.id, v.ward FROM patients p FULL JOIN visits v ON v.patient_id = p.id",
		"SELECT p.id, v.ward FROM patients p LEFT JOIN visits v ON v.patient_id = p.id",
		"SELECT id FROM patients WHERE EXISTS (SELECT 1 FROM visits v WHERE v.patient_id = patients.id)",
		"UPDATE patients SET age = 1 WHERE id IN (SELECT v.patient_id FROM visits v)",
	} {
		drop := func(sql string) string {
			out := strings.Replace(sql, predicate, "", 1)
			if out == sql {
				t.Fatalf("the predicate is not in %s", sql)
			}
			return out
		}
		found := false
		for seed := range uint64(10) {
			w := e.world(t, randomData(rand.New(rand.NewPCG(seed, 1))))
			found = found || w.interferes(t, "a", shape{sql: statement}, nil, drop) != ""
			w.close()
		}
		if !found {
			t.Errorf("nobody noticed the missing predicate: %s", statement)
		}
	}
}
