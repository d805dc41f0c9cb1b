package blobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// fileLister lists the objects that gocloud.dev's fileblob keeps in a directory, in the order of their names. Fileblob's own listing
// leaves some out, and says nothing of it: what is in a directory that it cannot read, be it closed to the process or be too many files
// open just then; what is behind a symbolic link; what it comes to only after a page is full although its name is of that page, as "a-b" is
// before "a/1" and "a/2"; and "a/" itself, where that is the prefix. Of an object that is in no listing nobody knows: [Reseal] would count
// nothing that needs an older key, which then is destroyed.
type fileLister struct {
	ctx       context.Context
	root      string // see filePage
	prefix    string // of the names
	delimiter string
	linked    func(name string) error // what a link is that leads to no file; nil for an object, as which it is found out when it is read
	first     *firstKeys
	dir       string // the name up to a delimiter that was listed last
}

// errStoreAway is not that there are no objects.
var errStoreAway = errors.New("blobs: the store's directory is not there; see whether its file system is mounted")

// errLinked refuses a link among a tenant's objects, which this package does not make.
func errLinked(name string) error {
	return &codedError{gcerrors.FailedPrecondition, "refused: a link among the objects", fmt.Sprintf(
		"blobs: %q in the store is a symbolic link, and leads to no file: what is behind it would be left out, or be another tenant's; put the directory there, or mount it", name)}
}

// filePage is a page of a store of files, for which nothing is not found but what is not there. Root is what the paths of all objects begin with.
func filePage(inner *blob.Bucket, l *fileLister, after string, size int) (found []*blob.ListObject, next string, err error) {
	found, next, err = l.page(after, size)
	var info os.FileInfo
	if err == nil && len(found) == 0 && !inner.As(&info) { // which is to say what the directory is
		err = errStoreAway
	}
	return found, next, err
}

// page returns the names behind after, which is the last one of the page before, and next for the page behind, if there is one.
func (l *fileLister) page(after string, size int) (found []*blob.ListObject, next string, err error) {
	l.first = &firstKeys{n: size + 1, after: after}
	// The directory that the prefix ends in, if fileblob keeps it at its name, or else the first one.
	start := l.prefix[:strings.LastIndexByte(l.prefix, '/')+1]
	if !isDirectory(start) {
		start = l.prefix[:strings.IndexByte(l.prefix, '/')+1]
	}
	if !isDirectory(start) {
		start = ""
	}
	if err := l.from(start); err != nil {
		return nil, "", err
	}
	objects := l.first.trim()
	if len(objects) > size {
		objects = objects[:size]
		next = objects[size-1].Key
	}
	found = make([]*blob.ListObject, len(objects))
	for i, o := range objects {
		found[i] = &blob.ListObject{Key: o.Key, ModTime: o.ModTime, Size: o.Size, IsDir: o.IsDir}
	}
	return found, next, nil
}

// isDirectory tells whether what is below a name, which ends in a slash, is in the directory of that name, and nothing else is.
func isDirectory(name string) bool {
	dir, ok := strings.CutSuffix(name, "/")
	return ok && dir != "." && fs.ValidPath(dir) && isPath(name+"x")
}

// from lists what is in one directory, which need not be there, and the object of its very name.
func (l *fileLister) from(start string) error {
	if l.linked != nil {
		// Below the first directory, which may be elsewhere.
		for i := strings.IndexByte(start, '/') + 1; i < len(start); i++ {
			if start[i] != '/' {
				continue
			}
			info, err := os.Lstat(l.root + filepath.FromSlash(start[:i]))
			if err == nil && isLink(info.Mode()) {
				return l.linked(start[:i])
			}
		}
	}
	if start != "" && start == l.prefix {
		// Fileblob writes a slash at the end of a name so.
		path := l.root + filepath.FromSlash(strings.TrimSuffix(start, "/")) + "__0x2f__"
		if info, err := os.Lstat(path); err == nil && !info.IsDir() {
			if err := l.entry(start, path, fs.FileInfoToDirEntry(info)); err != nil {
				return err
			}
		} else if err != nil && !isAbsent(err) && !errors.Is(err, syscall.ENAMETOOLONG) {
			return err
		}
	}
	// A part of a bucket may begin within a name.
	dir, within := filepath.Split(l.root + filepath.FromSlash(start))
	if _, err := os.Lstat(dir); errors.Is(err, syscall.ENAMETOOLONG) {
		return nil
	}
	return l.directory(dir, unescapeFile(within), start)
}

// isAbsent tells whether nothing is at a path, as there is nothing below a file.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// isLink tells what is no file itself and may stand for one, or for a directory: on Windows there is more of that.
func isLink(mode fs.FileMode) bool { return mode&(fs.ModeSymlink|fs.ModeIrregular) != 0 }

// directory lists what is in a directory whose objects' names begin with a name, and whose entries' with within.
func (l *fileLister) directory(path, within, name string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if isAbsent(err) {
		return nil // nothing was written there, or nothing is there any more
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(unescapeFile(e.Name()), within)
		if !ok {
			continue
		}
		if err := l.entry(name+rest, filepath.Join(path, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

// entry lists what is at a name.
func (l *fileLister) entry(name, path string, e fs.DirEntry) error {
	switch attributes := strings.HasSuffix(path, fileAttributes); {
	case e.IsDir():
		if l.wantsBelow(name + "/") {
			return l.directory(path, "", name+"/")
		}
	case isLink(e.Type()):
		to, err := os.Stat(path)
		switch isFile := err == nil && !to.IsDir(); {
		case isFile && !attributes && to.Mode().IsRegular():
			return l.file(name, fs.FileInfoToDirEntry(to))
		case isFile || attributes && isAbsent(err) || !l.wantsBelow(name+"/") && !strings.HasPrefix(name, l.prefix):
		case l.linked != nil:
			return l.linked(name)
		default:
			return l.file(name, e)
		}
	case e.Type().IsRegular() && !attributes: // who reads a pipe waits for it, and a pipe is no object
		return l.file(name, e)
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
	if !strings.HasPrefix(name, l.prefix) {
		return nil
	}
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
