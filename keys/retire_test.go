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

// none says that nothing needs a key.
func none(context.Context) (int64, error) { return 0, nil }

func statuses(t testing.TB, r *keys.Keyring, p keys.Purpose) string {
	t.Helper()
	all, err := r.Versions(t.Context(), idA, p)
	must(t, err)
	var out []string
	for _, k := range all {
		out = append(out, string(k.Status))
	}
	return strings.Join(out, " ")
}

func TestOlderKeysAreDisabledAndDestroyed(t *testing.T) {
	for _, p := range purposes {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { testOlderKeysAreDisabledAndDestroyed(t, p) })
		})
	}
}

func testOlderKeysAreDisabledAndDestroyed(t *testing.T, p keys.Purpose) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, quick())
	provision(t, r, idA)
	older := sealAll(t, open(t, r, idA))
	all, err := r.Versions(t.Context(), idA, p)
	must(t, err)
	key := all[0].ID
	rotate(t, r, idA, p)
	if got := statuses(t, r, p); got != "opens seals" {
		t.Fatal(got)
	}
	must(t, r.DisableKey(t.Context(), idA, p, key, "", none))
	must(t, r.DisableKey(t.Context(), idA, p, key, "", none))
	if got := statuses(t, r, p); got != "disabled seals" {
		t.Fatal(got)
	}
	k := open(t, openRing(t, l.kek, l.store, quick()), idA)
	if p == keys.PurposeData {
		if _, err := k.Data().Decrypt(older.data, nil); err == nil || !k.DataKeyDisabled(key) || !k.HasDataKey(key) {
			t.Error("a disabled key opens")
		}
	}
	if p == keys.PurposeIndex && len(k.IndexKeyIDs()) != 1 {
		t.Errorf("rows are searched for under %v", k.IndexKeyIDs())
	}
	must(t, r.EnableKey(t.Context(), idA, p, key, ""))
	must(t, r.EnableKey(t.Context(), idA, p, key, ""))
	older.opens(t, open(t, openRing(t, l.kek, l.store, quick()), idA))

	if err := r.DestroyKey(t.Context(), idA, p, key, "", none); !errors.Is(err, keys.ErrKeyNeeded) {
		t.Errorf("a key in use was destroyed: %v", err)
	}
	must(t, r.DisableKey(t.Context(), idA, p, key, "", none))
	must(t, r.DestroyKey(t.Context(), idA, p, key, "", none))
	must(t, r.DestroyKey(t.Context(), idA, p, key, "", none)) // as after a crash
	if got := statuses(t, r, p); got != "seals" {
		t.Fatal(got)
	}
	if err := r.EnableKey(t.Context(), idA, p, key, ""); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("a destroyed key was enabled: %v", err)
	}
	k = open(t, openRing(t, l.kek, l.store, quick()), idA)
	if p == keys.PurposeData && k.HasDataKey(key) {
		t.Error("a destroyed key is there")
	}
	sealAll(t, k).opens(t, open(t, r, idA))
	rotate(t, r, idA, p)
}

// A rotation with old keys destroyed each time never runs out of room: neither for keys nor for counts of seals.
func TestDestroyedKeysMakeRoom(t *testing.T) { synctest.Test(t, testDestroyedKeysMakeRoom) }

func testDestroyedKeysMakeRoom(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, quick())
	provision(t, r, idA)
	for range 70 {
		old := sealAll(t, open(t, r, idA)).dataID
		rotate(t, r, idA, keys.PurposeData)
		must(t, r.DisableKey(t.Context(), idA, keys.PurposeData, old, "", none))
		must(t, r.DestroyKey(t.Context(), idA, keys.PurposeData, old, "", none))
	}
}

func TestNeededKeysStay(t *testing.T) { synctest.Test(t, testNeededKeysStay) }

func testNeededKeysStay(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, quick())
	provision(t, r, idA)
	older := sealAll(t, open(t, r, idA))
	rotate(t, r, idA, keys.PurposeData)
	newest := open(t, r, idA).DataKeyID()
	boom := errors.New("cannot count")
	some := func(context.Context) (int64, error) { return 3, nil }
	cases := []struct {
		name      string
		key       uint32
		remaining keys.Remaining
		want      error
	}{
		{"values need it", older.dataID, some, keys.ErrKeyNeeded},
		{"nobody can tell", older.dataID, func(context.Context) (int64, error) { return 0, boom }, boom},
		{"nobody is asked", older.dataID, nil, nil},
		{"it seals", newest, none, keys.ErrKeyNeeded},
		{"there is none", newest + 1, none, keys.ErrNotFound},
	}
	for _, c := range cases {
		err := r.DisableKey(t.Context(), idA, keys.PurposeData, c.key, "", c.remaining)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.key == older.dataID && c.remaining != nil && !strings.Contains(err.Error(), fmt.Sprint(c.key)) {
			t.Errorf("%s: %v does not name the key", c.name, err)
		}
	}
	must(t, r.DisableKey(t.Context(), idA, keys.PurposeData, older.dataID, "", none))
	for _, c := range cases[:3] {
		if err := r.DestroyKey(t.Context(), idA, keys.PurposeData, c.key, "", c.remaining); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("destroying, %s: %v", c.name, err)
		}
	}
	if got := statuses(t, r, keys.PurposeData); got != "disabled seals" {
		t.Error(got)
	}
	if err := r.DisableKey(t.Context(), idA, "names", 1, "", none); err == nil {
		t.Error("the key of names was disabled")
	}
	if _, err := r.Versions(t.Context(), idA, "nonsense"); err == nil {
		t.Error("a purpose that is none has versions")
	}
	// A rotation that is under way is not taken its key.
	must(t, r.AddKey(t.Context(), idA, "data", false))
	all, err := r.Versions(t.Context(), idA, keys.PurposeData)
	must(t, err)
	if next := all[len(all)-1]; next.Status != keys.KeyNext {
		t.Errorf("%+v", all)
	} else if err := r.DisableKey(t.Context(), idA, keys.PurposeData, next.ID, "", none); !errors.Is(err, keys.ErrKeyNeeded) {
		t.Errorf("the next key: %v", err)
	}
	must(t, r.Shred(t.Context(), idA, ""))
	if _, err := r.Versions(t.Context(), idA, keys.PurposeData); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("shredded: %v", err)
	}
}

// What is counted is counted after every process has stopped sealing with the key.
func TestKeysAreCountedOnceNobodySealsWithThem(t *testing.T) {
	synctest.Test(t, testKeysAreCountedOnceNobodySealsWithThem)
}

func testKeysAreCountedOnceNobodySealsWithThem(t *testing.T) {
	l := newLocal(t)
	operator, server := openRing(t, l.kek, l.store, quick()), openRing(t, l.kek, l.store, quick())
	provision(t, operator, idA)
	old := open(t, server, idA).DataKeyID()
	ctx, done := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // requests, so that the server's answer is mostly one from its cache
		for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
			open(t, server, idA)
		}
	})
	defer wg.Wait()
	defer done()
	rotate(t, operator, idA, keys.PurposeData)
	must(t, operator.DisableKey(t.Context(), idA, keys.PurposeData, old, "", func(context.Context) (int64, error) {
		if open(t, server, idA).DataKeyID() == old {
			return 1, nil
		}
		return 0, nil
	}))
}

func TestRetiredKeysAreRecorded(t *testing.T) { synctest.Test(t, testRetiredKeysAreRecorded) }

func testRetiredKeysAreRecorded(t *testing.T) {
	l, log := newLocal(t), &trail{}
	o := quick()
	o.Audit = log
	r := openRing(t, l.kek, l.store, o)
	provision(t, r, idA)
	old := open(t, r, idA).DataKeyID()
	rotate(t, r, idA, keys.PurposeData)
	for _, c := range []struct {
		code audit.Code
		do   func() error
	}{
		{audit.CodeKeyDisable, func() error { return r.DisableKey(t.Context(), idA, keys.PurposeData, old, "because", none) }},
		{audit.CodeKeyEnable, func() error { return r.EnableKey(t.Context(), idA, keys.PurposeData, old, "because") }},
		{audit.CodeKeyDisable, func() error { return r.DisableKey(t.Context(), idA, keys.PurposeData, old, "because", none) }},
		{audit.CodeKeyDestroy, func() error { return r.DestroyKey(t.Context(), idA, keys.PurposeData, old, "because", none) }},
	} {
		log.take()
		must(t, c.do())
		events := slices.Clone(log.events)
		if got, want := log.take(), []string{string(c.code) + " intent success", string(c.code) + " outcome success"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		for _, e := range events {
			if e.Sealer == nil || e.Details["reason"] != "because" || e.Details["purpose"] != "data" || e.Details["key"] != fmt.Sprint(old) {
				t.Errorf("%s: %+v", c.code, e)
			}
		}
	}
	// What cannot be recorded does not happen, and what is refused is recorded as such.
	old = open(t, r, idA).DataKeyID()
	rotate(t, r, idA, keys.PurposeData)
	log.fail = func(*audit.Event) error { return errAway }
	if err := r.DisableKey(t.Context(), idA, keys.PurposeData, old, "", none); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("not recorded: %v", err)
	}
	log.fail = nil
	log.take()
	if err := r.DestroyKey(t.Context(), idA, keys.PurposeData, old, "", none); err == nil {
		t.Error("a key in use was destroyed")
	}
	if last := log.events[len(log.events)-1]; last.Status != audit.Failure || last.Reason != "the key is still needed" {
		t.Errorf("%+v", last)
	}
	if got := statuses(t, r, keys.PurposeData); got != "opens seals" {
		t.Error(got)
	}
}

// outOfReach is a store that one process cannot reach for a time.
type outOfReach struct {
	keys.Store
	away atomic.Bool
}

func (s *outOfReach) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	if s.away.Load() {
		return keys.Record{}, keys.ErrUnavailable
	}
	return s.Store.Get(ctx, id)
}

// TestDestroyingAKeyThatWasServedStale: who cannot wait until nobody seals with a disabled key any more is told for how long that is, and
// calls again. It counts from when the key was disabled, and anew where it was enabled in between.
func TestDestroyingAKeyThatWasServedStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t)
		ring := openRing(t, l.kek, l.store, &keys.Options{WhenUnavailable: keys.ServeStale, StaleLimit: 2 * time.Hour})
		provision(t, ring, idA)
		old := open(t, ring, idA).DataKeyID()
		rotate(t, ring, idA, keys.PurposeData)
		destroy := func() (took time.Duration, err error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			err = ring.DestroyKey(ctx, idA, keys.PurposeData, old, "", none)
			return time.Since(began), err
		}
		refused := func() {
			t.Helper()
			took, err := destroy()
			if wantErr(t, err, keys.ErrKeyNeeded); took > 10*time.Second {
				t.Errorf("it took %v to say so", took)
			}
		}
		must(t, ring.DisableKey(t.Context(), idA, keys.PurposeData, old, "", none))
		refused()
		time.Sleep(time.Hour)
		refused()
		must(t, ring.EnableKey(t.Context(), idA, keys.PurposeData, old, ""))
		must(t, openRing(t, l.kek, l.store, nil).DisableKey(t.Context(), idA, keys.PurposeData, old, "", none))
		time.Sleep(90 * time.Minute)
		refused() // it is seen disabled now
		time.Sleep(2 * time.Hour)
		refused()
		time.Sleep(8 * time.Minute)
		if took, err := destroy(); err != nil {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// TestAKeyIsDisabledThroughWhatItsKeyringChanges: rotating the purpose, and disabling, enabling and destroying other keys of it, by the keyring that
// has seen the key disabled, do not begin the wait for its destruction anew; what another process changes does.
func TestAKeyIsDisabledThroughWhatItsKeyringChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t)
		ring := openRing(t, l.kek, l.store, &keys.Options{WhenUnavailable: keys.ServeStale, StaleLimit: 2 * time.Hour})
		other := openRing(t, l.kek, l.store, nil)
		provision(t, ring, idA)
		rotate(t, ring, idA, keys.PurposeData, keys.PurposeData, keys.PurposeData)
		all, err := ring.Versions(t.Context(), idA, keys.PurposeData)
		must(t, err)
		destroy := func(i int) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return ring.DestroyKey(ctx, idA, keys.PurposeData, all[i].ID, "", none)
		}
		disable := func(ring *keys.Keyring, i int) {
			t.Helper()
			must(t, ring.DisableKey(t.Context(), idA, keys.PurposeData, all[i].ID, "", none))
		}
		disable(ring, 0)
		time.Sleep(time.Hour)
		disable(ring, 1)
		disable(ring, 2)
		must(t, ring.EnableKey(t.Context(), idA, keys.PurposeData, all[2].ID, ""))
		rotate(t, ring, idA, keys.PurposeData)
		disable(ring, 2)
		time.Sleep(70 * time.Minute)
		must(t, destroy(0)) // 2 h 10 min after it was disabled
		wantErr(t, destroy(1), keys.ErrKeyNeeded)
		time.Sleep(time.Hour)
		must(t, destroy(1))
		rotate(t, other, idA, keys.PurposeData)
		wantErr(t, destroy(2), keys.ErrKeyNeeded)
		time.Sleep(2 * time.Hour)
		wantErr(t, destroy(2), keys.ErrKeyNeeded)
		time.Sleep(8 * time.Minute)
		must(t, destroy(2))
		if got := statuses(t, ring, keys.PurposeData); got != "opens opens seals" {
			t.Error(got)
		}
	})
}

// TestAKeyIsDisabledSinceItWasEnabled: one that the keyring itself has enabled in between, or another process, is disabled since then only.
func TestAKeyIsDisabledSinceItWasEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t)
		ring := openRing(t, l.kek, l.store, &keys.Options{WhenUnavailable: keys.ServeStale, StaleLimit: 2 * time.Hour})
		other := openRing(t, l.kek, l.store, nil)
		provision(t, ring, idA)
		old := open(t, ring, idA).DataKeyID()
		rotate(t, ring, idA, keys.PurposeData)
		must(t, ring.DisableKey(t.Context(), idA, keys.PurposeData, old, "", none))
		for _, who := range []struct{ enables, disables *keys.Keyring }{{ring, ring}, {ring, other}, {other, ring}, {other, other}} {
			time.Sleep(3 * time.Hour)
			must(t, who.enables.EnableKey(t.Context(), idA, keys.PurposeData, old, ""))
			rotate(t, ring, idA, keys.PurposeData)
			must(t, who.disables.DisableKey(t.Context(), idA, keys.PurposeData, old, "", none))
			rotate(t, ring, idA, keys.PurposeData)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			wantErr(t, ring.DestroyKey(ctx, idA, keys.PurposeData, old, "", none), keys.ErrKeyNeeded)
			cancel()
		}
	})
}

// TestAKeyThatIsServedStaleIsNotDestroyed: a process that cannot reach the store seals with a key that was disabled meanwhile, for as long as
// its policy says. Until then the key is not destroyed: then what that process wrote is counted.
func TestAKeyThatIsServedStaleIsNotDestroyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t)
		stale := func() *keys.Options {
			return &keys.Options{WhenUnavailable: keys.ServeStale, StaleLimit: 2 * time.Hour}
		}
		operator := openRing(t, l.kek, l.store, stale())
		provision(t, operator, idA)
		far := &outOfReach{Store: l.store}
		service := openRing(t, l.kek, far, stale())
		old := open(t, service, idA)
		key := old.DataKeyID()
		_, err := old.Data().Encrypt([]byte("reserves some seals"), nil)
		must(t, err)
		far.away.Store(true)
		rotate(t, operator, idA, keys.PurposeData)
		must(t, operator.DisableKey(t.Context(), idA, keys.PurposeData, key, "", none))

		var written atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		defer ended.Wait()
		defer cancel()
		ended.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(5 * time.Minute)
				if k, err := tenantkeys.Open(ctx, service, idA); err == nil && k.DataKeyID() == key {
					if _, err := k.Data().Encrypt([]byte("a row"), nil); err == nil {
						written.Add(1)
					}
				}
			}
		})
		count := func(context.Context) (int64, error) { return written.Load(), nil }
		err = operator.DestroyKey(t.Context(), idA, keys.PurposeData, key, "", count)
		counted := written.Load()
		time.Sleep(3 * time.Hour)
		if lost := written.Load(); err == nil && lost > 0 {
			t.Errorf("%d rows were sealed with a key that was destroyed", lost)
		}
		wantErr(t, err, keys.ErrKeyNeeded)
		if now := written.Load(); counted == 0 || counted != now {
			t.Errorf("%d rows were counted of %d", counted, now)
		}
	})
}
