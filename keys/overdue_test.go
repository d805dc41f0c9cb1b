package keys_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// dumb is a provider that never says of one tenant with whom it can be asked about together, whatever its context says.
type dumb struct {
	keys.BatchKEK
	about   tenant.ID
	end     chan struct{}
	hanging atomic.Int64
}

func (d *dumb) Group(ctx context.Context, w keys.Wrapped) string {
	if w.Tenant == d.about {
		d.hanging.Add(1)
		defer d.hanging.Add(-1)
		<-d.end
	}
	return d.BatchKEK.Group(ctx, w)
}

// TestQuestionsThatDoNotEndDoNotAddUp: however often somebody wants to know the group of a tenant, a single question about it hangs; and it is
// asked about with others again once that one has ended.
func TestQuestionsThatDoNotEndDoNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &sharedWorld{newest: 1, oldest: 1, opens: 1, records: map[tenant.ID]keys.Record{}}
		p := &sharedProcess{sharedWorld: w}
		k := &dumb{BatchKEK: p, about: idA, end: make(chan struct{})}
		ring := openRing(t, k, sharedRecords{p}, nil)
		provision(t, ring, idA, idB)
		rewrap := func() {
			for _, err := range ring.RewrapEach(t.Context(), slices.Values([]tenant.ID{idA, idB}), "") {
				must(t, err)
			}
		}
		for range 20 {
			rewrap()
		}
		if n := k.hanging.Load(); n != 1 {
			t.Errorf("%d questions hang, want 1", n)
		}
		close(k.end)
		synctest.Wait()
		k.end = make(chan struct{})
		rewrap()
		if n := k.hanging.Load(); n != 1 {
			t.Errorf("%d questions hang after the first has ended, want 1", n)
		}
		close(k.end)
	})
}
