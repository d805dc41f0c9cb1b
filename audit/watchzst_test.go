package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWatchCompressed: a compressed segment is read once, however often the log is looked at, and each event comes once.
func TestWatchCompressed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.Durability, opts.SegmentBytes = Written, 3*watchBatch
	l := mustOpen(t, dir, opts)
	const events = 2500
	for i := range events {
		e := query(acme, fmt.Sprint(i))
		e.Statement = "SELECT " + strings.Repeat("name, ", 500) + "id FROM patients"
		mustRecord(t, l, e)
	}
	mustCheckpoint(t, l)
	if done := mustRetain(t, l, &Retention{Compress: true}); done.Compressed != 1 {
		t.Fatalf("%d segments are compressed", done.Compressed)
	}
	mustClose(t, l)
	segments, err := listSegments(dir)
	if err != nil || len(segments) != 2 {
		t.Fatal(segments, err)
	}
	packed, err := os.Stat(compressedPath(dir, 0))
	if err != nil {
		t.Fatal(err)
	}
	// What a copy is that is brought up to date: the next segment is not there yet.
	behind, later := segmentPath(dir, segments[1]), filepath.Join(t.TempDir(), "later")
	if err := os.Rename(behind, later); err != nil {
		t.Fatal(err)
	}
	logs, err := watchers(background, []string{dir}, &WatchOptions{Filter: &Filter{Code: CodeQuery, Since: time.Unix(0, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	w, next := logs[0], 0
	defer w.release()
	look := func() {
		t.Helper()
		var list []Entry
		if _, err := w.poll(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Request != fmt.Sprint(next) {
				t.Fatalf("event %s comes where %d should", e.Request, next)
			}
			next++
		}
	}
	looks := 0
	for ; w.index() < segments[1]; looks++ {
		look()
	}
	for range 5 { // at its end
		look()
	}
	if looks < 3 || w.bytes != packed.Size() {
		t.Errorf("in %d looks and 5 at the end %d bytes were read of a file of %d", looks, w.bytes, packed.Size())
	}
	if err := os.Rename(later, behind); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 5 && next < events; i++ {
		look()
	}
	if next != events {
		t.Errorf("%d events came of %d", next, events)
	}
	if w.kept != nil {
		t.Error("a segment is kept open that was read to its end")
	}
}
