package keys_test

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
)

// auditKey is the id of the tenant's audit key that seals.
func auditKey(t testing.TB, r *keys.Keyring) uint32 {
	t.Helper()
	all, err := r.Versions(t.Context(), idA, keys.PurposeAudit)
	must(t, err)
	i := slices.IndexFunc(all, func(k keys.KeyVersion) bool { return k.Status == keys.KeySeals })
	return all[i].ID
}

// opener is what opens sealed details too.
type opener interface {
	audit.Sealer
	OpenDetails(sealed []byte, uid string) ([]byte, error)
}

// TestAuditKeysRotateByThemselves in whichever process comes to the number first, and what was sealed opens as before. A suspended tenant's
// events are counted too.
func TestAuditKeysRotateByThemselves(t *testing.T) { synctest.Test(t, testAuditKeysRotateByThemselves) }

func testAuditKeysRotateByThemselves(t *testing.T) {
	l, log := newLocal(t), &trail{}
	o := quick()
	o.RotateAfterSeals, o.Audit = 400, log
	rings := []*keys.Keyring{openRing(t, l.kek, l.store, o), openRing(t, l.kek, l.store, o)}
	provision(t, rings[0], idA)
	first := auditKey(t, rings[0])
	var sealed [][]byte
	seal := func(i int) {
		t.Helper()
		s, err := rings[i%2].AuditSealer(t.Context(), idA)
		must(t, err)
		b, err := s.SealDetails([]byte("d"), "uid")
		must(t, err)
		sealed = append(sealed, b)
		synctest.Wait() // until it is counted
	}
	must(t, rings[0].Suspend(t.Context(), idA, ""))
	for i := range 150 {
		seal(i)
	}
	if n := counted(t, l, first); n < 50 || n > 200 {
		t.Errorf("150 events of a suspended tenant were sealed, and %d are counted", n)
	}
	must(t, rings[0].Resume(t.Context(), idA, ""))
	time.Sleep(time.Minute) // until the other process knows
	for i := 0; auditKey(t, rings[0]) == first; i++ {
		if i > 1000 {
			t.Fatalf("the key has sealed %d events, and %d are counted", len(sealed), counted(t, l, first))
		}
		open(t, rings[i%2], idA) // a suspended tenant's key is not rotated by itself
		seal(i)
		time.Sleep(time.Millisecond) // the rotation waits for the clock
	}
	if len(sealed) < 300 {
		t.Errorf("rotated after %d events already", len(sealed))
	}
	for _, r := range rings {
		r.AwaitRotation(idA)
	}
	s, err := openRing(t, l.kek, l.store, nil).AuditSealer(t.Context(), idA)
	must(t, err)
	for _, b := range sealed {
		if got, err := s.(opener).OpenDetails(b, "uid"); err != nil || string(got) != "d" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if got := log.take(); !slices.Contains(got, "key.rotate intent success") || !slices.Contains(got, "key.rotate outcome success") {
		t.Errorf("%q", got)
	}
	must(t, rings[0].DisableKey(t.Context(), idA, keys.PurposeAudit, first, "", none))
	must(t, rings[0].DestroyKey(t.Context(), idA, keys.PurposeAudit, first, "", none))
	if n := counted(t, l, first); n != 0 {
		t.Errorf("%d seals of a key that was destroyed are counted", n)
	}
}

// TestEventsAreSealedWhileTheyCannotBeCounted: the store is away; once it is back they all are counted. A key that is used up seals no more.
func TestEventsAreSealedWhileTheyCannotBeCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t)
		f := newFaulty(l)
		r := openRing(t, f, f, &keys.Options{RotateAfterSeals: 80})
		provision(t, r, idA)
		key := auditKey(t, r)
		s, err := r.AuditSealer(t.Context(), idA)
		must(t, err)
		seal := func(n int) {
			t.Helper()
			for range n {
				_, err := s.SealDetails([]byte("d"), "uid")
				must(t, err)
				synctest.Wait()
			}
		}
		f.set(nil, errAway)
		seal(55)
		f.set(nil, nil)
		if n := counted(t, l, key); n != 0 {
			t.Fatalf("%d are counted", n)
		}
		seal(10)
		if n := counted(t, l, key); n < 55 || n > 65 {
			t.Errorf("%d are counted of 65", n)
		}
		must(t, r.SetSeals(t.Context(), idA, key, 1<<32))
		other, err := openRing(t, l.kek, l.store, nil).AuditSealer(t.Context(), idA)
		must(t, err)
		_, err = other.SealDetails([]byte("d"), "uid")
		wantErr(t, err, keys.ErrExhausted)
	})
}

// TestATenantWhoseAuditKeyIsUsedUpIsRotated, suspended and shredded all the same, in the trail: what the key cannot seal any more stays out of
// these events, which are what helps.
func TestATenantWhoseAuditKeyIsUsedUpIsRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, err := audit.OpenLog(filepath.Join(t.TempDir(), "audit"), nil)
		must(t, err)
		defer log.Close()
		l, o := newLocal(t), quick()
		o.Audit = log
		provision(t, openRing(t, l.kek, l.store, o), idA)
		r := openRing(t, l.kek, l.store, o)
		usedUp := func() uint32 {
			key := auditKey(t, r)
			must(t, r.SetSeals(t.Context(), idA, key, 1<<32))
			r = openRing(t, l.kek, l.store, o)
			s, err := r.AuditSealer(t.Context(), idA)
			must(t, err)
			_, err = s.SealDetails([]byte("d"), "uid")
			wantErr(t, err, keys.ErrExhausted)
			return key
		}
		key := usedUp()
		rotate(t, r, idA, keys.PurposeAudit)
		if now := auditKey(t, r); now == key {
			t.Errorf("key %d seals still", now)
		}
		s, err := r.AuditSealer(t.Context(), idA)
		must(t, err)
		_, err = s.SealDetails([]byte("d"), "uid")
		must(t, err)
		must(t, r.MakeEarlier(t.Context(), idA))
		usedUp()
		must(t, r.Provision(t.Context(), idA))
		must(t, r.Suspend(t.Context(), idA, "yearly"))
		must(t, r.Resume(t.Context(), idA, "yearly"))
		must(t, r.Shred(t.Context(), idA, "yearly"))
	})
}
