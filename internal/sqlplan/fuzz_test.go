package sqlplan

import (
	"database/sql"
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// FuzzNew feeds the planner any text. It never panics; what it refuses, it refuses with a reason; what it plans for
// PostgreSQL passes the independent checker, and SQLite can read what it plans for SQLite.
func FuzzNew(f *testing.F) {
	for _, sql := range goldenStatements(f, "plans", "refused") {
		f.Add(sql)
	}
	cat, lite := testCatalog(PostgreSQL), testCatalog(SQLite)
	db := openLite(f, liteShared)
	f.Fuzz(func(t *testing.T, sql string) { tryBoth(t, sql, cat, lite, db) })
}

// tryBoth plans a text for both engines and checks the plans. It tells whether PostgreSQL's was made.
func tryBoth(t *testing.T, sql string, cat, lite *Catalog, db *sql.DB) bool {
	plan, err := New(sql, cat)
	checkRefusal(t, sql, err)
	if err == nil {
		for _, problem := range checkPlan(plan, cat) {
			t.Errorf("%s\n%s\n%s", sql, plan.SQL, problem)
		}
	}
	litePlan, liteErr := New(sql, lite)
	checkRefusal(t, sql, liteErr)
	if liteErr != nil || litePlan.Verb == Savepoint {
		return err == nil
	}
	stmt, liteErr := db.Prepare(litePlan.SQL)
	if liteErr == nil {
		stmt.Close()
		return err == nil
	}
	for _, misread := range []string{"syntax error", "no such column", "no such table", "ambiguous column", "unrecognized token"} {
		if strings.Contains(liteErr.Error(), misread) {
			t.Errorf("%s\n%s\n%v", sql, litePlan.SQL, liteErr)
		}
	}
	return err == nil
}

// grafter grafts pieces of statements into others, which reaches combinations that nobody wrote down.
type grafter struct {
	*rand.Rand
	trees   []*pgparse.Tree
	byClass map[string][]*pg.Node
}

func newGrafter(t *testing.T, seed uint64) *grafter {
	t.Helper()
	g := &grafter{Rand: rand.New(rand.NewPCG(seed, 13)), byClass: map[string][]*pg.Node{}}
	statements := goldenStatements(t, "plans")
	for i, sql := range slices.Concat(statements, goldenStatements(t, "refused")) {
		tree, err := pgparse.Parse(sql)
		if err != nil {
			continue
		}
		if i < len(statements) {
			g.trees = append(g.trees, tree)
		}
		for _, n := range nodesOf(tree) {
			g.byClass[classOf(n)] = append(g.byClass[classOf(n)], n)
		}
	}
	return g
}

// statement returns a statement that was grafted once or twice.
func (g *grafter) statement() string {
	for {
		tree := proto.Clone(g.trees[g.IntN(len(g.trees))]).(*pgparse.Tree)
		for range g.IntN(2) + 1 {
			if nodes := nodesOf(tree); len(nodes) > 0 {
				at := nodes[g.IntN(len(nodes))]
				with := g.byClass[classOf(at)]
				at.Node = proto.Clone(with[g.IntN(len(with))]).(*pg.Node).Node
			}
		}
		if sql, err := pgparse.Deparse(tree); err == nil {
			return sql
		}
	}
}

var (
	grafts = flag.Int("grafts", 3000, "how many grafted statements to try")
	seed   = flag.Uint64("seed", 11, "the seed of grafted statements")
)

func TestGraftedStatements(t *testing.T) {
	cat, lite := testCatalog(PostgreSQL), testCatalog(SQLite)
	db := openLite(t, liteShared)
	g := newGrafter(t, *seed)
	planned := 0
	for range *grafts {
		if tryBoth(t, g.statement(), cat, lite, db) {
			planned++
		}
	}
	t.Logf("%d of %d were planned", planned, *grafts)
	if planned < *grafts/20 {
		t.Errorf("only %d of %d grafted statements were planned: the test says little", planned, *grafts)
	}
}

// nodesOf returns the expressions, the queries and the items of FROM in a tree: what may stand for one another within
// its class. The deparser crashes on trees that no parser would build, so what has a syntax of its own is left alone.
func nodesOf(tree *pgparse.Tree) []*pg.Node {
	var nodes []*pg.Node
	var walk func(m protoreflect.Message)
	walk = func(m protoreflect.Message) {
		switch n := m.Interface().(type) {
		case *pg.TypeName, *pg.LockingClause, *pg.WindowDef, *pg.GroupingSet, *pg.XmlExpr, *pg.JsonObjectConstructor, *pg.RangeTableFunc,
			*pg.RangeFunction, *pg.A_Indirection, *pg.InferClause, *pg.MultiAssignRef:
			return
		case *pg.FuncCall:
			if n.Funcformat == pg.CoercionForm_COERCE_SQL_SYNTAX || len(n.Funcname) == 2 && n.Funcname[1].GetString_().Sval == "like_escape" {
				return
			}
		case *pg.Node:
			if classOf(n) != "" && n != tree.Stmts[0].Stmt {
				nodes = append(nodes, n)
			}
		}
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			for i := 0; f.IsList() && f.Message() != nil && i < v.List().Len(); i++ {
				walk(v.List().Get(i).Message())
			}
			if f.Message() != nil && !f.IsList() {
				walk(v.Message())
			}
			return true
		})
	}
	walk(tree.Stmts[0].Stmt.ProtoReflect())
	return nodes
}

func classOf(n *pg.Node) string {
	switch e := n.Node.(type) {
	case *pg.Node_ColumnRef:
		if isStar(e.ColumnRef) {
			return ""
		}
		return "expression"
	case *pg.Node_AConst:
		if e.AConst.Isnull {
			return ""
		}
		return "expression"
	case *pg.Node_ParamRef, *pg.Node_AExpr, *pg.Node_BoolExpr, *pg.Node_NullTest, *pg.Node_SubLink, *pg.Node_FuncCall,
		*pg.Node_TypeCast, *pg.Node_CaseExpr, *pg.Node_CoalesceExpr, *pg.Node_MinMaxExpr, *pg.Node_AArrayExpr:
		return "expression"
	case *pg.Node_RangeVar, *pg.Node_RangeSubselect, *pg.Node_JoinExpr:
		return "item"
	case *pg.Node_SelectStmt:
		if len(e.SelectStmt.ValuesLists) > 0 {
			return ""
		}
		return "query"
	}
	return ""
}
func checkRefusal(t *testing.T, sql string, err error) {
	var refused *RefusedError
	if err != nil && (!errors.As(err, &refused) || refused.Reason == "" || refused.Hint == "" || refused.Position > len(sql)) {
		t.Errorf("%q: not a refusal with a reason: %v", sql, err)
	}
}

// The test of the checker: it finds what a broken planner would let through.
func TestCheckerFindsLeaks(t *testing.T) {
	cat := testCatalog(PostgreSQL)
	for sql, breaks := range map[string][][2]string{
		"SELECT p.id FROM patients p JOIN visits v ON v.patient_id = p.id": {
			{" WHERE v.tenant_id = $1", ""}, {"v.tenant_id = $1", "v.tenant_id = $2"}, {"v.tenant_id = $1", "v.tenant_id <> $1"},
			{"v.tenant_id = $1", "v.tenant_id = $1 OR true"}, {"v.tenant_id = $1", "v.ward = $1"}, {"public.visits", "visits"},
			{"public.visits", "other.visits"}, {"v.tenant_id = $1", "p.tenant_id = $1"}, {"SELECT p.id FROM", "SELECT current_user FROM"},
		},
		"DELETE FROM patients WHERE id = $1 OR note = 'x'":               {{"patients.tenant_id = $1 AND ", ""}, {" AND ", " OR "}},
		"UPDATE patients SET age = 1 WHERE id = $1":                      {{"patients.tenant_id = $1 AND ", ""}, {"age = 1", "tenant_id = 'b'"}},
		"INSERT INTO visits (id) VALUES ($1), ($2)":                      {{"($3, $2)", "($3, $1)"}, {", tenant_id", ", cost"}},
		"INSERT INTO visits (id) SELECT id FROM patients":                {{"patients.id, $1", "patients.id, patients.id"}},
		"INSERT INTO visits (id) VALUES (1) ON CONFLICT (id) DO NOTHING": {{"(id, tenant_id) DO", "(id) DO"}},
		"SELECT lower(note) FROM patients":                               {{"pg_catalog.lower", "lower"}, {"pg_catalog.lower", "pg_catalog.pg_sleep"}},
		"WITH c AS (SELECT 1 AS a) SELECT c.a FROM c":                    {{"FROM strongroom_cte_c", "FROM patients"}},
		"WITH d AS (DELETE FROM visits RETURNING id) SELECT d.id FROM d": {{" WHERE visits.tenant_id = $1", ""}, {"tenant_id = $1", "ward = $1"}},
		"WITH d AS (INSERT INTO visits (id) VALUES (1)) SELECT 1":        {{"(1, $1)", "(1, 'b')"}},
		"MERGE INTO patients p USING visits v ON p.id = v.id WHEN MATCHED THEN UPDATE SET age = 1 WHEN NOT MATCHED THEN INSERT (id) VALUES (v.id)": {
			{"ON p.tenant_id = $1 AND ", "ON "}, {"MATCHED AND p.tenant_id = $1", "MATCHED"}, {"SET age = 1", "SET tenant_id = 'b'"}, {"(v.id, $1)", "(v.id, v.ward)"},
			{"WHEN NOT MATCHED THEN", "WHEN NOT MATCHED BY SOURCE THEN DELETE WHEN NOT MATCHED THEN"}, {"v.tenant_id = $1", "v.tenant_id = $2"}},
		"INSERT INTO visits (id) SELECT id FROM patients UNION SELECT id FROM visits": {{"part.column1 AS id, $1", "part.column1 AS id, part.column1"}},
	} {
		plan, err := New(sql, cat)
		if err != nil {
			t.Fatal(err)
		}
		if problems := checkPlan(plan, cat); len(problems) > 0 {
			t.Errorf("%s: %v", sql, problems)
		}
		for _, b := range breaks {
			broken := *plan
			broken.SQL = strings.Replace(plan.SQL, b[0], b[1], 1)
			if broken.SQL == plan.SQL {
				t.Errorf("%q is not in %s", b[0], plan.SQL)
			} else if len(checkPlan(&broken, cat)) == 0 {
				t.Errorf("nobody noticed: %s", broken.SQL)
			}
		}
	}
}
