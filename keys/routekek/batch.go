package routekek

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/internal/overdue"
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

// wrappedBy is what [KEK.wrapper] returns.
type wrappedBy struct {
	route route
	name  string
	inner []byte
	err   error
}

// chooseTime is how long the other tenants of a batch wait for the routes of some. They were told a moment ago, by Group.
const chooseTime = time.Second

// wrappers is wrapper for many tenants at a time: however long a route takes to be told, all take no longer.
func (k *KEK) wrappers(ctx context.Context, all []keys.Wrapped) []wrappedBy {
	by := make([]wrappedBy, len(all))
	type answer struct {
		of int
		by wrappedBy
	}
	answers, asked := make(chan answer, len(all)), make([]*overdue.Question[tenant.ID], 0, len(all))
	within, cancel := context.WithTimeout(ctx, chooseTime)
	defer cancel()
	for i, w := range all {
		by[i].err = fmt.Errorf("routekek: %w: how tenant %s is routed was not told within %v", keys.ErrUnavailable, w.Tenant, chooseTime)
		q, ok := k.routes.Begin(w.Tenant)
		if !ok {
			continue // nor the last time, until now
		}
		asked = append(asked, q)
		go func() {
			defer q.End()
			a := answer{of: i}
			a.by.route, a.by.name, a.by.inner, a.by.err = k.wrapper(within, w.Tenant, w.Bytes)
			answers <- a
		}()
	}
	for range asked {
		select {
		case a := <-answers:
			if within.Err() == nil || a.by.err == nil { // else it may be told of this time, which is not the caller's
				by[a.of] = a.by
			}
		case <-within.Done():
			for _, q := range asked {
				q.GiveUp()
			}
			return by
		}
	}
	return by
}

// batch asks the provider that wrapped them about many tenants, and about those that are to be asked about alone by Rewrap.
func (k *KEK) batch(ctx context.Context, all []keys.Wrapped, ask func(context.Context, keys.BatchKEK, []keys.Wrapped) ([]keys.Result, error),
	wrap func(string, []byte) []byte, alone func(route, string) bool) ([]keys.Result, error) {
	results := make([]keys.Result, len(all))
	var at []int // of those asked about
	var asked []keys.Wrapped
	provider := ""
	for i, by := range k.wrappers(ctx, all) {
		w := all[i]
		switch {
		case by.err != nil:
			results[i].Err = by.err
			continue
		case alone != nil && alone(by.route, by.name):
			results[i].Bytes, results[i].Err = k.Rewrap(ctx, w.Tenant, w.Bytes)
			continue
		case len(at) > 0 && by.name != provider:
			return nil, fmt.Errorf("routekek: tenants of the KEK providers %q and %q are asked about together", provider, by.name)
		}
		provider = by.name
		at, asked = append(at, i), append(asked, keys.Wrapped{Tenant: w.Tenant, Bytes: by.inner})
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

// destroyAt destroys the tenant's key at a provider, and makes sure that there is none any more: a keyring tries it only at the one that wraps,
// or wrapped last, and what another one wrapped before is in backups.
func (k *KEK) destroyAt(ctx context.Context, id tenant.ID, name string) error {
	p := k.providers[name]
	err := p.Destroy(ctx, id)
	if err == nil {
		switch _, err = p.Wrap(ctx, id, []byte(mark)); {
		case err == nil:
			err = fmt.Errorf("the key of tenant %s was said to be destroyed, and still encrypts; see what the provider keeps, and repeat the call", id)
		case errors.Is(err, keys.ErrNotFound):
			return nil
		default:
			err = fmt.Errorf("whether the key of tenant %s is gone could not be tried; repeat the call: %w", id, err)
		}
	}
	if err != nil {
		err = fmt.Errorf("routekek: at %s: %w", name, err)
	}
	return err
}

// destroy destroys the tenant's keys at providers, as far as they are its own.
func (k *KEK) destroy(ctx context.Context, id tenant.ID, names []string) error {
	var failed []error
	var shared []keys.SharedKey
	for _, name := range names {
		err := k.destroyAt(ctx, id, name)
		if s := sharedAlone(err); s != nil {
			shared = append(shared, s.Keys...)
		} else if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 || len(shared) == 0 {
		return errors.Join(failed...) // that there are others, which are shared, can wait
	}
	slices.SortFunc(shared, func(a, b keys.SharedKey) int { return strings.Compare(a.Name, b.Name) })
	return &keys.SharedKeyError{Keys: slices.Compact(shared)}
}

// sharedAlone returns the error that says which keys are shared, if it is all that err says: not errors.As, since joined with it there may be
// one which says that a key of the tenant's own is still there.
func sharedAlone(err error) *keys.SharedKeyError {
	for ; err != nil; err = errors.Unwrap(err) {
		if s, ok := err.(*keys.SharedKeyError); ok && len(s.Keys) > 0 {
			return s
		}
	}
	return nil
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
