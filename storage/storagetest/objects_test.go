package storagetest_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/storagetest"
	"github.com/strongroom-go/strongroom/tenant"
)

// A guard of a bucket that is broken in one way is found, whatever the way.
func TestBrokenBucketsAreFound(t *testing.T) {
	for broken, found := range map[string]string{ // "" for the guard that is not broken
		"nothing":        "",
		"reads":          "read what another tenant has and this one has not",
		"ranges":         "read a range of what another tenant has and this one has not",
		"attributes":     "look up what another tenant has and this one has not",
		"copies":         "copy what another tenant has and this one has not",
		"deletions":      "delete what another tenant has and this one has not",
		"lists":          "is another tenant's",
		"lists of all":   "is another tenant's",
		"page tokens":    "go on in another tenant's listing",
		"no tenant":      "without a tenant in its context",
		"no trail":       "a read left no event",
		"places":         "it opens, as",
		"clear metadata": "metadata or headers of the object",
		"clear content":  "is stored in the clear",
	} {
		t.Run(broken, func(t *testing.T) {
			e := storagetest.New(t, schema, ddl...)
			s := suite(e)
			s.Tenants = [2]tenant.ID{tenant.MustParse("first"), tenant.MustParse("second")}
			guard := &brokenBucket{good: e.Bucket, ids: s.Tenants, broken: broken}
			switch broken {
			case "no trail":
				silent, err := blobs.Wrap(e.RawBucket, storage.Guard{Keys: e.Keys, Audit: &storagetest.Trail{}}, &blobs.Options{Label: "storagetest"})
				if err != nil {
					t.Fatal(err)
				}
				guard.good = silent
			case "places", "clear metadata", "clear content":
				guard.good = blob.NewBucket(&homemade{raw: e.RawBucket, broken: broken})
				s.Trail = nil
			}
			s.Bucket = blob.NewBucket(guard)
			problems, err := s.Check(t.Context())
			all := strings.Join(problems, "\n")
			if err != nil || found == "" != (len(problems) == 0) || !strings.Contains(all, found) {
				t.Errorf("%v\n%s", err, all)
			}
		})
	}
}

// brokenBucket looks for what a tenant has not among the other's objects, in one operation.
type brokenBucket struct {
	driver.Bucket // nil: what is not here is not called
	good          *blob.Bucket
	ids           [2]tenant.ID
	broken        string
}

func (b *brokenBucket) other(ctx context.Context) context.Context {
	a, err := tenant.FromContext(ctx)
	if err != nil {
		return ctx
	}
	if a.Tenant = b.ids[0]; a.Tenant == accessIn(ctx) {
		a.Tenant = b.ids[1]
	}
	return tenant.NewContext(ctx, a)
}

func accessIn(ctx context.Context) tenant.ID {
	a, _ := tenant.FromContext(ctx)
	return a.Tenant
}

func (b *brokenBucket) try(ctx context.Context, what string, do func(context.Context) error) error {
	err := do(ctx)
	if gcerrors.Code(err) == gcerrors.NotFound && b.broken == what {
		err = do(b.other(ctx))
	}
	return err
}

func (b *brokenBucket) ErrorCode(err error) gcerrors.ErrorCode { return gcerrors.Code(err) }
func (b *brokenBucket) ErrorAs(err error, i any) bool          { return false }
func (b *brokenBucket) As(any) bool                            { return false }
func (b *brokenBucket) Close() error                           { return nil }

func (b *brokenBucket) Attributes(ctx context.Context, key string) (found *driver.Attributes, err error) {
	err = b.try(ctx, "attributes", func(ctx context.Context) error {
		a, err := b.good.Attributes(ctx, key)
		if err == nil {
			found = &driver.Attributes{Size: a.Size, Metadata: a.Metadata, ContentDisposition: a.ContentDisposition}
		}
		return err
	})
	return found, err
}

type goodReader struct{ *blob.Reader }

func (r goodReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{Size: r.Size()}
}

func (b *brokenBucket) NewRangeReader(ctx context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (found driver.Reader, err error) {
	if accessIn(ctx).IsZero() && b.broken == "no tenant" {
		ctx = tenant.NewContext(ctx, tenant.Access{Tenant: b.ids[0], Actor: "x", Purpose: "x"})
	}
	err = b.try(ctx, map[bool]string{true: "ranges", false: "reads"}[offset > 0], func(ctx context.Context) error {
		r, err := b.good.NewRangeReader(ctx, key, offset, length, nil)
		if err == nil {
			found = goodReader{r}
		}
		return err
	})
	return found, err
}

func (b *brokenBucket) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	return b.good.NewWriter(ctx, key, &blob.WriterOptions{ContentType: contentType, ContentDisposition: o.ContentDisposition, Metadata: o.Metadata})
}

func (b *brokenBucket) Delete(ctx context.Context, key string, _ *driver.DeleteOptions) error {
	return b.try(ctx, "deletions", func(ctx context.Context) error { return b.good.Delete(ctx, key) })
}

func (b *brokenBucket) Copy(ctx context.Context, to, from string, _ *driver.CopyOptions) error {
	return b.try(ctx, "copies", func(at context.Context) error {
		content, err := b.good.ReadAll(at, from)
		if err != nil {
			return err
		}
		return b.good.WriteAll(ctx, to, content, nil)
	})
}

func (b *brokenBucket) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	after := string(o.PageToken)
	if id, last, ok := strings.Cut(after, "\n"); ok && b.broken == "page tokens" { // goes on as who has begun
		after = last
		ctx = tenant.NewContext(ctx, tenant.Access{Tenant: tenant.MustParse(id), Actor: "x", Purpose: "x"})
	} else if ok && id != accessIn(ctx).String() {
		return nil, errors.New("another tenant's token")
	} else if ok {
		after = last
	}
	contexts := []context.Context{ctx}
	if b.broken == "lists" || b.broken == "lists of all" && o.Prefix == "" {
		contexts = append(contexts, b.other(ctx))
	}
	page := &driver.ListPage{}
	for _, ctx := range contexts {
		for list := b.good.List(&blob.ListOptions{Prefix: o.Prefix}); ; {
			found, err := list.Next(ctx)
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			if found.Key <= after {
				continue
			}
			if o.PageSize > 0 && len(page.Objects) == o.PageSize {
				page.NextPageToken = []byte(accessIn(ctx).String() + "\n" + page.Objects[o.PageSize-1].Key)
				break
			}
			page.Objects = append(page.Objects, &driver.ListObject{Key: found.Key, Size: found.Size})
		}
	}
	return page, nil
}

// homemade keeps tenants apart by the names of their objects alone, and writes contents in another form than the clear.
type homemade struct {
	brokenBucket
	raw    *blob.Bucket
	broken string
}

func (h *homemade) name(ctx context.Context, key string) (string, error) {
	a, err := tenant.FromContext(ctx)
	return a.Tenant.String() + "/" + key, err
}

func (h *homemade) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	name, err := h.name(ctx, key)
	if err != nil {
		return nil, err
	}
	a, err := h.raw.Attributes(ctx, name)
	if err != nil {
		return nil, err
	}
	opened := map[string]string{}
	for k, v := range a.Metadata {
		if plain, err := hex.DecodeString(v); err == nil {
			v = string(plain)
		}
		opened[k] = v
	}
	size := a.Size / 2
	if h.broken == "clear content" {
		size = a.Size
	}
	return &driver.Attributes{Size: size, Metadata: opened}, nil
}

func (h *homemade) NewRangeReader(ctx context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	name, err := h.name(ctx, key)
	if err != nil {
		return nil, err
	}
	content, err := h.raw.ReadAll(ctx, name)
	if err != nil {
		return nil, err
	}
	if plain, err := hex.DecodeString(string(content)); err == nil {
		content = plain
	}
	content = content[offset:]
	if length >= 0 {
		content = content[:length]
	}
	return plainReader{strings.NewReader(string(content))}, nil
}

type plainReader struct{ *strings.Reader }

func (r plainReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{Size: r.Size()}
}
func (plainReader) As(any) bool  { return false }
func (plainReader) Close() error { return nil }

type homemadeWriter struct {
	strings.Builder
	close func(string) error
}

func (w *homemadeWriter) Close() error { return w.close(w.String()) }

func (h *homemade) NewTypedWriter(ctx context.Context, key, _ string, o *driver.WriterOptions) (driver.Writer, error) {
	name, err := h.name(ctx, key)
	if err != nil {
		return nil, err
	}
	metadata := map[string]string{}
	for k, v := range o.Metadata {
		if h.broken != "clear metadata" {
			v = hex.EncodeToString([]byte(v))
		}
		metadata[k] = v
	}
	return &homemadeWriter{close: func(content string) error {
		if h.broken != "clear content" {
			content = hex.EncodeToString([]byte(content))
		}
		return h.raw.WriteAll(ctx, name, []byte(content), &blob.WriterOptions{Metadata: metadata})
	}}, nil
}

func (h *homemade) Delete(ctx context.Context, key string, _ *driver.DeleteOptions) error {
	name, err := h.name(ctx, key)
	if err != nil {
		return err
	}
	return h.raw.Delete(ctx, name)
}

func (h *homemade) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	prefix, err := h.name(ctx, "")
	if err != nil {
		return nil, err
	}
	page := &driver.ListPage{}
	for list := h.raw.List(&blob.ListOptions{Prefix: prefix + o.Prefix}); ; {
		found, err := list.Next(ctx)
		if err == io.EOF {
			return page, nil
		}
		if err != nil {
			return nil, err
		}
		page.Objects = append(page.Objects, &driver.ListObject{Key: strings.TrimPrefix(found.Key, prefix)})
	}
}
