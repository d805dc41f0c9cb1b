package sqlplan

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
)

// While other tenants' transactions hold locks on all of their rows, and on keys that are not committed yet, a plan does what its statement
// does in a database of its own: no row is missing, nothing is refused, and nothing waits. Here the plan alone sees to it; storage/sqldb
// has the same with row-level security.

// maxWait ends each wait for a lock, of which the plain databases have none.
const maxWait = "SET LOCAL lock_timeout = '3s'"

// committed makes what a world has visible to other transactions, and returns what undoes it.
func (w *genWorld) committed(t *testing.T, e engine) (drop func()) {
	t.Helper()
	if err := w.shared.Commit(); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.shared, err = e.shared.Begin(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.shared.Exec(maxWait); err != nil {
		t.Fatal(err)
	}
	savepoint(t, w.shared)
	return func() {
		t.Helper()
		if _, err := e.shared.Exec("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS billing CASCADE"); err != nil {
			t.Error(err)
		}
	}
}

// hold locks all rows but a tenant's, and keys that the others may not have yet, until the function is called that it returns.
func (w *genWorld) hold(t *testing.T, r *rand.Rand, db *sql.DB, tenant string) (release func()) {
	t.Helper()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range w.schema.Tables {
		if table.Shared() {
			continue
		}
		column := sqlgen.Quote(table.Tenant)
		queries := []string{fmt.Sprintf("SELECT FROM %s WHERE %s::text <> '%s' FOR UPDATE", table.SQL(), column, tenant)}
		if r.IntN(3) == 0 {
			queries = append(queries, fmt.Sprintf("DELETE FROM %s WHERE %s::text <> '%s'", table.SQL(), column, tenant))
		}
		if len(table.References) == 0 && !table.Own() {
			names, values := column, "'"+w.schema.Tenants()[r.IntN(len(w.schema.Tenants()))]+"'"
			if values == "'"+tenant+"'" {
				continue
			}
			for _, c := range table.Columns {
				if slices.Contains(table.Key, c.Name) {
					names, values = names+", "+sqlgen.Quote(c.Name), values+map[bool]string{true: ", k", false: ", 'a'"}[c.Kind == sqlgen.Int]
				}
			}
			queries = append(queries, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM generate_series(0, 100) AS k ON CONFLICT DO NOTHING", table.SQL(), names, values))
		}
		for _, query := range queries {
			savepoint(t, tx)
			if _, err := tx.Exec(query + w.comment); err != nil {
				if !strings.HasPrefix(errorCode(err), "23") {
					t.Fatalf("%s: %v", query, err)
				}
				rollbackTo(t, tx)
			}
		}
	}
	return func() { tx.Rollback() }
}

// checkForeignLocks runs generated statements beside locks of other tenants, every second of them one that locks and does not wait. With a
// mutant, only the statements that it breaks are run.
func checkForeignLocks(t *testing.T, e engine, seed uint64, statements int, mutate mutant) (ran, locking int, diff string) {
	t.Helper()
	for round, made := uint64(0), 0; ran < statements && made < statements; round++ {
		r := rand.New(rand.NewPCG(seed, round))
		w := e.genWorld(t, r, round)
		drop := w.committed(t, e)
		w.reset(t)
		diff = func() string {
			defer drop()
			defer w.close()
			for range 5 {
				tenant := w.schema.Tenants()[r.IntN(len(w.schema.Tenants()))]
				release := w.hold(t, r, e.shared, tenant)
				defer release()
				for i := range 20 {
					made++
					st := w.schema.Random(r)
					for r.IntN(1000) > 0 && i%2 == 0 && !strings.Contains(st.SQL, " NOWAIT") && !strings.Contains(st.SQL, " SKIP LOCKED") {
						st = w.schema.Random(r)
					}
					plan, err := New(st.SQL, w.cat)
					if err != nil {
						if !unwritable.MatchString(err.Error()) {
							return fmt.Sprintf("seed %d, round %d: %s\n%v", seed, round, st.SQL, err)
						}
						continue
					}
					if mutate != nil {
						var broken bool
						if plan, st, broken = mutate(r, *plan, st, w.schema); !broken {
							continue
						}
					}
					if strings.Contains(st.SQL, " NOWAIT") || strings.Contains(st.SQL, " SKIP LOCKED") {
						locking++
					}
					diff, err := w.check(t, tenant, plan, st)
					if ran++; diff != "" {
						return fmt.Sprintf("seed %d, round %d, tenant %s: %s %v\n%s\n%s", seed, round, tenant, st.SQL, st.Args, plan.SQL, diff)
					}
					if err != nil || i%5 == 4 {
						w.reset(t)
					}
				}
				w.reset(t)
				release()
			}
			return ""
		}()
		if diff != "" {
			return ran, locking, diff
		}
	}
	t.Logf("%d statements ran, %d of them NOWAIT or SKIP LOCKED", ran, locking)
	return ran, locking, ""
}

func TestForeignLocks(t *testing.T) {
	ran, locking, diff := checkForeignLocks(t, emptyEngine(t, PostgreSQL), *seed, *generated/2, nil)
	if diff != "" {
		t.Error(diff)
	} else if locking < ran/4 {
		t.Error("the statements say little")
	}
}

// The test of the test: plans whose locks reach rows that they do not return. Nothing else about them is wrong.
func TestForeignLocksFindsMutants(t *testing.T) {
	e := emptyEngine(t, PostgreSQL)
	for name, lock := range map[string]string{"that are refused": "NOWAIT", "that wait": ""} {
		_, _, diff := checkForeignLocks(t, e, *seed, 2000, func(r *rand.Rand, plan Plan, st sqlgen.Statement, s *sqlgen.Schema) (*Plan, sqlgen.Statement, bool) {
			m := scopes.FindStringSubmatchIndex(plan.SQL)
			if m == nil || !st.Reads || slices.ContainsFunc(s.Tables, func(t *sqlgen.Table) bool { return t.Shared() }) {
				return &plan, st, false
			}
			clause := plan.SQL[m[0]:m[1]]
			from := strings.TrimPrefix(plan.SQL[m[0]:m[4]], "FROM ")
			table := from[:strings.LastIndex(from, " ")]
			if strings.HasSuffix(from, `"`) { // a quoted alias may have blanks
				table = from[:strings.LastIndex(from, ` "`)]
			}
			broken := strings.Replace(clause, table, "(SELECT * FROM "+table+" OFFSET 0 FOR UPDATE "+lock+")", 1)
			plan.SQL = plan.SQL[:m[0]] + broken + plan.SQL[m[1]:]
			return &plan, st, true
		})
		if !strings.Contains(diff, "55P03") {
			t.Errorf("locks %s: %s", name, diff)
		}
	}
}
