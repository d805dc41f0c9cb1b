package routekek_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/tenant"
)

// sharing is a provider with one key, which can be asked about many tenants.
type sharing struct {
	keys.KEK
	name   string
	asked  *int
	broken error
	short  bool
}

var everybody = tenant.MustParse("everybody")

func shares(t testing.TB, name string) sharing {
	k := sharing{KEK: local(t), name: name, asked: new(int)}
	must(t, k.KEK.Create(t.Context(), everybody))
	return k
}

func (s sharing) Create(context.Context, tenant.ID) error { return nil }

func (s sharing) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	return s.KEK.Wrap(ctx, everybody, plaintext)
}

func (s sharing) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	return s.KEK.Unwrap(ctx, everybody, wrapped)
}

func (s sharing) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	return s.KEK.Rewrap(ctx, everybody, wrapped)
}

func (s sharing) Destroy(context.Context, tenant.ID) error {
	if s.broken != nil {
		return s.broken
	}
	return &keys.SharedKeyError{Keys: []keys.SharedKey{{Name: s.name, Oldest: 1, Newest: 4}}}
}

func (s sharing) Rotate(ctx context.Context, id tenant.ID) error { return s.Destroy(ctx, id) }

func (s sharing) Group(context.Context, keys.Wrapped) string { return s.name }

func (s sharing) UnwrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	return s.batch(all, func(w keys.Wrapped) ([]byte, error) { return s.Unwrap(ctx, w.Tenant, w.Bytes) })
}

func (s sharing) RewrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	return s.batch(all, func(w keys.Wrapped) ([]byte, error) { return s.Rewrap(ctx, w.Tenant, w.Bytes) })
}

func (s sharing) batch(all []keys.Wrapped, one func(keys.Wrapped) ([]byte, error)) (results []keys.Result, err error) {
	*s.asked++
	for _, w := range all {
		b, err := one(w)
		results = append(results, keys.Result{Bytes: b, Err: err})
	}
	if s.short {
		return results[1:], nil
	}
	return results, s.broken
}

func (s sharing) SharedKey(context.Context) (keys.SharedKey, error) {
	return keys.SharedKey{Name: s.name, Oldest: 1, Newest: 4}, nil
}
func (s sharing) Needs(wrapped []byte, through int) bool     { return through > 2 && len(wrapped) > 0 }
func (s sharing) RotateSharedKey(context.Context) error      { return nil }
func (s sharing) DisableVersions(context.Context, int) error { return nil }
func (s sharing) DestroyVersions(context.Context, int) error { return nil }

// TestBatchesAreOfOneProvider: tenants of one whose key they share are asked about by one call, and others are not among them; the
// marks are as without batches.
func TestBatchesAreOfOneProvider(t *testing.T) {
	a, b, own := shares(t, "key a"), shares(t, "key b"), local(t)
	r := routes{}
	kek, err := routekek.New(map[string]keys.KEK{"a": a, "b": b, "own": own}, r.choose, nil)
	must(t, err)
	var all []keys.Wrapped
	groups := map[string][]keys.Wrapped{}
	for i := range 12 {
		id := tenant.MustParse(fmt.Sprint("t", i))
		r[id] = routekek.Route{Provider: []string{"a", "b", "own"}[i%3]}
		must(t, kek.Create(t.Context(), id))
		wrapped, err := kek.Wrap(t.Context(), id, []byte(id.String()))
		must(t, err)
		w := keys.Wrapped{Tenant: id, Bytes: wrapped}
		all = append(all, w)
		group := kek.Group(t.Context(), w)
		if (group == "") != (i%3 == 2) {
			t.Errorf("%s is of the group %q", id, group)
		}
		groups[group] = append(groups[group], w)
	}
	if len(groups) != 3 {
		t.Fatalf("%d groups", len(groups))
	}
	for group, of := range groups {
		if group == "" {
			continue
		}
		results, err := kek.RewrapBatch(t.Context(), of)
		must(t, err)
		for i, res := range results {
			must(t, res.Err)
			if bytes.Equal(res.Bytes, of[i].Bytes) || !bytes.HasPrefix(res.Bytes, []byte("strongroom-route-1:")) {
				t.Errorf("rewrapped as %q", res.Bytes)
			}
			of[i].Bytes = res.Bytes
		}
		of = append(of, keys.Wrapped{Tenant: of[0].Tenant, Bytes: []byte("without a mark")}, keys.Wrapped{Tenant: tenant.MustParse("unknown"), Bytes: of[0].Bytes})
		results, err = kek.UnwrapBatch(t.Context(), of)
		must(t, err)
		for i, res := range results[:4] {
			if res.Err != nil || string(res.Bytes) != of[i].Tenant.String() {
				t.Errorf("%s: %q, %v", of[i].Tenant, res.Bytes, res.Err)
			}
		}
		if !errors.Is(results[4].Err, keys.ErrIntegrity) || results[5].Err == nil {
			t.Errorf("%v, %v", results[4].Err, results[5].Err)
		}
	}
	if *a.asked != 2 || *b.asked != 2 {
		t.Errorf("asked %d and %d times", *a.asked, *b.asked)
	}
	for _, mixed := range [][]keys.Wrapped{all[:2], {all[2]}} {
		if _, err := kek.UnwrapBatch(t.Context(), mixed); err == nil {
			t.Error("tenants that are not of one group were asked about together")
		}
	}
	// Another's keyset is refused as it is alone: the mark names a provider that is not the tenant's.
	results, err := kek.UnwrapBatch(t.Context(), []keys.Wrapped{{Tenant: all[0].Tenant, Bytes: all[1].Bytes}, all[0]})
	must(t, err)
	if !errors.Is(results[0].Err, keys.ErrIntegrity) || results[1].Err != nil {
		t.Errorf("%v, %v", results[0].Err, results[1].Err)
	}
	// One that moves is moved, alone.
	moving := all[0].Tenant
	r[moving] = routekek.Route{Provider: "own", Also: []string{"a"}}
	results, err = kek.RewrapBatch(t.Context(), []keys.Wrapped{all[0], all[3]})
	must(t, err)
	must(t, results[0].Err)
	must(t, results[1].Err)
	if got, err := kek.Unwrap(t.Context(), moving, results[0].Bytes); err != nil || string(got) != moving.String() || kek.Group(t.Context(), keys.Wrapped{Tenant: moving, Bytes: results[0].Bytes}) != "" {
		t.Errorf("moved: %q, %v", got, err)
	}
	// Too few answers are none.
	short := a
	short.short = true
	kek, err = routekek.New(map[string]keys.KEK{"a": short}, func(context.Context, tenant.ID) (routekek.Route, error) { return routekek.Route{Provider: "a"}, nil }, nil)
	must(t, err)
	if _, err := kek.UnwrapBatch(t.Context(), []keys.Wrapped{all[0], all[3]}); !errors.Is(err, keys.ErrIntegrity) {
		t.Errorf("too few answers: %v", err)
	}
}

// TestDestroyingSharedKeys: a key of the tenant's own is destroyed, one that is shared is told of, and neither hides that another
// could not be.
func TestDestroyingSharedKeys(t *testing.T) {
	a, b, own := shares(t, "key a"), shares(t, "key b"), local(t)
	r := routes{acme: {Provider: "a", Also: []string{"own", "b"}}, other: {Provider: "a", Also: []string{"broken"}}}
	broken := shares(t, "key c")
	broken.broken = errors.New("permission denied")
	kek, err := routekek.New(map[string]keys.KEK{"a": a, "b": b, "own": own, "broken": broken}, r.choose, nil)
	must(t, err)
	must(t, own.Create(t.Context(), acme))
	err = kek.Destroy(t.Context(), acme)
	var shared *keys.SharedKeyError
	if !errors.As(err, &shared) || len(shared.Keys) != 2 || shared.Keys[0].Name != "key a" || shared.Keys[1].Name != "key b" {
		t.Errorf("%v", err)
	}
	if _, err := own.Wrap(t.Context(), acme, []byte("x")); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("the tenant's own key is still there: %v", err)
	}
	if err := kek.Destroy(t.Context(), other); errors.As(err, &shared) || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("%v", err)
	}
	leaving := tenant.MustParse("leaving")
	r[leaving] = routekek.Route{Provider: "own", Also: []string{"b"}}
	store, err := filestore.Open(t.TempDir()+"/records", nil)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
	must(t, err)
	t.Cleanup(func() { ring.Close() })
	must(t, ring.Provision(t.Context(), leaving))
	if err := ring.RetireKEK(t.Context(), leaving, "b", "moved"); !errors.As(err, &shared) {
		t.Errorf("retired from a key that is shared: %v", err)
	}
	if err := kek.Rotate(t.Context(), acme); !errors.As(err, &shared) {
		t.Errorf("rotated: %v", err)
	}
	// What is wrapped elsewhere needs no version of the key, and what cannot be told may.
	at, err := kek.Shared("a", a)
	must(t, err)
	mine, err := kek.Wrap(t.Context(), acme, []byte("x"))
	must(t, err)
	r[acme] = routekek.Route{Provider: "own"}
	must(t, own.Create(t.Context(), acme))
	elsewhere, err := kek.Wrap(t.Context(), acme, []byte("x"))
	must(t, err)
	if !at.Needs(mine, 3) || at.Needs(mine, 2) || at.Needs(elsewhere, 3) || !at.Needs([]byte("what is this?"), 3) {
		t.Error("it is not told who needs what")
	}
	if _, err := kek.Shared("nobody", a); err == nil {
		t.Error("a provider that is none")
	}
}

// opened is a provider that stands before one that tenants share, as one that is opened when it is first needed.
type opened struct {
	keys.KEK
	shared keys.SharedKEK
	err    error
}

func (o opened) SharedOf(_ context.Context, w keys.Wrapped) (keys.SharedKEK, []byte, error) {
	return o.shared, w.Bytes, o.err
}

// TestASharedKeyBehindAProvider: of two names of one key both need its versions, whatever stands before it under one of them; and where nobody can tell
// they are needed.
func TestASharedKeyBehindAProvider(t *testing.T) {
	a, other := shares(t, "key a"), shares(t, "key b")
	r := routes{}
	kek, err := routekek.New(map[string]keys.KEK{
		"a": a, "again": opened{a, a, nil}, "other": opened{other, other, nil}, "own": opened{local(t), nil, nil}, "away": opened{a, nil, keys.ErrUnavailable},
	}, r.choose, nil)
	must(t, err)
	at, err := kek.Shared("a", a)
	must(t, err)
	for name, want := range map[string]struct{ shared, needs bool }{"a": {true, true}, "again": {true, true}, "other": {true, false}, "own": {false, false}, "away": {false, true}} {
		id := tenant.MustParse("t-" + name)
		r[id] = routekek.Route{Provider: name}
		must(t, kek.Create(t.Context(), id))
		wrapped, err := kek.Wrap(t.Context(), id, []byte("root"))
		must(t, err)
		shared, inner, err := kek.SharedOf(t.Context(), keys.Wrapped{Tenant: id, Bytes: wrapped})
		if (shared != nil) != want.shared || want.shared && !bytes.HasSuffix(wrapped, inner) || errors.Is(err, keys.ErrUnavailable) != (name == "away") {
			t.Errorf("%s: %v, %q, %v", name, shared, inner, err)
		}
		if got := at.Needs(wrapped, 3); got != want.needs {
			t.Errorf("%s needs the versions: %t", name, got)
		}
	}
}
