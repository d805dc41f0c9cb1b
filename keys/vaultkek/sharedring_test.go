package vaultkek_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// sharedSite is a store whose tenants share a key, with who may do what.
type sharedSite struct {
	mount             string
	operator, service *vaultkek.Shared
	store             keys.Store
}

func newSharedSite(t testing.TB) *sharedSite {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	as := func(name, policy string) *vaultkek.Shared {
		return openShared(t, server.Addr, token(t, root, mount+name, policy, "1h"), "strongroom", &vaultkek.Options{Mount: mount})
	}
	s := &sharedSite{mount: mount, operator: as("-operator", vaultkek.SharedPolicy(mount, "")), service: as("-service", vaultkek.SharedUsePolicy(mount, ""))}
	must(t, s.operator.CreateSharedKey(t.Context()))
	store, err := filestore.Open(t.TempDir()+"/records", nil)
	must(t, err)
	s.store = store
	return s
}

// quick is a keyring that waits for little.
func (s *sharedSite) ring(t testing.TB, k keys.KEK, o keys.Options) *keys.Keyring {
	t.Helper()
	o.InsecureWithoutAudit = true
	if o.Timeout == 0 {
		o.Timeout = 250 * time.Millisecond
	}
	r, err := keys.Open(t.Context(), k, s.store, &o)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func tenants(n int) (ids []tenant.ID) {
	for i := range n {
		ids = append(ids, tenant.MustParse(fmt.Sprintf("t%05d", i)))
	}
	return ids
}

// putBack restores a tenant's record from a backup.
func (s *sharedSite) putBack(t testing.TB, id tenant.ID, backup keys.Record) {
	t.Helper()
	now, err := s.store.Get(t.Context(), id)
	must(t, err)
	must(t, second(s.store.Put(t.Context(), id, backup.Data, now.Version)))
}

func (s *sharedSite) backup(t testing.TB, id tenant.ID) keys.Record {
	t.Helper()
	rec, err := s.store.Get(t.Context(), id)
	must(t, err)
	return rec
}

// recorder keeps what is recorded.
type recorder struct {
	mu     sync.Mutex
	events []*audit.Event
}

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

// TestShreddedUntilItsVersionsAreDestroyed: a shared key cannot be destroyed for one tenant, and shredding does not say that it was.
// Until an operator has destroyed the versions that there were, a backup of the store that is put back opens; then it does not.
func TestShreddedUntilItsVersionsAreDestroyed(t *testing.T) {
	s := newSharedSite(t)
	log := &recorder{}
	ring := s.ring(t, s.service, keys.Options{Audit: log})
	all := tenants(5)
	gone, others := all[0], all[1:]
	sealed := map[tenant.ID][]byte{}
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
		k, err := ring.Tenant(t.Context(), id)
		must(t, err)
		sealed[id], err = k.Data().Encrypt([]byte("value"), nil)
		must(t, err)
	}
	opens := func(k keys.KEK, id tenant.ID) error {
		k2, err := s.ring(t, k, keys.Options{}).Tenant(t.Context(), id)
		if err == nil {
			_, err = k2.Data().Decrypt(sealed[id], nil)
		}
		return err
	}
	backup := s.backup(t, gone)
	report, err := ring.ShredWithReport(t.Context(), gone, "left")
	must(t, err)
	name := s.mount + "/keys/strongroom at "
	if report.Tried || len(report.Shared) != 1 || report.Shared[0].Through != 1 || report.Shared[0].Destroyed || !strings.HasPrefix(report.Shared[0].Name, name) || len(report.Keys) == 0 {
		t.Errorf("%+v", report)
	}
	if e := log.events[len(log.events)-1]; e.Code != audit.CodeKeyShred || e.Phase != audit.Outcome || e.Status != audit.Success || !strings.Contains(e.Reason, "was not destroyed") {
		t.Errorf("the event says %+v", e)
	}
	wantErr(t, opens(s.service, gone), keys.ErrShredded)
	again, err := s.ring(t, s.operator, keys.Options{}).ShredWithReport(t.Context(), gone, "")
	must(t, err)
	if !slices.Equal(again.Shared, report.Shared) || !slices.Equal(again.Keys, report.Keys) || !again.At.Equal(report.At) {
		t.Errorf("repeated: %+v, and before %+v", again, report)
	}

	// It is only as gone as its record: this is what the report warns of.
	s.putBack(t, gone, backup)
	must(t, opens(s.service, gone))
	must(t, ring.Shred(t.Context(), gone, "left"))

	// The service cannot destroy versions, and trying changes nothing.
	_, err = s.ring(t, s.service, keys.Options{}).DestroySharedKEK(t.Context(), s.service, 1, nil)
	wantText(t, err, nil, "the token's policy lacks")
	if k, err := s.operator.SharedKey(t.Context()); err != nil || k.Oldest != 1 || k.Newest != 1 {
		t.Errorf("%+v, %v", k, err)
	}

	operators := &recorder{}
	operator := s.ring(t, s.operator, keys.Options{Audit: operators})
	for _, through := range []int{-1, 0, 2} {
		if _, err := operator.DestroySharedKEK(t.Context(), s.operator, through, nil); err == nil {
			t.Errorf("version %d was destroyed", through)
		}
	}
	must(t, operator.Suspend(t.Context(), others[3], ""))
	operators.events = nil
	done, err := operator.DestroySharedKEK(t.Context(), s.operator, report.Shared[0].Through, &keys.DestroySharedOptions{Reason: "quarterly"})
	must(t, err)
	if done.Key.Oldest != 2 || done.Key.Newest != 2 || done.Tenants != 4 || done.Rewrapped != 4 {
		t.Errorf("%+v", done)
	}
	first, last := operators.events[0], operators.events[len(operators.events)-1]
	if first.Code != audit.CodeKeyDestroy || first.Phase != audit.Intent || last.Code != audit.CodeKeyDestroy || last.Phase != audit.Outcome || last.Status != audit.Success ||
		last.Correlation != first.Correlation || !last.Tenant.IsZero() || len(operators.events) != 2+2*4 {
		t.Errorf("%d events, the first %+v and the last %+v", len(operators.events), first, last)
	}
	s.putBack(t, gone, backup)
	wantErr(t, opens(s.service, gone), keys.ErrIntegrity)
	wantErr(t, opens(s.operator, gone), keys.ErrIntegrity)
	for _, id := range others[:3] {
		must(t, opens(s.service, id))
	}
	must(t, operator.Resume(t.Context(), others[3], ""))
	must(t, opens(s.service, others[3]))

	s.putBack(t, gone, keys.Record{Data: s.tombstone(t, backup, report)})
	again, err = s.ring(t, s.service, keys.Options{}).ShredWithReport(t.Context(), gone, "")
	must(t, err)
	if len(again.Shared) != 1 || !again.Shared[0].Destroyed || again.Shared[0].Through != 1 {
		t.Errorf("after the versions were destroyed: %+v", again)
	}
	before := len(operators.events)
	done, err = operator.DestroySharedKEK(t.Context(), s.operator, 1, nil)
	must(t, err)
	if done.Rewrapped != 0 || done.Key.Newest != 2 || len(operators.events) != before {
		t.Errorf("repeated: %+v", done)
	}
}

// tombstone is what shredding has made of a record.
func (s *sharedSite) tombstone(t testing.TB, backup keys.Record, report *keys.Shredded) []byte {
	t.Helper()
	rec, err := envelope.ParseRecord(backup.Data)
	must(t, err)
	rec.Entomb(report.At.UnixMilli(), nil)
	rec.Shared = []envelope.Shared{{Name: report.Shared[0].Name, Version: uint32(report.Shared[0].Through)}}
	return envelope.AppendRecord(nil, rec)
}

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

// TestDestroyingVersionsIsResumable: it is ended at each of its steps, before and after, and goes on where it is run again, with one
// rotation in all; every tenant opens at all times.
func TestDestroyingVersionsIsResumable(t *testing.T) {
	s := newSharedSite(t)
	all := tenants(3)
	ring := s.ring(t, s.operator, keys.Options{})
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
	}
	opens := func(when string) {
		t.Helper()
		w, err := s.ring(t, s.service, keys.Options{}).Warm(t.Context(), slices.Values(all))
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
			if k.Oldest != version+1 || k.Newest != version+1 {
				t.Fatalf("%s: %+v", when, k)
			}
			version++
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

// needsNothing says that nobody needs a version.
type needsNothing struct{ *vaultkek.Shared }

func (needsNothing) Needs([]byte, int) bool { return false }
