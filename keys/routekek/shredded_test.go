package routekek_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/tenant"
)

// stopped is a process that can be stopped before each call of its store and its providers.
type stopped struct {
	asks, goes chan struct{}
	over       chan error
	ended      bool
	err        error
}

func newStopped() *stopped {
	return &stopped{asks: make(chan struct{}), goes: make(chan struct{}), over: make(chan error, 1)}
}

// begin has the process begin, which stops before its first call.
func (p *stopped) begin(do func() error) {
	go func() { p.over <- do() }()
	p.await()
}

func (p *stopped) await() {
	select {
	case <-p.asks:
	case p.err = <-p.over:
		p.ended = true
	}
}

// run has it make up to n calls, and reports whether there were as many.
func (p *stopped) run(n int) bool {
	for range n {
		if p.ended {
			return false
		}
		p.goes <- struct{}{}
		p.await()
	}
	return true
}

func (p *stopped) finish() error {
	for !p.ended {
		p.run(1)
	}
	return p.err
}

func (p *stopped) step() {
	p.asks <- struct{}{}
	<-p.goes
}

type stoppedStore struct {
	keys.Store
	*stopped
}

func (s stoppedStore) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	s.step()
	return s.Store.Get(ctx, id)
}

func (s stoppedStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	s.step()
	return s.Store.Put(ctx, id, data, version)
}

type stoppedKEK struct {
	keys.KEK
	*stopped
}

func (k stoppedKEK) Create(ctx context.Context, id tenant.ID) error {
	k.step()
	return k.KEK.Create(ctx, id)
}

func (k stoppedKEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	k.step()
	return k.KEK.Wrap(ctx, id, plaintext)
}

func (k stoppedKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	k.step()
	return k.KEK.Unwrap(ctx, id, wrapped)
}

func (k stoppedKEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	k.step()
	return k.KEK.Rewrap(ctx, id, wrapped)
}

func (k stoppedKEK) Destroy(ctx context.Context, id tenant.ID) error {
	k.step()
	return k.KEK.Destroy(ctx, id)
}

// two are providers of which tenants move from one to the other, and the store.
type two struct {
	from, to keys.KEK
	store    keys.Store
}

func newTwo(t *testing.T) two {
	store, err := filestore.Open(t.TempDir()+"/records", nil)
	must(t, err)
	return two{local(t), local(t), store}
}

// ring is a process's keyring. Before the move the tenants are at from.
func (w two) ring(t *testing.T, p *stopped, moved bool) *keys.Keyring {
	route := routekek.Route{Provider: "from", Also: []string{"to"}}
	if moved {
		route = routekek.Route{Provider: "to", Also: []string{"from"}}
	}
	providers, store := map[string]keys.KEK{"from": w.from, "to": w.to}, w.store
	if p != nil {
		providers["from"], providers["to"], store = stoppedKEK{w.from, p}, stoppedKEK{w.to, p}, stoppedStore{w.store, p}
	}
	kek, err := routekek.New(providers, func(context.Context, tenant.ID) (routekek.Route, error) { return route, nil }, nil)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
	must(t, err)
	t.Cleanup(func() { ring.Close() })
	return ring
}

// left are the providers at which there is a key of the tenant's.
func (w two) left(t *testing.T, id tenant.ID) (names []string) {
	for name, kek := range map[string]keys.KEK{"from": w.from, "to": w.to} {
		if _, err := kek.Wrap(t.Context(), id, []byte("x")); !errors.Is(err, keys.ErrNotFound) {
			names = append(names, fmt.Sprintf("%s (%v)", name, err))
		}
	}
	return names
}

// TestShreddedWhileAnotherProcessMakesAKEK: whatever the one has done when the other stops it, and goes on when, no KEK of the tenant's is left
// once both are over, also where nobody waits any more for the one that makes it.
func TestShreddedWhileAnotherProcessMakesAKEK(t *testing.T) {
	type does func(context.Context, *keys.Keyring, tenant.ID) error
	for name, makes := range map[string]does{
		"moves": func(ctx context.Context, ring *keys.Keyring, id tenant.ID) error { return ring.Rewrap(ctx, id, "") },
		"moves each": func(ctx context.Context, ring *keys.Keyring, id tenant.ID) (err error) {
			for _, err = range ring.RewrapEach(ctx, slices.Values([]tenant.ID{id}), "") {
			}
			return err
		},
		"retires": func(ctx context.Context, ring *keys.Keyring, id tenant.ID) error {
			return ring.RetireKEK(ctx, id, "from", "")
		},
		"provisions": func(ctx context.Context, ring *keys.Keyring, id tenant.ID) error { return ring.Provision(ctx, id) },
	} {
		for _, gone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, whose caller has gone %t", name, gone), func(t *testing.T) {
				t.Parallel()
				w := newTwo(t)
				n := 0
				try := func(makerFirst bool, first, second, third int) (enough, more bool) {
					n++
					id := tenant.MustParse(fmt.Sprint("t", n))
					if name != "provisions" {
						must(t, w.ring(t, nil, false).Provision(t.Context(), id))
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					maker, shredder := newStopped(), newStopped()
					ring := w.ring(t, maker, true)
					make := func() { maker.begin(func() error { return makes(ctx, ring, id) }) }
					before, shredding := w.ring(t, nil, true), w.ring(t, shredder, true)
					shred := func() {
						if name == "provisions" {
							must(t, before.Provision(t.Context(), id))
						}
						shredder.begin(func() error { return shredding.Shred(t.Context(), id, "") })
					}
					one, other, then := maker, shredder, shred
					if makerFirst {
						make()
					} else {
						shred()
						one, other, then = shredder, maker, make
					}
					enough = one.run(first)
					then()
					more = other.run(second)
					if gone {
						more = one.run(third)
						cancel()
					}
					one.finish()
					other.finish()
					if shredder.err != nil {
						must(t, before.Shred(t.Context(), id, ""))
					}
					if left := w.left(t, id); left != nil {
						t.Errorf("stopped after %d, %d and %d calls, the maker first %t: a KEK is left at %s; making: %v; shredding: %v",
							first, second, third, makerFirst, strings.Join(left, " and "), maker.err, shredder.err)
					}
					return enough, more
				}
				for _, makerFirst := range []bool{true, false} {
					for first := 0; ; first++ {
						enough, more := true, true
						for n := 0; enough && more; n++ {
							if gone { // the other makes all its calls meanwhile
								enough, more = try(makerFirst, first, math.MaxInt, n)
							} else {
								enough, more = try(makerFirst, first, n, 0)
							}
						}
						if !enough {
							if first < 3 {
								t.Errorf("only %d calls were made", first)
							}
							break
						}
					}
				}
			})
		}
	}
}

// TestAKEKThatIsLeftBehindIsSaid: a provider that is away when what was made is to be destroyed. Who made it is told, and a repeated Shred
// destroys it.
func TestAKEKThatIsLeftBehindIsSaid(t *testing.T) {
	w := newTwo(t)
	maker := newStopped()
	away := &refuses{KEK: w.to}
	moving := two{w.from, away, w.store}.ring(t, maker, true)
	must(t, w.ring(t, nil, false).Provision(t.Context(), acme))
	maker.begin(func() error { return moving.Rewrap(t.Context(), acme, "") })
	if !maker.run(2) { // it has read the record, and unwrapped the root keyset
		t.Fatal(maker.err)
	}
	shredding := w.ring(t, nil, true)
	must(t, shredding.Shred(t.Context(), acme, ""))
	err := maker.finish()
	if !errors.Is(err, keys.ErrShredded) || !errors.Is(err, keys.ErrUnavailable) || !strings.Contains(err.Error(), "repeat Keyring.Shred") {
		t.Errorf("it does not say what to do: %v", err)
	}
	if left := w.left(t, acme); len(left) != 1 {
		t.Fatalf("the test has not left a KEK behind: %v", left)
	}
	must(t, shredding.Shred(t.Context(), acme, ""))
	if left := w.left(t, acme); left != nil {
		t.Errorf("a KEK is left at %v", left)
	}
}

// refuses does not destroy.
type refuses struct{ keys.KEK }

func (refuses) Destroy(context.Context, tenant.ID) error { return keys.ErrUnavailable }

// TestShreddingNeedsTheProviderThatWrapped: where the tenant's route does not name it nothing is shredded, for its KEK would stay there, and
// open what is in backups.
func TestShreddingNeedsTheProviderThatWrapped(t *testing.T) {
	w := newTwo(t)
	must(t, w.ring(t, nil, false).Provision(t.Context(), acme))
	r := routes{acme: {Provider: "to"}}
	kek, err := routekek.New(map[string]keys.KEK{"from": w.from, "to": w.to}, r.choose, nil)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, w.store, &keys.Options{InsecureWithoutAudit: true})
	must(t, err)
	defer ring.Close()
	report, err := ring.ShredWithReport(t.Context(), acme, "")
	if !errors.Is(err, keys.ErrIntegrity) || !strings.Contains(err.Error(), "Route.Also") {
		t.Errorf("shredding says %+v, %v, and %v are left", report, err, w.left(t, acme))
	}
	if status, err := ring.StatusNow(t.Context(), acme); status != keys.StatusActive || err != nil {
		t.Errorf("the tenant is %s, %v", status, err)
	}
	r[acme] = routekek.Route{Provider: "to", Also: []string{"from"}}
	must(t, ring.Shred(t.Context(), acme, ""))
	if left := w.left(t, acme); left != nil {
		t.Errorf("a KEK is left at %v", left)
	}
}

// keeps is a provider that says it destroyed a key and did not.
type keeps struct{ keys.KEK }

func (keeps) Destroy(context.Context, tenant.ID) error { return nil }

// TestAProviderThatKeepsAKey is noticed although another one wraps: what it wrapped before is in backups.
func TestAProviderThatKeepsAKey(t *testing.T) {
	w := newTwo(t)
	w.from = keeps{w.from}
	must(t, w.ring(t, nil, false).Provision(t.Context(), acme))
	ring := w.ring(t, nil, true)
	must(t, ring.Rewrap(t.Context(), acme, ""))
	backup, err := w.from.Wrap(t.Context(), acme, []byte("what is in backups"))
	must(t, err)
	if err := ring.RetireKEK(t.Context(), acme, "from", ""); err == nil || !strings.Contains(err.Error(), "still encrypts") {
		t.Errorf("retiring: %v", err)
	}
	if err := ring.Shred(t.Context(), acme, ""); err == nil || !strings.Contains(err.Error(), "still encrypts") {
		t.Errorf("shredding: %v", err)
	}
	err = ring.Shred(t.Context(), acme, "") // again
	if got, _ := w.from.Unwrap(t.Context(), acme, backup); err == nil || !strings.Contains(err.Error(), "still encrypts") || got == nil {
		t.Errorf("%v; what is in backups opens: %q", err, got)
	}
	away := two{w.from.(keeps).KEK, w.to, w.store}
	must(t, away.ring(t, nil, true).Shred(t.Context(), acme, ""))
	if left := away.left(t, acme); left != nil {
		t.Errorf("a KEK is left at %v", left)
	}
}

// keepsShared is a provider that has a key which tenants share.
type keepsShared struct {
	keys.KEK
	err error
}

func (s keepsShared) Destroy(context.Context, tenant.ID) error { return s.err }

// TestASharedKeyHidesNoOther: that a provider has a key which tenants share says nothing about one of the tenant's own which it could not
// destroy as well, nor that there is none where it does not name the key.
func TestASharedKeyHidesNoOther(t *testing.T) {
	shared := &keys.SharedKeyError{Keys: []keys.SharedKey{{Name: "many's", Oldest: 1, Newest: 1}}}
	for what, err := range map[string]error{"a key of its own": errors.Join(shared, keys.ErrUnavailable), "no name": &keys.SharedKeyError{}} {
		w := newTwo(t)
		must(t, w.ring(t, nil, false).Provision(t.Context(), acme))
		must(t, w.ring(t, nil, true).Rewrap(t.Context(), acme, ""))
		w.from = keepsShared{w.from, err}
		if err := w.ring(t, nil, true).Shred(t.Context(), acme, ""); err == nil {
			t.Errorf("%s: it is said to be shredded, and there is a KEK at %v", what, w.left(t, acme))
		}
	}
	w := newTwo(t)
	must(t, w.ring(t, nil, false).Provision(t.Context(), acme))
	w.from = keepsShared{w.from, fmt.Errorf("at the provider: %w", shared)}
	must(t, w.ring(t, nil, false).Shred(t.Context(), acme, ""))
}
