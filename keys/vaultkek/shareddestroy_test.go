package vaultkek_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// frail is a shared key of which the nth call that changes or asks for something fails, after it was done or without.
type frail struct {
	*vaultkek.Shared
	n      atomic.Int64
	failAt int64
	after  bool
}

var errFrail = fmt.Errorf("%w: the process ends here", keys.ErrUnavailable)

func (f *frail) step(do func() error) error {
	if f.n.Add(1) != f.failAt {
		return do()
	}
	if f.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errFrail
}

func (f *frail) RotateSharedKey(ctx context.Context) error {
	return f.step(func() error { return f.Shared.RotateSharedKey(ctx) })
}

func (f *frail) DisableVersions(ctx context.Context, oldest int) error {
	return f.step(func() error { return f.Shared.DisableVersions(ctx, oldest) })
}

func (f *frail) DestroyVersions(ctx context.Context, oldest int) error {
	return f.step(func() error { return f.Shared.DestroyVersions(ctx, oldest) })
}

func (f *frail) UnwrapBatch(ctx context.Context, all []keys.Wrapped) (results []keys.Result, err error) {
	err = f.step(func() error { results, err = f.Shared.UnwrapBatch(ctx, all); return err })
	return results, err
}

func (f *frail) RewrapBatch(ctx context.Context, all []keys.Wrapped) (results []keys.Result, err error) {
	err = f.step(func() error { results, err = f.Shared.RewrapBatch(ctx, all); return err })
	return results, err
}

// TestDestroyingVersionsIsResumable: it is ended at each of its steps, before and after, and goes on where it is run again, and every
// tenant opens at all times.
func TestDestroyingVersionsIsResumable(t *testing.T) {
	s := newSharedSite(t)
	all := tenants(3)
	ring := s.ring(t, s.operator, keys.Options{})
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
	}
	opens := func(when string) {
		t.Helper()
		w, err := s.ring(t, s.service, keys.Options{Timeout: 10 * time.Second}).Warm(t.Context(), slices.Values(all))
		if err != nil || w.Opened != len(all) {
			t.Fatalf("%s: %+v, %v", when, w, err)
		}
	}
	version := 1
	for _, after := range []bool{false, true} {
		for step := int64(1); ; step++ {
			f := &frail{Shared: s.operator, failAt: step, after: after}
			r := s.ring(t, f, keys.Options{Timeout: 100 * time.Millisecond})
			_, err := r.DestroySharedKEK(t.Context(), f, version, nil)
			when := fmt.Sprintf("step %d, after it %t", step, after)
			opens(when)
			if err != nil {
				wantErr(t, err, errFrail)
				if _, err = r.DestroySharedKEK(t.Context(), f, version, nil); err != nil {
					t.Fatalf("%s, again: %v", when, err)
				}
				opens(when + ", again")
			}
			k, kerr := s.operator.SharedKey(t.Context())
			must(t, kerr)
			if k.Oldest != version+1 {
				t.Fatalf("%s: %+v", when, k)
			}
			version = k.Newest
			if f.n.Load() < step {
				if step < 6 {
					t.Errorf("there are only %d steps", step)
				}
				break
			}
		}
	}
}

// TestNothingIsDestroyedThatIsNeeded: a tenant that does not open keeps the versions from being destroyed, and they open again.
func TestNothingIsDestroyedThatIsNeeded(t *testing.T) {
	s := newSharedSite(t)
	ring := s.ring(t, s.operator, keys.Options{Timeout: 100 * time.Millisecond})
	_, err := ring.DestroySharedKEK(t.Context(), s.operator, 1, nil)
	wantText(t, err, nil, "no record at all")
	all := tenants(4)
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
	}
	old := s.backup(t, all[0])
	// The keyring's own provider is asked, whatever the shared key that is given says.
	_, err = ring.DestroySharedKEK(t.Context(), needsNothing{s.operator}, 1, nil)
	wantText(t, err, nil, "nothing was destroyed", "does not open without")
	damaged := s.backup(t, all[2])
	rec, err := envelope.ParseRecord(damaged.Data)
	must(t, err)
	good := rec.WrappedRoot
	for what, wrapped := range map[string][]byte{
		"damaged": append(slices.Clone(good[:len(good)-8]), "AAAAAAAA"...), "of another provider": []byte("something else"),
		// Whose mark says that it needs no older version.
		"that lies": []byte(strings.Replace(string(good), ":v1:", ":v9:", 1)),
	} {
		rec.WrappedRoot = wrapped
		s.putBack(t, all[2], keys.Record{Data: envelope.AppendRecord(nil, rec)})
		_, err := ring.DestroySharedKEK(t.Context(), s.operator, 1, nil)
		if err == nil {
			t.Fatalf("%s: the version was destroyed", what)
		}
		wantText(t, err, nil, "nothing was destroyed", all[2].String())
		wantErr(t, err, keys.ErrIntegrity)
		payload, err := envelope.ParseRecord(old.Data)
		must(t, err)
		must(t, second(s.service.Unwrap(t.Context(), all[0], payload.WrappedRoot)))
	}
	must(t, ring.Shred(t.Context(), all[2], ""))
	done, err := ring.DestroySharedKEK(t.Context(), s.operator, 1, nil)
	must(t, err)
	if done.Tenants != 3 || done.Key.Oldest != 2 {
		t.Errorf("%+v", done)
	}
}

// TestVersionsThatAnOperatorDisabledStaySo: a destruction that fails, or is refused its proof, leaves them disabled, and those of an interrupted
// run where nobody needs them, for that run may be about to destroy them; those alone that it has disabled itself are enabled again.
func TestVersionsThatAnOperatorDisabledStaySo(t *testing.T) {
	for what, c := range map[string]struct {
		operators map[string]any
		through   int
		want      int
	}{
		"below what is to be destroyed":     {map[string]any{"min_decryption_version": 2}, 2, 2},
		"up to what is to be destroyed":     {map[string]any{"min_decryption_version": 3}, 2, 3},
		"more than what is to be destroyed": {map[string]any{"min_decryption_version": 3}, 1, 3},
		"with what encrypts":                {map[string]any{"min_decryption_version": 2, "min_encryption_version": 3}, 2, 2},
		"by an interrupted run":             {map[string]any{"min_decryption_version": 3, "min_encryption_version": 3}, 2, 3},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSharedSite(t)
			ring := s.ring(t, s.operator, keys.Options{Timeout: 100 * time.Millisecond})
			for range 2 {
				must(t, s.operator.RotateSharedKey(t.Context()))
			}
			all := tenants(2)
			for _, id := range all {
				must(t, ring.Provision(t.Context(), id))
			}
			s.config(t, c.operators)
			damaged := s.backup(t, all[0])
			rec, err := envelope.ParseRecord(damaged.Data)
			must(t, err)
			rec.WrappedRoot = append(slices.Clone(rec.WrappedRoot[:len(rec.WrappedRoot)-8]), "AAAAAAAA"...)
			s.putBack(t, all[0], keys.Record{Data: envelope.AppendRecord(nil, rec)})
			if _, err := ring.DestroySharedKEK(t.Context(), s.operator, c.through, nil); err == nil {
				t.Fatal("the versions were destroyed")
			}
			k, err := s.operator.SharedKey(t.Context())
			must(t, err)
			if k.Enabled != c.want || k.Oldest != 1 {
				t.Errorf("%+v; want the versions below %d disabled", k, c.want)
			}
			must(t, ring.Shred(t.Context(), all[0], ""))
			done, err := ring.DestroySharedKEK(t.Context(), s.operator, c.through, nil)
			must(t, err)
			if k := done.Key; k.Oldest != c.through+1 || k.Enabled > c.want {
				t.Errorf("%+v", k)
			}
		})
	}
}
