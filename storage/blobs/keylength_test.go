package blobs

import (
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// segmented is a key of n bytes in path segments of at most 200.
func segmented(n int) string {
	key := strings.Repeat(strings.Repeat("k", 199)+"/", n/200+1)[:n]
	if strings.HasSuffix(key, "/") {
		key = key[:n-1] + "k"
	}
	return key
}

// The documented limits of keys are those of the stores.
func TestKeyLengths(t *testing.T) {
	try := func(t *testing.T, w *world, b *blob.Bucket, key string) error {
		t.Helper()
		err := b.WriteAll(w.a, key, []byte("content"), nil)
		if err != nil {
			if exists, lookErr := b.Exists(w.a, key); exists {
				t.Errorf("a key of %d bytes is refused, and exists: %v", len(key), lookErr)
			}
			return err
		}
		if got, err := b.ReadAll(w.a, key); err != nil || string(got) != "content" {
			t.Errorf("a key of %d bytes: %q, %v", len(key), got, err)
		}
		if o, err := b.List(nil).Next(w.a); err != nil || o.Key != key {
			t.Errorf("a key of %d bytes is not listed: %v", len(key), err)
		}
		must(t, b.Delete(w.a, key))
		return nil
	}
	longest := MaxKeyLength - len(alice.Segment()) - 1
	everywhere := func(t *testing.T, w *world, b *blob.Bucket) {
		t.Helper()
		must(t, try(t, w, b, segmented(longest)))
		wantCode(t, try(t, w, b, segmented(longest+1)), gcerrors.InvalidArgument)
		// A mark counts.
		wantCode(t, try(t, w, b, "."+segmented(longest-1)), gcerrors.InvalidArgument)
	}
	t.Run("memory", func(t *testing.T) {
		w := newWorld(t)
		b, _ := w.mem(t, "records")
		everywhere(t, w, b)
		must(t, try(t, w, b, strings.Repeat("k", longest)))
	})
	t.Run("files", func(t *testing.T) {
		w := newWorld(t)
		b := w.wrap(t, fileBucket(t, t.TempDir()), "records")
		everywhere(t, w, b)
		// A file name of 255 bytes, that which fileblob gives to what is not finished included.
		const limit = 255 - len(".0123456789abcdef.tmp")
		must(t, try(t, w, b, strings.Repeat("k", limit)))
		if err := try(t, w, b, strings.Repeat("k", limit+1)); err == nil {
			t.Error("a longer path segment is a file name")
		}
	})
	t.Run("S3", func(t *testing.T) {
		server := testenv.S3(t)
		w := newWorld(t)
		inner, err := s3blob.OpenBucket(t.Context(), server.Client(t), server.NewBucket(t), nil)
		must(t, err)
		everywhere(t, w, w.wrap(t, inner, "records"))
	})
}
