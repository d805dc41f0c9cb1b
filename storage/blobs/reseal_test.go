package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs/s3match"
	"github.com/strongroom-go/strongroom/tenant"
)

// quickWorld is a world whose rotations do not take long.
func quickWorld(t testing.TB, dir string) *world {
	t.Helper()
	return worldOf(t, keysIn(t, dir).ring(t))
}

func worldOf(t testing.TB, ring *keys.Keyring) *world {
	t.Helper()
	w := &world{ring: ring, log: new(recorder), sealNames: inSealedNaming(t)}
	for _, id := range []tenant.ID{alice, bob} {
		must(t, w.ring.Provision(t.Context(), id))
	}
	w.guard = storage.Guard{Keys: w.ring, Audit: w.log}
	w.a, w.b = accessOf(t.Context(), alice), accessOf(t.Context(), bob)
	return w
}

func (w *world) rotate(t testing.TB, purposes ...keys.Purpose) {
	t.Helper()
	for _, p := range purposes {
		must(t, w.ring.Rotate(t.Context(), alice, p, "yearly"))
	}
}

// key returns the id of a key, by its number from the oldest.
func (w *world) key(t testing.TB, p keys.Purpose, n int) uint32 {
	t.Helper()
	all, err := w.ring.Versions(t.Context(), alice, p)
	must(t, err)
	return all[n].ID
}

func wantCoded(t testing.TB, err error, code gcerrors.ErrorCode) {
	t.Helper()
	var coded *codedError
	if !errors.As(err, &coded) || coded.code != code {
		t.Errorf("got %v, want the code %v", err, code)
	}
}

var both = []keys.Purpose{keys.PurposeData, keys.PurposeBlobs}

// resealStore is a kind of store, with the options that it takes.
type resealStore struct {
	name string
	open func(*testing.T) *blob.Bucket
	opts ResealOptions
}

func resealStores() []resealStore {
	return []resealStore{
		{"memory", func(*testing.T) *blob.Bucket { return memory() }, ResealOptions{SoleProcess: true}},
		{"files", func(t *testing.T) *blob.Bucket { return fileBucket(t, t.TempDir()) }, ResealOptions{SoleProcess: true}},
		{"S3", func(t *testing.T) *blob.Bucket {
			server := s3env.Server(t)
			b, err := s3blob.OpenBucket(t.Context(), server.Client(t), server.NewBucket(t), nil)
			must(t, err)
			return b
		}, ResealOptions{IfMatch: s3match.IfMatch}},
	}
}

// eachStore runs a test on each store, with both namings. With those that are in this process the clock stands still while anybody
// is at work: within 300 ms a machine that is busy does not always know what the keyring's records are.
func eachStore(t *testing.T, test func(*testing.T, *resealed)) {
	for _, s := range resealStores() {
		t.Run(s.name, func(t *testing.T) {
			eachNaming(t, func(t *testing.T) {
				on := func(t *testing.T) {
					r := &resealed{world: quickWorld(t, t.TempDir()), inner: s.open(t), opts: s.opts, store: s.name}
					r.bucket = r.wrap(t, r.inner, "records")
					test(t, r)
				}
				if s.name == "S3" {
					on(t)
				} else {
					synctest.Test(t, on)
				}
			})
		})
	}
}

// resealed is a bucket that is re-sealed.
type resealed struct {
	*world
	store  string
	inner  *blob.Bucket
	bucket *blob.Bucket
	opts   ResealOptions
	older  raw // version of an object
}

func (r *resealed) reseal(ctx context.Context, change ...func(*ResealOptions)) (*ResealReport, error) {
	o := r.opts
	for _, c := range change {
		c(&o)
	}
	return Reseal(ctx, r.bucket, &o)
}

// pause lets the clock go on where it stands still: to the next sixteenth of the bound of a rotation, so that the steps of those
// meet with what others do.
func (r *resealed) pause() {
	if r.store != "S3" {
		time.Sleep(300 * time.Millisecond / 16)
	}
}

func (r *resealed) count(t testing.TB) *ResealReport {
	t.Helper()
	report, err := Reseal(r.a, r.bucket, &ResealOptions{DryRun: true})
	must(t, err)
	return report
}

// remaining is what a report must have counted.
func remaining(t testing.TB, r *ResealReport, p keys.Purpose) int64 {
	t.Helper()
	n, err := r.Remaining(p)
	must(t, err)
	return n
}

// rich are attributes of every kind.
func rich(i int) *blob.WriterOptions {
	return &blob.WriterOptions{ContentType: "text/x-test", CacheControl: "no-store", ContentDisposition: `attachment; filename="x"`,
		ContentEncoding: "identity", ContentLanguage: "de", Metadata: map[string]string{"number": fmt.Sprint(i)}}
}

// sizes are at segments' edges.
var sizes = []int{0, 1, plainSegmentSize - streamHeaderSize - 1, plainSegmentSize - streamHeaderSize, plainSegmentSize - streamHeaderSize + 1, 3*plainSegmentSize - streamHeaderSize, 400_000}

// fill writes an object of each size for a tenant, and returns the keys.
func (r *resealed) fill(t testing.TB, ctx context.Context) (written []string) {
	t.Helper()
	for i, n := range sizes {
		key := fmt.Sprintf("dir%d/.object %d", i%3, i)
		must(t, r.bucket.WriteAll(ctx, key, pattern(n), rich(i)))
		written = append(written, key)
	}
	return written
}

// seen is all of an object that an application sees and that stays when it is re-sealed.
func (r *resealed) seen(t testing.TB, ctx context.Context, key string) any {
	t.Helper()
	content, err := r.bucket.ReadAll(ctx, key)
	must(t, err)
	a, err := r.bucket.Attributes(ctx, key)
	must(t, err)
	return []any{string(content), a.ContentType, a.CacheControl, a.ContentDisposition, a.ContentEncoding, a.ContentLanguage, a.Metadata, string(a.MD5), a.Size}
}

// All of a tenant's objects are moved, nothing of them changes, and their keys can be destroyed; nobody else's are touched.
func TestReseal(t *testing.T) {
	eachStore(t, func(t *testing.T, r *resealed) {
		written := r.fill(t, r.a)
		r.fill(t, r.b)
		theirs := rawNames(t, r.inner)
		theirs = slices.DeleteFunc(theirs, func(name string) bool { return name[:len(scopeOf(bob).prefix)] != scopeOf(bob).prefix })
		before := map[string]any{}
		for _, key := range written {
			before[key] = r.seen(t, r.a, key)
		}
		raws := map[string]raw{}
		for _, name := range theirs {
			raws[name] = getRaw(t, r.inner, name)
		}
		r.rotate(t, both...)
		n := int64(len(written))
		want := []ResealLeft{{keys.PurposeBlobs, r.key(t, keys.PurposeBlobs, 0), n}, {keys.PurposeData, r.key(t, keys.PurposeData, 0), n}}
		if c := r.count(t); !slices.Equal(c.Left, want) || c.Objects != n || remaining(t, c, keys.PurposeData) != n {
			t.Errorf("before: %+v, want %+v", c, want)
		}
		// What other attributes are under already.
		must(t, r.bucket.WriteAll(r.a, "newest", []byte("x"), nil))
		var progress []ResealProgress
		report, err := r.reseal(r.a, func(o *ResealOptions) { o.Progress = func(p ResealProgress) { progress = append(progress, p) } })
		must(t, err)
		total := int64(0)
		for _, s := range sizes {
			total += int64(s)
		}
		if report.Resealed != n || report.Bytes != total || len(report.Left) != 0 || len(report.Counted) == 0 || report.Objects != n+1 || report.Changed != 0 {
			t.Errorf("%+v, want %d objects of %d bytes", report, n, total)
		}
		if len(progress) != 2 || progress[0].Counting || !progress[1].Counting || progress[0].Objects != n+1 || progress[0].Resealed != n || progress[0].Checkpoint == nil {
			t.Errorf("progress %+v", progress)
		}
		if c := r.count(t); len(c.Left) != 0 {
			t.Errorf("after: %+v", c)
		}
		for _, key := range written {
			if after := r.seen(t, r.a, key); !reflect.DeepEqual(after, before[key]) {
				t.Errorf("%s is not what it was", key)
			}
			if got, err := readRange(r.bucket, r.a, key, 100, 7); err != nil || len(got) > 7 {
				t.Errorf("a range of %s: %d bytes, %v", key, len(got), err)
			}
		}
		for _, name := range theirs {
			if now := getRaw(t, r.inner, name); !reflect.DeepEqual(now, raws[name]) {
				t.Errorf("%s, which is another tenant's, was changed", name)
			}
		}
		if all := rawNames(t, r.inner); len(all) != 2*len(written)+1 {
			t.Errorf("something is left in the store: %q", all)
		}
		// A second run finds nothing to do.
		if report, err := r.reseal(r.a); err != nil || report.Resealed != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		for _, p := range both {
			for _, take := range []func(context.Context, tenant.ID, keys.Purpose, uint32, string, keys.Remaining) error{r.ring.DisableKey, r.ring.DestroyKey} {
				must(t, take(t.Context(), alice, p, r.key(t, p, 0), "old", func(context.Context) (int64, error) {
					report, err := Reseal(r.a, r.bucket, &ResealOptions{DryRun: true})
					must(t, err)
					return report.Remaining(p)
				}))
			}
		}
		for _, key := range written {
			if after := r.seen(t, r.a, key); !reflect.DeepEqual(after, before[key]) {
				t.Errorf("%s is not what it was", key)
			}
		}
	})
}

// Every object that is moved is in the trail, before and after, and released to nobody; what looks is a listing.
func TestResealTrail(t *testing.T) {
	w := quickWorld(t, t.TempDir())
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "x", []byte("content"), nil))
	w.rotate(t, keys.PurposeBlobs)
	w.log.take()
	_, err := Reseal(w.a, b, &ResealOptions{SoleProcess: true})
	must(t, err)
	type step struct {
		code  audit.Code
		phase audit.Phase
		n     int64
		key   string
	}
	want := []step{
		{audit.CodeBlobList, audit.Intent, -1, ""}, {audit.CodeBlobList, audit.Outcome, -1, ""},
		{audit.CodeBlobList, audit.Intent, -1, ""}, {audit.CodeBlobList, audit.Outcome, 1, ""},
		{audit.CodeBlobReseal, audit.Intent, -1, "x"}, {audit.CodeBlobReseal, audit.Outcome, -1, "x"},
		{audit.CodeBlobList, audit.Intent, -1, ""}, {audit.CodeBlobList, audit.Outcome, 1, ""},
	}
	var got []step
	for _, e := range w.log.take() {
		if e.Tenant != alice || e.Actor != "nurse@alice" || e.Sealer == nil || e.Status != audit.Success {
			t.Errorf("%+v", e)
		}
		got = append(got, step{e.Code, e.Phase, e.Rows, e.Details["key"]})
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// Who may not write is refused, object by object, and nothing moves.
	w.rotate(t, keys.PurposeBlobs)
	w.guard.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
		if a.Verb == tenant.Write {
			return errors.New("read only")
		}
		return nil
	})
	report, err := Reseal(w.a, w.wrap(t, inner, "records"), &ResealOptions{SoleProcess: true})
	wantIs(t, err, tenant.ErrDenied)
	if report.Resealed != 0 || remaining(t, report, keys.PurposeBlobs) != 1 {
		t.Errorf("%+v", report)
	}
	// What cannot be recorded does not happen.
	w.log.set(func(e *audit.Event) bool { return e.Code == audit.CodeBlobReseal && e.Phase == audit.Intent })
	report, err = Reseal(w.a, b, &ResealOptions{SoleProcess: true})
	wantIs(t, err, audit.ErrUnavailable)
	if report.Resealed != 0 {
		t.Errorf("%+v", report)
	}
}

func TestResealOptions(t *testing.T) {
	w := quickWorld(t, t.TempDir())
	b, inner := w.mem(t, "records")
	for name, o := range map[string]*ResealOptions{
		"nothing that keeps writers' objects": nil,
		"two ways":                            {SoleProcess: true, IfMatch: s3match.IfMatch},
		"a purpose":                           {SoleProcess: true, Purposes: []keys.Purpose{keys.PurposeIndex}},
		"no purpose":                          {SoleProcess: true, Purposes: []keys.Purpose{}},
		"concurrency":                         {SoleProcess: true, Concurrency: 65},
		"bytes":                               {SoleProcess: true, BytesPerSecond: -1},
		"objects":                             {SoleProcess: true, ObjectsPerSecond: -1},
		"a store without conditions":          {IfMatch: s3match.IfMatch},
	} {
		if _, err := Reseal(w.a, b, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Reseal(w.a, inner, &ResealOptions{SoleProcess: true}); err == nil {
		t.Error("a bucket without a guard was accepted")
	}
	_, err := Reseal(t.Context(), b, &ResealOptions{SoleProcess: true})
	wantIs(t, err, tenant.ErrMissing)
	// A store that takes every write whatever its condition.
	_, err = Reseal(w.a, b, &ResealOptions{IfMatch: func(func(any) bool, *blob.Attributes) error { return nil }})
	wantCoded(t, err, gcerrors.Unimplemented)
	if names := rawNames(t, inner); len(names) != 0 {
		t.Errorf("%q are left", names)
	}
}

// A run that ended early goes on at its checkpoint, which is the tenant's and the bucket's alone.
func TestResealCheckpoint(t *testing.T) {
	eachNaming(t, func(t *testing.T) { synctest.Test(t, testResealCheckpoint) })
}

func testResealCheckpoint(t *testing.T) {
	w := quickWorld(t, t.TempDir())
	b, _ := w.mem(t, "records")
	for i := range defaultPageSize + 10 {
		must(t, b.WriteAll(w.a, fmt.Sprintf("%05d", i), []byte{byte(i)}, nil))
	}
	w.rotate(t, both...)
	ctx, cancel := context.WithCancel(w.a)
	var checkpoint []byte
	report, err := Reseal(ctx, b, &ResealOptions{SoleProcess: true, Progress: func(p ResealProgress) {
		checkpoint = p.Checkpoint
		cancel()
	}})
	wantIs(t, err, context.Canceled)
	if report.Resealed != defaultPageSize || len(report.Counted) != 0 {
		t.Errorf("%+v", report)
	}
	looked := int64(-1)
	report, err = Reseal(w.a, b, &ResealOptions{SoleProcess: true, Checkpoint: checkpoint, Concurrency: 8, Progress: func(p ResealProgress) {
		if !p.Counting {
			looked, checkpoint = p.Objects, p.Checkpoint
		}
	}})
	must(t, err)
	if report.Resealed != 10 || looked != 10 || len(report.Left) != 0 || report.Objects != defaultPageSize+10 {
		t.Errorf("%+v, %d were looked at", report, looked)
	}
	// The last one is the end: what is left to do is to count.
	report, err = Reseal(w.a, b, &ResealOptions{SoleProcess: true, Checkpoint: checkpoint})
	if err != nil || len(report.Counted) == 0 || report.Objects != defaultPageSize+10 {
		t.Errorf("%+v, %v", report, err)
	}
	other, _ := w.mem(t, "other")
	_, err = Reseal(w.b, b, &ResealOptions{SoleProcess: true, Checkpoint: checkpoint})
	wantCoded(t, err, gcerrors.InvalidArgument)
	if _, err := Reseal(w.a, other, &ResealOptions{SoleProcess: true, Checkpoint: checkpoint}); err == nil {
		t.Error("a checkpoint of another bucket was accepted")
	}
	if _, _, err := b.ListPage(w.a, checkpoint, 10, nil); err == nil {
		t.Error("a checkpoint was accepted as a page token")
	}
}

// A limit on bytes and objects holds objects up and does not change what is done.
func TestResealLimits(t *testing.T) { synctest.Test(t, testResealLimits) }

func testResealLimits(t *testing.T) {
	w := quickWorld(t, t.TempDir())
	b, _ := w.mem(t, "records")
	content := pattern(200_000)
	must(t, b.WriteAll(w.a, "x", content, nil))
	w.rotate(t, keys.PurposeBlobs)
	report, err := Reseal(w.a, b, &ResealOptions{SoleProcess: true, BytesPerSecond: 10 << 20, ObjectsPerSecond: 100})
	if err != nil || report.Resealed != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	got, err := b.ReadAll(w.a, "x")
	if err != nil || !bytes.Equal(got, content) {
		t.Error(len(got), err)
	}
	w.rotate(t, keys.PurposeBlobs)
	ctx, cancel := context.WithTimeout(w.a, time.Hour) // of the bubble's clock, which stands still while there is work
	defer cancel()
	if _, err := Reseal(ctx, b, &ResealOptions{SoleProcess: true, BytesPerSecond: 1}); err == nil {
		t.Error("a limit of one byte a second was not kept")
	}
}
