package sqldb_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// What other tenants' transactions have locked shows in nobody's rows, errors or waiting: while they lock, change, delete and insert
// rows, of the same keys too, a tenant's statements do what they do in a database of its own. PostgreSQL ends each wait for a lock after
// a while, which the plain database never does.
func testForeignLocks(t *testing.T, native bool) {
	testenv.Postgres(t)
	guard := storage.Guard{Keys: newRing(t), Audit: &recorder{}}
	ran, locking, held := 0, 0, 0
	for round := uint64(0); ran < *generated/4 && !t.Failed(); round++ {
		w := newGenWorld(t, rand.New(rand.NewPCG(*generatedSeed, round)), dialect.PostgreSQL, guard, genOptions{alike: round%3 > 0, patience: "3s"})
		if native {
			w.openPools(t)
		}
		id := w.tenants[0]
		w.next = w.oftenLocking(&locking)
		for i := 0; i < 6 && !t.Failed() && ran+w.ran < *generated/4; i++ {
			release := w.hold(t, &held, w.tenants[1:]...)
			for range 8 {
				switch kind := w.IntN(4); {
				case kind == 0:
					w.transaction(t, id)
				case kind == 1 && native:
					w.batch(t, id)
				default:
					w.check(t, id, w.on(), w.plainOn(id), w.next())
				}
			}
			w.allSame(t)
			release()
			w.allSame(t)
		}
		if t.Failed() {
			t.Logf("seed %d, round %d", *generatedSeed, round)
		}
		ran += w.ran
		w.close()
	}
	t.Logf("%d statements ran, %d of them NOWAIT or SKIP LOCKED, beside %d that held locks", ran, locking, held)
	if locking < ran/10 || held < ran/20 {
		t.Error("the statements say little")
	}
}

func TestForeignLocks(t *testing.T)     { testForeignLocks(t, false) }
func TestForeignLocksPool(t *testing.T) { testForeignLocks(t, true) }

// locksAtOnce tells statements that lock rows and do not wait.
func locksAtOnce(st sqlgen.Statement) bool {
	return strings.Contains(st.SQL, " NOWAIT") || strings.Contains(st.SQL, " SKIP LOCKED")
}

// oftenLocking returns statements of which every second one locks rows and does not wait.
func (w *genWorld) oftenLocking(locking *int) func() sqlgen.Statement {
	return func() sqlgen.Statement {
		st := w.schema.Random(w.Rand)
		if w.IntN(2) == 0 {
			for range 1000 {
				if locksAtOnce(st) {
					break
				}
				st = w.schema.Random(w.Rand)
			}
		}
		if locksAtOnce(st) {
			*locking++
		}
		return st
	}
}

// hold has tenants lock what they have, each in a transaction, until the function is called that it returns.
func (w *genWorld) hold(t *testing.T, held *int, ids ...tenant.ID) (release func()) {
	t.Helper()
	var all []*sql.Tx
	for _, id := range ids {
		tx, err := w.guarded.BeginTx(as(id), nil)
		must(t, err)
		all = append(all, tx)
		for _, table := range w.schema.Tables {
			for _, query := range w.holding(table) {
				if _, err := tx.ExecContext(as(id), "SAVEPOINT one"); err != nil {
					t.Fatal(err)
				}
				if _, err := tx.ExecContext(as(id), query); err == nil {
					*held++
				} else if _, rerr := tx.ExecContext(as(id), "ROLLBACK TO SAVEPOINT one"); rerr != nil {
					t.Fatalf("%s: %v: %v", query, err, rerr)
				}
			}
		}
	}
	return func() {
		t.Helper()
		for _, tx := range all {
			must(t, tx.Rollback())
		}
	}
}

// holding returns statements that leave locks on rows of a table, of those that there are and of those that others may insert. Some
// of them fail, for other tables' keys.
func (w *genWorld) holding(table *sqlgen.Table) []string {
	if table.Shared() {
		return nil
	}
	name, first := table.SQL(), sqlgen.Quote(table.Columns[0].Name)
	all := []string{"SELECT * FROM " + name + w.one(" FOR UPDATE", " FOR UPDATE", " FOR NO KEY UPDATE", " FOR SHARE")}
	switch w.IntN(4) {
	case 0:
		all = append(all, fmt.Sprintf("UPDATE %s SET %s = %s", name, first, first))
	case 1:
		all = append(all, "DELETE FROM "+name)
	}
	if !table.Own() && w.IntN(2) == 0 {
		var names, values []string
		for _, c := range table.Columns {
			if slices.Contains(table.Key, c.Name) {
				names, values = append(names, sqlgen.Quote(c.Name)), append(values, map[bool]string{true: "k.k", false: "'a'"}[c.Kind == sqlgen.Int])
			}
		}
		all = append(all, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM generate_series(0, 100) AS k (k) ON CONFLICT DO NOTHING",
			name, strings.Join(names, ", "), strings.Join(values, ", ")))
	}
	return all
}

func (w *genWorld) one(texts ...string) string { return texts[w.IntN(len(texts))] }

// The test of the test: a tenant's own transaction, whose locks are to show, is found by rows that are missing, by errors and by waiting.
func TestLocksThatShowAreFound(t *testing.T) {
	testenv.Postgres(t)
	guard := storage.Guard{Keys: newRing(t), Audit: &recorder{}}
	found := map[string]bool{}
	ran := 0
	for round := uint64(0); round < 10 && len(found) < 3; round++ {
		w := newGenWorld(t, rand.New(rand.NewPCG(*generatedSeed, round)), dialect.PostgreSQL, guard, genOptions{patience: "50ms"})
		held, locking := 0, 0
		w.next = w.oftenLocking(&locking)
		release := w.hold(t, &held, w.tenants[0])
		for range 60 {
			st := w.next()
			ran++
			diff, _ := w.differ(w.tenants[0], w.on(), w.plainOn(w.tenants[0]), st)
			switch {
			case diff == "":
			case strings.Contains(st.SQL, " NOWAIT") && strings.Contains(diff, "55P03"):
				found["an error"] = true
			case strings.Contains(st.SQL, " SKIP LOCKED") && st.Reads:
				found["missing rows"] = true
			case !locksAtOnce(st) && strings.Contains(diff, "55P03"):
				found["waiting"] = true
			}
		}
		release()
		w.close()
	}
	if len(found) < 3 {
		t.Errorf("in %d statements only %v", ran, found)
	}
}
