package vaultkek

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// keyType is Transit's name of AES-256-GCM with 96-bit nonces, which Vault draws at random.
const keyType = "aes256-gcm96"

// maxPlaintext is the most that Wrap takes, in bytes.
const maxPlaintext = 16 << 10

func (k *KEK) path(what string, id tenant.ID) string {
	return k.opts.Mount + "/" + what + "/" + k.opts.Prefix + id.Segment()
}

// call does one operation, again after a new login where Vault calls the token invalid. Errors are the client's own.
func (k *KEK) call(ctx context.Context, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, k.opts.Timeout)
	defer cancel()
	token := k.client.Token()
	err := op(ctx)
	var refused *api.ResponseError
	if !errors.As(err, &refused) || !invalidToken(refused) {
		return err
	}
	if _, ok := k.auth.(tokenAuth); ok {
		return err // there is no other token
	}
	if err := k.relogin(ctx, token); err != nil {
		return err
	}
	return op(ctx)
}

func check(ctx context.Context, id tenant.ID) error {
	if id.IsZero() {
		return fmt.Errorf("vaultkek: %w: it is the zero ID", tenant.ErrInvalidID)
	}
	return ctx.Err()
}

// failed describes an operation that did not work.
func (k *KEK) failed(ctx context.Context, what string, id tenant.ID, err error, path string, capabilities ...string) error {
	return fmt.Errorf("vaultkek: %s for tenant %s: %w", what, id, k.explain(ctx, err, path, capabilities...))
}

// properties are what Transit says of a key.
type properties struct {
	Type                 string `json:"type"`
	Exportable           bool   `json:"exportable"`
	AllowPlaintextBackup bool   `json:"allow_plaintext_backup"`
	DeletionAllowed      bool   `json:"deletion_allowed"`
	Derived              bool   `json:"derived"`
}

// inspect reads the tenant's key; the error wraps keys.ErrNotFound where Vault says that there is none. It reads the
// raw answer because the client's Read takes a missing engine for a missing key.
func (k *KEK) inspect(ctx context.Context, id tenant.ID) (*properties, error) {
	path := k.path("keys", id)
	var p properties
	err := k.read(ctx, path, &p)
	if err == nil && p.Type == "" {
		err = errShape
	}
	if err != nil {
		return nil, k.failed(ctx, "read the KEK", id, err, path, "read")
	}
	return &p, nil
}

// Create implements [keys.KEK]. A key that is there but of another kind, or exportable, is refused.
func (k *KEK) Create(ctx context.Context, id tenant.ID) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	path := k.path("keys", id)
	// Not exportable and without plaintext backup is what Vault makes unless it is told otherwise, which [Policy] forbids.
	err := k.write(ctx, path, map[string]any{"type": keyType, "derived": false}, nil)
	if err != nil {
		return k.failed(ctx, "create the KEK", id, err, path, "create", "update")
	}
	_, err = k.usable(ctx, id)
	return err
}

// Check reports what is wrong with the tenant's key, if anything: the error wraps [keys.ErrNotFound] where there is none, and
// names the property by which one was not made by this package, such as that it can be exported. Nothing is opened;
// [ReadOnlyPolicy] is enough.
func (k *KEK) Check(ctx context.Context, id tenant.ID) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	_, err := k.usable(ctx, id)
	return err
}

// usable reads the tenant's key and refuses one that is not what Create makes.
func (k *KEK) usable(ctx context.Context, id tenant.ID) (*properties, error) {
	p, err := k.inspect(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.Type != keyType || p.Exportable || p.AllowPlaintextBackup || p.Derived {
		return nil, fmt.Errorf("vaultkek: the key %s at %s was not made by this package: its type is %q, exportable %t, plaintext backup %t, derived %t; find out who made it, and choose another Options.Prefix",
			k.path("keys", id), k.client.Address(), p.Type, p.Exportable, p.AllowPlaintextBackup, p.Derived)
	}
	return p, nil
}

// Wrap implements [keys.KEK].
func (k *KEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	if err := check(ctx, id); err != nil {
		return nil, err
	}
	if len(plaintext) > maxPlaintext {
		return nil, fmt.Errorf("vaultkek: wrap for tenant %s: %d bytes is over the limit of %d", id, len(plaintext), maxPlaintext)
	}
	// With a token that may do more than [Policy], encrypting would make a key that is not there, with defaults.
	if _, err := k.usable(ctx, id); err != nil {
		return nil, err
	}
	path := k.path("encrypt", id)
	wrapped, err := k.ciphertext(ctx, path, map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plaintext)})
	if err != nil {
		return nil, k.failed(ctx, "wrap", id, err, path, "update")
	}
	return wrapped, nil
}

// ciphertext sends an operation that answers with a ciphertext.
func (k *KEK) ciphertext(ctx context.Context, path string, parameters map[string]any) ([]byte, error) {
	var answer struct {
		Ciphertext string `json:"ciphertext"`
	}
	if err := k.write(ctx, path, parameters, &answer); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(answer.Ciphertext, "vault:v") {
		return nil, errShape
	}
	return []byte(answer.Ciphertext), nil
}

// Unwrap implements [keys.KEK].
func (k *KEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	if err := check(ctx, id); err != nil {
		return nil, err
	}
	if err := own(id, wrapped); err != nil {
		return nil, err
	}
	path := k.path("decrypt", id)
	plaintext, err := k.plaintext(ctx, path, map[string]any{"ciphertext": string(wrapped)})
	if err != nil {
		return nil, k.refused(ctx, "unwrap", id, err, path)
	}
	return plaintext, nil
}

// plaintext sends an operation that answers with a plaintext.
func (k *KEK) plaintext(ctx context.Context, path string, parameters map[string]any) ([]byte, error) {
	var answer struct {
		Plaintext []byte `json:"plaintext"` // base64, in the standard encoding
	}
	err := k.write(ctx, path, parameters, &answer)
	if err == nil && len(answer.Plaintext) == 0 {
		err = errShape
	}
	return answer.Plaintext, err
}

// own refuses what [Shared] wrapped, in words that say so; Vault would call it damaged.
func own(id tenant.ID, wrapped []byte) error {
	if bytes.HasPrefix(wrapped, []byte(sharedMark)) {
		return fmt.Errorf("vaultkek: tenant %s: %w: it was wrapped with a key that tenants share, and not with the tenant's own; open it with vaultkek.OpenShared, or move it with package routekek", id, keys.ErrIntegrity)
	}
	return nil
}

// Rewrap implements [keys.KEK]. No plaintext leaves Vault.
func (k *KEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	if err := check(ctx, id); err != nil {
		return nil, err
	}
	if err := own(id, wrapped); err != nil {
		return nil, err
	}
	path := k.path("rewrap", id)
	rewrapped, err := k.ciphertext(ctx, path, map[string]any{"ciphertext": string(wrapped)})
	if err != nil {
		return nil, k.refused(ctx, "rewrap", id, err, path)
	}
	return rewrapped, nil
}

// refused describes a wrapped keyset that was not accepted. Vault answers 400 for a missing key as for a ciphertext
// that is not the key's; its words tell which.
func (k *KEK) refused(ctx context.Context, what string, id tenant.ID, err error, path string) error {
	switch {
	case says(err, http.StatusBadRequest, "key not found"):
		return fmt.Errorf("vaultkek: %s for tenant %s: %w: Vault at %s has no key for %s", what, id, keys.ErrNotFound, k.client.Address(), path)
	case says(err, http.StatusBadRequest, "authentication failed", "invalid ciphertext", "could not decode", "version", "missing ciphertext"):
		return fmt.Errorf("vaultkek: %s for tenant %s: %w: %w", what, id, keys.ErrIntegrity, k.explain(ctx, err, path, "update"))
	}
	return k.failed(ctx, what, id, err, path, "update")
}

// Rotate implements [keys.KEK].
func (k *KEK) Rotate(ctx context.Context, id tenant.ID) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	if _, err := k.usable(ctx, id); err != nil {
		return err
	}
	path := k.path("keys", id) + "/rotate"
	if err := k.write(once(ctx), path, nil, nil); err != nil {
		return k.failed(ctx, "rotate the KEK", id, err, path, "update")
	}
	return nil
}

// Destroy implements [keys.KEK]. It allows the key's deletion and deletes it; where it is cut off in between, repeat it.
func (k *KEK) Destroy(ctx context.Context, id tenant.ID) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	_, err := k.inspect(ctx, id)
	if err == nil {
		err = k.delete(ctx, id)
	}
	if errors.Is(err, keys.ErrNotFound) {
		return nil
	}
	return err
}

func (k *KEK) delete(ctx context.Context, id tenant.ID) error {
	path := k.path("keys", id)
	err := k.write(ctx, path+"/config", map[string]any{"deletion_allowed": true}, nil)
	if err == nil {
		err = k.call(ctx, func(ctx context.Context) error {
			_, err := k.client.Logical().DeleteWithContext(ctx, path)
			return err
		})
		if err != nil {
			err = k.failed(ctx, "delete the KEK", id, err, path, "delete")
		}
	} else {
		err = k.failed(ctx, "allow the deletion of the KEK", id, err, path+"/config", "update")
	}
	// What counts is whether it is gone: another process may have destroyed it meanwhile.
	if _, ierr := k.inspect(ctx, id); errors.Is(ierr, keys.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("vaultkek: the key %s at %s is still there after its deletion", path, k.client.Address())
	}
	return err
}
