package blobs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
)

// meddled is a store in which something happens when an object is about to be written: after it was read, and before it is replaced.
type meddled struct {
	bucketDriver
	mu      sync.Mutex
	meddle  func(name string)
	writing atomic.Int64
}

func (m *meddled) As(i any) bool { return m.b.As(i) }

func (m *meddled) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	r, err := m.b.NewRangeReader(ctx, key, offset, length, &blob.ReaderOptions{BeforeRead: o.BeforeRead})
	if err != nil {
		return nil, err
	}
	return &readerDriver{r}, nil
}

func (m *meddled) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	m.writing.Add(1)
	m.mu.Lock()
	meddle := m.meddle
	m.mu.Unlock()
	if meddle != nil {
		meddle(key)
	}
	return m.b.NewWriter(ctx, key, &blob.WriterOptions{ContentType: contentType, DisableContentTypeDetection: true,
		Metadata: o.Metadata, IfNotExist: o.IfNotExist, BeforeWrite: o.BeforeWrite})
}

func (m *meddled) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	return m.b.DeleteWithOptions(ctx, key, &blob.DeleteOptions{BeforeDelete: o.BeforeDelete})
}

func (m *meddled) set(meddle func(name string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.meddle = meddle
}

// once is what happens once, whichever of several goroutines comes to it first.
type once struct{ do atomic.Pointer[func()] }

func (o *once) set(do func()) { o.do.Store(&do) }

func (o *once) happens() {
	if do := o.do.Swap(nil); do != nil {
		(*do)()
	}
}

// happened reports whether it did.
func (o *once) happened() bool { return o.do.Load() == nil }

// What happens to an object between Reseal's reading and its replacement stands, whoever does it and whatever the store.
func TestResealMeddledWith(t *testing.T) {
	type result struct {
		err     error // that is wrapped
		content []byte
		absent  bool
		alert   bool
		left    int64 // of each purpose
		// sameContent is where the store's ETag stays, which on S3 is that of the content: no writer of this package's writes the
		// same content twice. The attributes that were put there are replaced by those that were read before.
		sameContent bool
	}
	old, newer := pattern(70_000), pattern(100_000)
	cases := map[string]struct {
		before func(*testing.T, *resealed, string) // the object was written with old and then newer
		during func(*testing.T, *resealed, string)
		want   result
	}{
		"overwritten": {
			during: func(t *testing.T, r *resealed, key string) {
				must(t, r.bucket.WriteAll(r.a, key, []byte("another's"), nil))
			},
			want: result{content: []byte("another's")},
		},
		"deleted": {
			during: func(t *testing.T, r *resealed, key string) { must(t, r.bucket.Delete(r.a, key)) },
			want:   result{absent: true},
		},
		"deleted and made again": {
			during: func(t *testing.T, r *resealed, key string) {
				must(t, r.bucket.Delete(r.a, key))
				must(t, r.bucket.WriteAll(r.a, key, []byte("again"), nil))
			},
			want: result{content: []byte("again")},
		},
		"another tenant's object in its place": {
			during: func(t *testing.T, r *resealed, key string) {
				putRaw(t, r.inner, r.nameOf(t, alice, key), getRaw(t, r.inner, r.nameOf(t, bob, key)))
			},
			want: result{err: storage.ErrIsolation, alert: true, left: 1},
		},
		"another tenant's attributes with its content": {
			during: func(t *testing.T, r *resealed, key string) {
				mine, theirs := getRaw(t, r.inner, r.nameOf(t, alice, key)), getRaw(t, r.inner, r.nameOf(t, bob, key))
				putRaw(t, r.inner, r.nameOf(t, alice, key), raw{mine.body, theirs.meta})
			},
			want: result{err: storage.ErrIsolation, alert: true, left: 1, sameContent: true},
		},
		"content that was changed": {
			during: func(t *testing.T, r *resealed, key string) {
				mine := getRaw(t, r.inner, r.nameOf(t, alice, key))
				mine.body[len(mine.body)-1] ^= 1
				putRaw(t, r.inner, r.nameOf(t, alice, key), mine)
			},
			want: result{err: storage.ErrIsolation, alert: true, left: 1},
		},
		"no attributes": {
			during: func(t *testing.T, r *resealed, key string) {
				mine := getRaw(t, r.inner, r.nameOf(t, alice, key))
				must(t, r.inner.Delete(t.Context(), r.nameOf(t, alice, key))) // else the test server keeps the metadata there was
				putRaw(t, r.inner, r.nameOf(t, alice, key), raw{mine.body, nil})
			},
			want: result{err: storage.ErrIsolation, alert: true, left: 1, sameContent: true},
		},
		// As documented: who can write to the store can put an older version back, and that is what is there then.
		"an older version": {
			during: func(t *testing.T, r *resealed, key string) { putRaw(t, r.inner, r.nameOf(t, alice, key), r.older) },
			want:   result{content: old},
		},
		"rotated again": {
			during: func(t *testing.T, r *resealed, _ string) { r.rotate(t, both...) },
			want:   result{content: newer},
		},
		"a disabled key before something of another tenant's": {
			before: func(t *testing.T, r *resealed, key string) {
				r.rotate(t, keys.PurposeData)
				_, err := r.reseal(r.a)
				must(t, err)
				must(t, r.ring.DisableKey(t.Context(), alice, keys.PurposeData, r.key(t, keys.PurposeData, 0), "old",
					func(context.Context) (int64, error) { return r.count(t).Remaining(keys.PurposeData) }))
				r.rotate(t, both...)
			},
			during: func(t *testing.T, r *resealed, key string) {
				mine, theirs := getRaw(t, r.inner, r.nameOf(t, alice, key)), getRaw(t, r.inner, r.nameOf(t, bob, key))
				sealed, err := base64.RawURLEncoding.DecodeString(theirs.meta[attributesName])
				must(t, err)
				binary.BigEndian.PutUint32(sealed[1:], r.key(t, keys.PurposeData, 0))
				putRaw(t, r.inner, r.nameOf(t, alice, key), raw{mine.body, map[string]string{attributesName: base64.RawURLEncoding.EncodeToString(sealed)}})
			},
			want: result{err: keys.ErrKeyDisabled, left: 1, sameContent: true},
		},
	}
	for _, s := range resealStores() {
		t.Run(s.name, func(t *testing.T) {
			store := s.open(t)
			for name, c := range cases {
				t.Run(name, func(t *testing.T) {
					for _, name := range rawNames(t, store) {
						must(t, store.Delete(t.Context(), name))
					}
					if c.want.sameContent && s.name == "S3" {
						c.want = result{content: newer}
					}
					m := &meddled{bucketDriver: innerDriver(store)}
					r := &resealed{world: quickWorld(t, t.TempDir()), inner: store, opts: s.opts, store: s.name}
					r.bucket = r.wrap(t, blob.NewBucket(m), "records")
					const key = "dir/x"
					must(t, r.bucket.WriteAll(r.b, key, pattern(100_000), nil))
					must(t, r.bucket.WriteAll(r.a, key, old, rich(1)))
					r.older = getRaw(t, r.inner, r.nameOf(t, alice, key))
					must(t, r.bucket.WriteAll(r.a, key, newer, rich(2)))
					if r.rotate(t, both...); c.before != nil {
						c.before(t, r, key)
					}
					// What is written first is to try the store: on files two objects, and then the staged one.
					target, first := r.nameOf(t, alice, key), m.writing.Load()
					m.set(func(name string) {
						if name == target || s.name == "files" && m.writing.Load() == first+3 {
							m.set(nil)
							c.during(t, r, key)
						}
					})
					r.log.take()
					report, err := r.reseal(r.a)
					if c.want.err == nil {
						must(t, err)
					}
					wantIs(t, err, c.want.err)
					if n := alerts(r.log.take()); (n > 0) != c.want.alert {
						t.Errorf("%d alerts", n)
					}
					if left := max(remaining(t, report, keys.PurposeData), remaining(t, report, keys.PurposeBlobs)); left != c.want.left {
						t.Errorf("left: %+v", report)
					}
					now, err := r.bucket.ReadAll(r.a, key)
					switch {
					case c.want.absent:
						wantCode(t, err, gcerrors.NotFound)
					case c.want.content != nil:
						if err != nil || !bytes.Equal(now, c.want.content) {
							t.Errorf("%d bytes, %v; want %d", len(now), err, len(c.want.content))
						}
						if left := r.count(t); len(left.Left) != 0 {
							t.Errorf("%+v", left)
						}
					default:
						wantIs(t, err, c.want.err)
					}
					if got, err := r.bucket.ReadAll(r.b, key); err != nil || !bytes.Equal(got, pattern(100_000)) {
						t.Errorf("another tenant's: %d bytes, %v", len(got), err)
					}
				})
			}
		})
	}
}

// A tenant that is suspended or shredded while its objects are moved is let be, and nothing is lost by it.
func TestResealAndTheTenantsState(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(*testing.T, *resealed)
		want   error
		resume bool
	}{
		"suspended": {func(t *testing.T, r *resealed) { must(t, r.ring.Suspend(t.Context(), alice, "court order")) }, keys.ErrSuspended, true},
		"shredded":  {func(t *testing.T, r *resealed) { must(t, r.ring.Shred(t.Context(), alice, "gone")) }, keys.ErrShredded, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := &meddled{bucketDriver: innerDriver(memory())}
			r := &resealed{world: quickWorld(t, t.TempDir()), inner: m.b, opts: ResealOptions{SoleProcess: true, Concurrency: 2}}
			r.bucket = r.wrap(t, blob.NewBucket(m), "records")
			before := map[string]any{}
			for i := range 20 {
				key := fmt.Sprint(i)
				must(t, r.bucket.WriteAll(r.a, key, pattern(i*10_000), rich(i)))
				before[key] = r.seen(t, r.a, key)
			}
			r.rotate(t, both...)
			once := sync.Once{}
			from := m.writing.Load()
			m.set(func(string) {
				if m.writing.Load() > from+4 {
					once.Do(func() { c.do(t, r) })
				}
			})
			report, err := r.reseal(r.a)
			wantIs(t, err, c.want)
			if report.Resealed == 0 || report.Resealed == 20 || len(report.Counted) != 0 {
				t.Errorf("%+v", report)
			}
			if !c.resume {
				return
			}
			must(t, r.ring.Resume(t.Context(), alice, "over"))
			after, err := r.reseal(r.a)
			must(t, err)
			if after.Resealed+report.Resealed != 20 || len(after.Left) != 0 {
				t.Errorf("%+v after %+v", after, report)
			}
			for key, was := range before {
				if now := r.seen(t, r.a, key); !reflect.DeepEqual(now, was) {
					t.Errorf("%s is not what it was", key)
				}
			}
		})
	}
}

// What does not open is named, counted and left exactly as it is, once an alert, and the rest is moved.
func TestResealLeavesWhatDoesNotOpen(t *testing.T) {
	eachStore(t, func(t *testing.T, r *resealed) {
		written := r.fill(t, r.a)
		damage := map[string]func(raw) raw{
			written[1]: func(o raw) raw { return raw{o.body, map[string]string{attributesName: "AAAA"}} },
			written[2]: func(o raw) raw { o.body[3] = 9; return o },
			written[3]: func(o raw) raw { o.body = o.body[:len(o.body)-1]; return o },
			written[4]: func(o raw) raw { return raw{o.body, nil} },
		}
		r.rotate(t, both...)
		damaged := map[string]raw{}
		for key, f := range damage {
			name := r.nameOf(t, alice, key)
			damaged[name] = f(getRaw(t, r.inner, name))
			must(t, r.inner.Delete(t.Context(), name)) // else the test server keeps the metadata there was
			putRaw(t, r.inner, name, damaged[name])
		}
		r.log.take()
		report, err := r.reseal(r.a)
		wantIs(t, err, storage.ErrIsolation)
		if n := alerts(r.log.take()); n != len(damage) {
			t.Errorf("%d alerts, want one for each of %d", n, len(damage))
		}
		if report.Resealed != int64(len(written)-len(damage)) || remaining(t, report, keys.PurposeData) != int64(len(damage)) || remaining(t, report, keys.PurposeBlobs) != int64(len(damage)) {
			t.Errorf("%+v", report)
		}
		for name, was := range damaged {
			if now := getRaw(t, r.inner, name); !bytes.Equal(now.body, was.body) || now.meta[attributesName] != was.meta[attributesName] {
				t.Errorf("%s was changed", name)
			}
		}
		// And it keeps its keys.
		err = r.ring.DisableKey(t.Context(), alice, keys.PurposeBlobs, r.key(t, keys.PurposeBlobs, 0), "old",
			func(context.Context) (int64, error) { return r.count(t).Remaining(keys.PurposeBlobs) })
		wantIs(t, err, keys.ErrKeyNeeded)
	})
}

// looking is a store in which something happens while an object's attributes are looked up.
type looking struct {
	*meddled
	look func(name string)
}

func (l *looking) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	a, err := l.meddled.Attributes(ctx, key)
	if look := l.look; look != nil {
		look(key)
	}
	return a, err
}

// Where the store has no conditions, a writer or a deletion that comes between Reseal's last look and the replacement waits.
func TestResealKeepsWritersApart(t *testing.T) {
	for _, s := range resealStores()[:2] {
		for what, do := range map[string]func(*resealed) error{
			"write":  func(r *resealed) error { return r.bucket.WriteAll(r.a, "x", []byte("newer"), nil) },
			"delete": func(r *resealed) error { return r.bucket.Delete(r.a, "x") },
		} {
			t.Run(s.name+"/"+what, func(t *testing.T) {
				l := &looking{meddled: &meddled{bucketDriver: innerDriver(s.open(t))}}
				r := &resealed{world: quickWorld(t, t.TempDir()), inner: l.b, opts: s.opts}
				r.bucket = r.wrap(t, blob.NewBucket(l), "records")
				must(t, r.bucket.WriteAll(r.a, "x", []byte("older"), nil))
				r.rotate(t, keys.PurposeBlobs)
				name, done := r.nameOf(t, alice, "x"), make(chan error, 1)
				sealed := func(string) bool { return l.writing.Load() > 1 } // the object anew, on memory
				if s.name == "files" {
					sealed = func(string) bool { return l.writing.Load() > 3 } // after two tries
				}
				l.look = func(looked string) {
					if looked != name || !sealed(looked) {
						return
					}
					l.look = nil
					go func() { done <- do(r) }()
					select {
					case err := <-done: // it did not wait
						done <- err
					case <-time.After(100 * time.Millisecond):
					}
				}
				_, err := r.reseal(r.a, func(o *ResealOptions) { o.Concurrency = 1 })
				must(t, err)
				must(t, <-done)
				if got, err := r.bucket.ReadAll(r.a, "x"); what == "write" && string(got) != "newer" || what == "delete" && gcerrors.Code(err) != gcerrors.NotFound {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
}
