package stack

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"

	_ "gocloud.dev/blob/fileblob" // the default bucket's

	"github.com/strongroom-go/strongroom/storage/blobs"
)

// fileName is what the name of a database or a bucket may be that is to be a file's: no path, and no other file's where case is ignored.
var fileName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// usesDir tells whether anything is in the directory.
func (c *Config) usesDir() bool {
	for _, d := range c.Databases {
		if d.URL == "" {
			return true
		}
	}
	for _, b := range c.Buckets {
		if b.URL == "" {
			return true
		}
	}
	return c.Audit == nil || c.KEK == nil || c.Store == nil
}

// inDir returns the absolute path of what has no URL.
func inDir(dir, name string, below ...string) (string, error) {
	switch {
	case dir == "":
		return "", errors.New("its URL is empty, and so is Config.Dir, where its default is; set one of them")
	case !fileName.MatchString(name):
		return "", fmt.Errorf("its URL is empty, and its name cannot be a file's, which is 1 to 63 of a-z, 0-9, %q and %q; set its URL", "_", "-")
	}
	return filepath.Abs(filepath.Join(append([]string{dir}, below...)...))
}

func (d Database) withDefault(dir, name string) (Database, error) {
	if d.URL != "" {
		return d, nil
	}
	path, err := inDir(dir, name, name+".db")
	d.URL = "sqlite:" + path
	return d, err
}

func (b Bucket) withDefault(dir, name string) (Bucket, error) {
	if b.URL != "" {
		return b, nil
	}
	path, err := inDir(dir, name, "buckets", name)
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "create_dir=true&no_tmp_dir=true"}
	b.URL = u.String()
	var opts blobs.Options
	if b.Options != nil {
		opts = *b.Options
	}
	if opts.Label == "" {
		opts.Label = name
	}
	b.Options = &opts
	return b, err
}
