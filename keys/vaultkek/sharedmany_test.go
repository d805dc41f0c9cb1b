package vaultkek_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
)

// TestManyDestructionsAtOnce: of several runs that begin at the same time no two succeed, tenants that are provisioned meanwhile open, and
// whoever repeats it succeeds.
func TestManyDestructionsAtOnce(t *testing.T) {
	s := newSharedSite(t)
	all := tenants(40)
	service := s.ring(t, s.service, keys.Options{Timeout: 500 * time.Millisecond})
	for _, id := range all[:20] {
		must(t, service.Provision(t.Context(), id))
	}
	through := 1
	for range 2 {
		runs := make([]error, 4)
		var running sync.WaitGroup
		for i := range runs {
			operator := s.ring(t, s.operator, keys.Options{Timeout: 500 * time.Millisecond})
			running.Go(func() { _, runs[i] = operator.DestroySharedKEK(t.Context(), s.operator, through, nil) })
		}
		running.Go(func() {
			for _, id := range all[20:] {
				if err := service.Provision(t.Context(), id); err != nil && !errors.Is(err, keys.ErrUnavailable) {
					t.Error(err)
				}
			}
		})
		running.Wait()
		succeeded := 0
		for _, err := range runs {
			if err == nil {
				succeeded++
			} else {
				wantErr(t, err, keys.ErrConflict)
			}
		}
		if succeeded > 1 {
			t.Errorf("%d runs succeeded", succeeded)
		}
		again, err := s.ring(t, s.operator, keys.Options{Timeout: 500 * time.Millisecond}).DestroySharedKEK(t.Context(), s.operator, through, nil)
		must(t, err)
		fresh := s.ring(t, s.service, keys.Options{})
		for _, id := range all {
			must(t, second(fresh.Tenant(t.Context(), id)))
		}
		through = again.Key.Newest
	}
}
