package blobs

import (
	"context"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
)

// slow is another process: it is at the moment when the newest key of names opens and does not seal yet, where it may be for
// Options.SuspendWithin after the key seals in others. Here that is as long as the test takes.
func (r *resealed) slow(t *testing.T, k leaversKeys, inner *blob.Bucket) *blob.Bucket {
	t.Helper()
	ring := func() *keys.Keyring {
		quiet := struct{ keys.Store }{k.store} // no news of changes
		ring, err := keys.Open(t.Context(), k.kek, quiet, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: time.Hour})
		must(t, err)
		t.Cleanup(func() { _ = ring.Close() })
		return ring
	}
	ctx, cancel := context.WithCancel(t.Context())
	rotating, stopped := ring(), make(chan error)
	go func() { stopped <- rotating.Rotate(ctx, alice, keys.PurposeNames, "yearly") }()
	for staged := false; !staged; time.Sleep(time.Millisecond) {
		all, err := r.ring.Versions(t.Context(), alice, keys.PurposeNames)
		must(t, err)
		staged = all[len(all)-1].Status == keys.KeyNext
	}
	w := *r.world
	w.guard = storage.Guard{Keys: ring(), Audit: w.log}
	b := w.wrap(t, inner, "records")
	must(t, b.WriteAll(w.a, "dir/y", nil, nil)) // its keys are in the cache, and it has reserved seals
	cancel()
	if err := <-stopped; err == nil {
		t.Fatal("the rotation was not to end")
	}
	r.rotate(t, keys.PurposeNames)
	return b
}

// deleting is a store in which something happens when an object is about to be deleted.
type deleting struct {
	*meddled
	name      string
	meanwhile once
}

func (d *deleting) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	if key == d.name {
		d.meanwhile.happens()
	}
	return d.meddled.Delete(ctx, key, o)
}

// What another process, that names objects by the older key for a moment yet, deletes and makes again stands, however little
// before Reseal takes away what it moved, or found hidden.
func TestNamesMadeAgainBySlowProcess(t *testing.T) {
	s := resealStores()[2]
	for what, hidden := range map[string]bool{"moved": false, "hidden": true} {
		t.Run(what, func(t *testing.T) {
			k := keysIn(t, t.TempDir())
			d := &deleting{meddled: &meddled{bucketDriver: innerDriver(s.open(t))}}
			r := &resealed{world: worldOf(t, k.ring(t)), inner: d.b, opts: s.opts, store: s.name}
			r.sealNames = true
			r.bucket = r.wrap(t, blob.NewBucket(d), "records")
			must(t, r.bucket.WriteAll(r.a, "dir/x", []byte("first"), nil))
			older := r.nameOf(t, alice, "dir/x")
			was := getRaw(t, r.inner, older)
			other := r.slow(t, k, r.inner)
			if hidden {
				must(t, r.bucket.WriteAll(r.a, "dir/x", []byte("second"), nil))
				putRaw(t, r.inner, older, was)
			}
			d.name = older
			d.meanwhile.set(func() {
				must(t, other.Delete(r.a, "dir/x"))
				must(t, other.WriteAll(r.a, "dir/x", []byte("third"), nil))
			})
			_, err := r.reseal(r.a)
			must(t, err)
			if !d.meanwhile.happened() {
				t.Fatal("nothing was deleted")
			}
			if got, err := r.bucket.ReadAll(r.a, "dir/x"); string(got) != "third" {
				t.Errorf("an acknowledged write is lost: %q, %v", got, err)
			}
		})
	}
}

// What another process deletes and makes again stands, however little before a writer takes away the older name's object.
func TestNamesMadeAgainBesideAWriter(t *testing.T) {
	k := keysIn(t, t.TempDir())
	d := &deleting{meddled: &meddled{bucketDriver: innerDriver(memory())}}
	r := &resealed{world: worldOf(t, k.ring(t)), inner: d.b}
	r.sealNames = true
	r.bucket = r.wrap(t, blob.NewBucket(d), "records")
	must(t, r.bucket.WriteAll(r.a, "dir/x", []byte("first"), nil))
	d.name = r.nameOf(t, alice, "dir/x")
	other := r.slow(t, k, r.inner)
	d.meanwhile.set(func() {
		must(t, other.Delete(r.a, "dir/x"))
		must(t, other.WriteAll(r.a, "dir/x", []byte("third"), nil))
	})
	must(t, r.bucket.WriteAll(r.a, "dir/x", []byte("second"), nil))
	if got, err := r.bucket.ReadAll(r.a, "dir/x"); err != nil {
		t.Errorf("both writes were acknowledged, and there is neither: %q, %v", got, err)
	}
}
