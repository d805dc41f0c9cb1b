package blobs

import (
	"io"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/keys"
)

// renamedWorld is a bucket of sealed names with one object, in a store that can be meddled with.
func renamedWorld(t *testing.T, s resealStore, content string) (*resealed, *meddled) {
	t.Helper()
	m := &meddled{bucketDriver: innerDriver(s.open(t))}
	r := &resealed{world: quickWorld(t, t.TempDir()), inner: m.b, opts: s.opts, store: s.name}
	r.sealNames = true
	r.bucket = r.wrap(t, blob.NewBucket(m), "records")
	must(t, r.bucket.WriteAll(r.a, "dir/x", []byte(content), nil))
	return r, m
}

// A deletion that was admitted before a rotation, and takes longer than it, deletes the object wherever it is by then.
func TestNamesRotateUnderADeletion(t *testing.T) {
	for when, during := range map[string]bool{"while the object is moved": true, "after it was moved": false} {
		t.Run(when, func(t *testing.T) {
			r, m := renamedWorld(t, resealStores()[0], "secret")
			admitted, goOn, done := make(chan bool), make(chan bool), make(chan error)
			go func() {
				b := guarded(r.bucket)
				done <- b.Delete(r.a, "dir/x", &driver.DeleteOptions{BeforeDelete: func(func(any) bool) error {
					close(admitted)
					<-goOn
					return nil
				}})
			}()
			<-admitted
			r.rotate(t, keys.PurposeNames)
			finish := func() {
				close(goOn)
				must(t, <-done)
			}
			if newest, writes := r.nameOf(t, alice, "dir/x"), 0; during {
				m.set(func(name string) {
					if name == newest {
						writes++
					}
					if name == newest && writes == 2 { // the mark is the first
						m.set(nil)
						finish()
					}
				})
			}
			_, err := r.reseal(r.a)
			must(t, err)
			if !during {
				finish()
			}
			_, err = r.bucket.ReadAll(r.a, "dir/x")
			wantCode(t, err, gcerrors.NotFound)
			if left := rawNames(t, r.inner); len(left) > 0 {
				t.Errorf("the deletion was acknowledged, and %q is in the store", left)
			}
		})
	}
}

// A listing that began before a rotation and takes longer than it, as those of many objects do, has all objects.
func TestNamesRotateUnderAListing(t *testing.T) {
	for _, prefix := range []string{"", "dir/"} {
		t.Run("of "+prefix, func(t *testing.T) {
			r, _ := renamedWorld(t, resealStores()[0], "content")
			other := r.wrap(t, r.inner, "records") // of another process
			r.log.take()
			once := false
			it := r.bucket.List(&blob.ListOptions{Prefix: prefix, BeforeList: func(func(any) bool) error {
				if once {
					return nil
				}
				once = true
				r.rotate(t, keys.PurposeNames)
				_, err := Reseal(r.a, other, &r.opts)
				return err
			}})
			o, err := it.Next(r.a)
			if err != nil || o.Key != "dir/x" {
				t.Fatalf("%+v, %v", o, err)
			}
			if _, err := it.Next(r.a); err != io.EOF {
				t.Error(err)
			}
			if n := alerts(r.log.take()); n != 0 {
				t.Errorf("%d alerts, and there was no attack", n)
			}
		})
	}
}
