package blobs

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	alice = tenant.MustParse("alice")
	bob   = tenant.MustParse("Bob.2") // its segment has escapes
)

// recorder keeps events in memory. While refuse is set it fails the events for which refuse is true.
type recorder struct {
	mu     sync.Mutex
	events []audit.Event
	refuse func(*audit.Event) bool
}

var errLogDown = errors.New("the disk is full")

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil && r.refuse(e) {
		return errLogDown
	}
	r.events = append(r.events, *e)
	return nil
}

func (r *recorder) set(refuse func(*audit.Event) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = refuse
}

// take returns the events since the last take.
func (r *recorder) take() []audit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// world is a keyring with two tenants and a log, and the context of each tenant.
type world struct {
	ring  *keys.Keyring
	log   *recorder
	guard storage.Guard
	a, b  context.Context
	// sealNames is for the buckets that are wrapped; see eachNaming.
	sealNames bool
	// with has what else they are wrapped with.
	with Options
}

const sealedNaming = "sealed names"

// eachNaming runs a test with object names as they are and with sealed ones: every world that it makes wraps its buckets
// accordingly.
func eachNaming(t *testing.T, test func(*testing.T)) {
	t.Run("plain names", test)
	t.Run(sealedNaming, test)
}

func inSealedNaming(t testing.TB) bool {
	return strings.Contains(t.Name(), "/"+strings.ReplaceAll(sealedNaming, " ", "_"))
}

// nameOf is where a tenant's object is in the store of a bucket labelled "records".
func (w *world) nameOf(t testing.TB, id tenant.ID, key string) string {
	t.Helper()
	return w.nameIn(t, "records", id, key)
}

func (w *world) nameIn(t testing.TB, label string, id tenant.ID, key string) string {
	t.Helper()
	k, err := tenantkeys.Open(t.Context(), w.ring, id)
	must(t, err)
	name, err := (&bucket{label: label, sealNames: w.sealNames}).name(k, key)
	must(t, err)
	return name
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return worldIn(t, t.TempDir())
}

// worldIn is a world whose keys are in dir, and stay there.
func worldIn(t testing.TB, dir string) *world {
	t.Helper()
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	for _, id := range []tenant.ID{alice, bob} {
		if status, err := ring.Status(t.Context(), id); err == nil && status == keys.StatusActive {
			continue
		}
		if err := ring.Provision(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{ring: ring, log: new(recorder), sealNames: inSealedNaming(t)}
	w.guard = storage.Guard{Keys: ring, Audit: w.log}
	w.a, w.b = accessOf(t.Context(), alice), accessOf(t.Context(), bob)
	return w
}

func accessOf(ctx context.Context, id tenant.ID) context.Context {
	return tenant.NewContext(ctx, tenant.Access{Tenant: id, Actor: "nurse@" + id.String(), Purpose: "treatment"})
}

// mem returns a wrapped bucket in memory, and its inner bucket for what an attacker of the store would do.
func (w *world) mem(t testing.TB, label string) (wrapped, inner *blob.Bucket) {
	t.Helper()
	inner = memblob.OpenBucket(nil)
	return w.wrap(t, inner, label), inner
}

func (w *world) wrap(t testing.TB, inner *blob.Bucket, label string) *blob.Bucket {
	t.Helper()
	o := w.with
	o.Label, o.SealNames = label, w.sealNames
	b, err := Wrap(inner, w.guard, &o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, code gcerrors.ErrorCode) {
	t.Helper()
	if gcerrors.Code(err) != code {
		t.Errorf("got %v, want the code %v", err, code)
	}
}

func wantIs(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got %v, want %v", err, target)
	}
}

// pattern is n bytes in which no two segments are alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*17
	}
	return b
}

// raw is an object as the store has it.
type raw struct {
	body []byte
	meta map[string]string
}

func getRaw(t testing.TB, inner *blob.Bucket, name string) raw {
	t.Helper()
	body, err := inner.ReadAll(t.Context(), name)
	must(t, err)
	a, err := inner.Attributes(t.Context(), name)
	must(t, err)
	return raw{body, a.Metadata}
}

func putRaw(t testing.TB, inner *blob.Bucket, name string, r raw) {
	t.Helper()
	must(t, inner.WriteAll(t.Context(), name, r.body, &blob.WriterOptions{ContentType: storedContentType, Metadata: r.meta}))
}

func rawNames(t testing.TB, inner *blob.Bucket) []string {
	t.Helper()
	var names []string
	for it := inner.List(nil); ; {
		o, err := it.Next(t.Context())
		if err == io.EOF {
			return names
		}
		must(t, err)
		names = append(names, o.Key)
	}
}

func alerts(events []audit.Event) (n int) {
	for _, e := range events {
		if e.Code == audit.CodeIsolation {
			n++
		}
	}
	return n
}

type contextT = context.Context

func memory() *blob.Bucket { return memblob.OpenBucket(nil) }

// fileblobTypes are targets for each driver-specific type that fileblob hands out.
func fileblobTypes() []any {
	return []any{new(os.FileInfo), new(*os.File), new(io.Reader), new(*blob.Bucket)}
}

// contextsWithoutAccess carry no access, or one that is not valid.
func contextsWithoutAccess(t testing.TB) []context.Context {
	return []context.Context{
		t.Context(),
		tenant.NewContext(t.Context(), tenant.Access{}),
		tenant.NewContext(t.Context(), tenant.Access{Actor: "nurse", Purpose: "treatment"}),
		tenant.NewContext(t.Context(), tenant.Access{Tenant: alice, Purpose: "treatment"}),
		tenant.NewContext(t.Context(), tenant.Access{Tenant: alice, Actor: "nurse"}),
	}
}

// everyOperation does each on key and returns its error.
func everyOperation(b *blob.Bucket, ctx context.Context, key string) map[string]error {
	errs := map[string]error{}
	_, errs["read"] = b.ReadAll(ctx, key)
	_, errs["read a range"] = readRange(b, ctx, key, 0, 1)
	_, errs["attributes"] = b.Attributes(ctx, key)
	_, errs["list"] = b.List(nil).Next(ctx)
	errs["write"] = b.WriteAll(ctx, key+"-new", []byte("y"), nil)
	errs["upload"] = b.Upload(ctx, key+"-new", strings.NewReader("y"), &blob.WriterOptions{ContentType: "text/plain"})
	errs["copy"] = b.Copy(ctx, key+"-copy", key, nil)
	errs["delete"] = b.Delete(ctx, key)
	return errs
}

// bucketDriver is a driver over a bucket, for inner stores that misbehave. It forwards what the tests need.
type bucketDriver struct {
	driver.Bucket // nil: what is not forwarded panics
	b             *blob.Bucket
}

func innerDriver(b *blob.Bucket) bucketDriver { return bucketDriver{b: b} }

func (d bucketDriver) ErrorCode(err error) gcerrors.ErrorCode { return gcerrors.Code(err) }
func (d bucketDriver) ErrorAs(err error, i any) bool          { return d.b.ErrorAs(err, i) }
func (d bucketDriver) As(any) bool                            { return false }
func (d bucketDriver) Close() error                           { return d.b.Close() }

func (d bucketDriver) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	a, err := d.b.Attributes(ctx, key)
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{ContentType: a.ContentType, Metadata: a.Metadata, Size: a.Size, ModTime: a.ModTime, ETag: a.ETag,
		CacheControl: a.CacheControl, ContentDisposition: a.ContentDisposition, ContentEncoding: a.ContentEncoding, ContentLanguage: a.ContentLanguage}, nil
}

func (d bucketDriver) NewRangeReader(ctx context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	r, err := d.b.NewRangeReader(ctx, key, offset, length, nil)
	if err != nil {
		return nil, err
	}
	return &readerDriver{r}, nil
}

type readerDriver struct{ *blob.Reader }

func (r *readerDriver) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{ContentType: r.ContentType(), ModTime: r.ModTime(), Size: r.Size()}
}

func (d bucketDriver) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	return d.b.NewWriter(ctx, key, &blob.WriterOptions{ContentType: contentType, DisableContentTypeDetection: true,
		Metadata: o.Metadata, IfNotExist: o.IfNotExist})
}

func (d bucketDriver) Delete(ctx context.Context, key string, _ *driver.DeleteOptions) error {
	return d.b.Delete(ctx, key)
}

func (d bucketDriver) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	token := o.PageToken
	if len(token) == 0 {
		token = blob.FirstPageToken
	}
	size := o.PageSize
	if size == 0 {
		size = defaultPageSize
	}
	objects, next, err := d.b.ListPage(ctx, token, size, &blob.ListOptions{Prefix: o.Prefix, Delimiter: o.Delimiter})
	page := &driver.ListPage{NextPageToken: next}
	for _, o := range objects {
		page.Objects = append(page.Objects, &driver.ListObject{Key: o.Key, Size: o.Size, ModTime: o.ModTime, IsDir: o.IsDir})
	}
	return page, err
}

// lyingLister lists a prefix of its own choice.
type lyingLister struct {
	bucketDriver
	prefix string
}

func (l *lyingLister) ListPaged(ctx context.Context, _ *driver.ListOptions) (*driver.ListPage, error) {
	objects, _, err := l.b.ListPage(ctx, blob.FirstPageToken, 10, &blob.ListOptions{Prefix: l.prefix})
	page := &driver.ListPage{}
	for _, o := range objects {
		page.Objects = append(page.Objects, &driver.ListObject{Key: o.Key, Size: o.Size})
	}
	return page, err
}

func fileBucket(t testing.TB, dir string) *blob.Bucket {
	t.Helper()
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true})
	must(t, err)
	return b
}
