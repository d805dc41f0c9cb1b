package audit

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// readingFS counts the bytes that are read.
type readingFS struct {
	vfs.OS
	bytes *int64
}

type readingFile struct {
	vfs.File
	bytes *int64
}

func (f readingFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	file, err := f.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return readingFile{file, f.bytes}, nil
}

func (f readingFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	*f.bytes += int64(n)
	return n, err
}

// TestSignedFilesOfAnotherLength: a file that is signed, and to which somebody has added, is refused by its length, however long it is
// now: nobody waits until all of it was hashed.
func TestSignedFilesOfAnotherLength(t *testing.T) {
	dir, opts := phased(t)
	l := mustOpen(t, dir, opts)
	mustRetain(t, l, &Retention{Bytes: 30 << 10})
	mustClose(t, l)
	segments, err := listSegments(dir)
	if err != nil || len(segments) < 2 {
		t.Fatal(segments, err)
	}
	c, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	own, err := verifierList(c.Verifiers, c.Origin)
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(vfs.FS) error{
		summaryPath(dir, segments[0]): func(fsys vfs.FS) error {
			_, err := readSummary(fsys, dir, c.Origin, own, segments[0], segments[1])
			return err
		},
		filepath.Join(dir, stateName): func(fsys vfs.FS) error {
			_, err := readState(fsys, dir, c.Origin, own)
			return err
		},
		filepath.Join(dir, prunedName): func(fsys vfs.FS) error {
			_, err := readPruned(fsys, dir, c.Origin, own)
			return err
		},
	} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			whole := int64(0)
			if err := read(readingFS{bytes: &whole}); err != nil {
				t.Fatal(err)
			}
			const long = 1 << 30 // with a hole
			if err := os.Truncate(name, long); err != nil {
				t.Fatal(err)
			}
			added := int64(0)
			if err := read(readingFS{bytes: &added}); err == nil || added > 1<<20 {
				t.Errorf("%d bytes were read of a file that somebody made %d long: %v", added, long, err)
			}
		})
	}
}
