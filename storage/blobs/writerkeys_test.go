package blobs

import (
	"context"
	"testing"

	"gocloud.dev/blob"
)

// A writer that takes so long that a key it seals with is taken away before it is closed, since nobody can count what it has not
// written yet, acknowledges nothing that cannot be read.
func TestAKeyIsTakenFromUnderAWriter(t *testing.T) {
	for _, destroy := range []bool{false, true} {
		for _, p := range both {
			t.Run(string(p), func(t *testing.T) {
				eachNaming(t, func(t *testing.T) {
					inner := memory()
					r := &resealed{world: quickWorld(t, t.TempDir()), inner: inner, opts: ResealOptions{SoleProcess: true}}
					r.bucket = r.wrap(t, inner, "records")
					w, err := r.bucket.NewWriter(r.a, "x", &blob.WriterOptions{ContentType: "text/plain"})
					must(t, err)
					_, err = w.Write(pattern(3 * segmentSize))
					must(t, err)
					r.rotate(t, p)
					old := r.key(t, p, 0)
					left := func(context.Context) (int64, error) { return r.count(t).Remaining(p) }
					must(t, r.ring.DisableKey(t.Context(), alice, p, old, "old", left))
					if destroy {
						must(t, r.ring.DestroyKey(t.Context(), alice, p, old, "old", left))
					}
					closed := w.Close()
					_, err = r.bucket.ReadAll(r.a, "x")
					if closed == nil && err != nil {
						t.Errorf("the object was acknowledged, and cannot be read: %v", err)
					}
					if n := len(rawNames(t, inner)); closed != nil && n != 0 {
						t.Errorf("%d objects came to be", n)
					}
				})
			})
		}
	}
}
