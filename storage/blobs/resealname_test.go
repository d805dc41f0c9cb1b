package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/blobs/s3match"
)

// eachSealed runs a test on each store with sealed names.
func eachSealed(t *testing.T, test func(*testing.T, *resealed)) {
	for _, s := range resealStores() {
		t.Run(s.name, func(t *testing.T) {
			r := &resealed{world: quickWorld(t, t.TempDir()), inner: s.open(t), opts: s.opts, store: s.name}
			r.sealNames, r.with = true, Options{IfMatch: s.opts.IfMatch, SoleProcess: s.opts.SoleProcess}
			r.bucket = r.wrap(t, r.inner, "records")
			test(t, r)
		})
	}
}

// listed are the keys and sizes that a listing has.
func (r *resealed) listed(t testing.TB, o *blob.ListOptions) (all []string) {
	t.Helper()
	for it := r.bucket.List(o); ; {
		o, err := it.Next(r.a)
		if err == io.EOF {
			return all
		}
		must(t, err)
		all = append(all, fmt.Sprint(o.Key, " ", o.Size))
	}
}

// namesUnder counts what is in the store by the key that sealed its name.
func (r *resealed) namesUnder(t testing.TB, id uint32) (n int) {
	t.Helper()
	k, err := tenantkeys.Open(t.Context(), r.ring, alice)
	must(t, err)
	scopes, _, err := newSealedScopes(k, "records")
	must(t, err)
	all := newOpeners(scopes)
	for _, name := range rawNames(t, r.inner) {
		if strings.HasPrefix(name, sealedPrefix(alice)) {
			if _, s, ok, err := all.key(name); ok && err == nil && s.key == id {
				n++
			}
		}
	}
	return n
}

// After a rotation of names all is found, listed, overwritten and deleted as before, under two names; Reseal moves what is left,
// and the older key can go.
func TestNamesRotate(t *testing.T) {
	eachSealed(t, func(t *testing.T, r *resealed) {
		written := r.fill(t, r.a)
		r.fill(t, r.b)
		more := []string{"a", "a/", "a/b", "z/one", "z/two", "gone", "over"}
		for i, key := range more {
			must(t, r.bucket.WriteAll(r.a, key, pattern(i), rich(i)))
		}
		before := map[string]any{}
		for _, key := range append(slices.Clone(written), more...) {
			before[key] = r.seen(t, r.a, key)
		}
		listings := []*blob.ListOptions{nil, {Delimiter: "/"}, {Prefix: "dir1/"}, {Prefix: "z", Delimiter: "/"}, {Prefix: "z/", Delimiter: "/"}, {Prefix: "a", Delimiter: "b"}}
		var was [][]string
		for _, o := range listings {
			was = append(was, r.listed(t, o))
		}
		same := func(when string) {
			t.Helper()
			for i, o := range listings {
				if now := r.listed(t, o); !slices.Equal(now, was[i]) {
					t.Errorf("%s, listed with %+v: %q, want %q", when, o, now, was[i])
				}
			}
			for key, want := range before {
				if now := r.seen(t, r.a, key); !reflect.DeepEqual(now, want) {
					t.Errorf("%s, %q is not what it was", when, key)
				}
			}
		}
		r.rotate(t, keys.PurposeNames)
		old := r.key(t, keys.PurposeNames, 0)
		same("rotated")
		n := int64(len(before))
		if c := r.count(t); remaining(t, c, keys.PurposeNames) != n || remaining(t, c, keys.PurposeData) != 0 || c.Left[0].Key != old {
			t.Errorf("%+v", c)
		}
		if err := r.ring.Rotate(t.Context(), alice, keys.PurposeNames, "again"); err == nil {
			t.Error("a third key of names was made")
		}
		// One object is seen, whatever is written; what it hides is there until Reseal.
		must(t, r.bucket.WriteAll(r.a, "over", []byte("newer"), rich(7)))
		if got, err := r.bucket.ReadAll(r.a, "over"); string(got) != "newer" {
			t.Errorf("%q, %v", got, err)
		}
		before["over"] = r.seen(t, r.a, "over")
		for i, o := range listings {
			was[i] = r.listed(t, o)
		}
		if under := r.namesUnder(t, old); under != len(before) {
			t.Errorf("%d objects have an older name, want %d", under, len(before))
		}
		must(t, r.bucket.Delete(r.a, "gone"))
		_, err := r.bucket.ReadAll(r.a, "gone")
		wantCode(t, err, gcerrors.NotFound)
		wantCode(t, r.bucket.Delete(r.a, "gone"), gcerrors.NotFound)
		delete(before, "gone")
		for i, o := range listings {
			was[i] = r.listed(t, o)
		}
		wantCode(t, r.bucket.WriteAll(r.a, "a", []byte("x"), &blob.WriterOptions{IfNotExist: true}), gcerrors.FailedPrecondition)
		must(t, r.bucket.Copy(r.a, "copy", "a", nil))
		must(t, r.bucket.Delete(r.a, "copy"))
		same("used")
		report, err := r.reseal(r.a)
		must(t, err)
		if report.Resealed != n-2 || len(report.Left) != 0 || r.namesUnder(t, old) != 0 {
			t.Errorf("%+v, %d are under the older name", report, r.namesUnder(t, old))
		}
		same("moved")
		for _, take := range []func() error{
			func() error {
				return r.ring.DisableKey(t.Context(), alice, keys.PurposeNames, old, "old", func(context.Context) (int64, error) { return r.count(t).Remaining(keys.PurposeNames) })
			},
			func() error {
				return r.ring.DestroyKey(t.Context(), alice, keys.PurposeNames, old, "old", func(context.Context) (int64, error) { return r.count(t).Remaining(keys.PurposeNames) })
			},
		} {
			must(t, take())
			same("with the older key gone")
		}
		r.rotate(t, keys.PurposeNames)
		same("rotated again")
		r.nothingStaged(t)
	})
}

// Who was at writing before a rotation, and ends after the object was moved, is told; nothing that was acknowledged is hidden.
func TestNamesRotateUnderAWriter(t *testing.T) {
	eachSealed(t, func(t *testing.T, r *resealed) {
		begin := func(key, content string) *blob.Writer {
			w, err := r.bucket.NewWriter(r.a, key, &blob.WriterOptions{ContentType: "text/plain"})
			must(t, err)
			_, err = w.Write([]byte(content))
			must(t, err)
			return w
		}
		must(t, r.bucket.WriteAll(r.a, "moved", []byte("before"), nil))
		moved, early, late := begin("moved", "after"), begin("early", "after"), begin("late", "after")
		r.rotate(t, keys.PurposeNames)
		if err := early.Close(); !errors.Is(err, errRenamed) {
			t.Errorf("a writer at an older name: %v", err)
		}
		_, err := r.reseal(r.a)
		must(t, err)
		if err := moved.Close(); !errors.Is(err, errRenamed) {
			t.Errorf("a writer at a name that nobody looks at: %v", err)
		}
		if got, err := r.bucket.ReadAll(r.a, "moved"); string(got) != "before" {
			t.Errorf("%q, %v", got, err)
		}
		_, err = r.reseal(r.a)
		must(t, err)
		old := r.key(t, keys.PurposeNames, 0)
		must(t, r.ring.DisableKey(t.Context(), alice, keys.PurposeNames, old, "old", func(context.Context) (int64, error) { return r.count(t).Remaining(keys.PurposeNames) }))
		if err := late.Close(); !errors.Is(err, errRenamed) {
			t.Error("an object was written to a name whose key is disabled")
		}
		for _, key := range []string{"early", "late"} {
			_, err = r.bucket.ReadAll(r.a, key)
			wantCode(t, err, gcerrors.NotFound)
		}
		if n := len(r.listed(t, nil)); n != 1 {
			t.Errorf("%d objects", n)
		}
		if got := r.namesUnder(t, r.key(t, keys.PurposeNames, 1)); got != 1 || len(rawNames(t, r.inner)) != 1 {
			t.Errorf("%q", rawNames(t, r.inner))
		}
	})
}

// completing is a store in which something happens when an object is about to come to be.
type completing struct {
	*meddled
	meanwhile once
}

type completingWriter struct {
	driver.Writer
	c *completing
}

func (c *completing) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	w, err := c.meddled.NewTypedWriter(ctx, key, contentType, o)
	return &completingWriter{w, c}, err
}

func (w *completingWriter) Close() error {
	w.c.meanwhile.happens()
	return w.Writer.Close()
}

// A write that comes to be at an older name, since the key was rotated while the store was completing it, is not acknowledged: it
// may not have been counted before that key is disabled.
func TestNamesRotateWhileAWriteCompletes(t *testing.T) {
	for what, disable := range map[string]bool{"rotated": false, "disabled": true} {
		t.Run(what, func(t *testing.T) {
			c := &completing{meddled: &meddled{bucketDriver: innerDriver(memory())}}
			r := &resealed{world: quickWorld(t, t.TempDir()), inner: c.b, opts: ResealOptions{SoleProcess: true}}
			r.sealNames = true
			r.bucket = r.wrap(t, blob.NewBucket(c), "records")
			must(t, r.bucket.WriteAll(r.a, "x", []byte("before"), nil))
			writing := r.nameOf(t, alice, "y")
			c.meanwhile.set(func() {
				r.rotate(t, keys.PurposeNames)
				if !disable {
					return
				}
				// The writer holds its name's lock shared while it waits here for Reseal, which must want others.
				held, b := guarded(r.bucket).exclusion.of(writing), guarded(r.bucket)
				k, err := tenantkeys.Open(t.Context(), r.ring, alice)
				must(t, err)
				p, err := b.place(k, "x")
				must(t, err)
				for slices.ContainsFunc(p.names, func(name string) bool { return b.exclusion.of(name) == held }) {
					b.exclusion.seed++
				}
				_, err = r.reseal(r.a)
				must(t, err)
				must(t, r.ring.DisableKey(t.Context(), alice, keys.PurposeNames, r.key(t, keys.PurposeNames, 0), "old",
					func(context.Context) (int64, error) { return r.count(t).Remaining(keys.PurposeNames) }))
			})
			if err := r.bucket.WriteAll(r.a, "y", []byte("unacknowledged"), nil); !errors.Is(err, errRenamed) {
				t.Error(err)
			}
			if got, err := r.bucket.ReadAll(r.a, "x"); string(got) != "before" {
				t.Errorf("%q, %v", got, err)
			}
			if n := len(rawNames(t, r.inner)); disable && n != 1 {
				t.Errorf("%d objects are in the store", n)
			}
		})
	}
}

// demoting is the suite's driver of a tenant with two keys of names, every other of whose objects is put at its older name once it
// is written: what authenticates an object is its key, and not where the store has it.
type demoting struct {
	asTenant
	b    *bucket
	ring *keys.Keyring
	n    atomic.Int64
}

func (d *demoting) demote(key string) error {
	if d.n.Add(1)%2 == 0 {
		return nil
	}
	k, err := tenantkeys.Open(context.Background(), d.ring, alice)
	if err != nil {
		return err
	}
	p, err := d.b.place(k, key)
	if err != nil || len(p.names) != 2 || p.own != 0 {
		return fmt.Errorf("%+v, %w", p, err)
	}
	if err := d.b.inner.Copy(context.Background(), p.names[1], p.names[0], nil); err != nil {
		return err
	}
	return d.b.inner.Delete(context.Background(), p.names[0])
}

func (d *demoting) Copy(ctx context.Context, dst, src string, o *driver.CopyOptions) error {
	err := d.asTenant.Copy(ctx, dst, src, o)
	if err == nil {
		err = d.demote(dst)
	}
	return err
}

func (d *demoting) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	w, err := d.asTenant.NewTypedWriter(ctx, key, contentType, o)
	return &demotingWriter{w, d, key}, err
}

type demotingWriter struct {
	driver.Writer
	d   *demoting
	key string
}

func (w *demotingWriter) Close() error {
	err := w.Writer.Close()
	if err == nil {
		err = w.d.demote(w.key)
	}
	return err
}

type rotatedHarness struct{ *harness }

func (h *rotatedHarness) MakeDriver(ctx context.Context) (driver.Bucket, error) {
	b, err := h.harness.MakeDriver(ctx)
	if err != nil {
		return nil, err
	}
	if kept, ok := b.(keptOpen); ok {
		return &keptDemoting{demoting{asTenant: kept.asTenant, b: kept.Bucket.(*bucket), ring: h.world.ring}}, nil
	}
	as := b.(asTenant)
	return &demoting{asTenant: as, b: as.Bucket.(*bucket), ring: h.world.ring}, nil
}

type keptDemoting struct{ demoting }

func (*keptDemoting) Close() error { return nil }

// Gocloud's suite passes while the tenant has two keys of names, and objects at names of both.
func TestConformanceTwoNameKeys(t *testing.T) {
	stores := map[string]func(*testing.T) (func() (*blob.Bucket, error), bool){ // and whether to keep it open
		"memory": func(*testing.T) (func() (*blob.Bucket, error), bool) {
			b := memory()
			return func() (*blob.Bucket, error) { return b, nil }, true
		},
		"files": func(t *testing.T) (func() (*blob.Bucket, error), bool) {
			dir := t.TempDir()
			return func() (*blob.Bucket, error) { return fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true}) }, false
		},
		"S3": func(t *testing.T) (func() (*blob.Bucket, error), bool) {
			server := s3env.Server(t)
			name := server.NewBucket(t)
			return func() (*blob.Bucket, error) { return s3blob.OpenBucket(t.Context(), server.Client(t), name, nil) }, false
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
				of, keep := open(t)
				h := newHarness(t, of)
				h.world = quickWorld(t, t.TempDir())
				h.world.rotate(t, keys.PurposeNames)
				h.keepOpen, h.sealNames = keep, true
				if h.soleProcess = name != "S3"; name == "S3" {
					h.ifMatch = s3match.IfMatch
				}
				return &rotatedHarness{h}, nil
			}, nil)
		})
	}
}
