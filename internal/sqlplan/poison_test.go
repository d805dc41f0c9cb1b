package sqlplan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
)

// Errors as results: a plan runs on two databases, of which one has rows of a further tenant besides, with values on which
// divisions, conversions and the like fail. What the plan returns or fails with is the same on both. Both databases plan it
// alike, for neither has statistics. In every fourth world there is no other row, so that what is evaluated for any row tells.

type poisonWorld struct {
	genWorld           // whose shared database has no poison
	poisoned *genWorld // the same with it
}

func newPoisonWorld(t *testing.T, clean, poisoned engine, r *rand.Rand, round uint64) *poisonWorld {
	t.Helper()
	s := sqlgen.NewSchema(r, false)
	s.Failing, s.Before17 = true, clean.major < 17
	var worlds []*genWorld
	for _, e := range []engine{clean, poisoned} {
		tx, err := e.shared.Begin()
		if err != nil {
			t.Fatal(err)
		}
		setup := s.Shared()
		if round%4 != 3 { // an index by the tenant would keep foreign rows away from every condition
			setup = append(setup, "SET LOCAL enable_indexscan = off", "SET LOCAL enable_indexonlyscan = off", "SET LOCAL enable_bitmapscan = off")
		}
		for _, create := range setup {
			if _, err := tx.Exec(create); err != nil {
				t.Fatalf("%s: %v", create, err)
			}
		}
		worlds = append(worlds, &genWorld{dialect: PostgreSQL, comment: fmt.Sprintf(" -- %d", round), cat: catalogOf(s), schema: s, shared: tx})
	}
	w := &poisonWorld{*worlds[0], worlds[1]}
	for _, table := range s.Tables {
		if table.Shared() {
			rows := table.TameRows(r)
			w.insert(t, w.shared, table, "", rows)
			w.insert(t, w.poisoned.shared, table, "", rows)
			continue
		}
		w.insert(t, w.poisoned.shared, table, "x", table.PoisonRows(r)) // met first
		for _, tenant := range interferenceTenants[:round%uint64(len(interferenceTenants)+1)] {
			rows := table.TameRows(r)
			w.insert(t, w.shared, table, tenant, rows)
			w.insert(t, w.poisoned.shared, table, tenant, rows)
		}
		w.insert(t, w.poisoned.shared, table, "y", table.PoisonRows(r)) // met last
	}
	savepoint(t, w.shared)
	savepoint(t, w.poisoned.shared)
	return w
}

func (w *poisonWorld) close() {
	w.shared.Rollback()
	w.poisoned.shared.Rollback()
}

// check runs a plan on both databases, and returns how the outcomes differ and the error that both had.
func (w *poisonWorld) check(t *testing.T, tenant string, plan *Plan, st sqlgen.Statement) (string, error) {
	t.Helper()
	args := bindPlan(plan, tenant, st.Args)
	defer rollbackTo(t, w.shared)
	defer rollbackTo(t, w.poisoned.shared)
	want, wantErr := run(w.shared, plan.SQL+w.comment, args, plan.Outputs, plan.ReturnsRows)
	got, gotErr := run(w.poisoned.shared, plan.SQL+w.comment, args, plan.Outputs, plan.ReturnsRows)
	if errorCode(gotErr) == timedOut || errorCode(wantErr) == timedOut {
		return "", errSame
	}
	if errorCode(gotErr) != errorCode(wantErr) {
		return fmt.Sprintf("with foreign rows: %v; without: %v", gotErr, wantErr), nil
	}
	if gotErr == nil && (!slices.Equal(got.rows, want.rows) || got.affected != want.affected) {
		return fmt.Sprintf("with foreign rows:\n%v\nwithout:\n%v", got, want), nil
	}
	return "", gotErr
}

// checkPoison runs generated statements, and returns how many, and the first difference. With a mutant it runs those alone that the mutant breaks.
func checkPoison(t *testing.T, seed uint64, statements int, mutate mutant) (ran int, diff string) {
	t.Helper()
	clean, poisoned := sharedEngine(t), sharedEngine(t)
	failed, refused := map[string]int{}, 0
	for round, made := uint64(0), 0; ran < statements && made < statements; round++ {
		r := rand.New(rand.NewPCG(seed, round))
		w := newPoisonWorld(t, clean, poisoned, r, round)
		for range 200 {
			made++
			st := w.schema.Random(r)
			plan, err := New(st.SQL, w.cat)
			var no *RefusedError
			if errors.As(err, &no) {
				refused++
				continue
			}
			if mutate != nil {
				var broken bool
				if plan, st, broken = mutate(r, *plan, st, w.schema); !broken {
					continue
				}
			}
			for _, tenant := range interferenceTenants {
				ran++
				diff, err := w.check(t, tenant, plan, st)
				if diff != "" {
					w.close()
					return ran, fmt.Sprintf("seed %d, round %d, tenant %s: %s %v\n%s\n%s", seed, round, tenant, st.SQL, st.Args, plan.SQL, diff)
				}
				if err != nil {
					failed[errorCode(err)]++
				}
			}
		}
		w.close()
	}
	meant := 0 // to fail for some values: data exceptions, and a subquery of several rows
	for code, n := range failed {
		if strings.HasPrefix(code, "22") || strings.HasPrefix(code, "21") {
			meant += n
		}
	}
	t.Logf("%d statements ran, of which some failed: %v; %d were refused", ran, failed, refused)
	if mutate == nil && (meant < ran/200 || meant > ran/2 || refused > ran/10) {
		t.Error("the statements say little")
	}
	return ran, ""
}

// sharedEngine is a PostgreSQL database without tables.
func sharedEngine(t testing.TB) engine {
	server := postgresServer(t)
	return engine{dialect: PostgreSQL, shared: openPostgres(t, server, ""), major: server.Major}
}

func TestGeneratedErrorsPostgreSQL(t *testing.T) {
	t.Run("workers", func(t *testing.T) {
		for i := range uint64(generatedWorkers) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				_, diff := checkPoison(t, *seed+i<<32, 400+*generated/16, nil)
				if diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

// Planners that forget what keeps a foreign row from a condition are found: a guard or a barrier.
func TestBarriersAreMissed(t *testing.T) {
	for name, breakIt := range map[string]func(r *rand.Rand, stmt *pg.Node, plan *Plan) bool{
		"one guard too few":   withoutGuard,
		"one barrier too few": withoutBarrier,
		"every guard and barrier missing": func(r *rand.Rand, stmt *pg.Node, plan *Plan) bool {
			found := false
			for withoutGuard(r, stmt, plan) || withoutBarrier(r, stmt, plan) {
				found = true
			}
			return found
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ran, diff := checkPoison(t, *seed, 100000, func(r *rand.Rand, plan Plan, st sqlgen.Statement, _ *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
				tree, err := pgparse.Parse(plan.SQL)
				if err != nil || !breakIt(r, tree.Stmts[0].Stmt, &plan) {
					return nil, st, false
				}
				plan.SQL, err = pgparse.Deparse(tree)
				return &plan, st, err == nil
			})
			if diff == "" {
				t.Errorf("nobody noticed in %d statements", ran)
			}
			first, _, _ := strings.Cut(diff, "\n")
			t.Logf("found by statement %d: %s", ran, first)
		})
	}
}

// A planner that forgets that what is computed first must be computed whether or not a row asks for it is found, by a
// statement for it: PostgreSQL evaluates ahead of the tenant predicate what it takes for cheaper, such as = ANY of one element, and
// raises what is immutable while it plans.
func TestLazyPreludeIsFound(t *testing.T) {
	clean, poisoned := sharedEngine(t), sharedEngine(t)
	asked, noticed := 0, 0
	for i := range uint64(4) {
		round := 4 * i // in which other tenants alone have rows
		r := rand.New(rand.NewPCG(*seed, round))
		w := newPoisonWorld(t, clean, poisoned, r, round)
		for _, table := range w.schema.Tables {
			at := slices.IndexFunc(table.Columns, func(c sqlgen.Column) bool { return c.Kind == sqlgen.Time && !c.Sealed })
			if table.Shared() || at < 0 {
				continue
			}
			asked++
			st := sqlgen.Statement{SQL: fmt.Sprintf(`SELECT 1 FROM %s WHERE %s = ANY (ARRAY[($1::text)::timestamptz])`,
				sqlgen.Quote(table.Name), sqlgen.Quote(table.Columns[at].Name)), Args: []any{"x"}}
			plan, err := New(st.SQL, w.cat)
			if err != nil {
				t.Fatal(err)
			}
			if diff, err := w.check(t, "a", plan, st); diff != "" || errorCode(err) != "22007" {
				t.Errorf("%s\n%s\n%s %v", st.SQL, plan.SQL, diff, err)
			}
			tree, err := pgparse.Parse(plan.SQL)
			if err != nil || !lazyPrelude(r, tree.Stmts[0].Stmt, plan) {
				t.Fatalf("%s: there is no prelude (%v)", plan.SQL, err)
			}
			if plan.SQL, err = pgparse.Deparse(tree); err != nil {
				t.Fatal(err)
			}
			if diff, _ := w.check(t, "a", plan, st); diff != "" {
				noticed++
			}
		}
		w.close()
	}
	if t.Logf("noticed in %d of %d statements", noticed, asked); noticed == 0 {
		t.Error("nobody notices") // where an index finds the rows of the time or the tenant, PostgreSQL asks in that order
	}
}

// withoutGuard makes of one CASE WHEN tenant <> $n THEN NULL ELSE condition END the condition.
func withoutGuard(r *rand.Rand, stmt *pg.Node, plan *Plan) bool {
	var guards []*pg.Node
	visit(stmt.ProtoReflect(), func(m protoreflect.Message) {
		n, ok := m.Interface().(*pg.Node)
		c := n.GetCaseExpr()
		if !ok || c == nil || len(c.Args) != 1 || c.Defresult == nil || !c.Args[0].GetCaseWhen().Result.GetAConst().GetIsnull() {
			return
		}
		test := c.Args[0].GetCaseWhen().Expr
		if b := test.GetBoolExpr(); b != nil {
			test = b.Args[0]
		}
		if ref := test.GetAExpr().GetRexpr().GetParamRef(); ref != nil && plan.Params[ref.Number-1].Source == FromTenant {
			guards = append(guards, n)
		}
	})
	if len(guards) == 0 {
		return false
	}
	n := guards[r.IntN(len(guards))]
	n.Node = n.GetCaseExpr().Defresult.Node
	return true
}

// withoutBarrier takes one OFFSET 0 away, but that of a prelude.
func withoutBarrier(r *rand.Rand, stmt *pg.Node, _ *Plan) bool {
	var barriers []*pg.SelectStmt
	visit(stmt.ProtoReflect(), func(m protoreflect.Message) {
		s, ok := m.Interface().(*pg.SelectStmt)
		if ok && s.LimitCount == nil && s.LimitOffset.GetAConst().GetIval() != nil && len(s.FromClause) > 0 {
			barriers = append(barriers, s)
		}
	})
	if len(barriers) == 0 {
		return false
	}
	s := barriers[r.IntN(len(barriers))]
	s.LimitOffset, s.LimitOption = nil, pg.LimitOption_LIMIT_OPTION_DEFAULT
	return true
}

// lazyPrelude puts what a prelude computes where it is asked for, as a scalar subquery, which is evaluated then.
func lazyPrelude(_ *rand.Rand, stmt *pg.Node, _ *Plan) bool {
	exprs := map[string]*pg.Node{}
	visit(stmt.ProtoReflect(), func(m protoreflect.Message) {
		if sub, ok := m.Interface().(*pg.RangeSubselect); ok && strings.HasPrefix(sub.Alias.GetAliasname(), "prelude") {
			for _, n := range sub.Subquery.GetSelectStmt().TargetList {
				exprs[sub.Alias.Aliasname+"."+n.GetResTarget().Name] = n.GetResTarget().Val
			}
		}
	})
	found := false
	visit(stmt.ProtoReflect(), func(m protoreflect.Message) {
		n, ok := m.Interface().(*pg.Node)
		fields, plain := names(n.GetColumnRef().GetFields())
		if !ok || !plain || len(fields) != 2 || exprs[fields[0]+"."+fields[1]] == nil {
			return
		}
		subquery := func(e *pg.Node) *pg.Node {
			s := newSelect()
			s.TargetList = []*pg.Node{target("", e)}
			return &pg.Node{Node: &pg.Node_SubLink{SubLink: &pg.SubLink{SubLinkType: pg.SubLinkType_EXPR_SUBLINK, Subselect: selectNode(s)}}}
		}
		e := proto.Clone(exprs[fields[0]+"."+fields[1]]).(*pg.Node)
		if array := e.GetAArrayExpr(); array != nil { // whose number of elements PostgreSQL reckons with
			for i, element := range array.Elements {
				array.Elements[i] = subquery(element)
			}
		} else {
			e = subquery(e)
		}
		n.Node, found = e.Node, true
	})
	if !found {
		return false
	}
	visit(stmt.ProtoReflect(), func(m protoreflect.Message) { // and no longer where it was computed first
		if sub, ok := m.Interface().(*pg.RangeSubselect); ok && strings.HasPrefix(sub.Alias.GetAliasname(), "prelude") {
			for _, n := range sub.Subquery.GetSelectStmt().TargetList {
				n.GetResTarget().Val = nullConst()
			}
		}
	})
	return true
}
