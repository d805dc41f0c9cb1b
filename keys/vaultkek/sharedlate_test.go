package vaultkek_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
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
	for variant := range 4 {
		routed, observed := variant&1 != 0, variant&2 != 0
		t.Run(fmt.Sprintf("provisioned, behind a router %t, with telemetry %t", routed, observed), func(t *testing.T) {
			s := newSharedSite(t)
			behind := func(k *vaultkek.Shared) (keys.KEK, keys.SharedKEK) {
				if !routed {
					return k, k
				}
				r, err := routekek.New(map[string]keys.KEK{"shared": k}, func(context.Context, tenant.ID) (routekek.Route, error) {
					return routekek.Route{Provider: "shared"}, nil
				}, nil)
				must(t, err)
				at, err := r.Shared("shared", k)
				must(t, err)
				return r, at
			}
			kek, at := behind(s.operator)
			service, _ := behind(s.service)
			operator := s.ring(t, kek, keys.Options{})
			all := tenants(2)
			must(t, operator.Provision(t.Context(), all[0]))
			stuck := &stuckStore{s.store, all[1], 0, make(chan struct{}), make(chan struct{})}
			// It has more time than the operator's process knows of.
			opts := keys.Options{InsecureWithoutAudit: true, Timeout: time.Minute}
			if observed {
				opts.Telemetry = &audit.Telemetry{Logger: slog.New(slog.DiscardHandler)}
			}
			r, err := keys.Open(t.Context(), service, stuck, &opts)
			must(t, err)
			defer r.Close()
			provisioned := make(chan error, 1)
			go func() { provisioned <- r.Provision(t.Context(), all[1]) }()
			<-stuck.arrived
			must(t, second(operator.DestroySharedKEK(t.Context(), at, 1, nil)))
			close(stuck.letGo)
			wantErr(t, <-provisioned, keys.ErrUnavailable)
			wantErr(t, second(r.Tenant(t.Context(), all[1])), keys.ErrNotProvisioned)
			stuck.after = -1
			must(t, r.Provision(t.Context(), all[1]))
			must(t, second(s.ring(t, service, keys.Options{}).Tenant(t.Context(), all[1])))
		})
	}
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

// away is a shared key of which nobody unwraps once it is away.
type away struct {
	*vaultkek.Shared
	is atomic.Bool
}

var errGone = fmt.Errorf("%w: it is away", keys.ErrUnavailable)

func (a *away) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	if a.is.Load() {
		return nil, errGone
	}
	return a.Shared.Unwrap(ctx, id, wrapped)
}

func (a *away) UnwrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	if a.is.Load() {
		return nil, errGone
	}
	return a.Shared.UnwrapBatch(ctx, all)
}

// TestStoredLateIsLeft: what took long to be stored and does not open for now stays as it is: another process may have used it
// before, and what it took the place of may be what nobody needs any more.
func TestStoredLateIsLeft(t *testing.T) {
	t.Run("provisioned", func(t *testing.T) {
		s := newSharedSite(t)
		id := tenants(1)[0]
		stuck := &stuckStore{s.store, id, 0, make(chan struct{}), make(chan struct{})}
		r, err := keys.Open(t.Context(), s.service, stuck, &keys.Options{InsecureWithoutAudit: true, Timeout: time.Minute})
		must(t, err)
		defer r.Close()
		provisioned := make(chan error, 1)
		go func() { provisioned <- r.Provision(t.Context(), id) }()
		<-stuck.arrived
		must(t, s.operator.RotateSharedKey(t.Context()))
		must(t, s.operator.DisableVersions(t.Context(), 2))
		time.Sleep(time.Second) // from which on it is late
		close(stuck.letGo)
		wantErr(t, <-provisioned, keys.ErrUnavailable)
		before := s.backup(t, id)
		must(t, s.operator.DisableVersions(t.Context(), 1)) // by whoever finds the tenant
		must(t, r.Provision(t.Context(), id))
		must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)))
		if now := s.backup(t, id); now.Version != before.Version || !bytes.Equal(now.Data, before.Data) {
			t.Error("the record was replaced")
		}
	})
	t.Run("rewrapped", func(t *testing.T) {
		s := newSharedSite(t)
		id := tenants(1)[0]
		operator := s.ring(t, s.operator, keys.Options{})
		must(t, operator.Provision(t.Context(), id))
		must(t, s.operator.RotateSharedKey(t.Context()))
		stuck := &stuckStore{s.store, id, s.backup(t, id).Version, make(chan struct{}), make(chan struct{})}
		k := &away{Shared: s.service}
		r, err := keys.Open(t.Context(), k, stuck, &keys.Options{InsecureWithoutAudit: true, Timeout: time.Minute})
		must(t, err)
		defer r.Close()
		rewrapped := make(chan error, 1)
		go func() { rewrapped <- r.Rewrap(t.Context(), id, "") }()
		<-stuck.arrived
		time.Sleep(time.Second)
		k.is.Store(true)
		close(stuck.letGo)
		wantErr(t, <-rewrapped, keys.ErrUnavailable)
		rec, err := envelope.ParseRecord(s.backup(t, id).Data)
		must(t, err)
		if s.operator.Needs(rec.WrappedRoot, 1) {
			t.Error("what was wrapped before was put back")
		}
		must(t, second(operator.DestroySharedKEK(t.Context(), s.operator, 1, nil)))
		must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)))
	})
}
