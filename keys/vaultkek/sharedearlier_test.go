package vaultkek_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
)

// TestDestructionBehindAnInterruptedOne: a run was interrupted when it had disabled versions, and a record that needs one is there since, from
// a backup. Whoever destroys more versions next, or the same, has it rewrapped, and is not told to shred it.
func TestDestructionBehindAnInterruptedOne(t *testing.T) {
	for _, through := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(through), func(t *testing.T) {
			s := newSharedSite(t)
			ring := s.ring(t, s.operator, keys.Options{})
			all := tenants(2)
			for _, id := range all {
				must(t, ring.Provision(t.Context(), id))
			}
			backup := s.backup(t, all[1])
			must(t, s.operator.RotateSharedKey(t.Context()))
			for _, id := range all {
				must(t, ring.Rewrap(t.Context(), id, ""))
			}
			must(t, s.operator.DisableVersions(t.Context(), 2)) // and there it ended
			must(t, s.operator.RotateSharedKey(t.Context()))
			s.putBack(t, all[1], backup)
			done, err := ring.DestroySharedKEK(t.Context(), s.operator, through, nil)
			must(t, err)
			if done.Key.Oldest != through+1 {
				t.Errorf("%+v", done.Key)
			}
			for _, id := range all {
				must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)))
			}
		})
	}
}

// TestDestructionBehindAnInterruptedOneOfMore: a run for fewer versions than an interrupted one does not enable them, and says what will;
// it advises nobody to shred a tenant whose record is good.
func TestDestructionBehindAnInterruptedOneOfMore(t *testing.T) {
	s := newSharedSite(t)
	ring := s.ring(t, s.operator, keys.Options{})
	all := tenants(2)
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
	}
	backup := s.backup(t, all[1])
	for range 2 {
		must(t, s.operator.RotateSharedKey(t.Context()))
	}
	for _, id := range all {
		must(t, ring.Rewrap(t.Context(), id, ""))
	}
	must(t, s.operator.DisableVersions(t.Context(), 3)) // and there the run for 1 and 2 ended
	s.putBack(t, all[1], backup)
	_, err := ring.DestroySharedKEK(t.Context(), s.operator, 1, nil)
	wantErr(t, err, keys.ErrIntegrity)
	wantText(t, err, nil, "nothing was destroyed", all[1].String(), "the versions below 3 are disabled", "up to 2")
	if strings.Contains(err.Error(), "shred") {
		t.Errorf("it advises to shred the tenant: %v", err)
	}
	must(t, second(ring.DestroySharedKEK(t.Context(), s.operator, 2, nil)))
	for _, id := range all {
		must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)))
	}
}
