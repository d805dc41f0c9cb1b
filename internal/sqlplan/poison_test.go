package sqlplan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
)

// Errors as results: a plan runs on two databases, of which one has rows of a further tenant besides, with values on which
// divisions, conversions and the like fail. What the plan returns or fails with is the same on both. Both databases plan it
// alike, for neither has statistics.

// limitsPending says that a LIMIT or OFFSET that fails, in a place that is evaluated lazily, is known to tell of foreign rows.
// While it is true the property passes over those, and fails if there are none.
const limitsPending = false

func knownLimit(diff string) bool {
	return limitsPending && (strings.Contains(diff, "SQLSTATE 2201W") || strings.Contains(diff, "SQLSTATE 2201X"))
}

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
		for _, tenant := range interferenceTenants {
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

// checkPoison runs generated statements, and returns how many, how many differed in a known way, and the first difference
// that is not known. With a mutant it runs those alone that the mutant breaks.
func checkPoison(t *testing.T, seed uint64, statements int, mutate mutant) (ran, known int, diff string) {
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
				if knownLimit(diff) {
					known++
					continue
				}
				if diff != "" {
					w.close()
					return ran, known, fmt.Sprintf("seed %d, round %d, tenant %s: %s %v\n%s\n%s", seed, round, tenant, st.SQL, st.Args, plan.SQL, diff)
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
	if mutate == nil && (meant < ran/50 || meant > ran/2 || refused > ran/10) {
		t.Error("the statements say little")
	}
	return ran, known, ""
}

// sharedEngine is a PostgreSQL database without tables.
func sharedEngine(t testing.TB) engine {
	server := postgresServer(t)
	return engine{dialect: PostgreSQL, shared: openPostgres(t, server, ""), major: server.Major}
}

func TestGeneratedErrorsPostgreSQL(t *testing.T) {
	var known atomic.Int64
	t.Run("workers", func(t *testing.T) {
		for i := range uint64(generatedWorkers) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				_, n, diff := checkPoison(t, *seed+i<<32, 400+*generated/16, nil)
				known.Add(int64(n))
				if diff != "" {
					t.Error(diff)
				}
			})
		}
	})
	if limitsPending && known.Load() == 0 && !t.Failed() {
		t.Error("no LIMIT told of foreign rows any more: set limitsPending to false")
	}
}

// Planners that forget a barrier are found.
func TestBarriersAreMissed(t *testing.T) {
	const barrier = " OFFSET 0)"
	for name, cut := range map[string]func(r *rand.Rand, text string) string{
		"every barrier": func(_ *rand.Rand, text string) string { return strings.ReplaceAll(text, barrier, ")") },
		"one barrier": func(r *rand.Rand, text string) string {
			parts := strings.Split(text, barrier)
			if len(parts) == 1 {
				return text
			}
			i := 1 + r.IntN(len(parts)-1)
			return strings.Join(parts[:i], barrier) + ")" + strings.Join(parts[i:], barrier)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ran, _, diff := checkPoison(t, *seed, 20000, func(r *rand.Rand, plan Plan, st sqlgen.Statement, _ *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
				broken := cut(r, plan.SQL)
				found := broken != plan.SQL
				plan.SQL = broken
				return &plan, st, found
			})
			if diff == "" {
				t.Errorf("nobody noticed in %d statements", ran)
			}
			first, _, _ := strings.Cut(diff, "\n")
			t.Logf("found by statement %d: %s", ran, first)
		})
	}
}
