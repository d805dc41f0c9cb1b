package vaultkek_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// stuckStore is on a disk that hangs: one Put ends long after its time is over, and then has stored the record.
type stuckStore struct {
	keys.Store
	whom    tenant.ID
	after   int64 // the version that the one which hangs follows
	arrived chan struct{}
	letGo   chan struct{}
}

func (s *stuckStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	if id == s.whom && version == s.after {
		close(s.arrived)
		<-s.letGo
		ctx = context.WithoutCancel(ctx)
	}
	return s.Store.Put(ctx, id, data, version)
}

// TestStoredTooLate: a record that came to be stored after everybody thought that it never would, by a process that was stopped or whose
// disk hung, is not said to be, and no tenant is lost by it.
func TestStoredTooLate(t *testing.T) {
	t.Run("provisioned", func(t *testing.T) {
		s := newSharedSite(t)
		operator := s.ring(t, s.operator, keys.Options{})
		all := tenants(2)
		must(t, operator.Provision(t.Context(), all[0]))
		stuck := &stuckStore{s.store, all[1], 0, make(chan struct{}), make(chan struct{})}
		// It has more time than the operator's process knows of.
		r, err := keys.Open(t.Context(), s.service, stuck, &keys.Options{InsecureWithoutAudit: true, Timeout: time.Minute})
		must(t, err)
		defer r.Close()
		provisioned := make(chan error, 1)
		go func() { provisioned <- r.Provision(t.Context(), all[1]) }()
		<-stuck.arrived
		must(t, second(operator.DestroySharedKEK(t.Context(), s.operator, 1, nil)))
		close(stuck.letGo)
		wantErr(t, <-provisioned, keys.ErrUnavailable)
		wantErr(t, second(r.Tenant(t.Context(), all[1])), keys.ErrNotProvisioned)
		stuck.after = -1
		must(t, r.Provision(t.Context(), all[1]))
		must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), all[1])))
	})
	for _, together := range []bool{false, true} {
		t.Run(fmt.Sprintf("moved, together %t", together), func(t *testing.T) {
			s := newSharedSite(t)
			all := tenants(2)
			own, err := localkek.Open(t.TempDir()+"/keys", nil)
			must(t, err)
			route := func(k *vaultkek.Shared, provider, also string) *routekek.KEK {
				r, err := routekek.New(map[string]keys.KEK{"own": own, "shared": k}, func(_ context.Context, id tenant.ID) (routekek.Route, error) {
					if id == all[0] {
						return routekek.Route{Provider: "shared"}, nil
					}
					return routekek.Route{Provider: provider, Also: []string{also}}, nil
				}, nil)
				must(t, err)
				return r
			}
			before := s.ring(t, route(s.operator, "own", "shared"), keys.Options{})
			for _, id := range all {
				must(t, before.Provision(t.Context(), id))
			}
			stuck := &stuckStore{s.store, all[1], s.backup(t, all[1]).Version, make(chan struct{}), make(chan struct{})}
			r, err := keys.Open(t.Context(), route(s.service, "shared", "own"), stuck, &keys.Options{InsecureWithoutAudit: true, Timeout: time.Minute})
			must(t, err)
			defer r.Close()
			moved := make(chan error, 1)
			go func() {
				if !together {
					moved <- r.Rewrap(t.Context(), all[1], "")
					return
				}
				for _, err := range r.RewrapEach(t.Context(), func(yield func(tenant.ID) bool) { _ = yield(all[0]) && yield(all[1]) }, "") {
					if err != nil {
						moved <- err
						return
					}
				}
				moved <- nil
			}()
			<-stuck.arrived
			k := route(s.operator, "shared", "own")
			at, err := k.Shared("shared", s.operator)
			must(t, err)
			must(t, second(s.ring(t, k, keys.Options{}).DestroySharedKEK(t.Context(), at, 1, nil)))
			close(stuck.letGo)
			if err := <-moved; !errors.Is(err, keys.ErrUnavailable) {
				t.Errorf("it is said to be moved: %v", err)
			}
			fresh := s.ring(t, k, keys.Options{})
			must(t, second(fresh.Tenant(t.Context(), all[1])))
			must(t, fresh.Rewrap(t.Context(), all[1], ""))
			must(t, second(s.ring(t, k, keys.Options{}).Tenant(t.Context(), all[1])))
		})
	}
}
