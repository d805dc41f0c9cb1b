package keys_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

var purposes = []keys.Purpose{keys.PurposeData, keys.PurposeIndex, keys.PurposeBlobs, keys.PurposeAudit, keys.PurposePseudonym}

// quick are the options of a keyring whose rotations do not take long. Nor may an answer of the store: on a machine that is
// busy some come too late to be of use. So tests that want every one of them stop the clock while anybody is at work
// (synctest), and the others ask again.
func quick() *keys.Options { return &keys.Options{SuspendWithin: 40 * time.Millisecond} }

func rotate(t testing.TB, r *keys.Keyring, id tenant.ID, purposes ...keys.Purpose) {
	t.Helper()
	for _, p := range purposes {
		if err := r.Rotate(t.Context(), id, p, "yearly"); err != nil {
			t.Fatalf("rotate %s: %v", p, err)
		}
	}
}

// TestWhatOneProcessSealsWhileKeysRotateEveryOtherOpens: no process may meet a value under a key that it does not have
// yet, which is what becomes of a rotation that is one step.
func TestWhatOneProcessSealsWhileKeysRotateEveryOtherOpens(t *testing.T) {
	l := newLocal(t)
	o := quick()
	o.Timeout = patient().Timeout // all of them change one record, to reserve seals in it
	operator := openRing(t, l.kek, l.store, o)
	provision(t, operator, idA)
	ctx, done := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	sealed := make(chan []byte)
	var opened atomic.Int64
	for i := range 6 {
		// The process that rotates knows first. The others learn at different times.
		seals, opens := operator, openRing(t, l.kek, l.store, o)
		if i%2 == 1 {
			seals, opens = openRing(t, l.kek, l.store, o), operator
		}
		time.Sleep(o.SuspendWithin / 6)
		wg.Go(func() {
			for ctx.Err() == nil {
				v, err := sealAgain(seals)
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case sealed <- v:
				case <-ctx.Done():
				}
			}
		})
		wg.Go(func() {
			for {
				select {
				case v := <-sealed:
					k, err := tenantAgain(opens)
					if err == nil {
						_, err = k.Data().Decrypt(v, nil)
					}
					opened.Add(1)
					if err != nil {
						t.Errorf("sealed in one process and not opened in another: %v", err)
						return
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	before, err := tenantAgain(operator)
	must(t, err)
	for range 3 {
		err := keys.ErrConflict // as long as the others, who count their seals in the same record, are always faster
		for errors.Is(err, keys.ErrConflict) {
			err = operator.Rotate(t.Context(), idA, keys.PurposeData, "yearly")
		}
		must(t, err)
	}
	done()
	wg.Wait()
	if open(t, openRing(t, l.kek, l.store, nil), idA).DataKeyID() == before.DataKeyID() || opened.Load() == 0 {
		t.Errorf("nothing was rotated, or nothing opened meanwhile: %d values", opened.Load())
	}
}

// tenantAgain asks for a tenant's keys until the answer comes in time.
func tenantAgain(r *keys.Keyring) (tenantkeys.Keys, error) {
	for {
		k, err := tenantkeys.Open(context.Background(), r, idA)
		if !errors.Is(err, keys.ErrUnavailable) {
			return k, err
		}
	}
}

// sealAgain seals a value with the keys that there are now.
func sealAgain(r *keys.Keyring) ([]byte, error) {
	k, err := tenantAgain(r)
	if err != nil {
		return nil, err
	}
	return k.Data().Encrypt([]byte("v"), nil)
}

func TestEachPurposeRotatesByItself(t *testing.T) { synctest.Test(t, testEachPurposeRotatesByItself) }

func testEachPurposeRotatesByItself(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, quick())
	provision(t, r, idA, idB)
	value := sealAll(t, open(t, r, idA))
	for _, p := range purposes {
		rotate(t, r, idA, p)
		fresh := open(t, openRing(t, l.kek, l.store, quick()), idA)
		value.opens(t, fresh)
		sealAll(t, fresh).opens(t, open(t, r, idA))
	}
	k := open(t, r, idA)
	if k.DataKeyID() == value.dataID || k.BlobKeyID() == value.blobID || k.IndexKeyIDs()[0] == value.indexID || len(k.IndexKeyIDs()) != 2 {
		t.Error("the older keys still seal")
	}
	now, err := k.Audit().Pseudonym("someone")
	if err != nil || now == value.pseudonym {
		t.Errorf("the pseudonym is still made with the older key; or %v", err)
	}
	// The other tenant's keys are what they were, and do not open this one's.
	if _, err := open(t, r, idB).Data().Decrypt(value.data, nil); err == nil {
		t.Error("tenant b opened tenant a's value")
	}
}

// sealedValues is one value for each purpose.
type sealedValues struct {
	data, details, index    []byte
	pseudonym               string
	dataID, blobID, indexID uint32
}

func sealAll(t testing.TB, k tenantkeys.Keys) sealedValues {
	t.Helper()
	v := sealedValues{dataID: k.DataKeyID(), blobID: k.BlobKeyID(), indexID: k.IndexKeyIDs()[0]}
	var errs [4]error
	v.data, errs[0] = k.Data().Encrypt([]byte("v"), nil)
	v.details, errs[1] = k.Audit().SealDetails([]byte("v"), "uid")
	v.index, errs[2] = k.Index().PRFs[v.indexID].ComputePRF([]byte("v"), 16)
	v.pseudonym, errs[3] = k.Audit().Pseudonym("someone")
	must(t, errors.Join(errs[:]...))
	return v
}

func (v sealedValues) opens(t testing.TB, k tenantkeys.Keys) {
	t.Helper()
	if got, err := k.Data().Decrypt(v.data, nil); err != nil || string(got) != "v" {
		t.Errorf("data: %q, %v", got, err)
	}
	if got, err := k.Audit().(interface {
		OpenDetails(sealed []byte, uid string) ([]byte, error)
	}).OpenDetails(v.details, "uid"); err != nil || string(got) != "v" {
		t.Errorf("details: %q, %v", got, err)
	}
	if f := k.Index().PRFs[v.indexID]; f == nil {
		t.Error("the older index key is gone")
	} else if got, err := f.ComputePRF([]byte("v"), 16); err != nil || !slices.Equal(got, v.index) {
		t.Errorf("index: %x, %v", got, err)
	}
	if _, ok := k.BlobsByID(v.blobID); !ok {
		t.Error("the older key of objects is gone")
	}
}

func TestRotationsAtOnceMakeOneKey(t *testing.T) { synctest.Test(t, testRotationsAtOnceMakeOneKey) }

func testRotationsAtOnceMakeOneKey(t *testing.T) {
	l := newLocal(t)
	provision(t, openRing(t, l.kek, l.store, quick()), idA)
	rings := make([]*keys.Keyring, 4)
	for i := range rings {
		rings[i] = openRing(t, l.kek, l.store, &keys.Options{SuspendWithin: 300 * time.Millisecond})
	}
	var wg sync.WaitGroup
	for _, r := range rings {
		wg.Go(func() {
			if err := r.Rotate(context.Background(), idA, keys.PurposeIndex, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if ids := open(t, openRing(t, l.kek, l.store, nil), idA).IndexKeyIDs(); len(ids) != 2 {
		t.Errorf("%d keys after one rotation by four", len(ids))
	}
}

func TestRotationHasLimits(t *testing.T) { synctest.Test(t, testRotationHasLimits) }

func testRotationHasLimits(t *testing.T) {
	l, log := newLocal(t), &trail{}
	o := &keys.Options{SuspendWithin: time.Millisecond, Audit: log}
	r := openRing(t, l.kek, l.store, o)
	provision(t, r, idA, idB)
	// Objects are looked for under two keys of names, and no more.
	first := sealName(t, open(t, r, idB))
	must(t, r.Rotate(t.Context(), idB, keys.PurposeNames, ""))
	k := open(t, openRing(t, l.kek, l.store, o), idB)
	all, err := k.NameKeys()
	if err != nil || len(all) != 2 || !all[0].Seals || sealName(t, k) == first {
		t.Errorf("%+v, %v", all, err)
	}
	if err := r.Rotate(t.Context(), idB, keys.PurposeNames, ""); err == nil || !strings.Contains(err.Error(), "blobs.Reseal") {
		t.Errorf("names: %v", err)
	}
	must(t, r.DisableKey(t.Context(), idB, keys.PurposeNames, all[1].ID, "", none))
	k = open(t, openRing(t, l.kek, l.store, o), idB)
	if left, err := k.NameKeys(); err != nil || len(left) != 1 || !k.NameKeyDisabled(all[1].ID) || k.NameKeyDisabled(all[0].ID) {
		t.Errorf("%+v, %v", left, err)
	}
	must(t, r.Rotate(t.Context(), idB, keys.PurposeNames, ""))
	if err := r.EnableKey(t.Context(), idB, keys.PurposeNames, all[1].ID, ""); err == nil {
		t.Error("a third key of names is enabled")
	}
	if err := r.Rotate(t.Context(), idA, "root", ""); err == nil {
		t.Error("a purpose of no keyset is rotated")
	}
	wantErr(t, r.Rotate(t.Context(), tenant.MustParse("nobody"), keys.PurposeData, ""), keys.ErrNotProvisioned)
	wantErr(t, r.RotateKEK(t.Context(), tenant.MustParse("nobody"), ""), keys.ErrNotProvisioned)
	var zero tenant.ID
	wantErr(t, r.Rotate(t.Context(), zero, keys.PurposeData, ""), tenant.ErrInvalidID)
	wantErr(t, r.Rewrap(t.Context(), zero, ""), tenant.ErrInvalidID)

	// A suspended tenant's keys rotate, and it stays suspended.
	must(t, r.Suspend(t.Context(), idB, ""))
	rotate(t, r, idB, keys.PurposeData)
	must(t, r.RotateKEK(t.Context(), idB, ""))
	wantStatus(t, r, idB, keys.StatusSuspended)
	must(t, r.Resume(t.Context(), idB, ""))
	open(t, r, idB)
	must(t, r.Shred(t.Context(), idB, ""))
	wantErr(t, r.Rotate(t.Context(), idB, keys.PurposeData, ""), keys.ErrShredded)
	wantErr(t, r.RotateKEK(t.Context(), idB, ""), keys.ErrShredded)
	wantErr(t, r.Rewrap(t.Context(), idB, ""), keys.ErrShredded)
	if err := l.kek.Rotate(t.Context(), idB); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("a shredded tenant has a KEK again: %v", err)
	}

	err = nil
	n := 1
	for ; n <= 100 && err == nil; n++ {
		err = r.Rotate(t.Context(), idA, keys.PurposeData, "")
	}
	if n > 100 {
		t.Fatal("a keyset grows without limit")
	}
	open(t, openRing(t, l.kek, l.store, nil), idA)
	must(t, r.Rotate(t.Context(), idA, keys.PurposeAudit, ""))

	log.fail = func(*audit.Event) error { return errors.New("disk full") }
	before := record(t, l, idA)
	wantErr(t, r.Rotate(t.Context(), idA, keys.PurposeBlobs, ""), audit.ErrUnavailable)
	wantErr(t, r.RotateKEK(t.Context(), idA, ""), audit.ErrUnavailable)
	wantErr(t, r.Rewrap(t.Context(), idA, ""), audit.ErrUnavailable)
	if record(t, l, idA).Version != before.Version {
		t.Error("rotated without a record of it")
	}
}

func record(t testing.TB, l *local, id tenant.ID) keys.Record {
	t.Helper()
	rec, err := l.store.Get(t.Context(), id)
	must(t, err)
	return rec
}

func TestRotationsAreOnTheTrail(t *testing.T) { synctest.Test(t, testRotationsAreOnTheTrail) }

func testRotationsAreOnTheTrail(t *testing.T) {
	l, log := newLocal(t), &trail{}
	o := quick()
	o.Audit = log
	r := openRing(t, l.kek, l.store, o)
	provision(t, r, idA)
	for what, do := range map[string]func() error{
		"data": func() error { return r.Rotate(t.Context(), idA, keys.PurposeData, "because") },
		"kek":  func() error { return r.RotateKEK(t.Context(), idA, "because") },
		"root": func() error { return r.Rewrap(t.Context(), idA, "because") },
	} {
		log.take()
		must(t, do())
		events := slices.Clone(log.events)
		if got := log.take(); !slices.Equal(got, []string{"key.rotate intent success", "key.rotate outcome success"}) {
			t.Errorf("%s: %q", what, got)
		}
		for _, e := range events {
			if e.Sealer == nil || e.Details["reason"] != "because" || e.Details["rotated"] != what {
				t.Errorf("%s: %+v", what, e)
			}
		}
	}
}

// TestTheKEKRotatesAndTheRootIsRewrapped: an older version of the KEK is no longer needed.
func TestTheKEKRotatesAndTheRootIsRewrapped(t *testing.T) {
	synctest.Test(t, testTheKEKRotatesAndTheRootIsRewrapped)
}

func testTheKEKRotatesAndTheRootIsRewrapped(t *testing.T) {
	l := newLocal(t)
	f := newFaulty(l)
	r := openRing(t, f, f, quick())
	provision(t, r, idA)
	value := sealAll(t, open(t, r, idA))
	before := record(t, l, idA)
	must(t, r.RotateKEK(t.Context(), idA, ""))
	after := record(t, l, idA)
	if string(before.Data) == string(after.Data) {
		t.Error("the root keyset was not rewrapped")
	}
	value.opens(t, open(t, openRing(t, l.kek, l.store, nil), idA))
	value.opens(t, open(t, r, idA))
}

// careless is a KEK provider that keeps one key for all tenants, as one that was set up wrongly might, and gives another
// tenant's answers when told to.
type careless struct {
	keys.KEK
	mixUp map[tenant.ID]tenant.ID
	all   map[tenant.ID][]byte
}

func (c *careless) Wrap(_ context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	wrapped := append([]byte{}, plaintext...)
	c.all[id] = wrapped
	return wrapped, nil
}

func (c *careless) Unwrap(_ context.Context, _ tenant.ID, wrapped []byte) ([]byte, error) {
	return append([]byte{}, wrapped...), nil
}

func (c *careless) Rewrap(_ context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	if other, ok := c.mixUp[id]; ok {
		return c.all[other], nil
	}
	return append([]byte{}, wrapped...), nil
}

// TestARewrapThatIsAnotherTenantsIsNotStored: tenant a's record would open as b's, or as nobody's.
func TestARewrapThatIsAnotherTenantsIsNotStored(t *testing.T) {
	synctest.Test(t, testARewrapThatIsAnotherTenantsIsNotStored)
}

func testARewrapThatIsAnotherTenantsIsNotStored(t *testing.T) {
	l := newLocal(t)
	kek := &careless{KEK: l.kek, all: map[tenant.ID][]byte{}, mixUp: map[tenant.ID]tenant.ID{}}
	r := openRing(t, kek, l.store, quick())
	provision(t, r, idA, idB)
	kek.mixUp[idA] = idB
	before := record(t, l, idA)
	wantErr(t, r.Rewrap(t.Context(), idA, ""), keys.ErrIntegrity)
	wantErr(t, r.RotateKEK(t.Context(), idA, ""), keys.ErrIntegrity)
	kek.all[idB] = []byte("nothing")
	wantErr(t, r.Rewrap(t.Context(), idA, ""), keys.ErrIntegrity)
	if after := record(t, l, idA); after.Version != before.Version {
		t.Error("what does not open as the tenant's was stored")
	}
	open(t, openRing(t, kek, l.store, nil), idA)
}

func TestTenantsAreListed(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	list := func(only ...keys.Status) (got []string) {
		for x, err := range r.Tenants(t.Context(), only...) {
			if err != nil {
				got = append(got, fmt.Sprintf("%s: %t", x.ID, errors.Is(err, keys.ErrIntegrity)))
				continue
			}
			got = append(got, fmt.Sprintf("%s %s", x.ID, x.Status))
		}
		return got
	}
	if got := list(); len(got) != 0 {
		t.Errorf("nobody: %q", got)
	}
	c, d := tenant.MustParse("c"), tenant.MustParse("d")
	provision(t, r, d, c, idB, idA)
	must(t, r.Suspend(t.Context(), idB, ""))
	must(t, r.Shred(t.Context(), c, ""))
	for _, x := range []struct {
		only []keys.Status
		want []string
	}{
		{nil, []string{"a active", "b suspended", "c shredded", "d active"}},
		{[]keys.Status{keys.StatusSuspended}, []string{"b suspended"}},
		{[]keys.Status{keys.StatusActive, keys.StatusShredded}, []string{"a active", "c shredded", "d active"}},
	} {
		if got := list(x.only...); !slices.Equal(got, x.want) {
			t.Errorf("%q: %q, want %q", x.only, got, x.want)
		}
	}
	// b's record is in a's place: an error about a alone, whatever is asked for.
	_, err := l.store.Put(t.Context(), idA, record(t, l, idB).Data, record(t, l, idA).Version)
	must(t, err)
	if got, want := list(keys.StatusSuspended), []string{"a: true", "b suspended"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for range r.Tenants(t.Context()) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for x, err := range r.Tenants(ctx) {
		if !errors.Is(err, context.Canceled) || !x.ID.IsZero() {
			t.Errorf("%v, %v", x, err)
		}
	}
	r.Close()
	for _, err := range r.Tenants(t.Context()) {
		wantErr(t, err, keys.ErrClosed)
	}
}
