package sqlplan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// FuzzNonInterference holds any text that the planner takes against the same text on a database of the tenant alone.
// Where a text leaves the result open, such as by LIMIT without an order, it only sees that no other tenant's row changes.
//
//	go test ./internal/sqlplan -fuzz FuzzNonInterference
func FuzzNonInterference(f *testing.F) {
	for i, sql := range goldenStatements(f, "plans", "refused") {
		f.Add(sql, uint64(i))
	}
	e := postgresEngine(f)
	// The data is the same for some texts, which leave it as it was.
	var w *world
	class := uint64(0)
	f.Cleanup(func() {
		if w != nil {
			w.close()
		}
	})
	f.Fuzz(func(t *testing.T, sql string, seed uint64) {
		cat := testCatalog(PostgreSQL)
		plan, err := New(sql, cat)
		if err != nil || plan.Verb == Savepoint || plan.NumInput > 100 {
			return
		}
		for _, problem := range checkPlan(plan, cat) {
			t.Errorf("%s\n%s\n%s", sql, plan.SQL, problem)
		}
		if strings.Contains(plan.SQL, "RECURSIVE") {
			return // one that does not end would be taken for a hanging test
		}
		r := rand.New(rand.NewPCG(seed, 3))
		var args []any
		for range plan.NumInput {
			args = append(args, []any{r.IntN(6), fmt.Sprint("s", r.IntN(6)), fmt.Sprintf("n%d", r.IntN(50)), nil}[r.IntN(4)])
		}
		// The library's scanner takes some texts that the server's does not, such as $1a for $1 AS a.
		tenant := interferenceTenants[r.IntN(len(interferenceTenants))]
		if w == nil || class != seed/64 {
			if w != nil {
				w.close()
			}
			class = seed / 64
			made := e.world(t, randomData(rand.New(rand.NewPCG(class, 5))))
			w = &made
		}
		if diff := w.interferes(t, tenant, shape{sql: sql, open: varies(plan.SQL), mistyped: sealsArguments(plan), loose: true}, args, nil); diff != "" {
			t.Errorf("tenant %s: %s %v\n%s\n%s", tenant, sql, args, plan.SQL, diff)
		}
	})
}

// sealsArguments tells whether a parameter is sealed or indexed.
func sealsArguments(plan *Plan) bool {
	return slices.ContainsFunc(plan.Params, func(p Param) bool { return p.Use != AsIs })
}

// mistyped tells the failures of a comparison or a parameter of the wrong type.
func mistyped(err error) bool {
	return err != nil && (strings.HasPrefix(errorCode(err), "42") || strings.Contains(err.Error(), "unable to encode"))
}

// undefined tells the failures that a database may have or not have according to the order in which it meets values: of
// data, and of time.
func undefined(errs ...error) bool {
	for _, err := range errs {
		if code := errorCode(err); err != nil && (strings.HasPrefix(code, "22") || code == timedOut || code == "21000") {
			return true
		}
	}
	return false
}
