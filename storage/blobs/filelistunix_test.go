//go:build unix

package blobs

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A pipe among the files is no object, and nobody waits for it.
func TestPipesAmongFiles(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	b := w.wrap(t, fileBucket(t, dir), "records")
	must(t, b.WriteAll(w.a, "x", []byte("x"), nil))
	pipe := filepath.Join(dir, alice.Segment(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	must(t, os.Symlink(pipe, pipe+"-link"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r, err := Reseal(w.a, b, &ResealOptions{DryRun: true}); err != nil || r.Objects != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		other := newWorld(t)
		if r, err := Import(other.a, other.wrap(t, memory(), "records"), fileBucket(t, dir), &ImportOptions{Prefix: alice.Segment() + "/pipe"}); err != nil || r.Listed != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("the pipe is waited for")
		for range 100 { // whoever does goes on
			f, err := os.OpenFile(pipe, os.O_RDWR, 0)
			must(t, err)
			time.Sleep(10 * time.Millisecond)
			must(t, f.Close())
		}
		<-done
	}
}
