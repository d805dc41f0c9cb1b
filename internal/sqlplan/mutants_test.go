package sqlplan

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
)

// Tests of the test: planners that are broken on purpose are each found out by the property. A mutant makes of a plan the
// one that a broken planner would have made, and of the statement the one that it would have made it for; it returns
// false where that is the same.
type mutant func(r *rand.Rand, plan Plan, st sqlgen.Statement, s *sqlgen.Schema) (*Plan, sqlgen.Statement, bool)

// scopes finds the predicates of derived tables, with the table of each.
var scopes = regexp.MustCompile(`FROM (?:public|billing)\.("(?:[^"]|"")*"|\S+) (?:"(?:[^"]|"")*"|\S+)( WHERE (?:"(?:[^"]|"")*"|[^\s."]+)\.(?:"(?:[^"]|"")*"|[^\s."]+) = \$\d+)(?: OFFSET 0)?\)`)

// unscoped drops one of the predicates that fit.
func unscoped(r *rand.Rand, plan *Plan, fits func(table string) bool) bool {
	var cuts [][]int
	for _, m := range scopes.FindAllStringSubmatchIndex(plan.SQL, -1) {
		if fits(strings.Trim(plan.SQL[m[2]:m[3]], `"`)) {
			cuts = append(cuts, m[4:6])
		}
	}
	if len(cuts) == 0 {
		return false
	}
	cut := cuts[r.IntN(len(cuts))]
	plan.SQL = plan.SQL[:cut[0]] + plan.SQL[cut[1]:]
	return true
}

var (
	withNames = regexp.MustCompile(`(?:WITH|,) "((?:[^"]|"")*)" (?:\([^)]*\) )?AS (?:MATERIALIZED |NOT MATERIALIZED )?\(`)
	conflicts = regexp.MustCompile(`ON CONFLICT \(([^)]*), [^),]*\) DO UPDATE`)
)

var mutants = map[string]mutant{
	"predicate dropped on one side of a join": func(r *rand.Rand, plan Plan, st sqlgen.Statement, _ *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
		return &plan, st, strings.Contains(plan.SQL, "JOIN") && unscoped(r, &plan, func(string) bool { return true })
	},
	"table taken for the query of WITH that has its name": func(r *rand.Rand, plan Plan, st sqlgen.Statement, _ *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
		var queries []string
		for _, m := range withNames.FindAllStringSubmatch(st.SQL, -1) {
			queries = append(queries, m[1])
		}
		return &plan, st, unscoped(r, &plan, func(table string) bool { return slices.Contains(queries, table) })
	},
	"ON CONFLICT without the tenant": func(_ *rand.Rand, plan Plan, st sqlgen.Statement, _ *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
		broken := conflicts.ReplaceAllString(plan.SQL, "ON CONFLICT ($1) DO UPDATE")
		found := broken != plan.SQL
		plan.SQL = broken
		return &plan, st, found
	},
	"rows that a cascade deletes forgotten":       forgetful(cascades(func(c *Cascade) { c.OnDelete &^= Cascades })),
	"columns that a deletion sets NULL forgotten": forgetful(cascades(func(c *Cascade) { c.OnDelete &^= SetsColumns })),
	"keys that follow a key forgotten":            forgetful(cascades(func(c *Cascade) { c.OnUpdate &^= Cascades })),
	"rows that a trigger deletes forgotten":       forgetful(triggers(func(tr *Trigger) { tr.Deletes = nil })),
	"rows that a trigger changes forgotten":       forgetful(triggers(func(tr *Trigger) { tr.Writes = nil })),
	"the tenants' own table taken for a shared one": func(r *rand.Rand, plan Plan, st sqlgen.Statement, s *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
		return &plan, st, unscoped(r, &plan, func(name string) bool {
			return !slices.ContainsFunc(s.Tables, func(t *sqlgen.Table) bool { return t.Name == name && !t.Own() })
		})
	},
	"predicate dropped of a tenant column that is no text": func(r *rand.Rand, plan Plan, st sqlgen.Statement, s *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
		return &plan, st, unscoped(r, &plan, func(name string) bool {
			return !slices.ContainsFunc(s.Tables, func(t *sqlgen.Table) bool { return t.Name == name && (t.TenantType == "" || t.TenantType == "text") })
		})
	},
	"predicate dropped in another schema": func(r *rand.Rand, plan Plan, st sqlgen.Statement, s *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
		return &plan, st, unscoped(r, &plan, func(name string) bool {
			return !slices.ContainsFunc(s.Tables, func(t *sqlgen.Table) bool { return t.Name == name && t.Schema == "" })
		})
	},
	"ordinal of a sealed column": func(_ *rand.Rand, plan Plan, st sqlgen.Statement, _ *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
		i := slices.IndexFunc(plan.Outputs, func(o Output) bool { return o.Sealed })
		for _, clause := range []string{"ORDER BY", "LIMIT", "FOR ", "RETURNING"} {
			if i < 0 || strings.Contains(st.SQL, clause) {
				return nil, st, false
			}
		}
		order := fmt.Sprintf(" ORDER BY %d LIMIT 1", i+1)
		plan.SQL, st.SQL = plan.SQL+order, st.SQL+order
		return &plan, st, true
	},
}

// cascades and triggers do something to all of a table's.
func cascades(do func(*Cascade)) func(*Table) {
	return func(t *Table) {
		for i := range t.Cascades {
			do(&t.Cascades[i])
		}
	}
}

func triggers(do func(*Trigger)) func(*Table) {
	return func(t *Table) {
		for i := range t.Triggers {
			do(&t.Triggers[i])
		}
	}
}

// forgetful is a planner that does not know of some of what foreign keys or triggers do.
func forgetful(forget func(*Table)) mutant {
	return func(_ *rand.Rand, plan Plan, st sqlgen.Statement, s *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
		cat := catalogOf(s)
		for _, table := range cat.Tables {
			forget(table)
		}
		broken, err := New(st.SQL, cat)
		return broken, st, err == nil && (broken.Verb != plan.Verb || broken.AlsoDeletes != plan.AlsoDeletes || !slices.Equal(broken.Tables, plan.Tables))
	}
}

func TestMutantsAreFound(t *testing.T) {
	for name, mutate := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ran, diff := checkGenerated(t, emptyEngine(t, PostgreSQL), *seed, 20000, mutate)
			if diff == "" {
				t.Errorf("nobody noticed in %d statements", ran)
			}
			first, _, _ := strings.Cut(diff, "\n")
			t.Logf("found by statement %d: %s", ran+1, first)
		})
	}
}

// The allowlist of functions is off: a function reads what it likes.
func TestFunctionsThatReadAreFound(t *testing.T) {
	e := emptyEngine(t, PostgreSQL)
	r := rand.New(rand.NewPCG(*seed, 0))
	w := e.genWorld(t, r, 0)
	defer w.close()
	table := w.schema.Tables[0]
	query := "SELECT count(*) FROM " + sqlgen.Quote(table.Name)
	w.insert(t, w.shared, table, "d", [][]any{firstRow(r, table)}) // one more tenant, whose row is one more
	for _, tx := range w.all() {
		if _, err := tx.Exec("CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql AS $$ " + query + " $$"); err != nil {
			t.Fatal(err)
		}
	}
	w.content = w.read(t, w.shared, false)
	w.cat.Functions = []string{"peek", "query_to_xml"}
	for _, sql := range []string{"SELECT peek()", "SELECT query_to_xml('" + query + "', true, false, '')"} {
		plan, err := New(sql, w.cat)
		if err != nil {
			t.Fatal(err)
		}
		if diff, err := w.check(t, "a", plan, sqlgen.Statement{SQL: sql, Reads: true}); diff == "" {
			t.Errorf("nobody noticed: %s (%v)", sql, err)
		}
		if _, err := New(sql, catalogOf(w.schema)); err == nil {
			t.Errorf("with the allowlist, %s is planned", sql)
		}
	}
}

func firstRow(r *rand.Rand, t *sqlgen.Table) []any {
	for {
		if rows := t.Rows(r); len(rows) > 0 {
			return rows[0]
		}
	}
}

// A key without the tenant column, and a planner that does not mind: the upsert meets another tenant's row.
func TestUpsertAcrossTenantsIsFound(t *testing.T) {
	e := emptyEngine(t, PostgreSQL)
	schema := &sqlgen.Schema{Tables: []*sqlgen.Table{{Name: "ledger", Tenant: "tenant_id", Key: []string{"id"},
		Columns: []sqlgen.Column{{Name: "id", Kind: sqlgen.Int, NotNull: true}, {Name: "ref", Kind: sqlgen.Text}, {Name: "note", Kind: sqlgen.Text}}}}}
	w := e.worldOf(t, schema, func(_ *sqlgen.Table, tenant string) [][]any {
		return map[string][][]any{"b": {{1, "r", "of b"}}}[tenant]
	}, 0)
	defer w.close()
	for _, tx := range w.all() {
		if _, err := tx.Exec("CREATE UNIQUE INDEX ON ledger (ref)"); err != nil {
			t.Fatal(err)
		}
	}
	w.content = w.read(t, w.shared, false)
	st := sqlgen.Statement{SQL: "INSERT INTO ledger (id, ref, note) VALUES (7, 'r', 'taken') ON CONFLICT (ref) DO UPDATE SET note = 'taken'"}
	w.cat.Tables["ledger"].UniqueKeys = [][]string{{"ref"}}
	if _, err := New(st.SQL, w.cat); err == nil {
		t.Error("a key across tenants was accepted")
	}
	w.cat.Tables["ledger"].UniqueKeys = [][]string{{"tenant_id", "ref"}} // what the broken planner believes
	plan, err := New(st.SQL, w.cat)
	if err != nil {
		t.Fatal(err)
	}
	broken := *plan
	broken.SQL = strings.NewReplacer("(ref, tenant_id) DO", "(ref) DO", " WHERE ledger.tenant_id = $1", "").Replace(plan.SQL)
	diff, err := w.check(t, "a", &broken, st)
	if !strings.Contains(diff, `tenant "b" changed`) && !strings.Contains(diff, "guarded") {
		t.Errorf("nobody noticed: %s: %q, %v", broken.SQL, diff, err)
	}
}
