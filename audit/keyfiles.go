package audit

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// createSigner makes an Ed25519 key in a file and returns its verifier key.
func createSigner(fsys vfs.FS, dir, origin string) (verifier string, err error) {
	secret, verifier, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return "", fmt.Errorf("audit: cannot make a signing key: %w", err)
	}
	return verifier, writeAtomic(fsys, filepath.Join(dir, signerName), []byte(secret+"\n"))
}

// openSigner returns the log's signer: the caller's, or the one in the key file. It must be the last of the verifiers.
func openSigner(fsys vfs.FS, dir string, c config, opts *Options) (note.Signer, error) {
	current := c.Verifiers[len(c.Verifiers)-1]
	signer := opts.Signer
	if signer != nil && opts.Verifier != current {
		return nil, fmt.Errorf("audit: Options.Verifier is not the key that %s was created with; pass that key's signer, or begin a new log in another directory", dir)
	}
	if signer == nil {
		name := filepath.Join(dir, signerName)
		data, err := readSecret(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("audit: the signing key: %w; set Options.Signer if the key is kept elsewhere", err)
		}
		// The error of NewSigner is left out: it may show what it was given.
		if signer, err = note.NewSigner(strings.TrimSuffix(string(data), "\n")); err != nil {
			return nil, fmt.Errorf("audit: %s is damaged or cut short; restore it from a backup, or begin a new log in another directory", name)
		}
	}
	verifiers, err := verifierList([]string{current}, c.Origin)
	if err != nil {
		return nil, err
	}
	guarded, err := guardSigner(signer)
	if err != nil {
		return nil, fmt.Errorf("audit: Options.Signer: %w", err)
	}
	signer = guarded
	if signer.Name() != c.Origin {
		return nil, fmt.Errorf("audit: the signing key (%s, or Options.Signer) is for %q, and the log in %s is %q; restore the key that belongs to it", signerName, signer.Name(), dir, c.Origin)
	}
	trial, err := note.Sign(&note.Note{Text: c.Origin + "\n"}, signer)
	if err != nil {
		return nil, fmt.Errorf("audit: the signer does not sign: %w", err)
	}
	if _, err := note.Open(trial, verifiers); err != nil {
		return nil, fmt.Errorf("audit: the signing key (%s, or Options.Signer) does not match the verifier key in %s; restore the key that belongs to it", signerName, filepath.Join(dir, configName))
	}
	guarded.verifier, err = verifiers.Verifier(guarded.name, guarded.hash)
	return guarded, err
}

// createPseudonymKey makes a keyset with Tink's AES-CMAC PRF (RFC 4493) in a file.
func createPseudonymKey(fsys vfs.FS, dir string) error {
	handle, err := keyset.NewHandle(prf.AESCMACPRFKeyTemplate())
	if err != nil {
		return fmt.Errorf("audit: cannot make a pseudonym key: %w", err)
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewBinaryWriter(&buf)); err != nil {
		return fmt.Errorf("audit: cannot encode the pseudonym key: %w", err)
	}
	return writeAtomic(fsys, filepath.Join(dir, pseudonymName), buf.Bytes())
}

// openPseudonymKey returns the function that names actors for events without a Sealer. Under one log's key the same
// actor of the same tenant always has the same pseudonym; across tenants and logs nothing links them.
func openPseudonymKey(fsys vfs.FS, dir string) (func(tenant.ID, string) (string, error), error) {
	name := filepath.Join(dir, pseudonymName)
	data, err := readSecret(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("audit: the pseudonym key: %w", err)
	}
	var set *prf.Set
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(data)))
	if err == nil {
		set, err = prf.NewPRFSet(handle)
	}
	if err != nil { // Tink's error is left out: it may show what it was given
		return nil, fmt.Errorf("audit: %s is damaged or cut short; restore it from a backup, or begin a new log in another directory", name)
	}
	return pseudonyms(func(in []byte) ([]byte, error) { return set.ComputePrimaryPRF(in, 16) }), nil
}

// pseudonyms makes names of the output of a pseudorandom function, 16 bytes.
func pseudonyms(f func([]byte) ([]byte, error)) func(tenant.ID, string) (string, error) {
	return func(id tenant.ID, actor string) (string, error) {
		t := id.String()
		in := append(make([]byte, 0, 8+len(t)+len(actor)), "audit1"...)
		in = binary.BigEndian.AppendUint32(in, uint32(len(t))) // so that no tenant and actor look like another pair
		out, err := f(append(append(in, t...), actor...))
		if err != nil {
			return "", err
		}
		return "log:" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(out)), nil
	}
}
