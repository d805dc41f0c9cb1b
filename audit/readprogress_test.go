package audit

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// TestProgressOfSeveral: what is said of several logs' progress adds up, and is said by the goroutine that takes the entries,
// although others read each log ahead.
func TestProgressOfSeveral(t *testing.T) {
	var dirs []string
	for _, name := range []string{"a", "b", "c"} {
		dir := filepath.Join(t.TempDir(), name)
		opts := quiet()
		opts.SegmentBytes, opts.Origin = 2<<20, "example.com/"+name
		l := mustOpen(t, dir, opts)
		for range 150 { // blocks of several segments, read ahead
			e := query(acme, "1")
			e.Statement = strings.Repeat("x", 30<<10)
			mustRecord(t, l, e)
		}
		mustClose(t, l)
		dirs = append(dirs, dir)
	}
	var calls, last, all int64 // which only this goroutine may touch
	filter := &Filter{Progress: func(done, total int64) { calls++; last, all = done, total }}
	n := 0
	for _, err := range ReadAll(context.Background(), dirs, filter) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n < 450 || calls < 3 || last != all {
		t.Errorf("%d events, %d calls, %d of %d bytes", n, calls, last, all)
	}
}
