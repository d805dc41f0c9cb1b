package blobs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/internal/envelope/golden"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// Somebody who can write to the key store puts the record of an earlier version back while the process runs, and the
// tenant is provisioned once more, as the refusal says: then the objects under the names key of before are not absent,
// and nothing is written beside them.
func TestOlderRecordUnderARunningBucket(t *testing.T) {
	v, err := golden.Load(moduleRoot)
	must(t, err)
	id, dir := tenant.MustParse(v.Tenant), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "kek"), v.LocalKEK, 0o600))
	kek, err := localkek.Open(filepath.Join(dir, "kek"), &localkek.Options{MustExist: true})
	must(t, err)
	store, err := filestore.Open(filepath.Join(dir, "records"), nil)
	must(t, err)
	_, err = store.Put(t.Context(), id, v.Record, 0)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{Label: v.Keyring, InsecureWithoutAudit: true})
	must(t, err)
	t.Cleanup(func() { _ = ring.Close() })
	must(t, ring.Provision(t.Context(), id))
	w := &world{ring: ring, log: new(recorder), a: accessOf(t.Context(), id), sealNames: true}
	w.guard = storage.Guard{Keys: ring, Audit: w.log}
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", []byte("content"), nil))

	stored, err := store.Get(t.Context(), id)
	must(t, err)
	_, err = store.Put(t.Context(), id, v.Record, stored.Version)
	must(t, err)
	must(t, ring.Provision(t.Context(), id))
	everythingAlerts(t, w, b, inner)
}

// What somebody plants below the segment of sealed names makes a plain listing no dearer than one question more.
func TestPlantedBelowTheSealedSegment(t *testing.T) {
	w := newWorld(t)
	inner := &listCounter{bucketDriver: innerDriver(memory())}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	must(t, b.WriteAll(w.a, "k", []byte("content"), nil))
	for i := range 500 {
		putRaw(t, inner.b, fmt.Sprintf("%s/%s/junk%d", alice.Segment(), sealedMark, i), raw{body: []byte("junk")})
	}
	inner.asked = nil
	if got := listing(t, b, w.a, 1000, blob.ListOptions{}); !slices.Equal(got, []string{"k"}) {
		t.Errorf("got %q", got)
	}
	if n := len(inner.asked); n > 10 {
		t.Errorf("one page took %d listings of the store", n)
	}
}

// everythingAlerts tries every operation on the object "k": each is an isolation error with one alert, and the store stays
// as it was.
func everythingAlerts(t *testing.T, w *world, b, inner *blob.Bucket) {
	t.Helper()
	before := rawNames(t, inner)
	w.log.take()
	errs := everyOperation(b, w.a, "k")
	for name, err := range errs {
		if !errors.Is(err, storage.ErrIsolation) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := alerts(w.log.take()); n != len(errs) {
		t.Errorf("%d alerts of %d operations", n, len(errs))
	}
	if after := rawNames(t, inner); !slices.Equal(before, after) {
		t.Errorf("the store had %q, and has %q", before, after)
	}
}
