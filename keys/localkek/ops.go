package localkek

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// The purposes in associated data (internal/envelope, KeysetAD): of a tenant's KEK under the master, and of what the
// KEK wraps.
const (
	purposeKEK  = "localkek"
	purposeRoot = "root"
)

// Create implements [keys.KEK].
func (k *KEK) Create(ctx context.Context, id tenant.ID) error {
	return k.change(ctx, id, "create", func(old []byte) ([]byte, error) {
		if old != nil {
			return old, nil
		}
		h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
		if err != nil {
			return nil, err
		}
		return k.encrypt(id, h)
	})
}

// Rotate implements [keys.KEK].
func (k *KEK) Rotate(ctx context.Context, id tenant.ID) error {
	return k.change(ctx, id, "rotate", func(old []byte) ([]byte, error) {
		if old == nil {
			return nil, keys.ErrNotFound
		}
		h, err := k.decrypt(id, old)
		if err != nil {
			return nil, err
		}
		m := keyset.NewManagerFromHandle(h)
		newest, err := m.Add(aead.AES256GCMKeyTemplate())
		if err == nil {
			err = m.SetPrimary(newest)
		}
		if err == nil {
			h, err = m.Handle()
		}
		if err != nil {
			return nil, err
		}
		return k.encrypt(id, h)
	})
}

// Destroy implements [keys.KEK].
func (k *KEK) Destroy(ctx context.Context, id tenant.ID) error {
	return k.change(ctx, id, "destroy", func([]byte) ([]byte, error) { return nil, nil })
}

// Wrap implements [keys.KEK].
func (k *KEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	if len(plaintext) > maxPlaintext {
		return nil, fmt.Errorf("localkek: wrap for tenant %s: %d bytes is over the limit of %d", id, len(plaintext), maxPlaintext)
	}
	a, err := k.tenantKEK(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("localkek: wrap for tenant %s: %w", id, err)
	}
	return a.Encrypt(plaintext, envelope.KeysetAD(nil, id, purposeRoot))
}

// Unwrap implements [keys.KEK].
func (k *KEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	a, err := k.tenantKEK(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("localkek: unwrap for tenant %s: %w", id, err)
	}
	plaintext, err := a.Decrypt(wrapped, envelope.KeysetAD(nil, id, purposeRoot))
	if err != nil {
		return nil, fmt.Errorf("localkek: unwrap for tenant %s: %w: it was not wrapped by this tenant's KEK", id, keys.ErrIntegrity)
	}
	return plaintext, nil
}

// Rewrap implements [keys.KEK].
func (k *KEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	plaintext, err := k.Unwrap(ctx, id, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	return k.Wrap(ctx, id, plaintext)
}

func check(ctx context.Context, id tenant.ID) error {
	if id.IsZero() {
		return fmt.Errorf("%w: it is the zero ID", tenant.ErrInvalidID)
	}
	return ctx.Err()
}

// tenantKEK returns the tenant's KEK as the file has it now.
func (k *KEK) tenantKEK(ctx context.Context, id tenant.ID) (tink.AEAD, error) {
	if err := check(ctx, id); err != nil {
		return nil, err
	}
	encrypted, err := k.lookup(id)
	if err != nil {
		return nil, err
	}
	if v, ok := k.opened.Load(id); ok && bytes.Equal(v.(*opened).encrypted, encrypted) {
		return v.(*opened).kek, nil
	}
	h, err := k.decrypt(id, encrypted)
	if err != nil {
		return nil, err
	}
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("%w: the KEK of tenant %s is of an unknown kind", keys.ErrIntegrity, id)
	}
	k.opened.Store(id, &opened{encrypted, a})
	return a, nil
}

// opened is a tenant's KEK, and what it was opened from: the file decides whether it may be used.
type opened struct {
	encrypted []byte
	kek       tink.AEAD
}

// lookup returns the tenant's encrypted KEK, after reading the file again if another process has replaced it: a
// destroyed KEK must not live on in the memory of those who did not destroy it.
func (k *KEK) lookup(id tenant.ID) ([]byte, error) {
	info, err := os.Stat(k.path)
	if err != nil {
		return nil, away(err)
	}
	k.mu.RLock()
	same := unchanged(info, k.info)
	encrypted := k.file.Tenants[id.Segment()]
	k.mu.RUnlock()
	if !same {
		k.opened.Clear()
		k.mu.Lock()
		if err = k.reload(); err == nil {
			encrypted = k.file.Tenants[id.Segment()]
		}
		k.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	if encrypted == nil {
		return nil, keys.ErrNotFound
	}
	return encrypted, nil
}

// reload loads the file anew. One that cannot be read just now says nothing of a KEK.
func (k *KEK) reload() error {
	err := k.load()
	var path *fs.PathError
	if errors.As(err, &path) {
		return away(err)
	}
	return err
}

// unchanged compares what a replacement changes: the inode, and, should its number be used again, the time and size.
func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// change edits the tenant's encrypted KEK, nil for none, in the newest file, under the lock, and writes it durably.
func (k *KEK) change(ctx context.Context, id tenant.ID, what string, edit func(old []byte) ([]byte, error)) error {
	err := check(ctx, id)
	if err == nil {
		err = k.locked(ctx, id.Segment(), edit)
	}
	if err != nil {
		return fmt.Errorf("localkek: %s the KEK of tenant %s: %w", what, id, err)
	}
	return nil
}

func (k *KEK) locked(ctx context.Context, segment string, edit func(old []byte) ([]byte, error)) error {
	held, err := k.lock.Lock(ctx)
	if err != nil && ctx.Err() == nil {
		return away(err)
	}
	if err != nil {
		return err
	}
	defer held.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.reload(); err != nil {
		return err
	}
	if err := held.RemoveLeftovers(k.dir(), k.mine); err != nil {
		return away(fmt.Errorf("remove what an interrupted change left: %w", err))
	}
	old := k.file.Tenants[segment]
	edited, err := edit(old)
	if err != nil || bytes.Equal(edited, old) {
		return err
	}
	if edited == nil {
		k.opened.Clear()
		delete(k.file.Tenants, segment)
	} else {
		k.file.Tenants[segment] = edited
	}
	if err := k.file.write(held, k.path); err != nil {
		// Memory must not be ahead of the file.
		if lerr := k.load(); lerr != nil {
			k.restore(segment, old)
		}
		return away(err)
	}
	return k.load()
}

// away is an error of the file system, without where the file is: it reaches whoever handles a request.
func away(err error) error { return fmt.Errorf("%w: %w", keys.ErrUnavailable, redact.Path(err)) }

func (k *KEK) restore(segment string, old []byte) {
	if old == nil {
		delete(k.file.Tenants, segment)
		return
	}
	k.file.Tenants[segment] = old
}

func (k *KEK) encrypt(id tenant.ID, h *keyset.Handle) ([]byte, error) {
	var out bytes.Buffer
	err := h.WriteWithAssociatedData(keyset.NewBinaryWriter(&out), k.master, envelope.KeysetAD(nil, id, purposeKEK))
	return out.Bytes(), err
}

func (k *KEK) decrypt(id tenant.ID, encrypted []byte) (*keyset.Handle, error) {
	h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(encrypted)), k.master, envelope.KeysetAD(nil, id, purposeKEK))
	if err != nil {
		return nil, fmt.Errorf("%w: the KEK of tenant %s does not open under the file's master key; restore the file from a backup", keys.ErrIntegrity, id)
	}
	return h, nil
}
