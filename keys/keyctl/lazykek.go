package main

import (
	"context"
	"errors"
	"sync"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// lazyKEK is a provider that is opened when it is first needed, and again after that failed. To list tenants and to suspend
// one takes none: that must work while Vault is away.
type lazyKEK struct {
	open func(context.Context) (keys.KEK, error)

	mu  sync.Mutex
	kek keys.KEK
}

var (
	_ keys.BatchKEK     = (*lazyKEK)(nil)
	_ keys.SharedRouter = (*lazyKEK)(nil)
	_ keys.Retirer      = (*lazyKEK)(nil)
)

func (l *lazyKEK) get(ctx context.Context) (keys.KEK, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kek != nil {
		return l.kek, nil
	}
	k, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	l.kek = k
	return k, nil
}

// Create implements [keys.KEK], as the following do.
func (l *lazyKEK) Create(ctx context.Context, id tenant.ID) error {
	k, err := l.get(ctx)
	if err != nil {
		return err
	}
	return k.Create(ctx, id)
}

func (l *lazyKEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	k, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return k.Wrap(ctx, id, plaintext)
}

func (l *lazyKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	k, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return k.Unwrap(ctx, id, wrapped)
}

func (l *lazyKEK) Rotate(ctx context.Context, id tenant.ID) error {
	k, err := l.get(ctx)
	if err != nil {
		return err
	}
	return k.Rotate(ctx, id)
}

func (l *lazyKEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	k, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return k.Rewrap(ctx, id, wrapped)
}

// Retire implements keys.Retirer, where the provider does.
func (l *lazyKEK) Retire(ctx context.Context, id tenant.ID, provider string, of keys.Retirement) error {
	k, err := l.get(ctx)
	if err != nil {
		return err
	}
	r, ok := k.(keys.Retirer)
	if !ok {
		return configf("kek has no route: there is no provider that a tenant could have left")
	}
	return r.Retire(ctx, id, provider, of)
}

func (l *lazyKEK) Destroy(ctx context.Context, id tenant.ID) error {
	k, err := l.get(ctx)
	if err != nil {
		return err
	}
	return k.Destroy(ctx, id)
}

// SharedOf implements [keys.SharedRouter].
func (l *lazyKEK) SharedOf(ctx context.Context, w keys.Wrapped) (keys.SharedKEK, []byte, error) {
	k, err := l.get(ctx)
	if err != nil {
		return nil, nil, err
	}
	switch k := k.(type) {
	case keys.SharedKEK:
		return k, w.Bytes, nil
	case keys.SharedRouter:
		return k.SharedOf(ctx, w)
	}
	return nil, nil, nil
}

// Group implements [keys.BatchKEK]. Before the provider is open every tenant is asked about alone, by which it is opened.
func (l *lazyKEK) Group(ctx context.Context, w keys.Wrapped) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, ok := l.kek.(keys.BatchKEK); ok {
		return k.Group(ctx, w)
	}
	return ""
}

// UnwrapBatch implements [keys.BatchKEK].
func (l *lazyKEK) UnwrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	k, err := l.batch(ctx)
	if err != nil {
		return nil, err
	}
	return k.UnwrapBatch(ctx, all)
}

// RewrapBatch implements [keys.BatchKEK].
func (l *lazyKEK) RewrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	k, err := l.batch(ctx)
	if err != nil {
		return nil, err
	}
	return k.RewrapBatch(ctx, all)
}

func (l *lazyKEK) batch(ctx context.Context) (keys.BatchKEK, error) {
	k, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	if b, ok := k.(keys.BatchKEK); ok {
		return b, nil
	}
	return nil, errors.New("the provider cannot be asked about many tenants")
}
