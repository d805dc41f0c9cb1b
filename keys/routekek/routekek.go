// Package routekek chooses the provider of each tenant's key-encryption key: the service's own Vault for most, a customer's
// Vault or cloud key service for those that bring their own key (package kmskek). It is a [keys.KEK] over others.
//
// What it wraps begins with a mark and the name of the provider, so that a tenant can move from one to another without its
// data being touched: name the new provider in [Route.Also] in every process, then make it the [Route.Provider] and name the
// old one in Also, and call [keys.Keyring.RetireKEK] for the old one, which no route needs to name after that. The name in the mark chooses only among the providers of the tenant's route: a customer that holds a key
// of its own, and can write to the key store, cannot have another tenant's keys opened with it.
package routekek

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/internal/overdue"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// mark begins what a router wrapped. Then come the length of the provider's name in one byte, and the name.
const mark = "strongroom-route-1:"

// MaxName is the length of the longest name of a provider, in bytes.
const MaxName = 64

// Route says which providers a tenant's key-encryption keys are at.
type Route struct {
	// Provider is the name of the one that wraps.
	Provider string
	// Also are names of further ones whose keys unwrap, while the tenant moves. Name a provider only for tenants that move from
	// it or to it: whoever has a key there can make keys that open as the tenant's.
	Also []string
}

// Options are the optional settings of [New].
type Options struct {
	// Unmarked is the name of the provider that wrapped directly before there was a router. What has no mark is its, for
	// tenants whose route names it. Default none: what has no mark is refused.
	Unmarked string
}

// KEK is a router. It is safe for concurrent use.
type KEK struct {
	providers map[string]keys.KEK
	choose    func(context.Context, tenant.ID) (Route, error)
	opts      Options
	routes    overdue.Questions[tenant.ID] // that many wait for
}

var (
	_ keys.KEK     = (*KEK)(nil)
	_ keys.Retirer = (*KEK)(nil)
)

// New returns a router over providers, which have names of 1 to [MaxName] bytes that stay the same for good. Choose is called
// for every operation, concurrently, and must be quick and give the same answer in every process; its error should wrap
// [keys.ErrUnavailable] where trying again may help. A tenant for whom it takes more than half a second is opened and rewrapped alone, and so
// it is until a call that does not end for its context has ended. That it
// panics or ends its goroutine is an error, without what it panicked with. opts may be nil.
func New(providers map[string]keys.KEK, choose func(context.Context, tenant.ID) (Route, error), opts *Options) (*KEK, error) {
	k := &KEK{providers: maps.Clone(providers), choose: choose}
	if opts != nil {
		k.opts = *opts
	}
	if len(providers) == 0 || choose == nil {
		return nil, errors.New("routekek: providers and choose must be given")
	}
	for name, p := range providers {
		if name == "" || len(name) > MaxName {
			return nil, fmt.Errorf("routekek: the provider's name %q has %d bytes; use 1 to %d", name, len(name), MaxName)
		}
		if p == nil {
			return nil, fmt.Errorf("routekek: the provider %q is nil", name)
		}
	}
	if name := k.opts.Unmarked; name != "" && providers[name] == nil {
		return nil, fmt.Errorf("routekek: Options.Unmarked is %q, which is none of the providers %s", name, strings.Join(k.names(), ", "))
	}
	return k, nil
}

func (k *KEK) names() []string { return slices.Sorted(maps.Keys(k.providers)) }

// route is where a tenant's keys are: the provider that wraps first. Every name is a provider's.
type route struct {
	names []string
	of    *KEK
}

func (r route) newest() keys.KEK { return r.of.providers[r.names[0]] }

func (k *KEK) route(ctx context.Context, id tenant.ID) (route, error) {
	if id.IsZero() {
		return route{}, fmt.Errorf("routekek: %w: it is the zero ID", tenant.ErrInvalidID)
	}
	if err := ctx.Err(); err != nil {
		return route{}, err
	}
	chosen, err := k.chosen(ctx, id)
	if err != nil {
		return route{}, fmt.Errorf("routekek: choose the KEK provider of tenant %s: %w", id, err)
	}
	names := append([]string{chosen.Provider}, chosen.Also...)
	for _, name := range names {
		if k.providers[name] == nil {
			return route{}, fmt.Errorf("routekek: tenant %s is routed to the KEK provider %q, which is none of %s", id, name, strings.Join(k.names(), ", "))
		}
	}
	return route{names, k}, nil
}

// chosen asks the application. Where that panics for one tenant, such as one that its configuration lacks, or ends its goroutine, it is this
// tenant's error: it is asked on goroutines of the keyring's and the router's, which others wait for.
func (k *KEK) chosen(ctx context.Context, id tenant.ID) (r Route, err error) {
	broke, err := apart.Call(func() (err error) { r, err = k.choose(ctx, id); return err })
	if broke != "" {
		err = errors.New("the function that chooses " + broke)
	}
	return r, err
}

// Create implements [keys.KEK], at the provider that wraps.
func (k *KEK) Create(ctx context.Context, id tenant.ID) error {
	r, err := k.route(ctx, id)
	if err != nil {
		return err
	}
	return r.newest().Create(ctx, id)
}

// Wrap implements [keys.KEK].
func (k *KEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	r, err := k.route(ctx, id)
	if err != nil {
		return nil, err
	}
	return r.wrap(ctx, id, plaintext)
}

func (r route) wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	wrapped, err := r.newest().Wrap(ctx, id, plaintext)
	if err != nil {
		return nil, err
	}
	return marked(r.names[0], wrapped), nil
}

// Unwrap implements [keys.KEK].
func (k *KEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	_, name, inner, err := k.wrapper(ctx, id, wrapped)
	if err != nil {
		return nil, err
	}
	return k.providers[name].Unwrap(ctx, id, inner)
}

// Rotate implements [keys.KEK], at the provider that wraps.
func (k *KEK) Rotate(ctx context.Context, id tenant.ID) error {
	r, err := k.route(ctx, id)
	if err != nil {
		return err
	}
	return r.newest().Rotate(ctx, id)
}

// Rewrap implements [keys.KEK]. What another provider wrapped is unwrapped there, in this process, and wrapped by the one
// that the tenant's route names, where its key is created if there is none.
func (k *KEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	r, name, inner, err := k.wrapper(ctx, id, wrapped)
	if err != nil {
		return nil, err
	}
	if name == r.names[0] {
		inner, err = r.newest().Rewrap(ctx, id, inner)
		if err != nil {
			return nil, err
		}
		return marked(name, inner), nil
	}
	plaintext, err := k.providers[name].Unwrap(ctx, id, inner)
	if err != nil {
		return nil, fmt.Errorf("routekek: move tenant %s from %s to %s: %w", id, name, r.names[0], err)
	}
	defer clear(plaintext)
	moved, err := r.wrap(ctx, id, plaintext)
	if errors.Is(err, keys.ErrNotFound) {
		if err = r.newest().Create(ctx, id); err == nil {
			moved, err = r.wrap(ctx, id, plaintext)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("routekek: move tenant %s from %s to %s: %w", id, name, r.names[0], err)
	}
	return moved, nil
}

// Destroy implements [keys.KEK], at every provider of the tenant's route. One that the tenant left before must be named in
// [Route.Also] until [keys.Keyring.RetireKEK] has destroyed its key there. One that says it did, and still encrypts, or cannot be asked, is an
// error. Where it has no own key at one of them, but one that tenants share,
// that one is not destroyed, and the error is a [*keys.SharedKeyError] once all others are.
func (k *KEK) Destroy(ctx context.Context, id tenant.ID) error {
	r, err := k.route(ctx, id)
	if err != nil {
		return err
	}
	return k.destroy(ctx, id, r.names)
}

// Retire implements [keys.Retirer]. It is refused for the provider that wraps, where that one has no key of the tenant, where both have the
// same key, as two names of one Vault do, and to everybody but [keys.Keyring.RetireKEK]: it cannot see whether the tenant's record was moved, and a
// tenant whose record was not would be lost, with nobody's name in the trail.
func (k *KEK) Retire(ctx context.Context, id tenant.ID, provider string, of keys.Retirement) error {
	r, err := k.route(ctx, id)
	switch {
	case err != nil:
		return err
	case !of.Of(id):
		return fmt.Errorf("routekek: the KEK of tenant %s is left where it is; call Keyring.RetireKEK, which moves the tenant's record first, and records what is destroyed", id)
	case k.providers[provider] == nil:
		return fmt.Errorf("routekek: %q is none of the KEK providers %s", provider, strings.Join(k.names(), ", "))
	case provider == r.names[0]:
		return fmt.Errorf("routekek: tenant %s has its KEK at %s; route it to another provider and rewrap it first", id, provider)
	}
	if err := k.differ(ctx, id, r, provider); err != nil {
		return err
	}
	return k.destroyAt(ctx, id, provider)
}

// differ makes sure that the key which is to be destroyed at a provider does not open what the one that stays wraps.
func (k *KEK) differ(ctx context.Context, id tenant.ID, r route, provider string) error {
	probe, err := r.newest().Wrap(ctx, id, []byte(mark))
	if err != nil {
		return fmt.Errorf("routekek: at %s, which tenant %s is routed to: %w", r.names[0], id, err)
	}
	switch _, err := k.providers[provider].Unwrap(ctx, id, probe); {
	case err == nil:
		return fmt.Errorf("routekek: %s and %s have the same key of tenant %s; nothing was destroyed: correct which providers the names stand for", provider, r.names[0], id)
	case !errors.Is(err, keys.ErrIntegrity) && !errors.Is(err, keys.ErrNotFound):
		return fmt.Errorf("routekek: nothing was destroyed, since %s does not tell whether its key of tenant %s is another one than that at %s: %w", provider, id, r.names[0], err)
	}
	return nil
}

func marked(name string, inner []byte) []byte {
	out := make([]byte, 0, len(mark)+1+len(name)+len(inner))
	out = append(out, mark...)
	out = append(out, byte(len(name)))
	out = append(out, name...)
	return append(out, inner...)
}

// wrapper returns the tenant's route, the name of the provider on it that wrapped, and what that one returned.
func (k *KEK) wrapper(ctx context.Context, id tenant.ID, wrapped []byte) (r route, name string, inner []byte, err error) {
	if r, err = k.route(ctx, id); err == nil {
		name, inner, err = r.provider(id, wrapped)
	}
	return r, name, inner, err
}

// provider returns the name of the provider that wrapped, which is one of the tenant's, and what it returned.
func (r route) provider(id tenant.ID, wrapped []byte) (string, []byte, error) {
	name, inner := r.of.opts.Unmarked, wrapped
	if rest, ok := strings.CutPrefix(string(wrapped), mark); ok {
		if len(rest) == 0 || len(rest) <= int(rest[0]) {
			return "", nil, fmt.Errorf("routekek: tenant %s: %w: the name of the KEK provider is cut off", id, keys.ErrIntegrity)
		}
		end := 1 + int(rest[0])
		name, inner = rest[1:end], []byte(rest[end:])
	} else if name == "" {
		return "", nil, fmt.Errorf("routekek: tenant %s: %w: it does not say which KEK provider wrapped it", id, keys.ErrIntegrity)
	}
	if !slices.Contains(r.names, name) {
		return "", nil, fmt.Errorf("routekek: tenant %s: %w: it was wrapped by the KEK provider %q, and the tenant's route names %s; name it in Route.Also if the tenant moves from there",
			id, keys.ErrIntegrity, name, strings.Join(r.names, ", "))
	}
	return name, inner, nil
}
