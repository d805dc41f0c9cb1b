//go:build unix

package blobs

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"

	"gocloud.dev/blob"
)

// A directory that cannot be read is not taken for an empty one: here since too many files are open.
func TestFilesThatCannotBeListed(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.wrap(t, fileBucket(t, t.TempDir()), "records")
		must(t, b.WriteAll(w.a, "dir/x", []byte("x"), nil))
		listed := func(ctx context.Context) (n int, err error) {
			for it := b.List(&blob.ListOptions{}); ; n++ {
				if _, err := it.Next(ctx); err != nil {
					return n, err
				}
			}
		}
		if n, err := listed(w.a); n != 1 || err != io.EOF {
			t.Fatalf("%d, %v", n, err)
		}
		var was syscall.Rlimit
		must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: was.Max}))
		n, err := listed(w.a)
		r, failed := Reseal(w.a, b, &ResealOptions{DryRun: true})
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was))
		if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("a listing that could read no directory has %d objects, %v", n, err)
		}
		if !errors.Is(failed, syscall.EMFILE) {
			t.Errorf("Reseal counted %+v, %v", r, failed)
		}
		if n, err := listed(w.a); n != 1 || err != io.EOF {
			t.Errorf("afterwards: %d, %v", n, err)
		}
	})
}
