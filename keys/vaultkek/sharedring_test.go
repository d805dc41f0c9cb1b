package vaultkek_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
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

// config sets properties of the key, as an operator does.
func (s *sharedSite) config(t testing.TB, properties map[string]any) {
	t.Helper()
	_, err := testenv.Vault(t).Client(t).Logical().WriteWithContext(t.Context(), s.mount+"/keys/strongroom/config", properties)
	must(t, err)
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

// needsNothing says that nobody needs a version.
type needsNothing struct{ *vaultkek.Shared }

func (needsNothing) Needs([]byte, int) bool { return false }

// TestRecordsExchangedUnderASharedKey: what one tenant's record has wrapped opens under no other's, by itself, in a batch with its
// own, by rewrapping, or by rewrapping together; and those beside them are as ever.
func TestRecordsExchangedUnderASharedKey(t *testing.T) {
	s := newSharedSite(t)
	ring := s.ring(t, s.operator, keys.Options{})
	all := []tenant.ID{tenant.MustParse("acme"), tenant.MustParse("ACME"), tenant.MustParse("acme-1"), tenant.MustParse("acme_1"), tenant.MustParse("bolt")}
	var wrapped [][]byte
	var recs []*envelope.Record
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
		rec, err := envelope.ParseRecord(s.backup(t, id).Data)
		must(t, err)
		recs, wrapped = append(recs, rec), append(wrapped, rec.WrappedRoot)
	}
	for i, other := range []int{1, 0, 3, 2} { // both directions of two pairs that look alike
		rec := *recs[i]
		rec.WrappedRoot = wrapped[other]
		s.putBack(t, all[i], keys.Record{Data: envelope.AppendRecord(nil, &rec)})
	}
	fresh := s.ring(t, s.service, keys.Options{})
	if w, err := fresh.Warm(t.Context(), slices.Values(all)); w != (keys.Warmed{Opened: 1, Failed: 4}) {
		t.Errorf("warmed %+v, %v", w, err)
	}
	stored := map[tenant.ID]keys.Record{}
	for _, id := range all[:4] {
		wantErr(t, second(fresh.Tenant(t.Context(), id)), keys.ErrIntegrity)
		wantErr(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), id)), keys.ErrIntegrity)
		wantErr(t, ring.Rewrap(t.Context(), id, ""), keys.ErrIntegrity)
		stored[id] = s.backup(t, id)
	}
	n := 0
	for id, err := range ring.RewrapEach(t.Context(), slices.Values(all), "") {
		if n++; id == all[4] {
			must(t, err)
			continue
		}
		wantErr(t, err, keys.ErrIntegrity)
		if now := s.backup(t, id); now.Version != stored[id].Version {
			t.Errorf("the record of %s was changed", id)
		}
	}
	must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), all[4])))
	if n != len(all) {
		t.Errorf("%d tenants were yielded", n)
	}
}

// liar answers a batch with what belongs to the neighbour.
type liar struct{ *vaultkek.Shared }

func (l liar) RewrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	results, err := l.Shared.RewrapBatch(ctx, all)
	if err == nil && len(results) > 1 {
		results[0], results[1] = results[1], results[0]
	}
	return results, err
}

// TestRewrappedAnswersExchanged: what the provider mixes up is not stored.
func TestRewrappedAnswersExchanged(t *testing.T) {
	s := newSharedSite(t)
	ring := s.ring(t, liar{s.operator}, keys.Options{})
	all := tenants(4)
	for _, id := range all {
		must(t, ring.Provision(t.Context(), id))
	}
	failed := 0
	for _, err := range ring.RewrapEach(t.Context(), slices.Values(all), "") {
		if err != nil {
			failed++
			wantErr(t, err, keys.ErrIntegrity)
		}
	}
	if w, err := s.ring(t, s.service, keys.Options{}).Warm(t.Context(), slices.Values(all)); w.Opened != 4 || failed != 2 {
		t.Errorf("%d failed, and then warmed %+v, %v", failed, w, err)
	}
}

// slowStore holds one tenant's first record back until it is let go, or the caller's time is over.
type slowStore struct {
	keys.Store
	whom    tenant.ID
	arrived chan struct{}
	letGo   chan struct{}
}

func (s *slowStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	if id == s.whom && version == 0 {
		close(s.arrived)
		select {
		case <-s.letGo:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return s.Store.Put(ctx, id, data, version)
}

// signalling tells when versions were disabled.
type signalling struct {
	*vaultkek.Shared
	disabled func()
}

func (s signalling) DisableVersions(ctx context.Context, oldest int) error {
	err := s.Shared.DisableVersions(ctx, oldest)
	if oldest > 1 && err == nil {
		s.disabled()
	}
	return err
}

// TestATenantProvisionedMeanwhile, whose keyset was wrapped by a version that is being destroyed, is found if it was stored in
// time, and is not stored later than that.
func TestATenantProvisionedMeanwhile(t *testing.T) {
	for _, inTime := range []bool{true, false} {
		s := newSharedSite(t)
		operator := s.ring(t, s.operator, keys.Options{})
		all := tenants(2)
		must(t, operator.Provision(t.Context(), all[0]))
		slow := &slowStore{s.store, all[1], make(chan struct{}), make(chan struct{})}
		r, err := keys.Open(t.Context(), s.service, slow, &keys.Options{InsecureWithoutAudit: true, Timeout: 250 * time.Millisecond})
		must(t, err)
		provisioned := make(chan error, 1)
		go func() { provisioned <- r.Provision(t.Context(), all[1]) }()
		<-slow.arrived
		k := signalling{s.operator, func() {
			if inTime {
				close(slow.letGo)
			}
		}}
		_, err = operator.DestroySharedKEK(t.Context(), k, 1, nil)
		if !inTime {
			close(slow.letGo)
		}
		perr := <-provisioned
		if inTime {
			must(t, perr)
			wantText(t, err, nil, "nothing was destroyed", all[1].String())
			must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), all[1])))
			must(t, second(operator.DestroySharedKEK(t.Context(), s.operator, 1, nil)))
			must(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), all[1])))
		} else {
			must(t, err)
			wantErr(t, perr, keys.ErrUnavailable)
			wantErr(t, second(s.ring(t, s.service, keys.Options{}).Tenant(t.Context(), all[1])), keys.ErrNotProvisioned)
		}
		r.Close()
	}
}

// counted counts the calls to Vault that a provider makes about tenants.
type counted struct {
	*vaultkek.Shared
	batches, singles atomic.Int64
}

func (c *counted) UnwrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	c.batches.Add(1)
	return c.Shared.UnwrapBatch(ctx, all)
}

func (c *counted) RewrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	c.batches.Add(1)
	return c.Shared.RewrapBatch(ctx, all)
}

func (c *counted) Unwrap(ctx context.Context, id tenant.ID, w []byte) ([]byte, error) {
	c.singles.Add(1)
	return c.Shared.Unwrap(ctx, id, w)
}

func (c *counted) Rewrap(ctx context.Context, id tenant.ID, w []byte) ([]byte, error) {
	c.singles.Add(1)
	return c.Shared.Rewrap(ctx, id, w)
}

// allTogether is a store that can be asked about many.
type allTogether struct{ keys.Store }

func (s allTogether) GetChanged(ctx context.Context, ids []tenant.ID, known []int64) ([]keys.Record, error) {
	recs := make([]keys.Record, len(ids))
	for i, id := range ids {
		rec, err := s.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if recs[i] = rec; rec.Version == known[i] {
			recs[i].Data = nil
		}
	}
	return recs, nil
}

// TestCallsForManyTenants counts what Vault is asked for warm-up and rewrap: a call for 256 tenants, and two, or three
// where it took more than a second to store them.
func TestCallsForManyTenants(t *testing.T) {
	s := newSharedSite(t)
	n := 600
	if more, err := strconv.Atoi(os.Getenv("STRONGROOM_TEST_TENANTS")); err == nil {
		n = more
	}
	all := tenants(n)
	setup := s.ring(t, s.operator, keys.Options{Timeout: 5 * time.Second})
	var wait sync.WaitGroup
	for part := range slices.Chunk(all, (n+7)/8) {
		wait.Go(func() {
			for _, id := range part {
				if err := setup.Provision(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	c := &counted{Shared: s.operator}
	s.store = allTogether{s.store}
	ring := s.ring(t, c, keys.Options{Timeout: 5 * time.Second, CacheSize: n})
	begun := time.Now()
	w, err := ring.Warm(t.Context(), slices.Values(all))
	must(t, err)
	full := int64((n + keys.MaxBatch - 1) / keys.MaxBatch)
	t.Logf("%d tenants are warm after %v, by %d calls of many and %d of one", w.Opened, time.Since(begun), c.batches.Load(), c.singles.Load())
	// The first is for fewer, as it is not known yet that they can be asked about together.
	if w.Opened != n || c.batches.Load() > full+1 || c.singles.Load() != 0 {
		t.Errorf("%d calls about many, and %d about one", c.batches.Load(), c.singles.Load())
	}
	ring = s.ring(t, c, keys.Options{Timeout: 5 * time.Second, CacheSize: n})
	c.batches.Store(0)
	must(t, s.operator.RotateSharedKey(t.Context()))
	begun = time.Now()
	for id, err := range ring.RewrapEach(t.Context(), slices.Values(all), "") {
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	t.Logf("%d tenants are rewrapped after %v, by %d calls of many and %d of one", n, time.Since(begun), c.batches.Load(), c.singles.Load())
	if b := c.batches.Load(); b < 2*full || b > 3*full || c.singles.Load() != 0 { // the third where the disk was busy
		t.Errorf("%d calls about many, and %d about one", c.batches.Load(), c.singles.Load())
	}
	for _, id := range all {
		rec, err := envelope.ParseRecord(s.backup(t, id).Data)
		must(t, err)
		if s.operator.Needs(rec.WrappedRoot, 1) {
			t.Fatalf("%s is still wrapped by the first version", id)
		}
	}
}
