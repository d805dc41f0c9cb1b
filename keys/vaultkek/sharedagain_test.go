package vaultkek_test

import (
	"context"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestASecondDestructionThatEnables: the first run has proved that nobody needs the versions, and is about to destroy them. A second one
// enables them for a record that was put back since, and meanwhile another is stored late, and opens. When the second has disabled them
// again, the first one would destroy them.
func TestASecondDestructionThatEnables(t *testing.T) {
	s := newSharedSite(t)
	operator, another := s.ring(t, s.operator, keys.Options{}), s.ring(t, s.operator, keys.Options{})
	all := tenants(2)
	late := tenant.MustParse("a-late-one") // which pages have passed
	must(t, operator.Provision(t.Context(), all[0]))
	must(t, operator.Provision(t.Context(), all[1]))
	backup := s.backup(t, all[1])
	stuck := &stuckStore{s.store, late, 0, make(chan struct{}), make(chan struct{})}
	r, err := keys.Open(t.Context(), s.service, stuck, &keys.Options{InsecureWithoutAudit: true, Timeout: time.Minute})
	must(t, err)
	defer r.Close()
	provisioned := make(chan error, 1)
	go func() { provisioned <- r.Provision(t.Context(), late) }()
	<-stuck.arrived
	var stored error
	ended := make(chan error, 1)
	_, err = operator.DestroySharedKEK(t.Context(), hooked{s.operator, func() {}, func() {
		s.putBack(t, all[1], backup)
		disabled := make(chan struct{})
		go func() {
			_, err := another.DestroySharedKEK(t.Context(), beforeDisabled{s.operator, func() {
				close(stuck.letGo)
				stored = <-provisioned
			}, func() { close(disabled) }}, 1, nil)
			ended <- err
		}()
		<-disabled
	}}, 1, nil)
	t.Log("the first run:", err, "\nthe second:", <-ended)
	must(t, stored)
	all = append(all, late)
	for _, id := range all {
		must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)))
	}
	must(t, second(operator.DestroySharedKEK(t.Context(), s.operator, 1, nil)))
	for _, id := range all {
		must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)))
	}
}

// rotating is a shared key that gets a version more behind a proof's beginning.
type rotating struct {
	keys.SharedKEK
	disabled, rotated bool
}

func (r *rotating) DisableVersions(ctx context.Context, oldest int) error {
	r.disabled = true
	return r.SharedKEK.DisableVersions(ctx, oldest)
}

func (r *rotating) SharedKey(ctx context.Context) (keys.SharedKey, error) {
	k, err := r.SharedKEK.SharedKey(ctx)
	if err == nil && r.disabled && !r.rotated {
		r.rotated = true
		err = r.RotateSharedKey(ctx)
	}
	return k, err
}

// TestAVersionMoreBehindAProof: another run may have enabled the versions meanwhile, and disabled them again; it has added one before.
func TestAVersionMoreBehindAProof(t *testing.T) {
	s := newSharedSite(t)
	ring, id := s.ring(t, s.operator, keys.Options{}), tenants(1)[0]
	must(t, ring.Provision(t.Context(), id))
	_, err := ring.DestroySharedKEK(t.Context(), &rotating{SharedKEK: s.operator}, 1, nil)
	wantErr(t, err, keys.ErrConflict)
	wantText(t, err, nil, "nothing was destroyed")
	k, err := s.operator.SharedKey(t.Context())
	must(t, err)
	if k.Oldest != 1 {
		t.Errorf("%+v", k)
	}
	must(t, second(ring.DestroySharedKEK(t.Context(), s.operator, 1, nil)))
	must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)))
}
