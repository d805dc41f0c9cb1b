package blobs

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
)

// asTenant is the driver under test with the access that every request of a service has in its context, and the
// suite's contexts do not.
type asTenant struct {
	driver.Bucket
}

// with returns ctx with the tenant's access.
func (d asTenant) with(ctx context.Context) context.Context { return accessOf(ctx, alice) }

func (d asTenant) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	return d.Bucket.Attributes(d.with(ctx), key)
}

func (d asTenant) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	return d.Bucket.ListPaged(d.with(ctx), o)
}

func (d asTenant) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	return d.Bucket.NewRangeReader(d.with(ctx), key, offset, length, o)
}

func (d asTenant) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	return d.Bucket.NewTypedWriter(d.with(ctx), key, contentType, o)
}

func (d asTenant) Copy(ctx context.Context, dst, src string, o *driver.CopyOptions) error {
	return d.Bucket.Copy(d.with(ctx), dst, src, o)
}

func (d asTenant) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	return d.Bucket.Delete(d.with(ctx), key, o)
}

func (d asTenant) SignedURL(ctx context.Context, key string, o *driver.SignedURLOptions) (string, error) {
	return d.Bucket.SignedURL(d.with(ctx), key, o)
}

// harness is what gocloud's suite asks of a driver. open returns a new inner bucket on the same storage.
type harness struct {
	ifMatch     func(func(any) bool, *blob.Attributes) error
	soleProcess bool
	world       *world
	open        func() (*blob.Bucket, error)
	nonexistent func() (*blob.Bucket, error) // nil where there is no such thing
	delimiters  bool
	sealNames   bool
	// keepOpen is for memory, which is one bucket however often it is opened.
	keepOpen bool
	signer   *Signer
	server   *httptest.Server
}

// newHarness returns a harness whose signed URLs lead to a handler on a server.
func newHarness(t *testing.T, open func() (*blob.Bucket, error)) *harness {
	h := &harness{world: newWorld(t), open: open, delimiters: true}
	h.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := h.MakeDriver(r.Context())
		if err != nil {
			t.Error(err)
			return
		}
		handler, err := NewHandler(blob.NewBucket(d), h.signer, nil)
		if err != nil {
			t.Error(err)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	var err error
	h.signer, err = NewSigner(newHandle(t, aead.AES256GCMKeyTemplate()), &SignerOptions{URL: h.server.URL + "/objects"})
	must(t, err)
	return h
}

func (h *harness) driver(open func() (*blob.Bucket, error)) (driver.Bucket, error) {
	inner, err := open()
	if err != nil {
		return nil, err
	}
	b, err := wrap(inner, h.world.guard, &Options{Label: "conformance", Signer: h.signer, SealNames: h.sealNames, IfMatch: h.ifMatch, SoleProcess: h.soleProcess})
	if err != nil {
		return nil, err
	}
	if h.keepOpen {
		return keptOpen{asTenant{Bucket: b}}, nil
	}
	return asTenant{Bucket: b}, nil
}

type keptOpen struct{ asTenant }

func (keptOpen) Close() error { return nil }

func (h *harness) MakeDriver(context.Context) (driver.Bucket, error) { return h.driver(h.open) }

func (h *harness) MakeDriverForNonexistentBucket(context.Context) (driver.Bucket, error) {
	if h.nonexistent == nil {
		return nil, nil
	}
	return h.driver(h.nonexistent)
}

// HTTPClient is for signed URLs only.
func (h *harness) HTTPClient() *http.Client { return h.server.Client() }

func (h *harness) SupportsCopy() bool { return true }

func (h *harness) SupportsNonSlashDelimiters() bool { return h.delimiters }

func (h *harness) SkipDownloadAt() bool { return false }

func (h *harness) Close() { h.server.Close() }

// Nothing is excluded on memory and files, with names as they are and with sealed ones; for S3 see slashless.

func TestConformanceMemory(t *testing.T)            { conformMemory(t, false) }
func TestConformanceMemorySealedNames(t *testing.T) { conformMemory(t, true) }
func TestConformanceFiles(t *testing.T)             { conformFiles(t, false) }
func TestConformanceFilesSealedNames(t *testing.T)  { conformFiles(t, true) }

func conformMemory(t *testing.T, sealNames bool) {
	drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
		inner := memblob.OpenBucket(nil)
		h := newHarness(t, func() (*blob.Bucket, error) { return inner, nil })
		h.keepOpen, h.sealNames = true, sealNames
		return h, nil
	}, nil)
}

func conformFiles(t *testing.T, sealNames bool) {
	drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
		dir := t.TempDir()
		h := newHarness(t, func() (*blob.Bucket, error) { return fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true}) })
		h.sealNames = sealNames
		return h, nil
	}, nil)
}
