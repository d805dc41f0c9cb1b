package vaultkek_test

import (
	"context"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// hooked is a shared key about which others do something meanwhile.
type hooked struct {
	keys.SharedKEK
	disabled, destroying func()
}

func (h hooked) DisableVersions(ctx context.Context, oldest int) error {
	err := h.SharedKEK.DisableVersions(ctx, oldest)
	if oldest > 1 && err == nil {
		h.disabled()
	}
	return err
}

func (h hooked) DestroyVersions(ctx context.Context, oldest int) error {
	h.destroying()
	return h.SharedKEK.DestroyVersions(ctx, oldest)
}

// TestTwoDestructionsAtOnce: a second run begins by enabling the versions that the first is proving to be of no use, and disables them
// again before the first destroys them. A tenant that was stored behind both of their backs needs one all the same.
func TestTwoDestructionsAtOnce(t *testing.T) {
	s := newSharedSite(t)
	const timeout = 2 * time.Second
	operator := s.ring(t, s.operator, keys.Options{Timeout: timeout})
	all := tenants(2)
	must(t, operator.Provision(t.Context(), all[0]))
	slow := &slowStore{s.store, all[1], make(chan struct{}), make(chan struct{})}
	r, err := keys.Open(t.Context(), s.service, slow, &keys.Options{InsecureWithoutAudit: true, Timeout: timeout})
	must(t, err)
	defer r.Close()
	provisioned := make(chan error, 1)
	go func() { provisioned <- r.Provision(t.Context(), all[1]) }()
	<-slow.arrived
	_, err = operator.DestroySharedKEK(t.Context(), hooked{s.operator, func() {
		must(t, s.operator.DisableVersions(t.Context(), 1)) // the second run, which finds nobody to rewrap
		close(slow.letGo)
		must(t, <-provisioned)
	}, func() {
		must(t, s.operator.DisableVersions(t.Context(), 2))
	}}, 1, nil)
	wantErr(t, err, keys.ErrConflict)
	wantText(t, err, nil, "nothing was destroyed")
	must(t, s.operator.DisableVersions(t.Context(), 1)) // and the second run fails as well
	must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), all[1])))
	must(t, second(operator.DestroySharedKEK(t.Context(), s.operator, 1, nil)))
	must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), all[1])))
}

// beforeDisabled is a shared key about which something is done before and after versions are disabled.
type beforeDisabled struct {
	keys.SharedKEK
	before, after func()
}

func (b beforeDisabled) DisableVersions(ctx context.Context, oldest int) error {
	if oldest == 1 {
		return b.SharedKEK.DisableVersions(ctx, oldest)
	}
	b.before()
	defer b.after()
	return b.SharedKEK.DisableVersions(ctx, oldest)
}

// TestASecondDestructionBehindAProof: a second run that begins when the first has proved that nobody needs the versions has nobody's
// record open that is stored only now, for the first destroys what wrapped it.
func TestASecondDestructionBehindAProof(t *testing.T) {
	s := newSharedSite(t)
	const timeout = 500 * time.Millisecond // the first has as long again for what it does once it has proved it
	operator, another := s.ring(t, s.operator, keys.Options{Timeout: timeout}), s.ring(t, s.operator, keys.Options{Timeout: timeout})
	all := tenants(2)
	must(t, operator.Provision(t.Context(), all[0]))
	stuck := &stuckStore{s.store, all[1], 0, make(chan struct{}), make(chan struct{})}
	r, err := keys.Open(t.Context(), s.service, stuck, &keys.Options{InsecureWithoutAudit: true, Timeout: time.Minute})
	must(t, err)
	defer r.Close()
	provisioned := make(chan error, 1)
	go func() { provisioned <- r.Provision(t.Context(), all[1]) }()
	<-stuck.arrived
	var stored error
	ended := make(chan error, 1)
	_, err = operator.DestroySharedKEK(t.Context(), hooked{s.operator, func() {}, func() {
		disabled := make(chan struct{})
		go func() {
			_, err := another.DestroySharedKEK(t.Context(), beforeDisabled{s.operator, func() {
				close(stuck.letGo) // it has rewrapped all that there are
				stored = <-provisioned
			}, func() { close(disabled) }}, 1, nil)
			ended <- err
		}()
		<-disabled
	}}, 1, nil)
	must(t, err)
	if <-ended == nil {
		t.Error("the second run proved that a tenant opens which was wrapped by what is destroyed")
	}
	wantErr(t, stored, keys.ErrUnavailable)
	must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), all[0])))
}

// TestAnotherKeyringsSharedKEK: versions of a key with which none of the keyring's tenants is wrapped are those of others, of whom
// none would object.
func TestAnotherKeyringsSharedKEK(t *testing.T) {
	s, others := newSharedSite(t), newSharedSite(t)
	ring, id := s.ring(t, s.operator, keys.Options{Timeout: 100 * time.Millisecond}), tenants(1)[0]
	must(t, ring.Provision(t.Context(), id))
	must(t, others.ring(t, others.operator, keys.Options{}).Provision(t.Context(), id))
	_, err := ring.DestroySharedKEK(t.Context(), others.operator, 1, nil)
	if err == nil {
		t.Error("another keyring's key was destroyed")
	}
	must(t, second(others.ring(t, others.service, keys.Options{}).Tenant(t.Context(), id)))
}

// beforeRewrap is a shared key before whose first batch is rewrapped something is done.
type beforeRewrap struct {
	*vaultkek.Shared
	do func()
}

func (b beforeRewrap) RewrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	b.do()
	return b.Shared.RewrapBatch(ctx, all)
}

// TestServedWhileVersionsAreDestroyed: a process that has read a tenant's record a moment ago, and opens it once the version that
// wrapped it there is disabled, is served, and not told that the record is damaged.
func TestServedWhileVersionsAreDestroyed(t *testing.T) {
	s := newSharedSite(t)
	id := tenants(1)[0]
	service := s.ring(t, s.service, keys.Options{SuspendWithin: 20 * time.Second, Timeout: 20 * time.Second})
	k := beforeRewrap{s.operator, func() { must(t, second(service.Status(t.Context(), id))) }}
	operator := s.ring(t, k, keys.Options{})
	must(t, operator.Provision(t.Context(), id))
	asked := false
	must(t, second(operator.DestroySharedKEK(t.Context(), hooked{k, func() {
		asked = true
		must(t, second(service.Tenant(t.Context(), id)))
	}, func() {}}, 1, nil)))
	if !asked {
		t.Error("the test wants versions disabled")
	}
}

// shortPages is a store that lists one tenant at a time, however many it is asked for.
type shortPages struct{ keys.Store }

func (s shortPages) List(ctx context.Context, after tenant.ID, _ int) ([]tenant.ID, error) {
	return s.Store.List(ctx, after, 1)
}

// TestAStoreThatListsFewAtATime: the versions that a tenant needs are not destroyed because the store did not list it yet.
func TestAStoreThatListsFewAtATime(t *testing.T) {
	s := newSharedSite(t)
	s.store = shortPages{s.store}
	ring, all := s.ring(t, s.operator, keys.Options{}), tenants(3)
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
	}
	done, err := ring.DestroySharedKEK(t.Context(), s.operator, 1, nil)
	must(t, err)
	if done.Tenants != 3 || done.Rewrapped != 3 {
		t.Errorf("%+v", done)
	}
	for _, id := range all {
		must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)))
	}
	listed := 0
	for _, err := range ring.Tenants(t.Context()) {
		must(t, err)
		listed++
	}
	if listed != 3 {
		t.Errorf("%d tenants are listed", listed)
	}
}

// TestOneSharedKeyOfTwoNames: a router that has two names for one key, as while one is replaced by the other, has the tenants of both
// rewrapped.
func TestOneSharedKeyOfTwoNames(t *testing.T) {
	s := newSharedSite(t)
	all := tenants(2)
	k, err := routekek.New(map[string]keys.KEK{"old": s.operator, "new": s.operator}, func(_ context.Context, id tenant.ID) (routekek.Route, error) {
		if id == all[0] {
			return routekek.Route{Provider: "old"}, nil
		}
		return routekek.Route{Provider: "new"}, nil
	}, nil)
	must(t, err)
	ring := s.ring(t, k, keys.Options{})
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
	}
	at, err := k.Shared("new", s.operator)
	must(t, err)
	for _, id := range all {
		rec, err := envelope.ParseRecord(s.backup(t, id).Data)
		must(t, err)
		if !at.Needs(rec.WrappedRoot, 1) {
			t.Errorf("%s is said not to need the version", id)
		}
	}
	done, err := ring.DestroySharedKEK(t.Context(), at, 1, nil)
	must(t, err)
	if done.Rewrapped != 2 || done.Tenants != 2 {
		t.Errorf("%+v", done)
	}
}
