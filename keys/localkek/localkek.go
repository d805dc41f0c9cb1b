// Package localkek keeps the tenants' key-encryption keys in one file: for development, tests, embedded programs and
// single machines. Whoever has the file, and its passphrase if it has one, has every tenant's KEK; a key server such
// as Vault (package vaultkek) keeps them out of the process altogether.
//
// The file is JSON of mode 0600: a master keyset, in the clear or sealed to a passphrase with age, and for each tenant
// a KEK of its own, encrypted under the master. [KEK.Destroy] removes the tenant's KEK and replaces the file, synced;
// nothing can derive it again. Temporary files of changes that were interrupted, which hold as much, are removed by the
// next opening or change. What the file system, a snapshot or a backup keeps of the old file is beyond this
// package: destroy those too.
//
// Every change writes the whole file, about 300 bytes a tenant: it serves some thousands of tenants well.
package localkek

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/atomicfile"
	"github.com/strongroom-go/strongroom/keys"
)

// ErrPassphrase means that the passphrase is wrong, missing, or not wanted.
var ErrPassphrase = errors.New("localkek: the passphrase does not fit")

// maxPlaintext is the most that Wrap takes, in bytes.
const maxPlaintext = 16 << 10

// Options are the optional settings of [Open].
type Options struct {
	// Passphrase seals the master key in the file. A file is made with or without one, and opened likewise.
	Passphrase string
	// WorkFactor is scrypt's, as a power of two, for a file that is made: 1 to 22. Default 18, about a second.
	WorkFactor int
	// MustExist makes Open fail where there is no file, instead of making it.
	MustExist bool
}

// KEK is an open file. It is safe for concurrent use, and several processes may have the same file open: a change by
// one is seen by the others.
type KEK struct {
	path   string
	lock   *atomicfile.Locker
	master tink.AEAD

	mu   sync.RWMutex
	file *contents
	info fs.FileInfo // of the file that was read

	opened sync.Map // tenant.ID to *opened
}

var _ keys.KEK = (*KEK)(nil)

// Open opens the file at path, and makes it where it is missing. A file with a mode other than 0600, or 0400, is
// refused. The error wraps [ErrPassphrase], or [keys.ErrIntegrity] where the file is damaged; then the file is left
// as it is. A lock file is kept beside it, named path and ".lock". opts may be nil.
func Open(path string, opts *Options) (*KEK, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if path == "" {
		return nil, errors.New("localkek: the file's name is empty")
	}
	if o.WorkFactor < 0 || o.WorkFactor > 22 {
		return nil, fmt.Errorf("localkek: Options.WorkFactor is %d; it must be 1 to 22, or 0 for 18", o.WorkFactor)
	}
	k := &KEK{path: path, lock: atomicfile.NewLocker(path + ".lock")}
	err := k.load()
	if errors.Is(err, fs.ErrNotExist) && !o.MustExist {
		err = k.make(&o)
	}
	if err == nil {
		err = k.lock.RemoveLeftovers(k.dir(), k.mine)
	}
	if err != nil {
		return nil, fmt.Errorf("localkek: open %s: %w", path, err)
	}
	if k.master, err = masterOf(k.file, o.Passphrase); err != nil {
		return nil, fmt.Errorf("localkek: open %s: %w", path, err)
	}
	return k, nil
}

// dir and mine tell where temporary files of an interrupted change are, and which.
func (k *KEK) dir() string { return filepath.Dir(k.path) }

func (k *KEK) mine(name string) bool { return name == filepath.Base(k.path) }

// make writes a new file unless another process has meanwhile, and loads it.
func (k *KEK) make(o *Options) error {
	held, err := k.lock.Lock(context.Background()) // held by others only while they write
	if err != nil {
		return err
	}
	defer held.Unlock()
	if err := k.load(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c, err := newContents(o)
	if err != nil {
		return err
	}
	if err := c.write(held, k.path); err != nil {
		return err
	}
	return k.load()
}

// load reads the file and keeps it.
func (k *KEK) load() error {
	b, info, err := read(k.path)
	if err != nil {
		return err
	}
	defer clear(b)
	c, err := parse(b)
	if err != nil {
		return err
	}
	if k.file != nil && !(bytes.Equal(c.Master, k.file.Master) && bytes.Equal(c.SealedMaster, k.file.SealedMaster)) {
		// The comparison holds because a master key is never written twice: not even when sealed.
		return fmt.Errorf("%w: the file was replaced by one with another master key; put the right one back, or restart the process", keys.ErrIntegrity)
	}
	k.file, k.info = c, info
	return nil
}
