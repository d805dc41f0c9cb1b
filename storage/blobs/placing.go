package blobs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/tenant"
)

// placing makes an object of gocloud.dev's fileblob, which is two files, one for its attributes. Fileblob itself truncates the
// attributes of the object that is there before it writes those of the new one, so that a process that is killed in between
// leaves neither, and does not wait until anything is on disk. Two writers at a time may each have one of the files. So an object
// is made in the staging directory, where no listing shows it, synced, and renamed into its place under its name's lock, the
// attributes first. A crash between the two leaves the object that was there, whole, with the attributes that the new one
// was to get; a new object is not there then.
type placing struct {
	files
	short      string // staged
	name       string // where it goes
	ifNotExist bool
	mark       *blob.Attributes // that is there, and that it replaces; or nil
	began      bool             // to change what is at the name
	changed    bool             // something of it
}

func (b *bucket) newPlacing(id tenant.ID, name string, ifNotExist bool, mark *blob.Attributes) *placing {
	return &placing{files: files{sole: sole{b}, dir: stagingPrefix(id)}, short: b.staged.add(), name: name, ifNotExist: ifNotExist, mark: mark}
}

// errAttributesName refuses what fileblob refuses, which does not see where an object goes that is staged: the file of that name is
// the attributes of another object.
var errAttributesName = &codedError{gcerrors.InvalidArgument, "refused: a key that ends in " + fileAttributes,
	"blobs: on files the key of an object cannot end in " + fileAttributes + ", where the attributes of the object without it are; use another key, or Options.SealNames"}

func (p *placing) stagedName() string { return p.dir + p.short }

// complete puts the object into its place once inner, which writes it to the staging directory, is closed.
func (p *placing) complete(ctx context.Context, inner *blob.Writer) error {
	if err := inner.Close(); err != nil {
		return err
	}
	staged := p.stagedName()
	defer p.inner.Delete(context.WithoutCancel(ctx), staged) // what this leaves where it fails a later Reseal takes away
	if err := p.sync(ctx, staged); err != nil {
		return err
	}
	from, err := p.path(ctx, staged)
	if err != nil {
		return err
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(from))) // of all tenants: see stagingPrefix
	to, fresh := "", false
	if isPath(p.name) && from == filepath.Join(root, staged) {
		to = filepath.Join(root, p.name)
		if fresh, err = p.directory(ctx, filepath.Dir(to)); err != nil {
			return err
		}
	}
	done, err := p.alone(ctx, p.name)
	if err != nil {
		return err
	}
	defer done()
	switch {
	case p.mark != nil:
		err = p.unchanged(ctx, p.name, p.mark)
	case p.ifNotExist:
		var exists bool
		if exists, err = p.inner.Exists(ctx, p.name); exists {
			err = errExists
		}
	}
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	return p.exclusion.keeping(p.name, func() error {
		if to != "" {
			return p.install(ctx, from, to, root, fresh)
		}
		return p.installEscaped(ctx, from, root)
	})
}

// install puts the staged files into the object's place.
func (p *placing) install(ctx context.Context, from, to, root string, fresh bool) error {
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		return &os.PathError{Op: "rename", Path: p.name, Err: errors.New("there are objects below it, whose directory has this name")}
	}
	order := []string{fileAttributes, ""}
	if p.mark != nil { // which it is for as long as it has a mark's attributes
		order = []string{"", fileAttributes}
	}
	p.began = true
	for _, suffix := range order {
		if err := os.Rename(from+suffix, to+suffix); err != nil {
			return err
		}
		p.changed = true
	}
	if err := p.onDisk(filepath.Dir(to), root, fresh); err != nil {
		return err
	}
	is, err := p.path(ctx, p.name)
	if err == nil && is != to {
		err = errNoFiles
	}
	return err
}

// installEscaped does so where only fileblob knows how it escapes the name: it says where an object is that is there, and where
// there is none nothing can be lost.
func (p *placing) installEscaped(ctx context.Context, from, root string) error {
	to, err := p.path(ctx, p.name)
	if err == nil {
		return p.install(ctx, from, to, root, false)
	}
	if !p.noObject(err) {
		return err
	}
	p.began = true
	if err := p.inner.Copy(ctx, p.name, p.stagedName(), nil); err != nil {
		return err
	}
	if err := p.sync(ctx, p.name); err != nil {
		return err
	}
	if to, err = p.path(ctx, p.name); err != nil {
		return err
	}
	return p.onDisk(filepath.Dir(to), root, true)
}

// isPath tells whether fileblob keeps an object at its name, of which it escapes nothing.
func isPath(name string) bool {
	return os.PathSeparator == '/' && !strings.HasSuffix(name, "/") && !strings.Contains(name, "../") && !strings.Contains(name, "//") && !strings.Contains(name, "__0x") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' })
}

// directory sees to it that there is a directory, with the mode that fileblob gives to those that it makes, and tells whether it
// was made here.
func (p *placing) directory(ctx context.Context, dir string) (fresh bool, err error) {
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	// A writer that is cancelled makes the directories, and no object.
	cancelled, cancel := context.WithCancel(ctx)
	w, err := p.inner.NewWriter(cancelled, p.name, &blob.WriterOptions{ContentType: storedContentType})
	cancel()
	if err != nil {
		return false, err
	}
	if err := w.Close(); err == nil {
		return false, errNoFiles
	}
	return true, nil
}

// onDisk returns when what was renamed in a directory below root is so on disk, and so is the directory itself, with those that it is in:
// somebody else may have made it a moment ago, as may this process for what is staged. Which ones are there for good is remembered,
// and not asked for where they were made anew.
func (p *placing) onDisk(dir, root string, fresh bool) error {
	if err := syncDirectory(dir); err != nil {
		return err
	}
	var entered []string
	for at := dir; len(at) > len(root) && (fresh || !p.durable.Contains(at)); at = filepath.Dir(at) {
		if err := syncDirectory(filepath.Dir(at)); err != nil {
			return err
		}
		entered = append(entered, at)
	}
	for _, at := range entered {
		p.durable.Add(at, struct{}{})
	}
	return nil
}

// maxDurable bounds the directories that are remembered as on disk.
const maxDurable = 1 << 14

// syncDirectory returns when what was renamed in a directory is so on disk. Tests look on.
var syncDirectory = func(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// drop forgets what was staged, or was about to be. P may be nil.
func (p *placing) drop() {
	if p != nil {
		p.staged.remove(p.short)
	}
}

// fileblobTemporary are the names of what fileblob itself writes to with its option NoTempDir, until the writer is closed: beside
// the objects, where versions of this package before placing left them when they were killed.
var fileblobTemporary = regexp.MustCompile(`\.[0-9a-f]{1,16}\.tmp$`)

// temporary tells whether what the store lists is no object but that. Objects, of whatever name, have attributes.
func (b *bucket) temporary(ctx context.Context, name string) (bool, error) {
	if !b.onFiles || !fileblobTemporary.MatchString(name) {
		return false, nil
	}
	a, err := b.inner.Attributes(ctx, name)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return true, nil
	}
	if err != nil {
		return false, fromStore(err)
	}
	return a.Metadata[attributesName] == "", nil
}
