package vaultkek_test

import (
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// needsPanics is a shared key that cannot tell which version a record needs, for a bug.
type needsPanics struct{ *vaultkek.Shared }

func (needsPanics) Needs([]byte, int) bool { panic("of the application's data") }

// TestAKEKThatPanicsOverItsVersions: what is not known to need no version may need it, and the process goes on.
func TestAKEKThatPanicsOverItsVersions(t *testing.T) {
	s := newSharedSite(t)
	ring, id := s.ring(t, s.operator, keys.Options{}), tenants(1)[0]
	must(t, ring.Provision(t.Context(), id))
	_, err := ring.DestroySharedKEK(t.Context(), needsPanics{s.operator}, 1, nil)
	wantErr(t, err, keys.ErrConflict)
	wantText(t, err, nil, "nothing was destroyed")
	must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)))
	k, err := s.operator.SharedKey(t.Context())
	must(t, err)
	if k.Oldest != 1 || k.Enabled != 0 {
		t.Errorf("%+v", k)
	}
}
