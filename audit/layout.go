package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// The names in a log's directory. FORMAT in the package documentation describes each.
const (
	lockName        = "LOCK"
	configName      = "log.json"
	signerName      = "signer.key"
	pseudonymName   = "pseudonym.key"
	reserveName     = "reserve"
	checkpointsName = "checkpoints"
	segmentsName    = "seg"
	summariesName   = "summaries"
	temporary       = ".tmp"
)

// schemaVersion is the version of the layout and the line format that this package writes and the newest it reads.
const schemaVersion = 1

// maxSmallFile bounds what is read of a file that is always small.
const maxSmallFile = 1 << 20

// config is the content of log.json. It holds nothing secret.
type config struct {
	Schema    int       `json:"schema"`
	Origin    string    `json:"origin"`
	Verifiers []string  `json:"verifiers"` // note verifier keys; the last one signs
	Created   time.Time `json:"created"`
}

func segmentPath(dir string, first int64) string {
	return filepath.Join(dir, segmentsName, fmt.Sprintf("%020d.jsonl", first))
}

// compressedPath is where a segment is that was compressed.
func compressedPath(dir string, first int64) string { return segmentPath(dir, first) + ".zst" }

func leavesPath(dir string, first int64) string {
	return filepath.Join(dir, segmentsName, fmt.Sprintf("%020d.leaves", first))
}

// summaryPath is outside of the segments' directory, where earlier releases take every other file for tampering.
func summaryPath(dir string, first int64) string {
	return filepath.Join(dir, summariesName, fmt.Sprintf("%020d", first))
}

// readConfig reads log.json. The error wraps [fs.ErrNotExist] where there is none.
func readConfig(fsys vfs.FS, dir string) (config, error) {
	var c config
	name := filepath.Join(dir, configName)
	data, err := readSmall(fsys, name)
	if errors.Is(err, vfs.ErrNotRegular) {
		return c, fmt.Errorf("audit: %w; put the file itself there", err)
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("audit: %s is damaged (%w); restore it from a backup: it holds the log's name and public keys", name, err)
	}
	if c.Schema > schemaVersion {
		return c, fmt.Errorf("audit: %s has schema version %d and this program knows versions up to %d; use a newer release of Strongroom", name, c.Schema, schemaVersion)
	}
	if c.Schema < 1 || !validOrigin(c.Origin) || len(c.Verifiers) == 0 {
		return c, fmt.Errorf("audit: %s is damaged: schema, origin or verifiers are missing or unusable; restore it from a backup", name)
	}
	return c, nil
}

// Origin returns the name of the log in dir, as its log.json has it: for choosing the keys to verify it with.
func Origin(dir string) (string, error) {
	c, err := readConfig(vfs.OS{}, dir)
	return c.Origin, err
}

// verifierList parses verifier keys, each of which must be named for the log.
func verifierList(keys []string, origin string) (note.Verifiers, error) {
	var list []note.Verifier
	for i, k := range keys {
		v, err := note.NewVerifier(k)
		if err != nil {
			return nil, fmt.Errorf("audit: verifier key %d is not of the form name+hash+key", i+1)
		}
		if v.Name() != origin {
			return nil, fmt.Errorf("audit: verifier key %d is for %q, and the log is %q; pass this log's key", i+1, v.Name(), origin)
		}
		list = append(list, v)
	}
	return note.VerifierList(list...), nil
}

// readSmall reads a whole file of at most maxSmallFile bytes.
func readSmall(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSmallFile+1))
	if err == nil && len(data) > maxSmallFile {
		err = fmt.Errorf("audit: %s has more than %d bytes and cannot be what its name says", name, maxSmallFile)
	}
	return data, errors.Join(err, f.Close())
}

// readSecret reads a key file, which only its owner may be able to read.
func readSecret(fsys vfs.FS, name string) ([]byte, error) {
	info, err := fsys.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("audit: %s is not a regular file; put the key file itself there", name)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("audit: %s has mode %04o, so others can use the key; run chmod 600 on it, and replace the key if they may have", name, perm)
	}
	return readSmall(fsys, name)
}

// writeAtomic creates name with the content and mode 0600, or leaves nothing behind. Its directory must be synced
// afterwards.
func writeAtomic(fsys vfs.FS, name string, content []byte) (err error) {
	tmp := name + temporary
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(fsys.Remove(tmp)))
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Datasync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fsys.Rename(tmp, name)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
