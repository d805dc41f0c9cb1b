package routekek_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/kektest"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/tenant"
)

var acme, other = tenant.MustParse("acme"), tenant.MustParse("other")

func local(t testing.TB) *localkek.KEK {
	t.Helper()
	kek, err := localkek.Open(filepath.Join(t.TempDir(), "kek"), nil)
	must(t, err)
	return kek
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// routes are a test's, changed while it runs.
type routes map[tenant.ID]routekek.Route

func (r routes) choose(_ context.Context, id tenant.ID) (routekek.Route, error) {
	route, ok := r[id]
	if !ok {
		return route, keys.ErrNotFound
	}
	return route, nil
}

func TestConformance(t *testing.T) {
	kektest.Run(t, func(t testing.TB) keys.KEK {
		kek, err := routekek.New(map[string]keys.KEK{"ours": local(t), "theirs": local(t)}, func(_ context.Context, id tenant.ID) (routekek.Route, error) {
			if len(id.String())%2 == 0 { // look-alikes at both
				return routekek.Route{Provider: "ours"}, nil
			}
			return routekek.Route{Provider: "theirs"}, nil
		}, nil)
		must(t, err)
		return kek
	})
}

// TestNobodyElsesKey is the customer who holds a key, and can write to the key store: what that key wraps opens for the tenants
// that are routed there, and for no other, whatever it says.
func TestNobodyElsesKey(t *testing.T) {
	ours, theirs := local(t), local(t)
	r := routes{acme: {Provider: "ours"}, other: {Provider: "theirs"}}
	kek, err := routekek.New(map[string]keys.KEK{"ours": ours, "theirs": theirs}, r.choose, &routekek.Options{Unmarked: "theirs"})
	must(t, err)
	must(t, kek.Create(t.Context(), acme))
	must(t, kek.Create(t.Context(), other))
	must(t, theirs.Create(t.Context(), acme)) // which the customer can do at home
	direct, err := theirs.Wrap(t.Context(), acme, []byte("chosen keys"))
	must(t, err)
	genuine, err := kek.Wrap(t.Context(), other, []byte("keys"))
	must(t, err)
	name := strings.Index(string(genuine), "theirs")
	forged := append(bytes.Clone(genuine[:name+len("theirs")]), direct...)
	if !bytes.Equal(forged[:name], genuine[:name]) || name < 0 {
		t.Fatal("the mark is not where this test takes it to be")
	}
	for what, wrapped := range map[string][]byte{"marked": forged, "unmarked": direct, "the other tenant's": genuine} {
		for does, do := range map[string]func(context.Context, tenant.ID, []byte) ([]byte, error){"Unwrap": kek.Unwrap, "Rewrap": kek.Rewrap} {
			if got, err := do(t.Context(), acme, wrapped); !errors.Is(err, keys.ErrIntegrity) || got != nil {
				t.Errorf("%s, %s: %d bytes, %v", does, what, len(got), err)
			}
		}
	}
	// Neither is it theirs while the tenant's route names both, for another reason: it is wrapped for this tenant.
	r[acme] = routekek.Route{Provider: "ours", Also: []string{"theirs"}}
	if got, err := kek.Unwrap(t.Context(), acme, forged); err != nil || string(got) != "chosen keys" {
		t.Errorf("with both routes: %q, %v", got, err)
	}
}

func TestMalformed(t *testing.T) {
	kek, err := routekek.New(map[string]keys.KEK{"ours": local(t)}, routes{acme: {Provider: "ours"}}.choose, nil)
	must(t, err)
	must(t, kek.Create(t.Context(), acme))
	wrapped, err := kek.Wrap(t.Context(), acme, []byte("keys"))
	must(t, err)
	at := strings.Index(string(wrapped), "ours") - 1
	for n := range at + 6 {
		if _, err := kek.Unwrap(t.Context(), acme, wrapped[:n]); !errors.Is(err, keys.ErrIntegrity) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for length := range 256 {
		changed := bytes.Clone(wrapped)
		if changed[at] = byte(length); length == 4 {
			continue
		}
		if _, err := kek.Unwrap(t.Context(), acme, changed); !errors.Is(err, keys.ErrIntegrity) {
			t.Errorf("a name of %d bytes: %v", length, err)
		}
	}
}

// TestMove is a tenant that brings a key of its own, and leaves, while what it sealed opens all the time.
func TestMove(t *testing.T) {
	ours, theirs := local(t), local(t)
	store, err := filestore.Open(filepath.Join(t.TempDir(), "keys"), nil)
	must(t, err)
	ring := func(kek keys.KEK) *keys.Keyring {
		r, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: time.Second})
		must(t, err)
		t.Cleanup(func() { r.Close() })
		return r
	}
	// Provisioned before there is a router.
	before := ring(ours)
	must(t, before.Provision(t.Context(), acme))
	keysOf, err := before.Tenant(t.Context(), acme)
	must(t, err)
	sealed, err := keysOf.Data().Encrypt([]byte("a note"), []byte("place"))
	must(t, err)

	r := routes{acme: {Provider: "ours"}}
	kek, err := routekek.New(map[string]keys.KEK{"ours": ours, "theirs": theirs}, r.choose, &routekek.Options{Unmarked: "ours"})
	must(t, err)
	opens := func(r *keys.Keyring) error {
		t.Helper()
		keysOf, err := r.Tenant(t.Context(), acme)
		if err != nil {
			return err
		}
		got, err := keysOf.Data().Decrypt(sealed, []byte("place"))
		if err == nil && string(got) != "a note" {
			err = fmt.Errorf("opened %q", got)
		}
		return err
	}
	must(t, opens(ring(kek)))
	for _, step := range []struct {
		route  routekek.Route
		at     *localkek.KEK // where the key that opens the record is after it
		notAt  *localkek.KEK
		rewrap bool
		retire string
	}{
		{routekek.Route{Provider: "ours", Also: []string{"theirs"}}, ours, theirs, false, ""},
		{routekek.Route{Provider: "theirs", Also: []string{"ours"}}, ours, theirs, false, ""},
		{routekek.Route{Provider: "theirs", Also: []string{"ours"}}, theirs, nil, true, ""},
		{routekek.Route{Provider: "theirs", Also: []string{"ours"}}, theirs, ours, false, "ours"},
		{routekek.Route{Provider: "theirs"}, theirs, ours, false, ""},
		{routekek.Route{Provider: "ours", Also: []string{"theirs"}}, ours, nil, true, ""}, // and back
		{routekek.Route{Provider: "ours"}, ours, theirs, false, "theirs"},
	} {
		r[acme] = step.route
		operator := ring(kek)
		if step.rewrap {
			must(t, operator.Rewrap(t.Context(), acme, ""))
			must(t, operator.Rewrap(t.Context(), acme, "")) // again is as well
		}
		if step.retire != "" {
			if err := operator.RetireKEK(t.Context(), acme, step.route.Provider, ""); err == nil {
				t.Errorf("%+v: the key that wraps was destroyed", step)
			}
			must(t, operator.RetireKEK(t.Context(), acme, step.retire, ""))
			must(t, operator.RetireKEK(t.Context(), acme, step.retire, ""))
		}
		if err := opens(ring(kek)); err != nil {
			t.Errorf("%+v: %v", step, err)
		}
		if has := func(kek *localkek.KEK) bool { _, err := kek.Wrap(t.Context(), acme, []byte("x")); return err == nil }; !has(step.at) || step.notAt != nil && has(step.notAt) {
			t.Errorf("%+v: the key is not where it should be", step)
		}
	}

	// A record that was moved is refused where the route does not name its provider.
	r[acme] = routekek.Route{Provider: "theirs"}
	if err := opens(ring(kek)); !errors.Is(err, keys.ErrIntegrity) || !strings.Contains(err.Error(), "Route.Also") {
		t.Errorf("a route that names another provider: %v", err)
	}
	// Shredding destroys the key wherever the route says that there is one.
	r[acme] = routekek.Route{Provider: "ours", Also: []string{"theirs"}}
	must(t, theirs.Create(t.Context(), acme))
	must(t, ring(kek).Shred(t.Context(), acme, ""))
	for _, at := range []*localkek.KEK{ours, theirs} {
		if _, err := at.Wrap(t.Context(), acme, []byte("x")); !errors.Is(err, keys.ErrNotFound) {
			t.Errorf("after shredding: %v", err)
		}
	}
}

// TestWithdrawn is that whoever destroys a key at home is cut off within ReopenAfter, whatever is served in an outage.
func TestWithdrawn(t *testing.T) {
	theirs := local(t)
	kek, err := routekek.New(map[string]keys.KEK{"ours": local(t), "theirs": theirs}, routes{acme: {Provider: "theirs"}, other: {Provider: "ours"}}.choose, nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(t.TempDir(), "keys"), nil)
	must(t, err)
	const within = 2 * time.Second
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: time.Second, ReopenAfter: within, WhenUnavailable: keys.ServeStale})
	must(t, err)
	defer ring.Close()
	must(t, ring.Provision(t.Context(), acme))
	must(t, ring.Provision(t.Context(), other))
	serves := func(id tenant.ID) error { _, err := ring.Tenant(t.Context(), id); return err }
	must(t, serves(acme))
	must(t, serves(other))
	must(t, theirs.Destroy(t.Context(), acme))
	withdrawn := time.Now()
	for {
		asked := time.Now()
		err := serves(acme)
		if errors.Is(err, keys.ErrNotFound) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if late := asked.Sub(withdrawn); late > within { // served although the question came after the bound
			t.Fatalf("served %v after the key was withdrawn", late)
		}
		time.Sleep(20 * time.Millisecond)
	}
	must(t, serves(other))
}

func TestNew(t *testing.T) {
	kek, choose := local(t), routes{}.choose
	for name, c := range map[string]struct {
		providers map[string]keys.KEK
		choose    func(context.Context, tenant.ID) (routekek.Route, error)
		opts      *routekek.Options
	}{
		"no providers":     {nil, choose, nil},
		"no choice":        {map[string]keys.KEK{"ours": kek}, nil, nil},
		"a name of none":   {map[string]keys.KEK{"": kek}, choose, nil},
		"a long name":      {map[string]keys.KEK{strings.Repeat("n", routekek.MaxName+1): kek}, choose, nil},
		"a nil provider":   {map[string]keys.KEK{"ours": nil}, choose, nil},
		"unmarked unknown": {map[string]keys.KEK{"ours": kek}, choose, &routekek.Options{Unmarked: "theirs"}},
	} {
		if _, err := routekek.New(c.providers, c.choose, c.opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRoutes(t *testing.T) {
	r := routes{}
	kek, err := routekek.New(map[string]keys.KEK{"ours": local(t)}, r.choose, nil)
	must(t, err)
	if err := kek.Create(t.Context(), acme); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("without a route: %v", err)
	}
	for _, route := range []routekek.Route{{}, {Provider: "theirs"}, {Provider: "ours", Also: []string{"theirs"}}} {
		r[acme] = route
		if err := kek.Create(t.Context(), acme); err == nil || !strings.Contains(err.Error(), "none of ours") {
			t.Errorf("%+v: %v", route, err)
		}
	}
	r[acme] = routekek.Route{Provider: "ours"}
}

// recorder keeps the codes, phases and states of events, and fails while it is told to.
type recorder struct {
	events []string
	fails  bool
}

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	if r.fails {
		return audit.ErrUnavailable
	}
	if e.Code == audit.CodeKeyDestroy {
		r.events = append(r.events, fmt.Sprint(e.Phase, " ", e.Status, " ", e.Details))
	}
	return nil
}

// TestRetire is that a key is destroyed at a provider only once nothing needs it, and with an event: not by calling the router, not of a tenant
// that was not moved yet, and not where two names are of one provider.
func TestRetire(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kek.json")
	open := func() *localkek.KEK {
		kek, err := localkek.Open(file, nil)
		must(t, err)
		return kek
	}
	r, empty, rec := routes{acme: {Provider: "before"}}, local(t), &recorder{}
	kek, err := routekek.New(map[string]keys.KEK{"before": open(), "renamed": open(), "empty": empty}, r.choose, nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(t.TempDir(), "keys"), nil)
	must(t, err)
	ring := func(kek keys.KEK) *keys.Keyring {
		ring, err := keys.Open(t.Context(), kek, store, &keys.Options{Audit: rec, SuspendWithin: time.Second})
		must(t, err)
		t.Cleanup(func() { ring.Close() })
		return ring
	}
	operator := ring(kek)
	must(t, operator.Provision(t.Context(), acme))
	refused := func(what, want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := ring(kek).Tenant(t.Context(), acme); err != nil {
			t.Fatalf("%s: the tenant's only key is gone: %v", what, err)
		}
	}
	refused("at an unknown provider", "none of the KEK providers", operator.RetireKEK(t.Context(), acme, "theirs", ""))
	r[acme] = routekek.Route{Provider: "renamed", Also: []string{"before"}}
	refused("at the same key", "the same key", operator.RetireKEK(t.Context(), acme, "before", ""))
	r[acme] = routekek.Route{Provider: "empty", Also: []string{"renamed"}} // nobody has moved it there
	refused("without a keyring", "Keyring.RetireKEK", kek.Retire(t.Context(), acme, "renamed", keys.Retirement{}))
	rec.fails = true
	refused("unrecorded", audit.ErrUnavailable.Error(), operator.RetireKEK(t.Context(), acme, "renamed", ""))
	rec.fails, rec.events = false, nil
	must(t, operator.RetireKEK(t.Context(), acme, "renamed", "own key"))
	if _, err := ring(kek).Tenant(t.Context(), acme); err != nil {
		t.Errorf("a tenant that was not moved before is lost: %v", err)
	}
	if _, err := open().Wrap(t.Context(), acme, []byte("x")); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("the key is there: %v", err)
	}
	want := []string{"intent success map[kek:renamed reason:own key]", "outcome success map[kek:renamed reason:own key]"}
	if !slices.Equal(rec.events, want) {
		t.Errorf("the trail has %q, want %q", rec.events, want)
	}
	refused("without a router", "one of several", ring(empty).RetireKEK(t.Context(), acme, "renamed", ""))
}
