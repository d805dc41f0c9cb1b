package sqlplan

import (
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
)

// notGenerated are kinds of nodes that shape.go admits and sqlgen does not make, with why they need it less.
var notGenerated = map[string]string{
	"TransactionStmt":  "a savepoint touches no data; storage/sqldb has tests of transactions",
	"MergeSupportFunc": "in wideShapes: PostgreSQL 17 alone has it",
	"A_Indirection":    "subscripts are in wideShapes",
	"A_Indices":        "subscripts are in wideShapes",
	"NamedArgExpr":     "in wideShapes; the planner visits the argument alone",
	"GroupingFunc":     "in wideShapes, where its sets are fixed",
	"SQLValueFunction": "its value is another one each time; barrier_test.go has it in conditions",
	"CollateClause":    "in wideShapes: what a collation orders is the server's",
	"JsonObjectAgg":    "in wideShapes: a key that is NULL raises",
}

// Each kind of node that may be in a statement is generated, or it is said why not. What is not generated is in the
// statements that are run by hand, so that none goes unexecuted.
func TestKindsAreGenerated(t *testing.T) {
	kinds := func(sql string, seen map[string]bool) {
		tree, err := pgparse.Parse(sql)
		if err != nil {
			return
		}
		visit(tree.Stmts[0].Stmt.ProtoReflect(), func(m protoreflect.Message) { seen[string(m.Descriptor().Name())] = true })
	}
	generated, byHand := map[string]bool{}, map[string]bool{}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := sqlgen.NewSchema(r, false)
		for range 100 {
			kinds(s.Random(r).SQL, generated)
		}
	}
	for _, s := range slices.Concat(shapes, wideShapes) {
		kinds(s.sql, byHand)
	}
	for _, sql := range goldenStatements(t, "plans") {
		kinds(sql, byHand)
	}
	for kind := range fields {
		kind := string(kind)
		why, excused := notGenerated[kind]
		switch {
		case !generated[kind] && !excused:
			t.Errorf("%s is neither generated nor excused", kind)
		case generated[kind] && excused:
			t.Errorf("%s is generated; it needs no excuse (%s)", kind, why)
		case !generated[kind] && !byHand[kind]:
			t.Errorf("%s is in no statement of the tests", kind)
		}
	}
	for kind := range notGenerated {
		if _, ok := fields[protoreflect.Name(kind)]; !ok {
			t.Errorf("%s is excused and not admitted", kind)
		}
	}
}
