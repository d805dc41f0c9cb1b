package blobs

import (
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/tenant"
)

// segmented is a key of n bytes in path segments of at most 200.
func segmented(n int) string {
	key := strings.Repeat(strings.Repeat("k", 199)+"/", n/200+1)[:n]
	if strings.HasSuffix(key, "/") {
		key = key[:n-1] + "k"
	}
	return key
}

// tryKey writes, reads, lists and deletes an object.
func tryKey(t *testing.T, w *world, b *blob.Bucket, key string) error {
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

// The documented limits of keys are those of the stores.
func TestKeyLengths(t *testing.T) {
	try := tryKey
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
		// A file name of 255 bytes, that of the attributes included.
		const limit = 255 - len(fileAttributes)
		must(t, try(t, w, b, strings.Repeat("k", limit)))
		if err := try(t, w, b, strings.Repeat("k", limit+1)); err == nil {
			t.Error("a longer path segment is a file name")
		}
	})
	t.Run("S3", func(t *testing.T) {
		server := s3env.Server(t)
		w := newWorld(t)
		inner, err := s3blob.OpenBucket(t.Context(), server.Client(t), server.NewBucket(t), nil)
		must(t, err)
		everywhere(t, w, w.wrap(t, inner, "records"))
	})
}

// The documented limits of keys with sealed names: of one segment on files and on a gateway that keeps objects as files,
// and of the whole everywhere.
func TestSealedKeyLengths(t *testing.T) {
	refused := func(t *testing.T, w *world, b *blob.Bucket, key string) {
		t.Helper()
		if err := tryKey(t, w, b, key); err == nil {
			t.Errorf("a key of %d bytes is taken", len(key))
		}
	}
	k := func(n int) string { return strings.Repeat("k", n) }
	// What is left of 1,024 bytes has five bytes in eight letters, of which 21 are not the key's. A directory of one letter
	// and a slash takes 38.
	whole := (MaxKeyLength-len(sealedPrefix(alice)))*5/8 - 21
	deep := strings.Repeat("d/", 25) + "e"
	everywhere := func(t *testing.T, w *world, b *blob.Bucket) {
		t.Helper()
		must(t, tryKey(t, w, b, deep))
		wantCode(t, tryKey(t, w, b, "d/"+deep), gcerrors.InvalidArgument)
		wantCode(t, tryKey(t, w, b, k(whole+1)), gcerrors.InvalidArgument)
		_, err := b.List(&blob.ListOptions{Prefix: k(whole+1) + "/"}).Next(w.a)
		wantCode(t, err, gcerrors.InvalidArgument)
	}
	acme := tenant.MustParse("acme")
	for n, key := range map[int]func(n int) string{
		609: k,
		543: func(n int) string { return strings.Repeat(k(135)+"/", 3) + k(n-408) },
	} {
		must(t, checkSealed(acme, key(n)))
		if err := checkSealed(acme, key(n+1)); (&bucket{}).ErrorCode(err) != gcerrors.InvalidArgument {
			t.Errorf("a key of %d bytes: %v", n+1, err)
		}
	}
	t.Run("memory", func(t *testing.T) {
		w := sealedWorld(t)
		b, _ := w.mem(t, "records")
		everywhere(t, w, b)
		must(t, tryKey(t, w, b, k(whole)))
	})
	t.Run("files", func(t *testing.T) {
		w := sealedWorld(t)
		b := w.wrap(t, fileBucket(t, t.TempDir()), "records")
		everywhere(t, w, b)
		must(t, tryKey(t, w, b, k(maxFileSegment)))
		refused(t, w, b, k(maxFileSegment+1))
		must(t, tryKey(t, w, b, k(maxFileDirectory)+"/k"))
		refused(t, w, b, k(maxFileDirectory+1)+"/k")
	})
	t.Run("S3", func(t *testing.T) {
		server := s3env.Server(t)
		w := sealedWorld(t)
		inner, err := s3blob.OpenBucket(t.Context(), server.Client(t), server.NewBucket(t), nil)
		must(t, err)
		b := w.wrap(t, inner, "records")
		everywhere(t, w, b)
		must(t, tryKey(t, w, b, k(maxFileDirectory)+"/"+k(maxFileDirectory)))
	})
}

// What file names of 255 bytes hold of a key's segment, in bytes, as doc.go says: a directory's name is all its own, an
// object's has six bytes of fileblob's behind it, those of the attributes' file.
const (
	maxFileSegment   = 134
	maxFileDirectory = 137
)
