package blobs

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"runtime"
	"testing"

	"gocloud.dev/blob"
)

var hugeGiB = flag.Int64("gib", 0, "run TestHuge with an object of so many GiB, on files in the temporary folder")

// An object of any size passes through a real store in a few segments of memory, which do not grow with it:
//
//	go test ./storage/blobs -run TestHuge -gib 5 -v -timeout 30m
func TestHuge(t *testing.T) {
	if *hugeGiB <= 0 {
		t.Skip("on demand: -gib 5")
	}
	size := *hugeGiB << 30
	w := newWorld(t)
	b := w.wrap(t, fileBucket(t, t.TempDir()), "records")
	block := pattern(1 << 20)
	var start, m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&start)
	most, line := uint64(0), ""
	sample := func(at int64) {
		if at%(size/16) != 0 {
			return
		}
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
		line += fmt.Sprintf(" %.1f", float64(m.HeapInuse)/(1<<20))
	}
	report := func(what string) {
		runtime.ReadMemStats(&m)
		t.Logf("%s %d GiB: MB of heap in use at each sixteenth:%s; %.1f MB allocated in all, %.1f MB from the system",
			what, *hugeGiB, line, float64(m.TotalAlloc-start.TotalAlloc)/(1<<20), float64(m.Sys)/(1<<20))
		line = ""
	}
	writer, err := b.NewWriter(w.a, "huge", &blob.WriterOptions{ContentType: "x/y"})
	must(t, err)
	for at := int64(0); at < size; at += int64(len(block)) {
		_, err = writer.Write(block)
		must(t, err)
		sample(at)
	}
	must(t, writer.Close())
	report("written")
	reader, err := b.NewReader(w.a, "huge", nil)
	must(t, err)
	buf := make([]byte, len(block))
	for at := int64(0); at < size; at += int64(len(block)) {
		if _, err := io.ReadFull(reader, buf); err != nil || !bytes.Equal(buf, block) {
			t.Fatalf("at %d: %v", at, err)
		}
		sample(at)
	}
	if n, err := reader.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("at the end got %d, %v", n, err)
	}
	must(t, reader.Close())
	report("read")
	if most > start.HeapInuse+16<<20 {
		t.Errorf("up to %d MB of heap, from %d MB", most>>20, start.HeapInuse>>20)
	}
	if got, err := readRange(b, w.a, "huge", size-1000, -1); err != nil || !bytes.Equal(got, block[len(block)-1000:]) {
		t.Errorf("the last bytes: %d, %v", len(got), err)
	}
}
