package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestFollowCompressed: a compressed segment is read once, however few events are asked for at a time, and each comes once.
func TestFollowCompressed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes = 64 << 10
	l := mustOpen(t, dir, opts)
	for i := range 150 {
		mustRecord(t, l, query(acme, fmt.Sprint(i)))
	}
	if _, err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := mustRetain(t, l, &Retention{Compress: true})
	if done.Compressed < 2 {
		t.Fatalf("%d segments are compressed", done.Compressed)
	}
	var size int64
	segments, _, err := retained(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range segments[:done.Compressed] {
		info, err := os.Stat(compressedPath(dir, first))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	f, err := Follow(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := int64(0)
	for next+5 <= segments[done.Compressed] { // and no event of the one behind, which is not compressed
		entries, err := f.Next(t.Context(), 5)
		if err != nil || len(entries) == 0 {
			t.Fatalf("%d events, %v", len(entries), err)
		}
		for _, e := range entries {
			if e.Index != next {
				t.Fatalf("event %d comes where %d should", e.Index, next)
			}
			next++
		}
	}
	if f.bytes > size {
		t.Errorf("%d bytes were read of files of %d", f.bytes, size)
	}
	mustClose(t, l)
}
