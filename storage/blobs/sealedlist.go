package blobs

import (
	"context"
	"strings"
	"unicode/utf8"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
)

// maxSortedPage bounds a page of a listing of sealed names, and with it the memory that a listing takes.
const maxSortedPage = 10_000

// listRenamed lists sealed names, and does it again if objects may have got other names meanwhile, which it would have missed.
func (b *bucket) listRenamed(ctx context.Context, pass *gate.Pass, opts *driver.ListOptions) (*driver.ListPage, error) {
	for k := pass.Keys(); ; {
		page, err := b.listSealed(ctx, k, opts)
		now, renamed, failed := b.renamed(ctx, pass, k)
		switch {
		case failed != nil && err == nil:
			return nil, failed
		case failed != nil || !renamed:
			return page, err
		}
		k = now
	}
}

// listSealed lists sealed names in the order of their keys. The store has them in the order of their ciphertexts, so
// each page reads all that the listing is of, and keeps the part that comes next. A page that has room for all, as the
// first page of a [blob.ListIterator] does for 10,000, costs what the store's own listing costs; a listing of n names
// in pages of p costs n/p times that.
//
// The store is asked for the directory that the prefix ends in. What the prefix has beyond that, and a delimiter that is
// no slash, are applied to the keys.
func (b *bucket) listSealed(ctx context.Context, k tenantkeys.Keys, opts *driver.ListOptions) (*driver.ListPage, error) {
	if !utf8.ValidString(opts.Prefix) {
		return nil, errNotUTF8
	}
	scopes, _, err := newSealedScopes(k, b.label)
	if err != nil {
		return nil, err
	}
	size := opts.PageSize
	if size == 0 || size > maxSortedPage {
		size = maxSortedPage
	}
	first := &firstKeys{n: size + 1}
	if len(opts.PageToken) > 0 {
		after, err := openPageToken(k, b.pageAD(k), opts)
		if err != nil {
			return nil, err
		}
		first.after = string(after)
	}
	prefixes := make([]string, len(scopes))
	for i, s := range scopes {
		if prefixes[i], err = s.dir(opts.Prefix[:strings.LastIndexByte(opts.Prefix, '/')+1]); err != nil {
			return nil, err
		}
		if len(prefixes[i]) > MaxKeyLength {
			return nil, checkSealed(s.id, opts.Prefix)
		}
	}
	if err := hook(opts.BeforeList); err != nil {
		return nil, err
	}
	if err := b.oneNaming(ctx, k); err != nil {
		return nil, err
	}
	// The oldest first: an object that is moved to a newer name meanwhile is there then. One that is at both is at the newest.
	for i := len(scopes) - 1; i >= 0; i-- {
		if err := b.scan(ctx, scopes[i], prefixes[i], opts, first); err != nil {
			return nil, err
		}
	}
	page := &driver.ListPage{Objects: first.trim()}
	if len(page.Objects) > size {
		page.Objects = page.Objects[:size]
		page.NextPageToken, err = sealPageToken(k, b.pageAD(k), opts, []byte(page.Objects[size-1].Key))
	}
	return page, err
}

// scan puts all that the listing is of into first.
func (b *bucket) scan(ctx context.Context, s *sealedScope, prefix string, opts *driver.ListOptions, first *firstKeys) error {
	storeOpts := &blob.ListOptions{Prefix: prefix}
	if opts.Delimiter == "/" {
		storeOpts.Delimiter = "/"
	}
	o := opener{sealedScope: s}
	for token := blob.FirstPageToken; len(token) > 0; {
		found, next, err := b.storePage(ctx, token, defaultPageSize, storeOpts)
		if err != nil {
			return fromStore(err)
		}
		for _, f := range found {
			if !strings.HasPrefix(f.Key, prefix) {
				return isolation("the store listed a name outside of the prefix it was asked for")
			}
			if !f.IsDir && strings.HasSuffix(f.Key, "/") {
				continue // a placeholder for a directory, which no object of ours has as its name
			}
			if !f.IsDir && f.Size == markSize {
				continue // a mark, where Reseal is about to move an object to: see attributes.Mark
			}
			key, ok, err := o.key(f.Key)
			if err != nil {
				return err
			}
			if !ok || !strings.HasPrefix(key, opts.Prefix) {
				continue
			}
			isDir := f.IsDir
			if i := strings.Index(key[len(opts.Prefix):], opts.Delimiter); opts.Delimiter != "" && i >= 0 {
				key, isDir = key[:len(opts.Prefix)+i+len(opts.Delimiter)], true
			}
			if first.wants(key) {
				first.add(listObject(key, f, isDir))
			}
		}
		token = next
	}
	return nil
}

// listObject is the tenant's view of an object in the store.
func listObject(key string, o *blob.ListObject, isDir bool) *driver.ListObject {
	if isDir {
		return &driver.ListObject{Key: key, IsDir: true}
	}
	size := int64(-1)
	if l, ok := layoutOf(o.Size); ok {
		size = l.size
	}
	return &driver.ListObject{Key: key, ModTime: o.ModTime, Size: size}
}

// pageAD is the associated data of page tokens.
func (b *bucket) pageAD(k tenantkeys.Keys) []byte { return pageAD(k, b.label, b.sealNames) }
