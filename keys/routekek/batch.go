package routekek

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	_ keys.BatchKEK     = (*KEK)(nil)
	_ keys.SharedRouter = (*KEK)(nil)
)

// Group implements [keys.BatchKEK]: tenants whose keysets one provider wrapped can be asked about together, if they can be there. One
// that moves is asked about alone: to move it takes calls of its own, to two providers, and no other tenant is to wait for them.
func (k *KEK) Group(ctx context.Context, w keys.Wrapped) string {
	r, name, inner, err := k.wrapper(ctx, w.Tenant, w.Bytes)
	if err != nil || r.names[0] != name {
		return "" // an error says by itself what is wrong
	}
	p, ok := k.providers[name].(keys.BatchKEK)
	if !ok {
		return ""
	}
	group := p.Group(ctx, keys.Wrapped{Tenant: w.Tenant, Bytes: inner})
	if group == "" {
		return ""
	}
	return fmt.Sprintf("%q %s", name, group)
}

// UnwrapBatch implements [keys.BatchKEK].
func (k *KEK) UnwrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	return k.batch(ctx, all, func(ctx context.Context, p keys.BatchKEK, inner []keys.Wrapped) ([]keys.Result, error) {
		return p.UnwrapBatch(ctx, inner)
	}, nil, nil)
}

// RewrapBatch implements [keys.BatchKEK]. Tenants that move are moved one by one, as by [KEK.Rewrap].
func (k *KEK) RewrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	return k.batch(ctx, all, func(ctx context.Context, p keys.BatchKEK, inner []keys.Wrapped) ([]keys.Result, error) {
		return p.RewrapBatch(ctx, inner)
	}, marked, func(r route, name string) bool { return r.names[0] != name })
}

// batch asks the provider that wrapped them about many tenants, and about those that are to be asked about alone by Rewrap.
func (k *KEK) batch(ctx context.Context, all []keys.Wrapped, ask func(context.Context, keys.BatchKEK, []keys.Wrapped) ([]keys.Result, error),
	wrap func(string, []byte) []byte, alone func(route, string) bool) ([]keys.Result, error) {
	results := make([]keys.Result, len(all))
	var at []int // of those asked about
	var asked []keys.Wrapped
	provider := ""
	for i, w := range all {
		r, name, inner, err := k.wrapper(ctx, w.Tenant, w.Bytes)
		switch {
		case err != nil:
			results[i].Err = err
			continue
		case alone != nil && alone(r, name):
			results[i].Bytes, results[i].Err = k.Rewrap(ctx, w.Tenant, w.Bytes)
			continue
		case len(at) > 0 && name != provider:
			return nil, fmt.Errorf("routekek: tenants of the KEK providers %q and %q are asked about together", provider, name)
		}
		provider = name
		at, asked = append(at, i), append(asked, keys.Wrapped{Tenant: w.Tenant, Bytes: inner})
	}
	if len(at) == 0 {
		return results, ctx.Err()
	}
	p, ok := k.providers[provider].(keys.BatchKEK)
	if !ok {
		return nil, fmt.Errorf("routekek: the KEK provider %q cannot be asked about many tenants", provider)
	}
	answers, err := ask(ctx, p, asked)
	if err == nil && len(answers) != len(asked) {
		err = fmt.Errorf("%w: the KEK provider %q has %d answers to a question about %d tenants", keys.ErrIntegrity, provider, len(answers), len(asked))
	}
	if err != nil {
		return nil, err
	}
	for i, a := range answers {
		if a.Err == nil && wrap != nil {
			a.Bytes = wrap(provider, a.Bytes)
		}
		results[at[i]] = a
	}
	return results, nil
}

// destroy destroys the tenant's keys at providers, as far as they are its own.
func (k *KEK) destroy(ctx context.Context, id tenant.ID, names []string) error {
	var failed []error
	var shared []keys.SharedKey
	for _, name := range names {
		err := k.providers[name].Destroy(ctx, id)
		var s *keys.SharedKeyError
		switch {
		case err == nil:
		case errors.As(err, &s):
			shared = append(shared, s.Keys...)
		default:
			failed = append(failed, fmt.Errorf("routekek: at %s: %w", name, err))
		}
	}
	if len(failed) > 0 || len(shared) == 0 {
		return errors.Join(failed...) // that there are others, which are shared, can wait
	}
	slices.SortFunc(shared, func(a, b keys.SharedKey) int { return strings.Compare(a.Name, b.Name) })
	return &keys.SharedKeyError{Keys: slices.Compact(shared)}
}

// SharedOf implements [keys.SharedRouter].
func (k *KEK) SharedOf(ctx context.Context, w keys.Wrapped) (keys.SharedKEK, []byte, error) {
	_, name, inner, err := k.wrapper(ctx, w.Tenant, w.Bytes)
	if err != nil {
		return nil, nil, err
	}
	return k.shared(ctx, name, keys.Wrapped{Tenant: w.Tenant, Bytes: inner})
}

// shared is SharedOf for what the provider that has a name wrapped, which may itself stand before the one that tenants share.
func (k *KEK) shared(ctx context.Context, name string, w keys.Wrapped) (keys.SharedKEK, []byte, error) {
	switch p := k.providers[name].(type) {
	case keys.SharedKEK:
		return p, w.Bytes, nil
	case keys.SharedRouter:
		return p.SharedOf(ctx, w)
	}
	return nil, nil, nil
}

// Shared returns a provider whose key tenants share as [keys.Keyring.DestroySharedKEK] takes it for a keyring on this router: kek is
// the one that has the name here. It is for nothing else; what it wraps has no mark.
func (k *KEK) Shared(name string, kek keys.SharedKEK) (keys.SharedKEK, error) {
	if k.providers[name] == nil || kek == nil {
		return nil, fmt.Errorf("routekek: %q is none of the KEK providers %s, or nil", name, strings.Join(k.names(), ", "))
	}
	return sharedAt{kek, name, k}, nil
}

type sharedAt struct {
	keys.SharedKEK
	name string
	of   *KEK
}

// Needs implements [keys.SharedKEK].
func (s sharedAt) Needs(wrapped []byte, through int) bool {
	all := route{s.of.names(), s.of}
	name, inner, err := all.provider(tenant.ID{}, wrapped)
	if err != nil {
		return true
	}
	if name != s.name {
		var other keys.SharedKEK
		other, inner, err = s.of.shared(context.Background(), name, keys.Wrapped{Bytes: inner})
		if err != nil {
			return true
		}
		w := keys.Wrapped{Bytes: inner}
		if other == nil || other.Group(context.Background(), w) != s.Group(context.Background(), w) {
			return false
		} // else it is another name of the same one
	}
	return s.SharedKEK.Needs(inner, through)
}
