package service

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/storage/blobs"
)

// The files in -secrets: what all instances must have alike. A real service has them from wherever its secrets come from.
const (
	objectsKey = "objects.json" // seals the tokens for scans
	streamKey  = "stream.key"   // authenticates what instances record; the sealer has it too
	roleID     = "vault-role-id"
	secretID   = "vault-secret-id"
)

func (c *config) secretFile(name string) string {
	dir := c.secrets
	if dir == "" {
		dir = filepath.Join(c.dir, "secrets")
	}
	return filepath.Join(dir, name)
}

// writeSecret makes a file that only its owner can read, unless it is there.
func (c *config) writeSecret(name string, make func() ([]byte, error)) error {
	path := c.secretFile(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	content, err := make()
	if err == nil {
		_, err = f.Write(content)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (c *config) readSecret(name string) (string, error) {
	content, err := os.ReadFile(c.secretFile(name))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s is missing; run -setup with the same -secrets first", c.secretFile(name))
	}
	return strings.TrimSpace(string(content)), err
}

// makeSecrets makes those that are missing.
func makeSecrets(c *config) error {
	err := c.writeSecret(objectsKey, func() ([]byte, error) {
		handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		err = insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&b))
		return []byte(b.String()), err
	})
	if err != nil {
		return err
	}
	return c.writeSecret(streamKey, func() ([]byte, error) {
		secret, _, err := note.GenerateKey(rand.Reader, "clinic.example.com/trail")
		return []byte(secret + "\n"), err
	})
}

func readStreamKey(c *config) (note.Signer, error) {
	secret, err := c.readSecret(streamKey)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil { // withheld: it may show what it was given
		return nil, fmt.Errorf("%s holds no signing key", c.secretFile(streamKey))
	}
	return signer, nil
}

func readAppRole(c *config) (role, secret string, err error) {
	if role, err = c.readSecret(roleID); err == nil {
		secret, err = c.readSecret(secretID)
	}
	return role, secret, err
}

// openSigner returns what issues the tokens for scans, good for ten minutes at most.
func openSigner(c *config) (*blobs.Signer, error) {
	text, err := c.readSecret(objectsKey)
	if err != nil {
		return nil, err
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(strings.NewReader(text)))
	if err != nil {
		return nil, fmt.Errorf("%s holds no keyset", c.secretFile(objectsKey))
	}
	return blobs.NewSigner(handle, nil)
}
