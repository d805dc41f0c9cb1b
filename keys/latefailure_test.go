package keys_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// lateBackends answer the first question that they are asked once told to so late that it says nothing of now, and every one with a
// failure.
type lateBackends struct {
	*faulty
	clock *keys.Clock
	late  string
	asked atomic.Int64
}

func (l *lateBackends) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	if l.late == "store" {
		return keys.Record{}, l.fail()
	}
	return l.faulty.Get(ctx, id)
}

func (l *lateBackends) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	if l.late == "KEK provider" {
		return nil, l.fail()
	}
	return l.faulty.Unwrap(ctx, id, wrapped)
}

func (l *lateBackends) fail() error {
	if l.asked.Add(1) == 1 {
		synctest.Wait() // until who asks waits for this
		l.clock.Add(6 * time.Second)
	}
	return errAway
}

// TestAFailureThatComesLateIsAskedForAgain: on a machine that is busy a failure may be of no use by the time it is known, as an
// answer may, and then the policy serves by the next one. Where it serves nobody there is no next one.
func TestAFailureThatComesLateIsAskedForAgain(t *testing.T) {
	synctest.Test(t, testAFailureThatComesLateIsAskedForAgain)
}

func testAFailureThatComesLateIsAskedForAgain(t *testing.T) {
	for _, late := range []string{"store", "KEK provider"} {
		for _, policy := range []keys.Policy{keys.ServeStale, keys.FailNow} {
			o, clock := keys.Options{WhenUnavailable: policy}, new(keys.Clock)
			if late != "store" {
				o.ReopenAfter, o.SuspendWithin = 5*time.Second, 15*time.Minute
			}
			clock.Set(&o)
			l := &lateBackends{faulty: newFaulty(newLocal(t)), clock: clock}
			r := openRing(t, l, l, &o)
			provision(t, r, idA)
			open(t, r, idA)
			clock.Add(6 * time.Second)
			l.late = late
			_, err := r.Tenant(t.Context(), idA)
			want, asked := error(nil), int64(2)
			if policy == keys.FailNow {
				want, asked = keys.ErrUnavailable, 1
			}
			if n := l.asked.Load(); !errors.Is(err, want) || n != asked {
				t.Errorf("the %s is away, policy %d: %v, after %d questions; want %v after %d", late, policy, err, n, want, asked)
			}
			r.AwaitRefresh(idA)
		}
	}
}
