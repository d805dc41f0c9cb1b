package vaultkek

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// kdf is how Transit derives a key from the context: HKDF (RFC 5869) with SHA-256.
const kdf = "hkdf_sha256"

// sharedMark begins what a shared key wrapped. Then come the key's name, a colon, and what Vault returned. It decides nothing:
// it is there so that a wrapped keyset that is found under another key can be told from a damaged one.
const sharedMark = "derived:"

// Shared is the KEK provider that has one key for all tenants. It is safe for concurrent use. Close it to stop renewing its token.
//
// The key is a Transit key of type aes256-gcm96 that is derived: Vault derives the key for each tenant from it with HKDF, the
// context being [tenant.ID.Segment]. What is wrapped for one tenant does not unwrap for another. The identity of what is
// wrapped is inside it all the same, as it is with keys of the tenants' own.
type Shared struct {
	vault *KEK
	key   string
	right atomic.Bool // the key was seen to be derived
}

var _ keys.SharedKEK = (*Shared)(nil)

// OpenShared logs in as [Open] does, and returns the KEK provider with one key for all tenants, which is called key: 1 to 40 of
// a-z, 0-9, "-" and "_", not beginning with "strongroom-", as the tenants' own keys do. "strongroom" is the name in the
// policies. The key is not made; [Shared.CreateSharedKey] makes it, once. Options.Prefix must be empty.
func OpenShared(ctx context.Context, address string, auth api.AuthMethod, key string, opts *Options) (*Shared, error) {
	if !plain(key, "") || len(key) > 40 || strings.ToLower(key) != key || strings.HasPrefix(key, defaultPrefix) {
		return nil, fmt.Errorf("vaultkek: the name of the shared key must be 1 to 40 of a-z, 0-9, \"-\" and \"_\", and not begin with %q, as the tenants' own keys do", defaultPrefix)
	}
	if opts != nil && opts.Prefix != "" {
		return nil, errors.New("vaultkek: Options.Prefix is for tenants' own keys, and the shared one has a name; leave it empty")
	}
	k, err := Open(ctx, address, auth, opts)
	if err != nil {
		return nil, err
	}
	return &Shared{vault: k, key: key}, nil
}

// Close is [KEK.Close].
func (s *Shared) Close() error { return s.vault.Close() }

// Signer is [KEK.Signer].
func (s *Shared) Signer(ctx context.Context, key string, version int, origin string) (*Signer, error) {
	if key == s.key {
		return nil, fmt.Errorf("vaultkek: %q is the tenants' key, and a log is signed with one of its own", key)
	}
	return s.vault.Signer(ctx, key, version, origin)
}

func (s *Shared) path(what string) string { return s.vault.opts.Mount + "/" + what + "/" + s.key }

// name tells this key from those of other engines and Vaults.
func (s *Shared) name() string { return s.path("keys") + " at " + s.vault.client.Address() }

func (s *Shared) mark() string { return sharedMark + s.key + ":" }

// derivation is the context with which Vault derives a tenant's key, as it is sent.
func derivation(id tenant.ID) string {
	return base64.StdEncoding.EncodeToString([]byte(id.Segment()))
}

func (s *Shared) failed(ctx context.Context, what string, err error, path string, capabilities ...string) error {
	return fmt.Errorf("vaultkek: %s: %w", what, s.vault.explain(ctx, err, path, capabilities...))
}

// sharedProperties are what Transit says of a key that is derived.
type sharedProperties struct {
	properties
	KDF          string `json:"kdf"`
	Convergent   bool   `json:"convergent_encryption"`
	Imported     bool   `json:"imported_key"`
	Latest       int    `json:"latest_version"`
	MinAvailable int    `json:"min_available_version"` // 0 until versions were destroyed
	MinDecrypts  int    `json:"min_decryption_version"`
	MinEncrypts  int    `json:"min_encryption_version"` // 0 where the newest alone encrypts
}

func (p *sharedProperties) oldest() int { return max(p.MinAvailable, 1) }

// inspect reads the key.
func (s *Shared) inspect(ctx context.Context) (*sharedProperties, error) {
	path := s.path("keys")
	var p sharedProperties
	err := s.vault.read(ctx, path, &p)
	if err == nil && (p.Type == "" || p.Latest < 1) {
		err = errShape
	}
	if err != nil {
		err = s.failed(ctx, "read the shared KEK", err, path, "read")
		if errors.Is(err, keys.ErrNotFound) {
			err = fmt.Errorf("%w; correct the key's name or Options.Mount, or make it, once, with Shared.CreateSharedKey", err)
		}
		return nil, err
	}
	if p.Type != keyType || !p.Derived || p.KDF != kdf || p.Convergent {
		return nil, fmt.Errorf("vaultkek: the key %s cannot be shared by tenants: its type is %q, derived %t (%q), convergent %t; a key of a single tenant's is opened with vaultkek.Open, else make one with Shared.CreateSharedKey under another name",
			s.name(), p.Type, p.Derived, p.KDF, p.Convergent)
	}
	s.right.Store(true)
	return &p, nil
}

// usable reads the key and refuses one that is not what CreateSharedKey makes.
func (s *Shared) usable(ctx context.Context) (*sharedProperties, error) {
	p, err := s.inspect(ctx)
	if err == nil && (p.Exportable || p.AllowPlaintextBackup || p.DeletionAllowed || p.Imported) {
		err = fmt.Errorf("vaultkek: the shared key %s was not made by this package, or was changed: exportable %t, plaintext backup %t, deletion allowed %t, imported %t; find out who did that. Nothing new is wrapped with it: make a key under another name and move the tenants to it (package routekek)",
			s.name(), p.Exportable, p.AllowPlaintextBackup, p.DeletionAllowed, p.Imported)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// derived makes sure, once, that the key is derived: Vault ignores the context with any other.
func (s *Shared) derived(ctx context.Context) error {
	if s.right.Load() {
		return nil
	}
	_, err := s.inspect(ctx)
	return err
}

// CreateSharedKey makes the key. It succeeds without effect where it is there. One that is there and was not made so is refused.
func (s *Shared) CreateSharedKey(ctx context.Context) error {
	path := s.path("keys")
	if err := s.vault.write(ctx, path, map[string]any{"type": keyType, "derived": true}, nil); err != nil {
		return s.failed(ctx, "create the shared KEK", err, path, "create", "update")
	}
	_, err := s.usable(ctx)
	return err
}

// CheckSharedKey reports what is wrong with the key, if anything; [SharedReadOnlyPolicy] is enough.
func (s *Shared) CheckSharedKey(ctx context.Context) error {
	_, err := s.usable(ctx)
	return err
}

// Create implements [keys.KEK]. It makes nothing: see [keys.SharedKEK].
func (s *Shared) Create(ctx context.Context, id tenant.ID) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	_, err := s.usable(ctx)
	return err
}

// Wrap implements [keys.KEK].
func (s *Shared) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	if err := check(ctx, id); err != nil {
		return nil, err
	}
	if len(plaintext) > maxPlaintext {
		return nil, fmt.Errorf("vaultkek: wrap for tenant %s: %d bytes is over the limit of %d", id, len(plaintext), maxPlaintext)
	}
	// With a token that may do more than [SharedUsePolicy], encrypting would make a key that is not there.
	if _, err := s.usable(ctx); err != nil {
		return nil, err
	}
	path := s.path("encrypt")
	wrapped, err := s.vault.ciphertext(ctx, path, map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plaintext), "context": derivation(id)})
	if err != nil {
		return nil, s.vault.failed(ctx, "wrap", id, err, path, "update")
	}
	return s.marked(wrapped), nil
}

func (s *Shared) marked(wrapped []byte) []byte { return append([]byte(s.mark()), wrapped...) }

// unmarked returns what Vault returned.
func (s *Shared) unmarked(id tenant.ID, wrapped []byte) (string, error) {
	if inner, ok := bytes.CutPrefix(wrapped, []byte(s.mark())); ok {
		return string(inner), nil
	}
	const integrity = "vaultkek: tenant %s: %w: it was not wrapped with the shared key %s, but %s"
	switch {
	case bytes.HasPrefix(wrapped, []byte(sharedMark)):
		return "", fmt.Errorf(integrity, id, keys.ErrIntegrity, s.name(), "with one of another name; correct the name")
	case bytes.HasPrefix(wrapped, []byte("vault:v")):
		return "", fmt.Errorf(integrity, id, keys.ErrIntegrity, s.name(), "with a key of the tenant's own; open it with vaultkek.Open, or move it with package routekek")
	}
	return "", fmt.Errorf(integrity, id, keys.ErrIntegrity, s.name(), "with another provider, or it is damaged")
}

// Unwrap implements [keys.KEK].
func (s *Shared) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	inner, err := s.begin(ctx, id, wrapped)
	if err != nil {
		return nil, err
	}
	path := s.path("decrypt")
	plaintext, err := s.vault.plaintext(ctx, path, map[string]any{"ciphertext": inner, "context": derivation(id)})
	if err != nil {
		return nil, s.vault.refused(ctx, "unwrap", id, err, path)
	}
	return plaintext, nil
}

// Rewrap implements [keys.KEK]. No plaintext leaves Vault.
func (s *Shared) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	inner, err := s.begin(ctx, id, wrapped)
	if err != nil {
		return nil, err
	}
	path := s.path("rewrap")
	rewrapped, err := s.vault.ciphertext(ctx, path, map[string]any{"ciphertext": inner, "context": derivation(id)})
	if err != nil {
		return nil, s.vault.refused(ctx, "rewrap", id, err, path)
	}
	return s.marked(rewrapped), nil
}

// begin checks what unwrapping and rewrapping need, and returns what Vault returned.
func (s *Shared) begin(ctx context.Context, id tenant.ID, wrapped []byte) (string, error) {
	if err := check(ctx, id); err != nil {
		return "", err
	}
	if err := s.derived(ctx); err != nil {
		return "", err
	}
	return s.unmarked(id, wrapped)
}

// Rotate implements [keys.KEK]: it does nothing, since a version for each tenant would be as many as tenants. The error is a
// [*keys.SharedKeyError]; [Shared.RotateSharedKey] rotates for all.
func (s *Shared) Rotate(ctx context.Context, id tenant.ID) error { return s.untouched(ctx, id) }

// Destroy implements [keys.KEK]: it does nothing, and the error is a [*keys.SharedKeyError]. See [keys.Keyring.Shred].
func (s *Shared) Destroy(ctx context.Context, id tenant.ID) error { return s.untouched(ctx, id) }

func (s *Shared) untouched(ctx context.Context, id tenant.ID) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	k, err := s.SharedKey(ctx)
	if err != nil {
		return err // one that is not found may be at another mount or under another name
	}
	return &keys.SharedKeyError{Keys: []keys.SharedKey{k}}
}

// SharedKey implements [keys.SharedKEK].
func (s *Shared) SharedKey(ctx context.Context) (keys.SharedKey, error) {
	p, err := s.inspect(ctx)
	if err != nil {
		return keys.SharedKey{}, err
	}
	k := keys.SharedKey{Name: s.name(), Oldest: p.oldest(), Newest: p.Latest}
	if p.MinDecrypts > k.Oldest {
		// An operator who disables versions has no reason to say from which on they encrypt as well.
		k.Enabled, k.Proving = p.MinDecrypts, p.MinEncrypts == p.MinDecrypts
	}
	return k, nil
}

// Needs implements [keys.SharedKEK].
func (s *Shared) Needs(wrapped []byte, through int) bool {
	rest, ok := bytes.CutPrefix(wrapped, []byte(s.mark()+"vault:v"))
	number, _, found := strings.Cut(string(rest), ":")
	version, err := strconv.Atoi(number)
	return !ok || !found || err != nil || version <= through
}

// RotateSharedKey implements [keys.SharedKEK]. [SharedPolicy] allows it.
func (s *Shared) RotateSharedKey(ctx context.Context) error {
	if _, err := s.usable(ctx); err != nil {
		return err
	}
	path := s.path("keys") + "/rotate"
	if err := s.vault.write(once(ctx), path, nil, nil); err != nil {
		return s.failed(ctx, "rotate the shared KEK", err, path, "update")
	}
	return nil
}

// DisableVersions implements [keys.SharedKEK] by Transit's min_decryption_version and min_encryption_version. [SharedPolicy]
// allows it, and not [SharedUsePolicy].
func (s *Shared) DisableVersions(ctx context.Context, oldest int) error {
	p, err := s.inspect(ctx)
	if err != nil {
		return err
	}
	if oldest < p.oldest() || oldest > p.Latest {
		return fmt.Errorf("vaultkek: the shared key %s has the versions %d to %d, and %d is to be the oldest that opens", s.name(), p.oldest(), p.Latest, oldest)
	}
	path := s.path("keys") + "/config"
	// Encrypting with the newest version is what Vault does of itself; the limit is there because trimming asks for it. It is an
	// operator's where it is higher, and is not lowered.
	err = s.vault.write(ctx, path, map[string]any{"min_decryption_version": oldest, "min_encryption_version": max(oldest, p.MinEncrypts)}, nil)
	if err != nil {
		return s.failed(ctx, fmt.Sprintf("disable the versions of the shared KEK below %d", oldest), err, path, "update")
	}
	if p, err = s.inspect(ctx); err == nil && p.MinDecrypts != oldest {
		err = fmt.Errorf("vaultkek: the shared key %s opens from version %d on, although %d was to be the oldest; somebody else changes it", s.name(), p.MinDecrypts, oldest)
	}
	return err
}

// DestroyVersions implements [keys.SharedKEK] by Transit's trim. [SharedPolicy] allows it, and not [SharedUsePolicy].
func (s *Shared) DestroyVersions(ctx context.Context, oldest int) error {
	p, err := s.inspect(ctx)
	if err != nil || p.oldest() >= oldest {
		return err
	}
	path := s.path("keys") + "/trim"
	err = s.vault.write(ctx, path, map[string]any{"min_available_version": oldest}, nil)
	if err != nil {
		if says(err, http.StatusBadRequest, "min") {
			return fmt.Errorf("vaultkek: the versions of the shared KEK below %d are not all disabled; nothing was destroyed: %w", oldest, s.vault.explain(ctx, err, path, "update"))
		}
		return s.failed(ctx, fmt.Sprintf("destroy the versions of the shared KEK below %d", oldest), err, path, "update")
	}
	// What counts is what is left.
	if p, err = s.inspect(ctx); err == nil && p.oldest() < oldest {
		err = fmt.Errorf("vaultkek: version %d of the shared key %s is still there after it was destroyed", p.oldest(), s.name())
	}
	return err
}
