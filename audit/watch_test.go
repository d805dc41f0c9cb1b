package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// watching watches logs in the background until the test ends.
type watching struct {
	t      *testing.T
	events chan Entry
	cuts   chan int64
	end    func() error
}

func startWatching(t *testing.T, dirs []string, filter *Filter) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &watching{t: t, events: make(chan Entry, 10_000), cuts: make(chan int64, 100)}
	done := make(chan error, 1)
	go func() {
		defer close(f.events)
		for e, err := range Watch(ctx, dirs, &WatchOptions{Filter: filter, Every: time.Millisecond, Cut: func(_ string, from int64) { f.cuts <- from }}) {
			if err != nil {
				done <- err
				return
			}
			f.events <- e
		}
		done <- nil
	}()
	f.end = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { f.end() })
	return f
}

// next waits for the next entry with a request.
func (f *watching) next() Entry {
	f.t.Helper()
	for {
		select {
		case e, ok := <-f.events:
			if !ok {
				f.t.Fatalf("following ended: %v", f.end())
			}
			if e.Request != "" {
				return e
			}
		case <-time.After(time.Minute):
			f.t.Fatal("nothing comes")
		}
	}
}

func (f *watching) want(requests ...string) {
	f.t.Helper()
	var got []string
	for range requests {
		got = append(got, f.next().Request)
	}
	if !slices.Equal(got, requests) {
		f.t.Errorf("got %q, want %q", got, requests)
	}
}

// TestWatch follows two logs through many segments.
func TestWatch(t *testing.T) {
	var dirs []string
	var logs []*Log
	for i := range 2 {
		opts := quiet()
		opts.SegmentBytes, opts.Origin = 4<<10, fmt.Sprintf("audit.example.com/%d", i)
		dirs = append(dirs, filepath.Join(t.TempDir(), "log"))
		logs = append(logs, mustOpen(t, dirs[i], opts))
		mustRecord(t, logs[i], query(acme, "before"))
	}
	f := startWatching(t, dirs, &Filter{Tenant: acme, Code: CodeQuery})
	all := startWatching(t, dirs, &Filter{Since: time.Now().Add(-time.Hour)})
	all.want("before", "before")
	// The one that passes over what there was may not have looked yet.
	for seen := false; !seen; {
		mustRecord(t, logs[0], query(acme, "early"))
		select {
		case <-f.events:
			seen = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	mustRecord(t, logs[0], query(acme, "first"))
	for _, one := range []*watching{f, all} {
		for e := one.next(); e.Request != "first"; e = one.next() {
			if e.Request != "early" {
				t.Fatalf("%q came", e.Request)
			}
		}
	}
	var want []string
	for i := range 60 {
		mustRecord(t, logs[i%2], query(acme, fmt.Sprint(i)), query(globex, fmt.Sprint("other ", i)))
		want = append(want, fmt.Sprint(i))
		if i%10 == 9 {
			// Each log's come in order; two logs are not looked at in one instant.
			var got [2][]string
			for range want {
				e := f.next()
				n := int(e.Log[len(e.Log)-1] - '0')
				got[n] = append(got[n], e.Request)
			}
			for n := range 2 {
				if w := []string{want[n], want[n+2], want[n+4], want[n+6], want[n+8]}; !slices.Equal(got[n], w) {
					t.Errorf("log %d: got %q, want %q", n, got[n], w)
				}
			}
			want = nil
		}
	}
	if n := len(segments(t, dirs[0])); n < 10 {
		t.Fatalf("only %d segments", n)
	}
	for range 120 {
		all.next()
	}
	mustClose(t, logs[0])
	mustClose(t, logs[1])
	if err := errors.Join(f.end(), all.end()); err != nil {
		t.Errorf("ended by its context: %v", err)
	}
	if len(f.cuts) > 0 {
		t.Error("something was cut")
	}
}

// TestWatchTail: an unfinished line is waited for, and one that is cut off after a crash is taken back.
func TestWatchTail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes = 16 << 10
	l := mustOpen(t, dir, opts)
	for i := range 10 {
		mustRecord(t, l, query(acme, fmt.Sprint(i)))
	}
	crashed := copyDir(t, dir)
	f := startWatching(t, []string{crashed}, &Filter{Since: time.Now().Add(-time.Hour)})
	f.want("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	names, err := filepath.Glob(filepath.Join(crashed, segmentsName, "*.jsonl"))
	if err != nil || len(names) == 0 {
		t.Fatal(err)
	}
	name := names[len(names)-1]
	data := readFile(t, name)
	last := bytes.LastIndexByte(data[:len(data)-1], '\n') + 1
	line := func(request string) []byte {
		return bytes.Replace(data[last:], []byte(`"request":"9"`), []byte(`"request":"`+request+`"`), 1)
	}
	add := func(b []byte) {
		t.Helper()
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.Write(b)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	whole := line("torn")
	add(whole[:50])
	add(whole[50 : len(whole)-1])
	add([]byte("\n"))
	f.want("torn")
	// As opening a log after a crash does; another line stands there then, of the same length.
	if err := os.Truncate(name, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	add(line("anew"))
	f.want("anew")
	add(line("more"))
	f.want("more")
	if from := <-f.cuts; from != 11 || len(f.cuts) > 0 {
		t.Errorf("cut from %d on", from)
	}
	// Cut, and nothing there for a while.
	if err := os.Truncate(name, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	if from := <-f.cuts; from != 11 {
		t.Errorf("cut from %d on", from)
	}
	// Zeros that power left are no event, and go when the log is opened.
	add(append(make([]byte, 100), '\n'))
	l2 := mustOpen(t, crashed, opts)
	mustRecord(t, l2, query(acme, "again"))
	f.want("again")
	mustClose(t, l2)
	add([]byte("garbage\n"))
	select {
	case e := <-f.events:
		for ok := true; ok; e, ok = <-f.events {
			if e.Request != "" {
				t.Errorf("%q came", e.Request)
			}
		}
	case <-time.After(time.Minute):
		t.Error("garbage is waited for")
	}
	if err := f.end(); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "event") {
		t.Errorf("garbage: %v", err)
	}
}

// TestWatchLostSegment: a segment that was begun before a crash goes when its log is opened.
func TestWatchLostSegment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	mustRecord(t, l, query(acme, "0"))
	crashed := copyDir(t, dir)
	f := startWatching(t, []string{crashed}, &Filter{Since: time.Now().Add(-time.Hour)})
	f.want("0")
	first := segmentPath(crashed, 0)
	data := readFile(t, first)
	last := data[bytes.LastIndexByte(data[:len(data)-1], '\n')+1:]
	n := int64(bytes.Count(data, []byte("\n")))
	writeFile(t, segmentPath(crashed, n), last)
	f.want("0")
	if err := os.Remove(segmentPath(crashed, n)); err != nil {
		t.Fatal(err)
	}
	if from := <-f.cuts; from != n {
		t.Errorf("cut from %d on, want %d", from, n)
	}
	writeFile(t, first, append(bytes.Clone(data), last...))
	f.want("0")
	if err := f.end(); err != nil {
		t.Error(err)
	}
}

func TestWatchRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	mustClose(t, mustOpen(t, dir, quiet()))
	for what, c := range map[string]struct {
		dirs []string
		opts WatchOptions
	}{
		"an unknown code": {[]string{dir}, WatchOptions{Filter: &Filter{Code: "sql"}}}, "one log twice": {[]string{dir, copyDir(t, dir)}, WatchOptions{}},
		"no log": {[]string{t.TempDir()}, WatchOptions{}}, "a negative time": {[]string{dir}, WatchOptions{Every: -1}},
	} {
		n := 0
		for _, err := range Watch(t.Context(), c.dirs, &c.opts) {
			if n++; err == nil {
				t.Errorf("%s returns an entry", what)
				break
			}
		}
		if n != 1 {
			t.Errorf("%s: %d times an error", what, n)
		}
	}
	for range Watch(t.Context(), []string{dir}, &WatchOptions{Filter: &Filter{Since: time.Now().Add(-time.Hour)}}) {
		break // which must end it
	}
}

// TestWatchSays: whoever can write to the files does not have it wait for ever, in silence, at something that is sealed and no
// whole line: there is an error.
func TestWatchSays(t *testing.T) {
	for what, change := range map[string]func(line []byte){
		"a NUL":            func(line []byte) { line[len(line)/2] = 0 },
		"no newline":       func(line []byte) { line[len(line)-1] = ' ' },
		"a line of zeros":  func(line []byte) { clear(line) },
		"only a few zeros": func(line []byte) { clear(line[len(line)-4:]) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			l := mustOpen(t, dir, quiet())
			mustRecord(t, l, query(acme, "1"))
			before := len(readFile(t, segmentPath(dir, 0)))
			mustRecord(t, l, query(acme, "2"))
			mustClose(t, l)
			data := readFile(t, segmentPath(dir, 0))
			change(data[before : before+bytes.IndexByte(data[before:], '\n')+1])
			writeFile(t, segmentPath(dir, 0), data)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for e, err := range Watch(ctx, []string{dir}, &WatchOptions{Filter: &Filter{Since: time.Unix(1, 0)}, Every: time.Millisecond}) {
				if e.Request == "2" {
					t.Error("it is returned")
				}
				if err != nil {
					return
				}
			}
			t.Error("it waits, and says nothing")
		})
	}
}

// TestWatchFromNow: what comes while the newest segment is read for the first time is not passed over, be there zeros for it to fill or not.
func TestWatchFromNow(t *testing.T) {
	for _, ahead := range []int64{-1, 256 << 10} {
		for _, rolled := range []bool{false, true} {
			dir, opts := aging(t)
			if opts.AheadBytes = ahead; !rolled {
				opts.SegmentBytes = 1 << 20
			}
			l := mustOpen(t, dir, opts)
			fillLog(t, l, "s", 30)
			logs, err := watchers(background, []string{dir}, &WatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			was := entries(t, dir, nil)
			fillLog(t, l, "t", 10)
			want := entries(t, dir, nil)[len(was):]
			var got []Entry
			if _, err := logs[0].poll(background, &got); err != nil || !sameEntries(got, want) {
				t.Errorf("ahead %d, rolled %v: %d of %d events, %v", ahead, rolled, len(got), len(want), err)
			}
		}
	}
}

// TestWatchRetention: what retention deletes behind who follows a log is no crash and no tampering, be the segments compressed or not. What
// was all followed goes on; what was not is said.
func TestWatchRetention(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		for _, behind := range []bool{false, true} {
			t.Run(fmt.Sprint(compressed, behind), func(t *testing.T) {
				dir, opts := aging(t)
				l := mustOpen(t, dir, opts)
				fillLog(t, l, "s", 30)
				if compressed {
					mustRetain(t, l, &Retention{Compress: true})
				}
				segments, err := listSegments(dir)
				if err != nil || len(segments) < 5 {
					t.Fatal(segments, err)
				}
				w := &WatchOptions{Filter: &Filter{Since: time.Unix(1, 0)}}
				w.Cut = func(_ string, from int64) { t.Errorf("it is said that event %d was acknowledged to nobody", from) }
				logs, err := watchers(background, []string{dir}, w)
				if err != nil {
					t.Fatal(err)
				}
				f := logs[0]
				defer f.release()
				var got []Entry
				room := 1 << 30
				for { // to where it has read all of two segments, as poll does
					if end, err := f.segment(background, &got, &room); !end || err != nil {
						t.Fatal(end, err)
					}
					if f.index() == segments[2] {
						break
					}
					f.before, f.first, f.offset, f.lines = &watcher{first: f.first, offset: f.offset, lines: f.lines}, f.index(), 0, nil
				}
				keep := segments[2]
				if behind {
					keep = segments[3]
				}
				done := mustRetain(t, l, &Retention{Bytes: 1, Needed: func(context.Context) (int64, error) { return keep, nil }})
				if done.First != keep {
					t.Fatalf("%+v, want %d", done, keep)
				}
				newest := mustCheckpoint(t, l).Size
				for range 2 * patience {
					var more bool
					if more, err = f.poll(background, &got); err != nil {
						break
					}
					if !more && f.index() == newest {
						break
					}
				}
				if behind {
					if err == nil || errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "retention has deleted") {
						t.Errorf("%v", err)
					}
					return
				}
				if err != nil || int64(len(got)) != newest {
					t.Errorf("%d of %d events, %v", len(got), newest, err)
				}
				for i, e := range got {
					if e.Index != int64(i) {
						t.Fatalf("event %d in place %d", e.Index, i)
					}
				}
			})
		}
	}
}
