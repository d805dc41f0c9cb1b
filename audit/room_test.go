package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
)

// roomy writes zeros ahead of the events, and begins a new segment now and then.
func roomy(fsys *faultfs.FS) *Options {
	opts := quiet()
	opts.fs, opts.AheadBytes, opts.SegmentBytes = fsys, 4<<10, 16<<10
	return opts
}

// length returns how long a segment's file is, and how long without the zeros at its end.
func length(t *testing.T, dir string, first int64) (all, filled int) {
	t.Helper()
	data := readFile(t, segmentPath(dir, first))
	return len(data), len(bytes.TrimRight(data, "\x00"))
}

// TestRoom: there are zeros behind the events of the newest segment alone, and only while the log is open; everything that
// reads the log reads past them, and what a crash leaves of them is no torn event.
func TestRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, roomy(faultfs.New()))
	for i := range 30 {
		mustRecord(t, l, query(acme, fmt.Sprint(i)))
	}
	segments, _, err := retained(dir, nil, nil)
	if err != nil || len(segments) < 2 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	for i, first := range segments {
		all, filled := length(t, dir, first)
		if newest := i == len(segments)-1; (all > filled) != newest || all > 16<<10 {
			t.Errorf("segment %d of %d: %d bytes, %d filled", i, len(segments), all, filled)
		}
	}
	crashed := copyDir(t, dir)
	for what, dir := range map[string]string{"open": dir, "crashed": crashed} {
		if r := mustVerify(t, dir); r.Torn != 0 || r.Events != 31 {
			t.Errorf("%s:\n%s", what, r)
		}
		if got := entries(t, dir, &Filter{Code: "sql."}); len(got) != 30 {
			t.Errorf("%s: Read has %d events", what, len(got))
		}
	}
	mustClose(t, l)
	if all, filled := length(t, dir, segments[len(segments)-1]); all != filled {
		t.Errorf("the log was closed, and %d zeros are left", all-filled)
	}
	mustClose(t, mustOpen(t, crashed, quiet()))
	if r := mustVerify(t, crashed); r.Torn != 0 || !r.Closed {
		t.Errorf("afterwards:\n%s", r)
	}
	for _, e := range entries(t, crashed, &Filter{Code: CodeLogRecovered}) {
		if !bytes.Contains([]byte(e.Reason), []byte("cut off: 0 bytes of unfinished events")) {
			t.Errorf("zeros were called an unfinished event: %s", e.Reason)
		}
	}
}

// TestRoomSyncsNoLength: but for the write that makes room, no write makes the file longer, which is what it is for.
func TestRoomSyncsNoLength(t *testing.T) {
	fsys := faultfs.New()
	var zeroed atomic.Int64
	fsys.Before = func(s faultfs.Step) error {
		if s.Op == faultfs.Zero {
			zeroed.Add(1)
		}
		return nil
	}
	dir := filepath.Join(t.TempDir(), "log")
	opts := roomy(fsys)
	opts.AheadBytes, opts.SegmentBytes = 64<<10, 0
	l := mustOpen(t, dir, opts)
	longer, before := 0, 0
	for i := range 20 {
		mustRecord(t, l, query(acme, fmt.Sprint(i)))
		all, _ := length(t, dir, 0)
		if all > before {
			longer++
		}
		before = all
	}
	if longer != 1 || zeroed.Load() != 1 {
		t.Errorf("the file grew %d times, and zeros were written %d times", longer, zeroed.Load())
	}
	mustClose(t, l)
}

// TestRoomWithoutRoom: where zeros cannot be written, or only some, events are recorded as before, and what zeros there are
// are given back.
func TestRoomWithoutRoom(t *testing.T) {
	for name, fault := range map[string]error{
		"full":     syscall.ENOSPC,
		"broken":   syscall.EIO,
		"half":     &faultfs.Short{N: 1 << 10, Err: syscall.ENOSPC},
		"no quota": &faultfs.Short{N: 1, Err: syscall.EDQUOT},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := faultfs.New()
			fsys.Before = func(s faultfs.Step) error {
				if s.Op == faultfs.Zero {
					return fault
				}
				return nil
			}
			dir := filepath.Join(t.TempDir(), "log")
			l := mustOpen(t, dir, roomy(fsys))
			for i := range 30 {
				mustRecord(t, l, query(acme, fmt.Sprint(i)))
				segments, _, err := retained(dir, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				if all, filled := length(t, dir, segments[len(segments)-1]); all != filled {
					t.Fatalf("%d zeros were not given back", all-filled)
				}
			}
			mustClose(t, l)
			if r := mustVerify(t, dir); r.Events < 31 || !r.Closed {
				t.Errorf("afterwards:\n%s", r)
			}
		})
	}
}

// TestRoomAttacks: zeros are no place to hide anything in. What a checkpoint seals is missed, and what is put where nothing
// was written yet is in no answer, and gone when the log is opened.
func TestRoomAttacks(t *testing.T) {
	opts := roomy(faultfs.New())
	opts.SegmentBytes = 0
	origin, live := crashed(t, opts) // started, sealed-1, sealed-2, and behind the checkpoint tail-1, tail-2, tail-3
	mustClose(t, live)
	name := func(dir string) string { return segmentPath(dir, 0) }
	at := func(dir, request string) (int, []byte) {
		data := readFile(t, name(dir))
		line := lineOf(t, data, request)
		return bytes.Index(data, line), line
	}
	put := func(dir string, at int, what []byte) {
		data := readFile(t, name(dir))
		copy(data[at:], what)
		writeFile(t, name(dir), data)
	}
	for what, c := range map[string]struct {
		attack func(dir string)
		reads  int // events; below 0: reading is refused
		found  bool
		opens  int // events after opening
	}{
		"a sealed event": {func(dir string) {
			i, line := at(dir, "sealed-2")
			zero(t, name(dir), i, i+len(line))
		}, -1, true, 0},
		"everything from a sealed event on": {func(dir string) {
			i, _ := at(dir, "sealed-2")
			zero(t, name(dir), i, len(readFile(t, name(dir))))
		}, -1, true, 0},
		"an event that is not sealed": {func(dir string) { // as one could cut the file there
			i, line := at(dir, "tail-2")
			zero(t, name(dir), i, i+len(line))
		}, 3, false, 3},
		"a forged event in the zeros": {func(dir string) {
			_, line := at(dir, "tail-3")
			_, filled := length(t, dir, 0)
			put(dir, filled+600, forge(line, 4, false))
		}, 5, false, 5},
		"a forged event right behind the last": {func(dir string) {
			_, line := at(dir, "tail-3")
			_, filled := length(t, dir, 0)
			put(dir, filled, forge(line, 4, true))
		}, 6, true, 0},
		"an event again": {func(dir string) {
			_, line := at(dir, "tail-3")
			_, filled := length(t, dir, 0)
			put(dir, filled, line)
		}, 6, true, 0},
	} {
		t.Run(what, func(t *testing.T) {
			dir := copyDir(t, origin)
			if all, filled := length(t, dir, 0); all-filled < 2<<10 {
				t.Fatalf("there are %d zeros only", all-filled)
			}
			c.attack(dir)
			reads := 0
			for _, err := range Read(t.Context(), dir, &Filter{Code: "sql."}) {
				if reads++; err != nil {
					reads = -1
				}
			}
			if reads != c.reads {
				t.Errorf("Read has %d events", reads)
			}
			if r, err := Verify(t.Context(), dir, nil); errors.Is(err, ErrTampered) != c.found {
				t.Errorf("Verify: %v\n%s", err, r)
			}
			l, err := OpenLog(dir, quiet())
			if errors.Is(err, ErrTampered) != c.found {
				t.Fatalf("OpenLog: %v", err)
			}
			if err != nil {
				return
			}
			mustClose(t, l)
			if got := entries(t, dir, &Filter{Code: "sql."}); len(got) != c.opens {
				t.Errorf("opening has left %d events", len(got))
			}
		})
	}
}

// TestRoomOfAClosedLog: power was lost before the zeros of a log that was closed were cut off.
func TestRoomOfAClosedLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	mustRecord(t, l, query(acme, "1"))
	mustClose(t, l)
	if err := os.Truncate(segmentPath(dir, 0), int64(len(readFile(t, segmentPath(dir, 0))))+4096); err != nil {
		t.Fatal(err)
	}
	if r := mustVerify(t, dir); !r.Closed || r.Torn != 0 {
		t.Errorf("before it is opened:\n%s", r)
	}
	mustClose(t, mustOpen(t, dir, quiet()))
	if r := mustVerify(t, dir); !r.Closed || r.Torn != 0 {
		t.Errorf("afterwards:\n%s", r)
	}
	if got := entries(t, dir, &Filter{Code: CodeLogRecovered}); len(got) != 0 {
		t.Errorf("opening recovered something from zeros: %+v", got)
	}
}
