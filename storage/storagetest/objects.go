package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// The objects of the suite: one of a name that both tenants use, and one of a name that tells whose it is.
const (
	commonKey   = "storagetest/object"
	objectsType = "text/x-storagetest"
)

func ownKey(id tenant.ID) string { return "storagetest/of-" + id.String() }

func contentOf(id tenant.ID) string { return "object of " + id.String() }

func (c *check) bucketFails(what string, id tenant.ID, err error) {
	c.problem("bucket: %s as %s: %v", what, id, err)
}

// objects stores objects of both tenants, and looks at what each has then.
func (c *check) objects() {
	if c.Bucket == nil {
		return
	}
	if _, err := c.Bucket.ReadAll(c.ctx, commonKey); !errors.Is(err, tenant.ErrMissing) {
		c.problem("bucket: a read without a tenant in its context gave %v: is Bucket opened with blobs.Open or blobs.Wrap?", err)
	}
	before := map[tenant.ID][]string{c.a: c.names(c.a), c.b: c.names(c.b)}
	place := map[tenant.ID]string{}
	for _, id := range []tenant.ID{c.a, c.b} {
		raw := c.rawNames()
		if !c.write(id, commonKey) {
			return
		}
		if made := without(c.rawNames(), raw); len(made) == 1 {
			place[id] = made[0]
		}
		if !c.write(id, ownKey(id)) {
			return
		}
		if id == c.a {
			c.absent(c.b, c.a, commonKey, ownKey(c.a))
		}
	}
	for _, id := range []tenant.ID{c.a, c.b} {
		c.own(id, commonKey)
		c.own(id, ownKey(id))
		c.sealedObjects(id)
		if names, want := c.names(id), sorted(append(without(before[id], []string{commonKey, ownKey(id)}), commonKey, ownKey(id))); !slices.Equal(names, want) {
			c.bucketFails("list", id, fmt.Errorf("it gave %q, and the tenant has %q", names, want))
		}
	}
	c.pages()
	c.moved(place[c.a], place[c.b])
	for _, id := range []tenant.ID{c.a, c.b} {
		for _, key := range []string{commonKey, ownKey(id)} {
			if err := c.Bucket.Delete(access(c.ctx, id), key); err != nil {
				c.bucketFails("delete", id, err)
			}
		}
		if id == c.a {
			c.absent(c.a, c.b, commonKey, ownKey(c.b))
		}
	}
}

// without are the names that are not among others.
func without(names, others []string) (left []string) {
	for _, name := range names {
		if !slices.Contains(others, name) {
			left = append(left, name)
		}
	}
	return left
}

// write stores an object, which leaves an event.
func (c *check) write(id tenant.ID, key string) bool {
	ok := false
	c.recorded(id, "a write", func() {
		err := c.Bucket.WriteAll(access(c.ctx, id), key, []byte(contentOf(id)), &blob.WriterOptions{
			ContentType: objectsType, ContentDisposition: `attachment; filename="` + contentOf(id) + `"`, Metadata: map[string]string{"storagetest": contentOf(id)}})
		if ok = err == nil; !ok {
			c.bucketFails("write", id, err)
		}
	})
	return ok
}

// recorded tells of what leaves no event of the tenant's.
func (c *check) recorded(id tenant.ID, what string, do func()) {
	if c.Trail != nil {
		c.Trail.Events()
	}
	do()
	if c.Trail != nil && !slices.ContainsFunc(c.Trail.Events(), func(e audit.Event) bool { return e.Tenant == id && e.Store == "blob" && e.Phase == audit.Intent }) {
		c.problem("bucket: %s left no event of the tenant's: was Bucket opened with this Trail?", what)
	}
}

// own looks at an object of the tenant's.
func (c *check) own(id tenant.ID, key string) {
	ctx, want := access(c.ctx, id), contentOf(id)
	c.recorded(id, "a read", func() {
		got, err := c.Bucket.ReadAll(ctx, key)
		if err == nil && string(got) != want {
			err = fmt.Errorf("it is %q", got)
		}
		if err != nil {
			c.bucketFails("read", id, err)
		}
	})
	a, err := c.Bucket.Attributes(ctx, key)
	if err == nil && (a.Metadata["storagetest"] != want || a.Size != int64(len(want))) {
		err = fmt.Errorf("they are %v, of %d bytes", a.Metadata, a.Size)
	}
	if err != nil {
		c.bucketFails("attributes", id, err)
	}
}

// absent has a tenant do everything to objects that another has and it has not. It must find nothing, and change nothing.
func (c *check) absent(id, other tenant.ID, keys ...string) {
	ctx := access(c.ctx, id)
	const copied = "storagetest/copy"
	for _, key := range keys {
		for what, do := range map[string]func() error{
			"read": func() error { _, err := c.Bucket.ReadAll(ctx, key); return err },
			"read a range of": func() error {
				r, err := c.Bucket.NewRangeReader(ctx, key, 1, 3, nil)
				if err == nil {
					err = r.Close()
				}
				return err
			},
			"look up": func() error { _, err := c.Bucket.Attributes(ctx, key); return err },
			"copy": func() error {
				err := c.Bucket.Copy(ctx, copied, key, nil)
				if err == nil {
					err = c.Bucket.Delete(ctx, copied)
				}
				return err
			},
			"delete": func() error { return c.Bucket.Delete(ctx, key) },
		} {
			if err := do(); gcerrors.Code(err) != gcerrors.NotFound {
				c.bucketFails(what+" what another tenant has and this one has not", id, fmt.Errorf("it gave %v, and not that there is none", err))
			}
		}
		if names := c.names(id); slices.Contains(names, key) {
			c.bucketFails("list", id, fmt.Errorf("%q is another tenant's", key))
		}
		c.own(other, key)
	}
}

// moved has the objects of both tenants change places underneath. Neither may open as the other's.
func (c *check) moved(a, b string) {
	if a == "" || b == "" {
		return
	}
	ofA, err := c.storedObject(a)
	ofB, failed := c.storedObject(b)
	put := func(name string, o *rawObject) {
		if err == nil {
			err = c.RawBucket.WriteAll(c.ctx, name, o.content, &o.WriterOptions)
		}
	}
	err = errors.Join(err, failed)
	put(a, ofB)
	put(b, ofA)
	for _, id := range []tenant.ID{c.a, c.b} {
		if err != nil {
			break
		}
		if got, opened := c.Bucket.ReadAll(access(c.ctx, id), commonKey); opened == nil {
			c.bucketFails("read what another tenant's object was moved to underneath", id, fmt.Errorf("it opens, as %q", got))
		}
		if a, opened := c.Bucket.Attributes(access(c.ctx, id), commonKey); opened == nil {
			c.bucketFails("look up what another tenant's object was moved to underneath", id, fmt.Errorf("its metadata open, as %v", a.Metadata))
		}
	}
	put(a, ofA)
	put(b, ofB)
	if err != nil {
		c.problem("bucket: move objects without a guard: %v", err)
		return
	}
	c.own(c.a, commonKey)
	c.own(c.b, commonKey)
}

// names lists all that a tenant has, and again only what is in the suite's directory.
func (c *check) names(id tenant.ID) (names []string) {
	all, err := listed(access(c.ctx, id), c.Bucket, "")
	part, failed := listed(access(c.ctx, id), c.Bucket, "storagetest/")
	if err := errors.Join(err, failed); err != nil {
		c.bucketFails("list", id, err)
		return nil
	}
	for _, name := range all {
		if strings.HasPrefix(name, "storagetest/") != slices.Contains(part, name) {
			c.bucketFails("list", id, fmt.Errorf("%q and %q, the part of it in a directory, do not agree", all, part))
			break
		}
	}
	return sorted(all)
}

func listed(ctx context.Context, b *blob.Bucket, prefix string) (names []string, err error) {
	for list := b.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		names = append(names, o.Key)
	}
}

// pages goes on in one tenant's listing as the other.
func (c *check) pages() {
	for id, other := range map[tenant.ID]tenant.ID{c.a: c.b, c.b: c.a} {
		opts := &blob.ListOptions{Prefix: "storagetest/"}
		_, next, err := c.Bucket.ListPage(access(c.ctx, id), blob.FirstPageToken, 1, opts)
		if err != nil || len(next) == 0 {
			c.bucketFails("list a page of one object of two", id, errors.Join(err, fmt.Errorf("the token of the next page has %d bytes", len(next))))
			continue
		}
		found, _, err := c.Bucket.ListPage(access(c.ctx, other), next, 10, opts)
		for _, o := range found {
			if err == nil && o.Key != commonKey && o.Key != ownKey(other) {
				c.bucketFails("go on in another tenant's listing", other, fmt.Errorf("it gave %q", o.Key))
			}
		}
	}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// rawNames are those of all that is underneath.
func (c *check) rawNames() []string {
	if c.RawBucket == nil {
		return nil
	}
	names, err := listed(c.ctx, c.RawBucket, "")
	if err != nil {
		c.problem("bucket: list without a guard: %v", err)
	}
	return names
}

// sealedObjects looks for what a tenant stored in what is underneath.
func (c *check) sealedObjects(id tenant.ID) {
	if c.RawBucket == nil {
		return
	}
	names := c.rawNames()
	for _, name := range names {
		o, err := c.storedObject(name)
		if err != nil {
			c.problem("bucket: read without a guard: %v", err)
			return
		}
		if strings.Contains(string(o.content), contentOf(id)) {
			c.problem("bucket: the object of %s is stored in the clear", id)
		}
		if strings.Contains(o.attributes(), contentOf(id)) {
			c.problem("bucket: metadata or headers of the object of %s are stored in the clear", id)
		}
	}
	if len(names) < 4 {
		c.problem("bucket: RawBucket has %d objects, and the suite stored four: it is not what Bucket is a guard of", len(names))
	}
}

// rawObject is an object underneath.
type rawObject struct {
	content []byte
	blob.WriterOptions
}

func (o *rawObject) attributes() string {
	return fmt.Sprint(o.ContentType, o.ContentDisposition, o.ContentEncoding, o.ContentLanguage, o.CacheControl, slices.Collect(maps.Values(o.Metadata)))
}

func (c *check) storedObject(name string) (*rawObject, error) {
	content, err := c.RawBucket.ReadAll(c.ctx, name)
	if err != nil {
		return nil, err
	}
	a, err := c.RawBucket.Attributes(c.ctx, name)
	if err != nil {
		return nil, err
	}
	return &rawObject{content, blob.WriterOptions{ContentType: a.ContentType, ContentDisposition: a.ContentDisposition, ContentEncoding: a.ContentEncoding,
		ContentLanguage: a.ContentLanguage, CacheControl: a.CacheControl, Metadata: a.Metadata}}, nil
}
