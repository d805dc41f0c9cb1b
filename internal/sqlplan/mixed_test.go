package sqlplan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
)

// A parameter keeps its identity: PostgreSQL infers the same type for it in the plan as in the statement as it was written,
// or the statement is refused. Statements name parameters with several casts and without one.

// untyped are the codes with which PostgreSQL gives up on a parameter's type. Where it does so for the statement as it was
// written, nobody can have sent that.
var untyped = []string{"42P18", "42P08", "42804", "42883", "42725", "42846"}

func checkMixed(t *testing.T, e engine, seed uint64, statements int) (ran int, diff string) {
	t.Helper()
	refused, failed := 0, 0
	for round, made := uint64(0), 0; made < statements; round++ {
		r := rand.New(rand.NewPCG(seed, round))
		s := sqlgen.NewSchema(r, false)
		s.Mixed, s.Before17 = true, e.major < 17
		w := e.worldOf(t, s, func(table *sqlgen.Table, _ string) [][]any { return table.Rows(r) }, round)
		w.reset(t)
		for range 100 {
			made++
			st := s.Random(r)
			plan, err := New(st.SQL, w.cat)
			var no *RefusedError
			if errors.As(err, &no) {
				refused++
				continue
			}
			tenant := interferenceTenants[r.IntN(len(interferenceTenants))]
			ran++
			diff, err := w.check(t, tenant, plan, st)
			if err != nil {
				failed++
			}
			if err != nil || diff != "" || !st.Reads {
				w.reset(t)
			}
			if diff != "" && !writtenUntyped(diff) {
				w.close()
				return ran, fmt.Sprintf("seed %d, round %d, tenant %s: %s %v\n%s\n%s", seed, round, tenant, st.SQL, st.Args, plan.SQL, diff)
			}
		}
		w.close()
	}
	t.Logf("%d statements ran, %d failed alike; %d were refused", ran, failed, refused)
	if ran < statements/4 || failed > ran*3/4 {
		t.Error("the statements say little")
	}
	return ran, ""
}

// writtenUntyped tells that the statement as it was written failed for want of a type.
func writtenUntyped(diff string) bool {
	guarded, plain, _ := strings.Cut(diff, "; plain: ")
	if strings.Contains(guarded, "unable to encode") && strings.Contains(plain, "unable to encode") {
		return true // the driver cannot send a value as what both took it for
	}
	for _, code := range untyped {
		if strings.Contains(plain, code) {
			return true
		}
	}
	return false
}

func TestGeneratedParametersPostgreSQL(t *testing.T) {
	t.Run("workers", func(t *testing.T) {
		for i := range uint64(generatedWorkers) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				_, diff := checkMixed(t, emptyEngine(t, PostgreSQL), *seed+i<<32, 200+*generated/32)
				if diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}
