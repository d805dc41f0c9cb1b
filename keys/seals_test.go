package keys_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// patient are the options of a keyring that waits however long others keep the disk, or the locks of the files.
func patient() *keys.Options { return &keys.Options{Timeout: time.Minute, SuspendWithin: time.Hour} }

// counted returns how often the tenant's data key may have sealed.
func counted(t testing.TB, l *local, key uint32) uint64 {
	t.Helper()
	r, err := readByHand(record(t, l, idA).Data)
	must(t, err)
	return r.seals[key]
}

// TestNoProcessSealsWhatIsNotCounted: the count is no lower than what all have sealed, at any time.
func TestNoProcessSealsWhatIsNotCounted(t *testing.T) {
	l := newLocal(t)
	provision(t, openRing(t, l.kek, l.store, nil), idA)
	var sealed atomic.Int64
	var wg sync.WaitGroup
	var key uint32
	for i := range 3 {
		r := openRing(t, l.kek, l.store, patient())
		k := open(t, r, idA)
		key = k.DataKeyID()
		for range 2 {
			wg.Go(func() {
				for range 1500 * (i + 1) {
					if _, err := k.Data().Encrypt([]byte("v"), nil); err != nil {
						t.Error(err)
						return
					}
					sealed.Add(1)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		// Asked in this order: what is sealed in between was counted before.
		if n := sealed.Load(); counted(t, l, key) < uint64(n) {
			t.Fatalf("%d values were sealed, and %d are counted", n, counted(t, l, key))
		}
	}
	if n := counted(t, l, key); n > 8*uint64(sealed.Load()) {
		t.Errorf("%d are counted of %d", n, sealed.Load())
	}
}

// TestACountOutlivesEverythingButTheKey: what changes a record keeps the count, and opening it anew does not begin again.
func TestACountOutlivesEverythingButTheKey(t *testing.T) {
	synctest.Test(t, testACountOutlivesEverythingButTheKey)
}

func testACountOutlivesEverythingButTheKey(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, quick())
	provision(t, r, idA)
	sealOne(t, open(t, r, idA))
	key := open(t, r, idA).DataKeyID()
	before := counted(t, l, key)
	if before == 0 {
		t.Fatal("nothing is counted")
	}
	must(t, r.Suspend(t.Context(), idA, ""))
	must(t, r.Resume(t.Context(), idA, ""))
	must(t, r.RotateKEK(t.Context(), idA, ""))
	rotate(t, r, idA, keys.PurposeIndex)
	if n := counted(t, l, key); n != before {
		t.Errorf("%d before, %d now", before, n)
	}
	for range 3 {
		sealOne(t, open(t, openRing(t, l.kek, l.store, nil), idA))
	}
	if n := counted(t, l, key); n != 4*before {
		t.Errorf("%d for one process, %d for four", before, n)
	}
	rotate(t, r, idA, keys.PurposeData)
	if n := counted(t, l, open(t, r, idA).DataKeyID()); n != 0 {
		t.Errorf("a new key has sealed %d already", n)
	}
	must(t, r.Shred(t.Context(), idA, ""))
	wantStatus(t, openRing(t, l.kek, l.store, nil), idA, keys.StatusShredded)
}

func sealOne(t testing.TB, k tenantkeys.Keys) []byte {
	t.Helper()
	sealed, err := k.Data().Encrypt([]byte("v"), nil)
	must(t, err)
	return sealed
}

// TestAKeyThatIsUsedUpSealsNoMore although nothing can rotate it, and opens what it sealed.
func TestAKeyThatIsUsedUpSealsNoMore(t *testing.T) { synctest.Test(t, testAKeyThatIsUsedUpSealsNoMore) }

func testAKeyThatIsUsedUpSealsNoMore(t *testing.T) {
	l, log := newLocal(t), &trail{}
	f := newFaulty(l)
	o := quick()
	o.Audit = log
	o.ReopenAfter = time.Hour
	r := openRing(t, f, f, o)
	provision(t, r, idA)
	key := open(t, r, idA).DataKeyID()
	must(t, r.SetSeals(t.Context(), idA, key, 1<<32-100))
	f.set(errAway, nil)
	log.take()
	k := open(t, r, idA)
	sealed := sealOne(t, k)
	var err error
	n := 1
	for ; n < 5000; n++ {
		if _, err = k.Data().Encrypt([]byte("v"), nil); err != nil {
			break
		}
	}
	wantErr(t, err, keys.ErrExhausted)
	if n != 100 {
		t.Errorf("it sealed %d values more", n)
	}
	if got, err := k.Data().Decrypt(sealed, nil); err != nil || string(got) != "v" {
		t.Errorf("%q, %v", got, err)
	}
	// That it should have been rotated, and was not, is on the trail.
	r.AwaitRotation(idA)
	if got := log.take(); !slices.Contains(got, "key.rotate outcome failure") {
		t.Errorf("%q", got)
	}
	f.set(nil, nil)
	rotate(t, r, idA, keys.PurposeData)
	sealOne(t, open(t, r, idA))
}

// TestKeysRotateByThemselves in whichever process comes to the number first, once, and no value is lost.
func TestKeysRotateByThemselves(t *testing.T) { synctest.Test(t, testKeysRotateByThemselves) }

func testKeysRotateByThemselves(t *testing.T) {
	l, log := newLocal(t), &trail{}
	o := quick()
	o.RotateAfterSeals, o.Audit = 200, log
	rings := []*keys.Keyring{openRing(t, l.kek, l.store, o), openRing(t, l.kek, l.store, o)}
	provision(t, rings[0], idA)
	first := open(t, rings[0], idA).DataKeyID()
	var sealed [][]byte
	for i := 0; open(t, rings[i%2], idA).DataKeyID() == first; i++ {
		sealed = append(sealed, sealOne(t, open(t, rings[i%2], idA)))
		time.Sleep(time.Millisecond) // the rotation waits for the clock
	}
	if len(sealed) < 100 {
		t.Errorf("rotated after %d seals already", len(sealed))
	}
	for _, r := range rings {
		r.AwaitRotation(idA)
	}
	k := open(t, openRing(t, l.kek, l.store, nil), idA)
	for _, v := range sealed {
		if got, err := k.Data().Decrypt(v, nil); err != nil || string(got) != "v" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if got := log.take(); !slices.Contains(got, "key.rotate intent success") || !slices.Contains(got, "key.rotate outcome success") {
		t.Errorf("%q", got)
	}
}

// TestWhoHoldsKeysOfASuspendedTenantReservesNoMore: nor of a shredded one.
func TestWhoHoldsKeysOfASuspendedTenantReservesNoMore(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA)
	held := open(t, openRing(t, l.kek, l.store, nil), idA)
	must(t, r.Suspend(t.Context(), idA, ""))
	_, err := held.Data().Encrypt([]byte("v"), nil)
	wantErr(t, err, keys.ErrSuspended)
	held = open(t, resumed(t, l, r), idA)
	must(t, r.Shred(t.Context(), idA, ""))
	_, err = held.Data().Encrypt([]byte("v"), nil)
	wantErr(t, err, keys.ErrShredded)
}

func resumed(t testing.TB, l *local, r *keys.Keyring) *keys.Keyring {
	t.Helper()
	must(t, r.Resume(t.Context(), idA, ""))
	return openRing(t, l.kek, l.store, nil)
}

// TestAStoreThatTakesNothingStopsSealsAlone: what is open goes on opening.
func TestAStoreThatTakesNothingStopsSealsAlone(t *testing.T) {
	l := newLocal(t)
	provision(t, openRing(t, l.kek, l.store, nil), idA)
	f := &readOnly{Store: l.store}
	kek := newFaulty(l)
	r := openRing(t, kek, f, nil)
	k := open(t, r, idA)
	_, err := k.Data().Encrypt([]byte("v"), nil)
	wantErr(t, err, keys.ErrUnavailable)
	puts := f.puts.Load()
	for range 100 {
		_, err = k.Data().Encrypt([]byte("v"), nil)
		wantErr(t, err, keys.ErrUnavailable)
	}
	if n := f.puts.Load(); n > puts+2 {
		t.Errorf("each seal that fails asks the store: %d", n-puts)
	}
	open(t, r, idA)
	if n := kek.unwraps.Load(); n != 1 {
		t.Errorf("the tenant's keys were let go of: %d openings", n)
	}
}

type readOnly struct {
	keys.Store
	puts atomic.Int64
}

func (s *readOnly) Put(context.Context, tenant.ID, []byte, int64) (int64, error) {
	s.puts.Add(1)
	return 0, errAway
}

// TestSealsOfManyProcessesThatBeginAtOnce all get their share, however often they are in each other's way.
func TestSealsOfManyProcessesThatBeginAtOnce(t *testing.T) {
	l := newLocal(t)
	provision(t, openRing(t, l.kek, l.store, nil), idA)
	var wg sync.WaitGroup
	for range 40 {
		k := open(t, openRing(t, l.kek, l.store, patient()), idA)
		wg.Go(func() {
			if _, err := k.Data().Encrypt([]byte("v"), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestTheNumberOfSealsHasALimit(t *testing.T) {
	l := newLocal(t)
	for _, n := range []int64{-1, 1<<31 + 1} {
		if _, err := keys.Open(t.Context(), l.kek, l.store, &keys.Options{InsecureWithoutAudit: true, RotateAfterSeals: n}); err == nil || errors.Is(err, keys.ErrExhausted) {
			t.Errorf("%d: %v", n, err)
		}
	}
}
