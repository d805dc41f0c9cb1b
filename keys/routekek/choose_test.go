package routekek_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/tenant"
)

// atOnce is a store that is asked about many tenants by one question.
type atOnce struct{ keys.Store }

func (s atOnce) GetChanged(ctx context.Context, ids []tenant.ID, _ []int64) ([]keys.Record, error) {
	all := make([]keys.Record, len(ids))
	for i, id := range ids {
		var err error
		if all[i], err = s.Get(ctx, id); err != nil && !errors.Is(err, keys.ErrNotFound) {
			return nil, err
		}
	}
	return all, nil
}

// chosen are tenants of one provider whose tenants can be asked about together, one of which is routed there as told.
func chosen(t *testing.T, whom tenant.ID, how func(context.Context)) (kek *routekek.KEK, store keys.Store, all []tenant.ID) {
	provisioned := false
	kek, err := routekek.New(map[string]keys.KEK{"a": shares(t, "key a")}, func(ctx context.Context, id tenant.ID) (routekek.Route, error) {
		if provisioned && id == whom {
			how(ctx)
		}
		return routekek.Route{Provider: "a"}, ctx.Err()
	}, nil)
	must(t, err)
	files, err := filestore.Open(t.TempDir()+"/records", nil)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, files, &keys.Options{InsecureWithoutAudit: true})
	must(t, err)
	all = []tenant.ID{acme, other, tenant.MustParse("third")}
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
	}
	ring.Close()
	provisioned = true
	return kek, atOnce{files}, all
}

// TestARouteThatIsNotTold: where the application does not say in time how one tenant is routed, with or without listening to its context,
// that is this tenant's affair, who is told so in time.
func TestARouteThatIsNotTold(t *testing.T) {
	for name, how := range map[string]func(context.Context, chan struct{}){
		"by a call that listens":  func(ctx context.Context, _ chan struct{}) { <-ctx.Done() },
		"by a call that does not": func(_ context.Context, end chan struct{}) { <-end },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				kek, store, all := chosen(t, acme, func(ctx context.Context) { how(ctx, end) })
				ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
				must(t, err)
				defer ring.Close()
				defer close(end)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // of no clock but the bubble's
				defer cancel()
				warmed, err := ring.Warm(ctx, slices.Values(all))
				if !errors.Is(err, keys.ErrUnavailable) || warmed.Opened != 2 || warmed.Failed != 1 {
					t.Errorf("%+v, %v", warmed, err)
				}
				if _, err := ring.Tenant(ctx, acme); !errors.Is(err, keys.ErrUnavailable) {
					t.Errorf("the tenant whose route is not told: %v", err)
				}
				if name == "by a call that listens" {
					for id, err := range ring.RewrapEach(ctx, slices.Values(all), "") {
						if (err != nil) != (id == acme) {
							t.Errorf("rewrapping %s: %v", id, err)
						}
					}
				}
			})
		})
	}
}

// TestRoutesThatTakeAWhile: routes that each take a while to be told, as from a database, take no longer for many tenants than for one; and
// one that is not told a moment later is its tenant's affair.
func TestRoutesThatTakeAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []tenant.ID
		for i := range keys.MaxBatch {
			all = append(all, tenant.MustParse(fmt.Sprintf("t%03d", i)))
		}
		var calls atomic.Int64
		provisioned := false
		kek, err := routekek.New(map[string]keys.KEK{"a": shares(t, "key a")}, func(ctx context.Context, id tenant.ID) (routekek.Route, error) {
			if provisioned {
				time.Sleep(50 * time.Millisecond)
				if id == all[0] && calls.Add(1) > 1 {
					<-ctx.Done()
				}
			}
			return routekek.Route{Provider: "a"}, ctx.Err()
		}, nil)
		must(t, err)
		files, err := filestore.Open(t.TempDir()+"/records", nil)
		must(t, err)
		ring, err := keys.Open(t.Context(), kek, atOnce{files}, &keys.Options{InsecureWithoutAudit: true})
		must(t, err)
		for _, id := range all {
			must(t, ring.Provision(t.Context(), id))
		}
		ring.Close()
		provisioned = true
		ring, err = keys.Open(t.Context(), kek, atOnce{files}, &keys.Options{InsecureWithoutAudit: true})
		must(t, err)
		defer ring.Close()
		warmed, err := ring.Warm(t.Context(), slices.Values(all))
		if !errors.Is(err, keys.ErrUnavailable) || warmed.Failed != 1 {
			t.Errorf("%+v, %v", warmed, err)
		}
	})
}

// TestARouteThatIsNotReturned: a route that the application cannot tell, for it panics or ends its goroutine, is an error to whoever needs it,
// at once, and no process ends by it.
func TestARouteThatIsNotReturned(t *testing.T) {
	for does, how := range map[string]func(){"panicked": func() { panic("canary of the application's") }, "ended its goroutine": runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			kek, store, all := chosen(t, acme, func(context.Context) { how() })
			ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
			must(t, err)
			defer ring.Close()
			began := time.Now()
			warmed, err := ring.Warm(t.Context(), slices.Values(all))
			if err == nil || warmed.Opened != 2 || warmed.Failed != 1 {
				t.Errorf("%+v, %v", warmed, err)
			}
			_, err = ring.Tenant(t.Context(), acme)
			if err == nil || !strings.Contains(err.Error(), does) || strings.Contains(err.Error(), "choose_test.go:") != (does == "panicked") || strings.Contains(err.Error(), "canary") {
				t.Errorf("the tenant of whom it is asked: %v", err)
			}
			for id, err := range ring.RewrapEach(t.Context(), slices.Values(all), "") {
				if (err != nil) != (id == acme) {
					t.Errorf("rewrapping %s: %v", id, err)
				}
			}
			if waited := time.Since(began); waited > 0 {
				t.Errorf("somebody waited for %v", waited)
			}
		})
	}
}

// TestRoutesThatAreNeverToldDoNotAddUp: of a tenant whose route is never told a single question hangs, however often many are asked about
// together; and its route is told again once that one has ended.
func TestRoutesThatAreNeverToldDoNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hanging atomic.Int64
		end := make(chan struct{})
		kek, store, all := chosen(t, acme, func(context.Context) {
			hanging.Add(1)
			defer hanging.Add(-1)
			<-end
		})
		var wrapped []keys.Wrapped
		for _, id := range all {
			rec, err := store.Get(t.Context(), id)
			must(t, err)
			parsed, err := envelope.ParseRecord(rec.Data)
			must(t, err)
			wrapped = append(wrapped, keys.Wrapped{Tenant: id, Bytes: parsed.WrappedRoot})
		}
		unwrap := func() []keys.Result {
			results, err := kek.UnwrapBatch(t.Context(), wrapped)
			must(t, err)
			for i, r := range results {
				if all[i] != acme && r.Err != nil {
					t.Errorf("%s: %v", all[i], r.Err)
				}
			}
			return results
		}
		for range 20 {
			if err := unwrap()[0].Err; !errors.Is(err, keys.ErrUnavailable) {
				t.Errorf("the tenant whose route is not told: %v", err)
			}
		}
		if n := hanging.Load(); n != 1 {
			t.Errorf("%d questions hang, want 1", n)
		}
		close(end)
		synctest.Wait()
		must(t, unwrap()[0].Err)
	})
}
