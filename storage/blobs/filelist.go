package blobs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

// fileLister lists the objects that gocloud.dev's fileblob keeps in a directory, in the order of their names. Fileblob's own listing
// leaves some out, and says nothing of it: what is in a directory that it cannot read, be it closed to the process or be too many files
// open just then; and what it comes to only after a page is full although its name is of that page, as "a-b" is before "a/1" and
// "a/2". Of an object that is in no listing nobody knows: [Reseal] would count nothing that needs an older key, which then is
// destroyed.
type fileLister struct {
	ctx       context.Context
	prefix    string // of the names
	delimiter string
	first     *firstKeys
	dir       string // the name up to a delimiter that was listed last
}

// filePage is a page of the listing of a store of files. Root is what the paths of all objects begin with. A token is the last name of the
// page before, as fileblob's own is.
func filePage(ctx context.Context, root string, token []byte, size int, opts *blob.ListOptions) (found []*blob.ListObject, next []byte, err error) {
	l := &fileLister{ctx: ctx, prefix: opts.Prefix, delimiter: opts.Delimiter, first: &firstKeys{n: size + 1}}
	if string(token) != string(blob.FirstPageToken) {
		l.first.after = string(token)
	}
	// The directory that the prefix ends in, if fileblob keeps it at its name, or else the first one.
	start := opts.Prefix[:strings.LastIndexByte(opts.Prefix, '/')+1]
	if !isPath(start + "x") {
		start = opts.Prefix[:strings.IndexByte(opts.Prefix, '/')+1]
	}
	if !isPath(start + "x") {
		start = ""
	}
	// A part of a bucket may begin within a name.
	dir, within := filepath.Split(root + filepath.FromSlash(start))
	if err := l.directory(dir, within, start); err != nil {
		return nil, nil, err
	}
	objects := l.first.trim()
	if len(objects) > size {
		objects = objects[:size]
		next = []byte(objects[size-1].Key)
	}
	found = make([]*blob.ListObject, len(objects))
	for i, o := range objects {
		found[i] = &blob.ListObject{Key: o.Key, ModTime: o.ModTime, Size: o.Size, IsDir: o.IsDir}
	}
	return found, next, nil
}

// directory lists what is in a directory whose objects' names begin with a name, and the files' with within.
func (l *fileLister) directory(path, within, name string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was written there, or nothing is there any more
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), within)
		if !ok {
			continue
		}
		switch key := name + unescapeFile(rest); {
		case e.IsDir():
			if rest != "" && l.wantsBelow(key+"/") {
				err = l.directory(filepath.Join(path, e.Name()), "", key+"/")
			}
		case !strings.HasSuffix(e.Name(), fileAttributes) && strings.HasPrefix(key, l.prefix):
			err = l.file(key, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// upToDelimiter is what a listing has in place of a name, and whether that is no object.
func (l *fileLister) upToDelimiter(name string) (string, bool) {
	if l.delimiter == "" || len(name) < len(l.prefix) {
		return name, false
	}
	i := strings.Index(name[len(l.prefix):], l.delimiter)
	if i < 0 {
		return name, false
	}
	return name[:len(l.prefix)+i+len(l.delimiter)], true
}

// wantsBelow tells whether anything in a directory may be of use.
func (l *fileLister) wantsBelow(dir string) bool {
	if !strings.HasPrefix(dir, l.prefix) {
		return strings.HasPrefix(l.prefix, dir)
	}
	if shown, is := l.upToDelimiter(dir); is {
		return shown != l.dir && l.first.wants(shown)
	}
	// All that is listed of it begins with its name.
	before := dir < l.first.after && !strings.HasPrefix(l.first.after, dir)
	behind := l.first.most != "" && dir > l.first.most
	return !before && !behind
}

func (l *fileLister) file(name string, e fs.DirEntry) error {
	shown, isDir := l.upToDelimiter(name)
	switch {
	case !l.first.wants(shown):
		return nil
	case isDir:
		if l.dir != shown {
			l.dir = shown
			l.first.add(&driver.ListObject{Key: shown, IsDir: true})
		}
		return nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was deleted, or renamed to where it is to be
	}
	if err != nil {
		return err
	}
	l.first.add(&driver.ListObject{Key: name, ModTime: info.ModTime(), Size: info.Size()})
	return nil
}

// unescapeFile returns what fileblob has made a file's name of: it writes what it does not want there as "__0x", the rune in
// hexadecimal, and "__".
func unescapeFile(name string) string {
	const open, shut = "__0x", "__"
	var b strings.Builder
	for {
		i := strings.Index(name, open)
		if i < 0 {
			break
		}
		digits, rest, ok := strings.Cut(name[i+len(open):], "_")
		r, err := strconv.ParseInt(digits, 16, 32)
		if !ok || err != nil || !strings.HasPrefix(rest, shut[1:]) {
			b.WriteString(name[:i+1]) // what begins at the next byte may be one
			name = name[i+1:]
			continue
		}
		b.WriteString(name[:i])
		b.WriteRune(rune(r))
		name = rest[1:]
	}
	b.WriteString(name)
	return b.String()
}
