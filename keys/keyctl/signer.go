package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"filippo.io/age"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinksignature "github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/plainfile"
	"github.com/strongroom-go/strongroom/storage/offboard"
)

// publicSuffix is what the name of a public keyset's file ends with.
const publicSuffix = ".pub"

// signer returns what signs certificates: the keyset in a file of mode 0600, in Tink's JSON, sealed to a passphrase with age
// where there is one.
func (t *tool) signer(c *config) (tink.Signer, error) {
	if c.Certificates == nil {
		return nil, configf(`certificates is missing: it names the keyset that signs the certificate; "keyctl init" makes it`)
	}
	h, err := t.signingKeyset(c)
	if err != nil {
		return nil, err
	}
	return tinksignature.NewSigner(h)
}

func (t *tool) signingKeyset(c *config) (*keyset.Handle, error) {
	path := c.in(c.Certificates.Keyset)
	info, err := os.Stat(path)
	if err != nil {
		return nil, configf("certificates.keyset: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, configf("certificates.keyset: %s has mode %04o, and others can read or replace it; chmod 600 it", path, info.Mode().Perm())
	}
	data, err := plainfile.Read(path, maxSecret)
	if err != nil {
		return nil, configf("certificates.keyset: %w", err)
	}
	passphrase, err := t.read(c, "certificates.passphrase", c.Certificates.Passphrase)
	if err != nil {
		return nil, err
	}
	if passphrase != "" {
		id, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return nil, configf("certificates.passphrase cannot be used")
		}
		r, err := age.Decrypt(bytes.NewReader(data), id)
		if err != nil {
			return nil, configf("certificates.keyset: %s does not open with the passphrase, or is not sealed to one", path)
		}
		if data, err = io.ReadAll(io.LimitReader(r, maxSecret)); err != nil {
			return nil, configf("certificates.keyset: %s is damaged", path)
		}
	}
	defer clear(data)
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil { // its words may repeat the file
		return nil, configf("certificates.keyset: %s holds no Tink keyset in JSON, or is sealed and certificates.passphrase is missing", path)
	}
	return h, nil
}

// initSigner makes the keyset, and its public half beside it, where they are not there.
func (t *tool) initSigner(c *config) error {
	path := c.in(c.Certificates.Keyset)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := t.newSigner(c, path); err != nil {
			return fmt.Errorf("make the keyset that signs certificates: %w", err)
		}
	}
	h, err := t.signingKeyset(c)
	if err != nil {
		return err
	}
	public, err := h.Public()
	if err != nil {
		return fmt.Errorf("the public half of %s: %w", path, err)
	}
	var b bytes.Buffer
	if err := public.WriteWithNoSecrets(keyset.NewJSONWriter(&b)); err != nil {
		return fmt.Errorf("the public half of %s: %w", path, err)
	}
	if old, err := plainfile.Read(path+publicSuffix, maxSecret); err == nil && bytes.Equal(old, b.Bytes()) {
		return nil
	}
	return writeFile(path+publicSuffix, b.Bytes(), 0o644, true)
}

func (t *tool) newSigner(c *config, path string) error {
	passphrase, err := t.read(c, "certificates.passphrase", c.Certificates.Passphrase)
	if err != nil {
		return err
	}
	h, err := offboard.NewKeyset()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
		return errors.New("serialize it")
	}
	defer clear(b.Bytes())
	data := b.Bytes()
	if passphrase != "" {
		if data, err = sealed(data, passphrase); err != nil {
			return err
		}
	}
	return writeFile(path, data, 0o600, false)
}

// sealed encrypts to a passphrase with age.
func sealed(plaintext []byte, passphrase string) ([]byte, error) {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, errors.New("the passphrase cannot be used")
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plaintext); err != nil {
		return nil, err
	}
	err = w.Close() // it writes the last piece
	return out.Bytes(), err
}
