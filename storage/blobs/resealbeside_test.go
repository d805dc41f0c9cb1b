package blobs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/blobs/s3match"
)

// numbered is content that says which it is, of a length that differs.
func numbered(n int) []byte {
	b := bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(n)), 1+n%3*9000)
	return b[:len(b)-n%7]
}

// Two runs at once, rotations, readers, and writers that overwrite, delete and copy: what a writer was told is there is what
// there is, readers of what only Reseal touches see nothing of it, and in the end all is under the newest keys.
func TestResealBesideReadersAndWriters(t *testing.T) {
	eachStore(t, func(t *testing.T, r *resealed) {
		// An operation that takes longer than the bound may not know the newest keys: that is not what is tested here.
		k := keysIn(t, t.TempDir())
		ring, err := keys.Open(t.Context(), k.kek, k.store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: 300 * time.Millisecond})
		must(t, err)
		defer ring.Close()
		r.world = worldOf(t, ring)
		r.bucket = r.wrap(t, r.inner, "records")
		const writers, readers, still = 3, 2, 6
		writes := 40
		for i := range still {
			must(t, r.bucket.WriteAll(r.a, fmt.Sprintf("still/%d", i), pattern(i*40_000), rich(i)))
		}
		ctx, stop := context.WithCancel(r.a)
		defer stop()
		var wrote, others sync.WaitGroup
		names, enough := 0, atomic.Bool{}       // of rotations
		last := make([]map[string]int, writers) // what each writer wrote, -1 for deleted
		for w := range writers {
			last[w] = map[string]int{}
			wrote.Go(func() {
				for n := 0; n < writes || !enough.Load() && !t.Failed(); n++ {
					r.pause()
					key := fmt.Sprintf("busy/%d/%d", w, n%4)
					switch {
					case n%9 == 8 && last[w][key] > 0:
						if err := r.bucket.Delete(r.a, key); err != nil {
							t.Errorf("delete: %v", err)
							return
						}
						last[w][key] = -1
					case n%11 == 10 && last[w][key] > 0:
						err := r.bucket.Copy(r.a, key+"-copy", key, nil)
						for errors.Is(err, errRenamed) {
							err = r.bucket.Copy(r.a, key+"-copy", key, nil)
						}
						if err != nil {
							t.Errorf("copy: %v", err)
							return
						}
						last[w][key+"-copy"] = last[w][key]
					default:
						err := r.bucket.WriteAll(r.a, key, numbered(w*1000+n+1), rich(n))
						for errors.Is(err, errRenamed) {
							err = r.bucket.WriteAll(r.a, key, numbered(w*1000+n+1), rich(n))
						}
						if err != nil {
							t.Errorf("write: %v", err)
							return
						}
						last[w][key] = w*1000 + n + 1
					}
				}
			})
		}
		for range readers {
			others.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					r.pause()
					key, size := fmt.Sprintf("still/%d", n%still), n%still*40_000
					got, err := r.bucket.ReadAll(ctx, key)
					if err == nil && n%2 == 1 && size > 0 {
						got, err = readRange(r.bucket, ctx, key, int64(size/2), -1)
						got = append(pattern(size)[:size/2], got...)
					}
					if ctx.Err() == nil && (err != nil || !bytes.Equal(got, pattern(size))) {
						t.Errorf("%s: %d bytes, %v", key, len(got), err)
						return
					}
				}
			})
		}
		for i := range 2 {
			others.Go(func() {
				for ctx.Err() == nil {
					r.pause()
					if i == 0 {
						var rotating sync.WaitGroup
						for _, p := range both {
							rotating.Go(func() {
								if err := r.ring.Rotate(ctx, alice, p, "often"); err != nil && ctx.Err() == nil {
									t.Errorf("rotate: %v", err)
								}
							})
						}
						rotating.Wait()
					}
					if _, err := r.reseal(ctx); err != nil && ctx.Err() == nil {
						t.Errorf("reseal: %v", err)
						return
					}
					if i == 0 && r.sealNames {
						r.nextNames(ctx, t, &names)
					}
					if i == 0 && (names > 1 || !r.sealNames) {
						enough.Store(true)
					}
				}
			})
		}
		wrote.Wait()
		stop()
		others.Wait()
		report, err := r.reseal(r.a)
		must(t, err)
		if len(report.Left) != 0 {
			t.Errorf("%+v", report)
		}
		for w := range writers {
			for key, n := range last[w] {
				got, err := r.bucket.ReadAll(r.a, key)
				if n < 0 {
					wantCode(t, err, gcerrors.NotFound)
				} else if err != nil || !bytes.Equal(got, numbered(n)) {
					t.Errorf("%s: %d bytes, %v, are not what was written last", key, len(got), err)
				}
			}
		}
		for i := range still {
			a, err := r.bucket.Attributes(r.a, fmt.Sprintf("still/%d", i))
			if err != nil || a.Metadata["number"] != fmt.Sprint(i) {
				t.Errorf("%+v, %v", a, err)
			}
		}
		r.nothingStaged(t)
	})
}

// nextNames disables the older key of names once nothing needs it, and rotates.
func (r *resealed) nextNames(ctx context.Context, t *testing.T, rotated *int) {
	all, err := r.ring.Versions(r.a, alice, keys.PurposeNames)
	must(t, err)
	for _, k := range all {
		if k.Status != keys.KeyOpens {
			continue
		}
		err := r.ring.DisableKey(ctx, alice, keys.PurposeNames, k.ID, "often", func(context.Context) (int64, error) {
			report, err := Reseal(ctx, r.bucket, &ResealOptions{DryRun: true, Purposes: []keys.Purpose{keys.PurposeNames}})
			if err != nil {
				return 0, err
			}
			return report.Remaining(keys.PurposeNames)
		})
		if errors.Is(err, keys.ErrKeyNeeded) || ctx.Err() != nil {
			return
		}
		if err != nil {
			t.Errorf("disable: %v", err)
			return
		}
	}
	if len(all) < 30 {
		if err := r.ring.Rotate(ctx, alice, keys.PurposeNames, "often"); err != nil && ctx.Err() == nil {
			t.Errorf("rotate: %v", err)
		}
		*rotated++
	}
}

// nothingStaged fails if something is in the store that is no object.
func (r *resealed) nothingStaged(t testing.TB) {
	t.Helper()
	for _, name := range rawNames(t, r.inner) {
		if len(name) >= len(stagingPrefix(alice)) && name[:len(stagingPrefix(alice))] == stagingPrefix(alice) {
			t.Errorf("%s is left", name)
		}
	}
}

// A reader that is open while its object is replaced goes on to the end of what it is reading.
func TestResealUnderAReader(t *testing.T) {
	eachStore(t, func(t *testing.T, r *resealed) {
		content := pattern(3_000_000)
		must(t, r.bucket.WriteAll(r.a, "x", content, nil))
		reader, err := r.bucket.NewReader(r.a, "x", nil)
		must(t, err)
		begin := make([]byte, 100)
		_, err = reader.Read(begin)
		must(t, err)
		r.rotate(t, both...)
		report, err := r.reseal(r.a)
		if err != nil || report.Resealed != 1 {
			t.Fatalf("%+v, %v", report, err)
		}
		var rest bytes.Buffer
		_, err = reader.WriteTo(&rest)
		must(t, errors.Join(err, reader.Close()))
		if !bytes.Equal(append(begin, rest.Bytes()...), content) {
			t.Error("the reader did not get what it was reading")
		}
	})
}

// A writer that began before a rotation makes an object under the older key, which a later count finds.
func TestResealAndAWriterFromBefore(t *testing.T) {
	eachStore(t, func(t *testing.T, r *resealed) {
		must(t, r.bucket.WriteAll(r.a, "x", []byte("before"), nil))
		writer, err := r.bucket.NewWriter(r.a, "x", &blob.WriterOptions{ContentType: "text/plain"})
		must(t, err)
		_, err = writer.Write([]byte("after"))
		must(t, err)
		r.rotate(t, both...)
		_, err = r.reseal(r.a)
		must(t, err)
		must(t, writer.Close())
		if left := r.count(t); remaining(t, left, keys.PurposeBlobs) != 1 || remaining(t, left, keys.PurposeData) != 1 {
			t.Errorf("%+v", left)
		}
		report, err := r.reseal(r.a)
		if err != nil || report.Resealed != 1 || len(report.Left) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		if got, err := r.bucket.ReadAll(r.a, "x"); string(got) != "after" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A large object goes up in parts, whose condition is another request's; one that somebody overwrites meanwhile is left to them.
func TestResealLargeS3(t *testing.T) {
	server := s3env.Server(t)
	client, name := server.Client(t), server.NewBucket(t)
	inner, err := s3blob.OpenBucket(t.Context(), client, name, nil)
	must(t, err)
	r := &resealed{world: quickWorld(t, t.TempDir()), inner: inner, opts: ResealOptions{IfMatch: s3match.IfMatch}}
	m := &meddled{bucketDriver: innerDriver(r.inner)}
	r.bucket = r.wrap(t, blob.NewBucket(m), "records")
	content := pattern(largeObject + 1<<20)
	for _, key := range []string{"overwritten", "still"} {
		must(t, r.bucket.WriteAll(r.a, key, content, rich(1)))
	}
	r.rotate(t, both...)
	m.set(func(name string) {
		if name == r.nameOf(t, alice, "overwritten") {
			m.set(nil)
			must(t, r.bucket.WriteAll(r.a, "overwritten", []byte("another's"), nil))
		}
	})
	report, err := r.reseal(r.a, func(o *ResealOptions) { o.Concurrency = 1 })
	if err != nil || report.Resealed != 1 || report.Changed != 1 || len(report.Left) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	for key, want := range map[string][]byte{"overwritten": []byte("another's"), "still": content} {
		if got, err := r.bucket.ReadAll(r.a, key); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
	}
	r.nothingStaged(t)
	unfinished, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &name})
	if err != nil || len(unfinished.Uploads) != 0 {
		t.Errorf("%d uploads were not finished, %v", len(unfinished.Uploads), err)
	}
}

// partly is a store in memory that keeps conditions, of small objects only.
type partly struct {
	bucketDriver
	ignored int
}

type partlyWriter struct {
	driver.Writer
	p    *partly
	key  string
	etag string
	n    int
}

func (p *partly) As(i any) bool { return p.b.As(i) }

func (p *partly) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	w := &partlyWriter{p: p, key: key}
	if o.BeforeWrite != nil {
		if err := o.BeforeWrite(func(i any) bool {
			into, ok := i.(**partlyWriter)
			if ok {
				*into = w
			}
			return ok
		}); err != nil {
			return nil, err
		}
	}
	o.BeforeWrite = nil
	inner, err := p.bucketDriver.NewTypedWriter(ctx, key, contentType, o)
	w.Writer = inner
	return w, err
}

func (w *partlyWriter) Write(b []byte) (int, error) {
	w.n += len(b)
	return w.Writer.Write(b)
}

func (w *partlyWriter) Close() error {
	if w.etag == "" {
		return w.Writer.Close()
	}
	if w.n >= largeObject {
		w.p.ignored++
		return w.Writer.Close()
	}
	if a, err := w.p.b.Attributes(context.Background(), w.key); err != nil || a.ETag != w.etag {
		return &codedError{code: gcerrors.FailedPrecondition, text: "precondition failed"}
	}
	return w.Writer.Close()
}

func (p *partly) ErrorCode(err error) gcerrors.ErrorCode {
	var coded *codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	return gcerrors.Code(err)
}

// A store that keeps the conditions of small objects and not of large ones keeps its large ones as they are.
func TestResealWhereLargeObjectsHaveNoConditions(t *testing.T) {
	w := quickWorld(t, t.TempDir())
	p := &partly{bucketDriver: innerDriver(memory())}
	b := w.wrap(t, blob.NewBucket(p), "records")
	must(t, b.WriteAll(w.a, "large", pattern(largeObject), nil))
	must(t, b.WriteAll(w.a, "small", pattern(10), nil))
	w.rotate(t, keys.PurposeBlobs)
	report, err := Reseal(w.a, b, &ResealOptions{IfMatch: func(as func(any) bool, read *blob.Attributes) error {
		var writer *partlyWriter
		if !as(&writer) {
			return errors.New("another store")
		}
		writer.etag = read.ETag
		return nil
	}})
	wantCoded(t, err, gcerrors.Unimplemented)
	if report.Resealed != 1 || remaining(t, report, keys.PurposeBlobs) != 1 || p.ignored != 1 {
		t.Errorf("%+v", report)
	}
}
