package vaultkek

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// signerType is the Transit key type that signs audit logs: Ed25519, whose signatures are a function of what is signed.
const signerType = "ed25519"

// Signer signs an audit log's checkpoints with a key that never leaves Vault: for audit.Options.Signer and Verifier. It
// implements [note.Signer].
type Signer struct {
	kek      *KEK
	key      string
	version  int
	name     string
	hash     uint32
	verifier string
	public   ed25519.PublicKey
}

var _ note.Signer = (*Signer)(nil)

// Signer returns the signer of the log called origin (audit.Options.Origin) with a Transit key of type ed25519, which an
// operator has made for this log alone:
//
//	vault write transit/keys/audit type=ed25519
//
// A log keeps the key that it began with: version is that of the Transit key, 0 for its newest, which is right for a key that
// was never rotated. The key's name must not begin with [Options.Prefix], which is for tenants' keys. [SignerPolicy] is what
// the token needs.
//
// Each signature is a call to Vault of at most [Options.Timeout], once for every checkpoint, and while it lasts no event
// becomes durable. Where Vault fails, the log does, and every access with it, until Vault answers and the log has been
// opened again: use it where that is what is wanted.
func (k *KEK) Signer(ctx context.Context, key string, version int, origin string) (*Signer, error) {
	if !plain(key, "") || strings.HasPrefix(key, k.opts.Prefix) {
		return nil, fmt.Errorf("vaultkek: the name of a signing key is of a-z, A-Z, 0-9, \"-\" and \"_\", and does not begin with %q, as tenants' keys do", k.opts.Prefix)
	}
	path := k.opts.Mount + "/keys/" + key
	var p struct {
		properties
		Latest int `json:"latest_version"`
		Keys   map[string]struct {
			Public string `json:"public_key"` // base64, in the standard encoding
		} `json:"keys"`
	}
	err := k.read(ctx, path, &p)
	if err == nil && p.Type == "" {
		err = errShape
	}
	if err != nil {
		return nil, fmt.Errorf("vaultkek: the signing key: %w", k.explain(ctx, err, path, "read"))
	}
	if p.Type != signerType || p.Exportable || p.AllowPlaintextBackup || p.Derived {
		return nil, fmt.Errorf("vaultkek: the key %s at %s cannot sign a log: its type is %q, exportable %t, plaintext backup %t, derived %t; make one of type %s that none of these is true of",
			path, k.client.Address(), p.Type, p.Exportable, p.AllowPlaintextBackup, p.Derived, signerType)
	}
	if version == 0 {
		version = p.Latest
	}
	of, ok := p.Keys[strconv.Itoa(version)]
	if !ok {
		return nil, fmt.Errorf("vaultkek: the signing key %s at %s has no version %d; its newest is %d", path, k.client.Address(), version, p.Latest)
	}
	public, err := base64.StdEncoding.DecodeString(of.Public)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("vaultkek: the signing key: %w", k.explain(ctx, errShape, path, "read"))
	}
	verifier, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		return nil, fmt.Errorf("vaultkek: the signing key: %w", err)
	}
	v, err := note.NewVerifier(verifier)
	if err != nil {
		return nil, errors.New("vaultkek: the origin of a log has no spaces and no plus signs, and is not empty")
	}
	return &Signer{kek: k, key: key, version: version, name: origin, hash: v.KeyHash(), verifier: verifier, public: public}, nil
}

// Verifier returns the public key in the form of golang.org/x/mod/sumdb/note: for audit.Options.Verifier, and for reviewers.
func (s *Signer) Verifier() string { return s.verifier }

// Name returns the log's origin.
func (s *Signer) Name() string { return s.name }

// KeyHash returns the hash by which a signature names its key.
func (s *Signer) KeyHash() uint32 { return s.hash }

// Sign signs msg. What does not verify is an error, so that no checkpoint is written which nobody would accept.
func (s *Signer) Sign(msg []byte) ([]byte, error) {
	ctx := context.Background() // a note.Signer has none; call sets the time limit
	path := s.kek.opts.Mount + "/sign/" + s.key
	var answer struct {
		Signature string `json:"signature"`
	}
	err := s.kek.write(ctx, path, map[string]any{"input": base64.StdEncoding.EncodeToString(msg), "key_version": s.version}, &answer)
	if err != nil {
		return nil, fmt.Errorf("vaultkek: sign: %w", s.kek.explain(ctx, err, path, "update"))
	}
	text, ok := strings.CutPrefix(answer.Signature, fmt.Sprintf("vault:v%d:", s.version))
	signature, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || !ed25519.Verify(s.public, msg, signature) {
		return nil, fmt.Errorf("vaultkek: sign: %w", s.kek.explain(ctx, errShape, path, "update"))
	}
	return signature, nil
}
