package blobs

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/blobs/s3match"
)

// watched is a store in which something happens before an object comes to be, after a name was looked at, or before it is deleted.
type watched struct {
	*completing
	looked, deleting func(name string)
}

func (w *watched) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	a, err := w.completing.Attributes(ctx, key)
	if w.looked != nil {
		w.looked(key)
	}
	return a, err
}

func (w *watched) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	if w.deleting != nil {
		w.deleting(key)
	}
	return w.completing.Delete(ctx, key, o)
}

// eachWatched runs a test on each store with sealed names.
func eachWatched(t *testing.T, test func(*testing.T, *resealed, *watched)) {
	for _, s := range resealStores() {
		t.Run(s.name, func(t *testing.T) {
			w := &watched{completing: &completing{meddled: &meddled{bucketDriver: innerDriver(s.open(t))}}}
			r := &resealed{world: quickWorld(t, t.TempDir()), inner: w.b, opts: s.opts, store: s.name}
			r.sealNames, r.with = true, Options{IfMatch: s.opts.IfMatch, SoleProcess: s.opts.SoleProcess}
			r.bucket = r.wrap(t, blob.NewBucket(w), "records")
			test(t, r, w)
		})
	}
}

// mark puts a mark at an object's newest name, as a run of Reseal that was killed leaves it.
func (r *resealed) mark(t testing.TB, key string) {
	t.Helper()
	run := newResealer(guarded(r.bucket), r.opts)
	run.replace = sole{run.bucket}
	k, err := tenantkeys.Open(t.Context(), r.ring, alice)
	must(t, err)
	s, err := run.marked(t.Context(), k, key, r.nameOf(t, alice, key))
	if err != nil || !s.sealed.Mark {
		t.Fatal(s, err)
	}
}

// putAt writes an object to one of its names.
func (r *resealed) putAt(t testing.TB, key string, nth int, content string) {
	t.Helper()
	b := guarded(r.bucket)
	k, err := tenantkeys.Open(t.Context(), r.ring, alice)
	must(t, err)
	p, err := b.place(k, key)
	must(t, err)
	d, err := b.createVia(t.Context(), k, key, p.names[nth], &attributes{ContentType: "text/plain"}, &blob.WriterOptions{}, b.limit, nil)
	must(t, err)
	_, err = d.Write([]byte(content))
	must(t, err)
	must(t, d.commit())
}

// A write of IfNotExist that has to give way to an object at the older name takes back what it wrote, and nothing that somebody
// wrote there since.
func TestWithdrawnWhileOverwritten(t *testing.T) {
	eachWatched(t, func(t *testing.T, r *resealed, w *watched) {
		r.rotate(t, keys.PurposeNames)
		newest := r.nameOf(t, alice, "x")
		overwrite := func(by *blob.Bucket) func(string) {
			return func(name string) {
				if name == newest {
					w.looked, w.deleting = nil, nil
					must(t, by.WriteAll(r.a, "x", []byte("overwritten"), nil))
				}
			}
		}
		w.meanwhile.set(func() {
			r.putAt(t, "x", 1, "older") // by a process that does not write to the newest name yet
			if r.store == "S3" {
				w.deleting = overwrite(r.wrap(t, r.inner, "records")) // in another process
			} else {
				w.looked = func(name string) { // at the older name once the object is there, and then at what was written
					if name != newest {
						w.looked = overwrite(r.bucket)
					}
				}
			}
		})
		wantCode(t, r.bucket.WriteAll(r.a, "x", []byte("new"), &blob.WriterOptions{IfNotExist: true}), gcerrors.FailedPrecondition)
		if w.looked != nil || w.deleting != nil {
			t.Fatal("nobody overwrote it")
		}
		if got, err := r.bucket.ReadAll(r.a, "x"); string(got) != "overwritten" {
			t.Errorf("what was written and acknowledged is %q, %v", got, err)
		}
	})
}

// Without a word about the store's conditions nobody could take a write of IfNotExist back.
func TestIfNotExistWithoutConditions(t *testing.T) {
	r := &resealed{world: quickWorld(t, t.TempDir()), inner: memory()}
	r.sealNames = true
	r.bucket = r.wrap(t, r.inner, "records")
	must(t, r.bucket.WriteAll(r.a, "x", []byte("one key"), &blob.WriterOptions{IfNotExist: true}))
	r.rotate(t, keys.PurposeNames)
	err := r.bucket.WriteAll(r.a, "y", []byte("two keys"), &blob.WriterOptions{IfNotExist: true})
	wantIs(t, err, errUnconditional)
	wantCode(t, err, gcerrors.FailedPrecondition)
	must(t, r.bucket.WriteAll(r.a, "y", []byte("two keys"), nil))
}

// A mark that a killed run left hides nothing, whatever becomes of the key that sealed it, and the key is needed while it is there.
func TestAMarkWhoseKeyIsTakenAway(t *testing.T) {
	for what, destroy := range map[string]bool{"disabled": false, "destroyed": true} {
		t.Run(what, func(t *testing.T) {
			eachWatched(t, func(t *testing.T, r *resealed, _ *watched) {
				r.rotate(t, keys.PurposeNames)
				r.mark(t, "moving")
				r.mark(t, "gone")
				r.rotate(t, keys.PurposeData)
				old := r.key(t, keys.PurposeData, 0)
				r.putAt(t, "moving", 1, "older")
				if n := remaining(t, r.count(t), keys.PurposeData); n != 2 {
					t.Errorf("the older data key is needed by %d, want the 2 marks", n)
				}
				none := func(context.Context) (int64, error) { return 0, nil }
				must(t, r.ring.DisableKey(t.Context(), alice, keys.PurposeData, old, "old", none))
				if destroy {
					must(t, r.ring.DestroyKey(t.Context(), alice, keys.PurposeData, old, "old", none))
				}
				if got, err := r.bucket.ReadAll(r.a, "moving"); string(got) != "older" {
					t.Errorf("%q, %v", got, err)
				}
				_, err := r.bucket.ReadAll(r.a, "gone")
				wantCode(t, err, gcerrors.NotFound)
				must(t, r.bucket.WriteAll(r.a, "gone", []byte("again"), &blob.WriterOptions{IfNotExist: true}))
				report, err := r.reseal(r.a)
				if err != nil || len(report.Left) != 0 {
					t.Errorf("%+v, %v", report, err)
				}
				for key, want := range map[string]string{"moving": "older", "gone": "again"} {
					if got, err := r.bucket.ReadAll(r.a, key); string(got) != want {
						t.Errorf("%s: %q, %v", key, got, err)
					}
				}
				if all := rawNames(t, r.inner); len(all) != 2 {
					t.Errorf("%q", all)
				}
			})
		})
	}
}

// A mark at a name that became the older one is nobody's, and goes: the key that sealed its name could not be disabled.
func TestAMarkAtAnOlderName(t *testing.T) {
	eachWatched(t, func(t *testing.T, r *resealed, _ *watched) {
		must(t, r.bucket.WriteAll(r.a, "x", []byte("content"), nil))
		r.mark(t, "left")
		r.rotate(t, keys.PurposeNames)
		must(t, r.bucket.WriteAll(r.a, "left", []byte("newer"), nil))
		if n := remaining(t, r.count(t), keys.PurposeNames); n != 2 {
			t.Errorf("the older key is needed by %d names, want that of the object and that of the mark", n)
		}
		report, err := r.reseal(r.a)
		if err != nil || len(report.Left) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		if all := rawNames(t, r.inner); len(all) != 2 {
			t.Errorf("%q", all)
		}
		if got, err := r.bucket.ReadAll(r.a, "left"); string(got) != "newer" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// Where there is a mark and no object, there is no object: it can be made with IfNotExist, and not be deleted.
func TestAMarkIsNoObject(t *testing.T) {
	eachWatched(t, func(t *testing.T, r *resealed, w *watched) {
		create := func(key, content string) error {
			return r.bucket.WriteAll(r.a, key, []byte(content), &blob.WriterOptions{IfNotExist: true})
		}
		must(t, r.bucket.WriteAll(r.a, "older", []byte("older"), nil))
		r.rotate(t, keys.PurposeNames)
		r.mark(t, "deleted")
		wantCode(t, r.bucket.Delete(r.a, "deleted"), gcerrors.NotFound)
		if exists, err := r.bucket.Exists(r.a, "deleted"); exists || err != nil {
			t.Error(exists, err)
		}
		r.mark(t, "older")
		wantCode(t, create("older", "x"), gcerrors.FailedPrecondition)
		must(t, r.bucket.Delete(r.a, "older"))
		wantCode(t, r.bucket.Delete(r.a, "older"), gcerrors.NotFound)
		if all := rawNames(t, r.inner); len(all) != 0 {
			t.Errorf("%q", all)
		}

		r.mark(t, "made")
		must(t, create("made", "made"))
		wantCode(t, create("made", "again"), gcerrors.FailedPrecondition)
		large := pattern(6 << 20) // several parts on S3
		r.mark(t, "large")
		must(t, create("large", string(large)))

		r.mark(t, "raced")
		other := r.wrap(t, r.inner, "records") // another process
		if r.store == "S3" {
			w.meanwhile.set(func() { must(t, other.WriteAll(r.a, "raced", []byte("other"), nil)) })
		} else {
			name := r.nameOf(t, alice, "raced")
			w.looked = func(at string) {
				if at == name {
					w.looked = nil
					must(t, r.bucket.WriteAll(r.a, "raced", []byte("other"), nil))
				}
			}
		}
		wantCode(t, create("raced", "mine"), gcerrors.FailedPrecondition)
		for key, want := range map[string][]byte{"made": []byte("made"), "large": large, "raced": []byte("other")} {
			if got, err := r.bucket.ReadAll(r.a, key); !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, %v", key, len(got), err)
			}
		}
		if all := r.listed(t, nil); !slices.Equal(all, []string{"large 6291456", "made 4", "raced 5"}) {
			t.Errorf("%q", all)
		}
	})
}

// What is at the older name, and a mark, are to a handler what they are to everybody: an object, and none.
func TestHandlerOfTwoNames(t *testing.T) {
	r := &resealed{world: quickWorld(t, t.TempDir()), inner: memory(), opts: ResealOptions{SoleProcess: true}}
	r.sealNames, r.with = true, Options{SoleProcess: true}
	r.bucket = r.wrap(t, r.inner, "records")
	must(t, r.bucket.WriteAll(r.a, "older", []byte("content"), nil))
	r.rotate(t, keys.PurposeNames)
	r.mark(t, "marked")
	w := &web{world: r.world, bucket: r.bucket, clock: time.Unix(1_800_000_000, 0)}
	w.signer = w.newSigner(t, newHandle(t, aead.AES256GCMKeyTemplate()))
	h, err := NewHandler(w.bucket, w.signer, nil)
	must(t, err)
	url := w.serve(t, h)
	for _, c := range []struct {
		grant Grant
		want  int
	}{
		{Grant{Method: "PUT", Key: "older", CreateOnly: true}, http.StatusPreconditionFailed},
		{Grant{Method: "GET", Key: "marked"}, http.StatusNotFound},
		{Grant{Method: "DELETE", Key: "marked"}, http.StatusNotFound},
		{Grant{Method: "PUT", Key: "marked", CreateOnly: true}, http.StatusCreated},
		{Grant{Method: "GET", Key: "marked"}, http.StatusOK},
	} {
		if got := do(t, c.grant.Method, url, w.sign(t, r.a, c.grant), "x"); got.status != c.want {
			t.Errorf("%+v: %d %q, want %d", c.grant, got.status, got.body, c.want)
		}
	}
}

// A source that somebody overwrites just before it is deleted stays, where its store has conditions.
func TestImportDeletesNoOtherVersion(t *testing.T) {
	server := s3env.Server(t)
	inner, err := s3blob.OpenBucket(t.Context(), server.Client(t), server.NewBucket(t), nil)
	must(t, err)
	from := &watched{completing: &completing{meddled: &meddled{bucketDriver: innerDriver(inner)}}}
	w := newWorld(t)
	to, _ := w.mem(t, "records")
	for _, key := range []string{"overwritten", "still"} {
		must(t, inner.WriteAll(t.Context(), key, []byte("imported"), nil))
	}
	from.deleting = func(name string) {
		if name == "overwritten" {
			must(t, inner.WriteAll(t.Context(), name, []byte("newer"), nil))
		}
	}
	report, err := Import(w.a, to, blob.NewBucket(from), &ImportOptions{DeleteSource: true, IfMatch: s3match.IfMatch})
	wantIs(t, err, ErrSourceChanged)
	if report.Deleted != 1 || len(report.Failures) != 1 || report.Failures[0].Source != "overwritten" {
		t.Errorf("%+v", report)
	}
	if got, err := inner.ReadAll(t.Context(), "overwritten"); string(got) != "newer" {
		t.Errorf("what was written last is %q, %v", got, err)
	}
	if exists, err := inner.Exists(t.Context(), "still"); exists || err != nil {
		t.Error(exists, err)
	}
}
