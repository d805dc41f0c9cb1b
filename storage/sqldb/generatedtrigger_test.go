package sqldb_test

import (
	"math/rand/v2"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// The test of the test: what a trigger does is scoped by row-level security alone. Without it, the property finds that other
// tenants' rows change.
func TestTriggersWithoutPoliciesAreFound(t *testing.T) {
	testenv.Postgres(t)
	guard := storage.Guard{Keys: newRing(t), Audit: &recorder{}}
	ran := 0
	for round := uint64(0); round < 30; round++ {
		w := newGenWorld(t, rand.New(rand.NewPCG(*generatedSeed, round)), dialect.PostgreSQL, guard, genOptions{})
		if tr := w.schema.Trigger; tr != nil {
			mustExec(t, w.raw, "ALTER TABLE "+tr.Other.SQL()+" DISABLE ROW LEVEL SECURITY")
			for i := range 100 {
				id := w.tenants[i%len(w.tenants)]
				ran++
				w.differ(id, w.on(), w.plainOn(id), w.schema.Random(w.Rand))
				for _, other := range w.tenants {
					for _, st := range w.tables() {
						if diff, _ := w.differ(other, w.on(), w.plainOn(other), st); diff != "" && other != id {
							t.Logf("found after %d statements, round %d: %.300s", ran, round, diff)
							return
						}
					}
				}
			}
		}
		w.close()
	}
	t.Errorf("nobody noticed in %d statements", ran)
}
