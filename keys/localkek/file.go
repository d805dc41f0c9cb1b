package localkek

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"filippo.io/age"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/atomicfile"
	"github.com/strongroom-go/strongroom/internal/plainfile"
	"github.com/strongroom-go/strongroom/keys"
)

const (
	formatName    = "strongroom-localkek"
	formatVersion = 1
)

// contents is the file, as JSON. Byte slices are in base64.
type contents struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// One of these is there: the master keyset (a Tink AES256-GCM keyset, binary serialization), in the clear or as
	// an age file with one scrypt stanza.
	Master       []byte `json:"master,omitempty"`
	SealedMaster []byte `json:"sealed_master,omitempty"`
	// Tenants maps tenant.ID.Segment to the tenant's KEK: a Tink EncryptedKeyset under the master keyset.
	Tenants map[string][]byte `json:"tenants"`
}

// parse reads the file strictly. Errors never repeat what is in it.
func parse(b []byte) (*contents, error) {
	var c contents
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&c)
	if err == nil {
		if _, trailing := d.Token(); trailing != io.EOF {
			err = errors.New("trailing bytes")
		}
	}
	switch {
	case err != nil, c.Format != formatName, c.Tenants == nil, (c.Master == nil) == (c.SealedMaster == nil):
		return nil, fmt.Errorf("%w: it is damaged, cut short, or no KEK file; restore it from a backup (it was left as it is)", keys.ErrIntegrity)
	case c.Version != formatVersion:
		return nil, fmt.Errorf("%w: its format has version %d, and this process knows %d; upgrade it", keys.ErrIntegrity, c.Version, formatVersion)
	}
	return &c, nil
}

func (c *contents) write(h *atomicfile.Held, path string) error {
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return errors.New("serialize the file")
	}
	defer clear(b)
	return h.Write(path, append(b, '\n'))
}

// newContents makes a file without tenants around a new master keyset.
func newContents(o *Options) (*contents, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make the master key: %w", err)
	}
	var master bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewBinaryWriter(&master)); err != nil {
		return nil, errors.New("serialize the master key")
	}
	c := &contents{Format: formatName, Version: formatVersion, Tenants: map[string][]byte{}}
	if o.Passphrase == "" {
		c.Master = master.Bytes()
		return c, nil
	}
	defer clear(master.Bytes())
	c.SealedMaster, err = seal(master.Bytes(), o)
	return c, err
}

// seal encrypts to a passphrase with age (https://age-encryption.org/v1), scrypt recipient.
func seal(plaintext []byte, o *Options) ([]byte, error) {
	r, err := age.NewScryptRecipient(o.Passphrase)
	if err != nil {
		return nil, errors.New("the passphrase cannot be used")
	}
	if o.WorkFactor != 0 {
		r.SetWorkFactor(o.WorkFactor)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		return nil, fmt.Errorf("seal the master key: %w", err)
	}
	if _, err := w.Write(plaintext); err != nil {
		return nil, fmt.Errorf("seal the master key: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal the master key: %w", err)
	}
	return out.Bytes(), nil
}

// masterOf opens the file's master keyset.
func masterOf(c *contents, passphrase string) (tink.AEAD, error) {
	clearText := bytes.Clone(c.Master)
	switch {
	case c.Master != nil && passphrase != "":
		return nil, fmt.Errorf("%w: the file is not protected by one; remove Options.Passphrase, or make a new file with it", ErrPassphrase)
	case c.SealedMaster != nil && passphrase == "":
		return nil, fmt.Errorf("%w: the file is protected by one; set Options.Passphrase", ErrPassphrase)
	case c.SealedMaster != nil:
		id, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return nil, fmt.Errorf("%w: it cannot be used", ErrPassphrase)
		}
		r, err := age.Decrypt(bytes.NewReader(c.SealedMaster), id)
		var wrong *age.NoIdentityMatchError
		if errors.As(err, &wrong) {
			return nil, fmt.Errorf("%w: it does not open the file; nothing was changed", ErrPassphrase)
		}
		if err == nil {
			clearText, err = io.ReadAll(r)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: its master key is damaged; restore the file from a backup", keys.ErrIntegrity)
		}
	}
	defer clear(clearText)
	h, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(clearText)))
	if err != nil {
		return nil, fmt.Errorf("%w: its master key is damaged; restore the file from a backup", keys.ErrIntegrity)
	}
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("%w: its master key is of an unknown kind", keys.ErrIntegrity)
	}
	return a, nil
}

// read returns the file's bytes and what it was when they were read.
func read(path string) ([]byte, fs.FileInfo, error) {
	f, err := plainfile.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if err := atomicfile.CheckPrivate(path, info); err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(f)
	return b, info, err
}
