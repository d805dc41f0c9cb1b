package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// files replaces objects that are files of gocloud.dev's fileblob, each with another one beside it that has its attributes.
// Fileblob's own writer truncates that one before it writes it, and does not wait until anything is on disk; of all objects, one
// after the other, that is too great a risk. So a version is made as an object of its own, synced, read back, and renamed
// into the object's place, attributes first where they are the same as before: attributes and content are each whole at all times, and what a crash leaves
// between the two renames are the newer attributes, which are the same, with the older content, which opens by itself.
type files struct {
	sole
	dir string // prefix of names in the store
	at  string // the directory that they are in, once it was tried
}

const fileAttributes = ".attrs"

func (f *files) put(ctx context.Context, n *renewal) (_ int64, unknown bool, err error) {
	if n.attributesOnly() {
		if unknown, err := f.putAttributes(ctx, n); err != errNoLink {
			return 0, unknown, err
		}
	}
	short := f.staged.add()
	name := f.dir + short
	defer f.staged.remove(short)
	d, err := n.seal(ctx, name, &blob.WriterOptions{})
	if err != nil {
		return 0, false, err
	}
	defer func() {
		if deleted := f.inner.Delete(context.WithoutCancel(ctx), name); deleted != nil && gcerrors.Code(deleted) != gcerrors.NotFound {
			err = errors.Join(err, fromStore(deleted))
		}
	}()
	if err := d.commit(); err != nil {
		return 0, false, err
	}
	if err := f.sync(ctx, name); err != nil {
		return 0, false, err
	}
	if err := f.readBack(ctx, n, name); err != nil {
		return 0, false, err
	}
	done, err := f.alone(ctx, n.target)
	if err != nil {
		return 0, false, err
	}
	defer done()
	if err := n.unchanged(ctx, n.target, n.replaces); err != nil {
		return 0, false, err
	}
	order := []string{fileAttributes, ""}
	if n.target != n.object.name { // a mark, which it is for as long as it has a mark's attributes
		order = []string{"", fileAttributes}
	}
	if err := f.exclusion.keeping(n.target, func() error { return f.rename(ctx, name, n.target, order) }); err != nil {
		return 0, true, err
	}
	return d.written, false, nil
}

// readBack reads what was staged, and compares.
func (f *files) readBack(ctx context.Context, n *renewal, name string) error {
	o, err := f.open(ctx, n.keys, n.object.key, at(name), 0, -1)
	if err != nil {
		return errUnproven // which is no attack
	}
	sum := sha256.New()
	_, err = io.CopyBuffer(struct{ io.Writer }{sum}, &limitedReader{ctx, n.bytes, o}, make([]byte, segmentSize))
	err = errors.Join(err, o.close())
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil || !bytes.Equal(sum.Sum(nil), n.sum):
		return errUnproven
	}
	return nil
}

func (f *files) path(ctx context.Context, name string) (string, error) {
	return filePath(ctx, f.inner, name)
}

// filePath returns where the store keeps an object.
func filePath(ctx context.Context, store *blob.Bucket, name string) (path string, err error) {
	r, err := store.NewRangeReader(ctx, name, 0, 0, &blob.ReaderOptions{BeforeRead: func(as func(any) bool) error {
		var file *os.File
		if !as(&file) {
			return errNoFiles
		}
		path = file.Name()
		return nil
	}})
	if err != nil {
		return "", fromStore(err)
	}
	return path, fromStore(r.Close())
}

var errNoFiles = errors.New("blobs: the store says that its objects are files, and does not keep them as gocloud.dev's fileblob does; Reseal does not know it")

// sync returns when an object is on disk.
func (f *files) sync(ctx context.Context, name string) error {
	path, err := f.path(ctx, name)
	if err != nil {
		return err
	}
	for _, p := range []string{path, path + fileAttributes} {
		file, err := os.OpenFile(p, os.O_RDWR, 0)
		if err != nil {
			return fromStore(err)
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return fromStore(err)
		}
	}
	return nil
}

// rename puts a staged object into another's place, the files with these suffixes one after the other, and returns when it is there on
// disk: what is at the object's older name may be deleted next, or the key that the older version needs.
func (f *files) rename(ctx context.Context, staged, name string, order []string) error {
	from, err := f.path(ctx, staged)
	if err != nil {
		return err
	}
	to, err := f.path(ctx, name)
	if err != nil {
		return err
	}
	for _, suffix := range order {
		if err := os.Rename(from+suffix, to+suffix); err != nil {
			return fromStore(err)
		}
	}
	return fromStore(syncDirectory(filepath.Dir(to)))
}

// try replaces one object that is nobody's by another, so that a store which keeps files otherwise is found out before it is
// the tenant's; and deletes what runs left that were killed.
func (f *files) try(ctx context.Context) error {
	var short, names [2]string
	for i := range names {
		short[i] = f.staged.add()
		defer f.staged.remove(short[i])
		names[i] = f.dir + short[i]
		err := f.inner.WriteAll(ctx, names[i], []byte(names[i]), &blob.WriterOptions{ContentType: storedContentType, Metadata: map[string]string{attributesName: names[i]}})
		if err != nil {
			return fmt.Errorf("blobs: try to replace files: %w", fromStore(err))
		}
	}
	path, err := f.path(ctx, names[1])
	if err != nil {
		return err
	}
	if err := f.rename(ctx, names[0], names[1], []string{fileAttributes, ""}); err != nil {
		return fmt.Errorf("blobs: try to replace files: %w", err)
	}
	content, err := f.inner.ReadAll(ctx, names[1])
	if err != nil {
		return fmt.Errorf("blobs: try to replace files: %w", fromStore(err))
	}
	a, err := f.inner.Attributes(ctx, names[1])
	if err != nil {
		return fmt.Errorf("blobs: try to replace files: %w", fromStore(err))
	}
	if string(content) != names[0] || a.Metadata[attributesName] != names[0] {
		return errNoFiles
	}
	if err := f.inner.Delete(ctx, names[1]); err != nil {
		return fmt.Errorf("blobs: try to replace files: %w", fromStore(err))
	}
	f.at = filepath.Dir(path)
	return f.clean(f.at)
}

// filesLeftoverAge is [leftoverAge] on files. Tests do not wait for it.
var filesLeftoverAge = leftoverAge

// clean deletes the files in the staging directory that no run in this process works on, and that are so old that no other process
// does: what another one is about to put in an object's place must not go, or one of the two files may be there, and not the other.
// The newer of the two says how old they are: the content is an object's own file where only its attributes are replaced. Listings do
// not show all of them.
func (f *files) clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fromStore(err)
	}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".")
		if e.IsDir() || f.staged.has(name) {
			continue
		}
		fresh, err := touchedSince(time.Now().Add(-filesLeftoverAge), filepath.Join(dir, name), filepath.Join(dir, name+fileAttributes), filepath.Join(dir, e.Name()))
		if err != nil {
			return fromStore(err)
		}
		if fresh {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !os.IsNotExist(err) {
			return fromStore(err)
		}
	}
	return nil
}

// touchedSince tells whether one of the files that are there was changed since.
func touchedSince(since time.Time, paths ...string) (bool, error) {
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err == nil && info.ModTime().After(since) {
			return true, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}
