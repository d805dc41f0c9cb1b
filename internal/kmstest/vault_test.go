package kmstest

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/kmskek"
	"github.com/strongroom-go/strongroom/tenant"
)

var acme = tenant.MustParse("acme")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What a service says of a key.
var (
	errAbsent   = errors.New("absent")
	errDenied   = errors.New("denied")
	errDisabled = errors.New("disabled")
	errDown     = errors.New("down")
)

// vault are the keys of a service.
type vault struct {
	mu   sync.Mutex
	keys map[string]*keyset.Handle
	says error
}

func newVault() *vault { return &vault{keys: map[string]*keyset.Handle{}} }

func (v *vault) key(name string) (tink.AEAD, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	h := v.keys[name]
	switch {
	case v.says != nil:
		return nil, v.says
	case h == nil:
		return nil, errAbsent
	}
	return aead.New(h)
}

func (v *vault) say(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.says = err
}

// change makes a key, or another version of it.
func (v *vault) change(name string, version bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := keyset.NewManager()
	if h := v.keys[name]; h != nil && !version {
		return nil
	} else if h != nil {
		m = keyset.NewManagerFromHandle(h)
	} else if version {
		return keys.ErrNotFound
	}
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err == nil {
		v.keys[name], err = m.Handle()
	}
	return err
}

func (v *vault) managed(name func(tenant.ID) string) *kmskek.Options {
	return &kmskek.Options{
		Create: func(_ context.Context, id tenant.ID) error { return v.change(name(id), false) },
		Rotate: func(_ context.Context, id tenant.ID) error { return v.change(name(id), true) },
		Destroy: func(_ context.Context, id tenant.ID) error {
			v.mu.Lock()
			defer v.mu.Unlock()
			delete(v.keys, name(id))
			return nil
		},
		Class: func(err error) error { // of this test's own functions; what the clients return is for the default
			if errors.Is(err, keys.ErrNotFound) {
				return keys.ErrNotFound
			}
			return kmskek.Class(err)
		},
	}
}

// withdrawn: an owner who takes a key away, in each way there is, is served no later than ReopenAfter, although the policy is
// to go on serving in an outage; and a service that is down is an outage.
func withdrawn(t *testing.T, name func(tenant.ID) string, open func(*testing.T, *vault, *kmskek.Options) keys.KEK) {
	const within = 4 * time.Second
	for what, c := range map[string]struct {
		says   error
		served bool
	}{"denied": {errDenied, false}, "disabled": {errDisabled, false}, "gone": {errAbsent, false}, "down": {errDown, true}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			v := newVault()
			o := v.managed(name)
			o.Timeout = within / 2 // an outage is one that was met within ReopenAfter
			kek := open(t, v, o)
			store, err := filestore.Open(filepath.Join(t.TempDir(), "keys"), nil)
			must(t, err)
			ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: within, ReopenAfter: within, WhenUnavailable: keys.ServeStale})
			must(t, err)
			defer ring.Close()
			must(t, ring.Provision(t.Context(), acme))
			_, err = ring.Tenant(t.Context(), acme)
			must(t, err)
			v.say(c.says)
			for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
				asked := time.Now()
				_, err := ring.Tenant(t.Context(), acme)
				switch late := asked.Sub(began) > within; {
				case c.served && err != nil:
					t.Fatalf("an outage: %v", err)
				case c.served && asked.Sub(began) > 2*within, !c.served && err != nil && !errors.Is(err, keys.ErrUnavailable):
					return
				case !c.served && late:
					t.Fatalf("served, or called an outage (%v), %v after the key was taken away", err, asked.Sub(began))
				}
			}
		})
	}
}
