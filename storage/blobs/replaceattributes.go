package blobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/strongroom-go/strongroom/keys"
)

// errNoLink means that attributes cannot be replaced alone on this file system.
var errNoLink = errors.New("blobs: no hard links")

// attributesOnly tells whether only the attributes of an object are to be moved, and the content has what they say of it.
func (n *renewal) attributesOnly() bool {
	if n.target != n.object.name || !bytes.Equal(n.src.headers, n.src.stat.sealed.Headers) {
		return false
	}
	left := n.behind(n.keys, n.object.named, attributesKey(n.src.stat.stored), contentKey(n.src.headers[:objectHeaderSize]))
	for _, l := range left {
		if l.Purpose != keys.PurposeData {
			return false
		}
	}
	return len(left) > 0
}

// putAttributes seals an object's attributes anew and leaves its content, which they do not change: a file of its own. The new one
// is made beside a second name of the content, in the staging directory, opened there as any reader would, and renamed into
// the place of the older one if that still is the version that was read.
func (f *files) putAttributes(ctx context.Context, n *renewal) (unknown bool, err error) {
	attrs := *n.src.stat.sealed
	metadata, err := attrs.seal(n.keys, f.label, n.object.key, max(f.limit, len(n.src.stat.stored.Metadata[attributesName])))
	if err != nil {
		return false, err
	}
	path, err := f.path(ctx, n.target)
	if err != nil {
		return false, err
	}
	short := f.staged.add()
	defer f.staged.remove(short)
	staged := filepath.Join(f.at, short)
	// The attributes first: they are new, and show another process that what is staged is no leftover, however old the content is.
	if err := rewriteAttributes(path+fileAttributes, staged+fileAttributes, metadata); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return false, errReplaced
		}
		return false, fromStore(err)
	}
	defer os.Remove(staged + fileAttributes)
	if err := os.Link(path, staged); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return false, errReplaced
		}
		return false, errNoLink
	}
	defer os.Remove(staged)
	if s, err := f.statAt(ctx, n.keys, n.object.key, f.dir+short); err != nil || !reflect.DeepEqual(s.sealed, &attrs) {
		return false, errUnproven
	}
	done, err := f.alone(ctx, n.target)
	if err != nil {
		return false, err
	}
	defer done()
	if err := f.unchanged(ctx, n.target, n.replaces); err != nil {
		return false, err
	}
	err = f.exclusion.keeping(n.target, func() error {
		if err := os.Rename(staged+fileAttributes, path+fileAttributes); err != nil {
			return err
		}
		return syncDirectory(filepath.Dir(path))
	})
	return err != nil, fromStore(err)
}

// rewriteAttributes writes fileblob's attributes with other metadata, and all else as it is: the MD5 of the content, for one.
func rewriteAttributes(from, to string, metadata map[string]string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("blobs: the attributes' file is not fileblob's: %w", err)
	}
	if all["user.metadata"], err = json.Marshal(metadata); err != nil {
		return err
	}
	if text, err = json.Marshal(all); err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = out.Write(append(text, '\n'))
	return errors.Join(err, out.Sync(), out.Close())
}
