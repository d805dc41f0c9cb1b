// Package kmskek has a cloud key service wrap the tenants' root keysets, through any Tink client for one: AWS KMS
// (github.com/tink-crypto/tink-go-awskms), Google Cloud KMS (github.com/tink-crypto/tink-go-gcpkms), or another
// [registry.KMSClient]. It is how a customer brings a key of its own: package routekek gives each tenant its provider.
//
//	client, err := awskms.NewClientWithOptions(ctx, "aws-kms://")
//	…
//	theirs, err := kmskek.New(client, func(id tenant.ID) (string, error) { return arns[id], nil }, nil)
//
// What is wrapped is encrypted under a fresh AES256-GCM key, and that by the service: Tink's KMS envelope encryption, since
// AWS encrypts no more than 4 KiB by itself. The tenant is the associated data, so that tenants with one key at the service are
// told apart. One call unwraps.
//
// Keys at the service are made, rotated and destroyed by whoever owns them. Where this process may do so, say how in
// [Options]. The service must let it encrypt and decrypt with the key, and nothing else.
package kmskek

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/core/registry"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// maxPlaintext is the most that Wrap takes, in bytes.
const maxPlaintext = 16 << 10

// Options are the optional settings of [New].
type Options struct {
	// Create makes the tenant's key at the service where there is none. Default: the key must be there, which is tried by
	// encrypting with it.
	Create func(context.Context, tenant.ID) error
	// Rotate makes a new version of the tenant's key, which encrypts from then on. Default: an error that wraps
	// [errors.ErrUnsupported]; rotate it at the service, and call [keys.Keyring.Rewrap].
	Rotate func(context.Context, tenant.ID) error
	// Destroy destroys the tenant's key, or schedules that; it succeeds where there is none. Default: an error that wraps
	// [errors.ErrUnsupported], so that no tenant counts as shredded whose key still exists: where its owner is to destroy it,
	// have that done, and return nil from then on. [keys.Keyring.Shred] tries whether the key still opens.
	Destroy func(context.Context, tenant.ID) error
	// Class tells what an error of the client's means: [keys.ErrNotFound] where there is no such key, [keys.ErrUnavailable] where
	// trying again may help, [keys.ErrIntegrity] where a ciphertext was refused, and nil for another answer, such as that access is
	// denied, which ends the use of keys that are open at their next confirmation. Default: as AWS and Google Cloud mean it, and
	// what neither says is an answer.
	Class func(error) error
	// Timeout bounds a call of the service. Default 5 s.
	Timeout time.Duration
}

// KEK is a key service. It is safe for concurrent use.
type KEK struct {
	client registry.KMSClient
	uri    func(tenant.ID) (string, error)
	opts   Options
}

var _ keys.KEK = (*KEK)(nil)

// New returns a KEK over client. uri returns the URI of a tenant's key, such as aws-kms://arn:aws:kms:… or
// gcp-kms://projects/…/cryptoKeys/…; for a tenant without one it returns an error that wraps [keys.ErrNotFound]. It is called
// concurrently. opts may be nil.
func New(client registry.KMSClient, uri func(tenant.ID) (string, error), opts *Options) (*KEK, error) {
	if client == nil || uri == nil {
		return nil, errors.New("kmskek: client and uri must be given")
	}
	k := &KEK{client: client, uri: uri}
	if opts != nil {
		k.opts = *opts
	}
	if k.opts.Timeout < 0 {
		return nil, fmt.Errorf("kmskek: Options.Timeout is %v; it must be above 0, or 0 for 5 s", k.opts.Timeout)
	}
	if k.opts.Timeout == 0 {
		k.opts.Timeout = 5 * time.Second
	}
	if k.opts.Class == nil {
		k.opts.Class = Class
	}
	return k, nil
}

// Create implements [keys.KEK].
func (k *KEK) Create(ctx context.Context, id tenant.ID) error {
	if k.opts.Create != nil {
		return k.manage(ctx, "create", id, k.opts.Create)
	}
	_, err := k.Wrap(ctx, id, []byte("is it there?"))
	return err
}

// Rotate implements [keys.KEK].
func (k *KEK) Rotate(ctx context.Context, id tenant.ID) error {
	if k.opts.Rotate == nil {
		return fmt.Errorf("kmskek: %w: the key of tenant %s is its owner's: rotate it at the key service and call Keyring.Rewrap, or set Options.Rotate", errors.ErrUnsupported, id)
	}
	return k.manage(ctx, "rotate", id, k.opts.Rotate)
}

// Destroy implements [keys.KEK].
func (k *KEK) Destroy(ctx context.Context, id tenant.ID) error {
	if k.opts.Destroy == nil {
		return fmt.Errorf("kmskek: %w: the key of tenant %s is its owner's: have it destroyed at the key service, and set Options.Destroy", errors.ErrUnsupported, id)
	}
	return k.manage(ctx, "destroy", id, k.opts.Destroy)
}

func (k *KEK) manage(ctx context.Context, what string, id tenant.ID, do func(context.Context, tenant.ID) error) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, k.opts.Timeout)
	defer cancel()
	if err := do(ctx, id); err != nil {
		return k.failed(ctx, what, id, err)
	}
	return nil
}

// Wrap implements [keys.KEK].
func (k *KEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	if len(plaintext) > maxPlaintext {
		return nil, fmt.Errorf("kmskek: wrap for tenant %s: %d bytes are more than %d", id, len(plaintext), maxPlaintext)
	}
	return k.call(ctx, "wrap", id, func(ctx context.Context, e *aead.KMSEnvelopeAEADWithContext) ([]byte, error) {
		return e.EncryptWithContext(ctx, plaintext, associatedData(id))
	})
}

// Unwrap implements [keys.KEK].
func (k *KEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	return k.call(ctx, "unwrap", id, func(ctx context.Context, e *aead.KMSEnvelopeAEADWithContext) ([]byte, error) {
		return e.DecryptWithContext(ctx, wrapped, associatedData(id))
	})
}

// Rewrap implements [keys.KEK]: the plaintext is in this process for a moment.
func (k *KEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	plaintext, err := k.Unwrap(ctx, id, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	return k.Wrap(ctx, id, plaintext)
}

// associatedData is what wrapped keysets are bound to.
func associatedData(id tenant.ID) []byte { return []byte("strongroom kmskek 1: " + id.String()) }

func check(ctx context.Context, id tenant.ID) error {
	if id.IsZero() {
		return fmt.Errorf("kmskek: %w: it is the zero ID", tenant.ErrInvalidID)
	}
	return ctx.Err()
}

// call does one operation with the tenant's key. An error that is not the service's is one of the ciphertext.
func (k *KEK) call(ctx context.Context, what string, id tenant.ID, do func(context.Context, *aead.KMSEnvelopeAEADWithContext) ([]byte, error)) ([]byte, error) {
	if err := check(ctx, id); err != nil {
		return nil, err
	}
	uri, err := k.uri(id)
	if err != nil {
		return nil, fmt.Errorf("kmskek: %s for tenant %s: %w", what, id, err)
	}
	if !k.client.Supported(uri) {
		return nil, fmt.Errorf("kmskek: %s for tenant %s: the client does not serve the key's URI; check its prefix", what, id)
	}
	ctx, cancel := context.WithTimeout(ctx, k.opts.Timeout)
	defer cancel()
	key, err := k.client.GetAEAD(uri)
	if err != nil {
		return nil, k.failed(ctx, what, id, err)
	}
	service := &service{key: key}
	envelope, err := aead.NewKMSEnvelopeAEADWithContext(aead.AES256GCMKeyTemplate(), service)
	if err != nil {
		return nil, fmt.Errorf("kmskek: %s for tenant %s: %w", what, id, err)
	}
	out, err := do(ctx, envelope)
	switch {
	case service.err != nil:
		return nil, k.failed(ctx, what, id, service.err)
	case err != nil:
		return nil, fmt.Errorf("kmskek: %s for tenant %s: %w", what, id, keys.ErrIntegrity)
	}
	return out, nil
}

// failed describes an operation that the service did not do.
func (k *KEK) failed(ctx context.Context, what string, id tenant.ID, err error) error {
	var broke brokeError
	if errors.As(err, &broke) {
		return fmt.Errorf("%w: kmskek: %s for tenant %s: %w", keys.ErrUnavailable, what, id, broke)
	}
	said := redact.Error(err)
	switch meaning := k.opts.Class(err); {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: kmskek: %s for tenant %s: %w", keys.ErrUnavailable, what, id, ctx.Err())
	case meaning != nil:
		return fmt.Errorf("%w: kmskek: %s for tenant %s: %w", meaning, what, id, said)
	}
	return fmt.Errorf("kmskek: %s for tenant %s: the key service refused: %w", what, id, said)
}

// service is the key at the service. It keeps the error, which Tink's envelope may not.
type service struct {
	key tink.AEAD
	err error
}

func (s *service) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) (out []byte, err error) {
	if key, ok := s.key.(tink.AEADWithContext); ok {
		out, err = key.EncryptWithContext(ctx, plaintext, associatedData)
	} else {
		out, err = bounded(ctx, func() ([]byte, error) { return s.key.Encrypt(plaintext, associatedData) })
	}
	s.err = err
	return out, err
}

func (s *service) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) (out []byte, err error) {
	if key, ok := s.key.(tink.AEADWithContext); ok {
		out, err = key.DecryptWithContext(ctx, ciphertext, associatedData)
	} else {
		out, err = bounded(ctx, func() ([]byte, error) { return s.key.Decrypt(ciphertext, associatedData) })
	}
	s.err = err
	return out, err
}

// brokeError is what a client's key did in place of returning.
type brokeError string

func (e brokeError) Error() string { return "the client's key " + string(e) }

// bounded leaves a call that knows no context to itself when ctx ends. One that panics or ends its goroutine has no answer: nobody else could
// recover from it.
func bounded(ctx context.Context, call func() ([]byte, error)) ([]byte, error) {
	type result struct {
		out []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		broke, err := apart.Call(func() (err error) { r.out, err = call(); return err })
		if r.err = err; broke != "" {
			r = result{err: brokeError(broke)}
		}
		done <- r
	}()
	select {
	case r := <-done:
		return r.out, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
