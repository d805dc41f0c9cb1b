package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

func mustFollow(t *testing.T, dir string, at []byte) *Follower {
	t.Helper()
	f, err := Follow(dir, at)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// drain returns all that is sealed, in portions of at most limit.
func drain(t *testing.T, f *Follower, limit int) (all []Entry) {
	t.Helper()
	for {
		some, err := f.Next(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			return all
		}
		if len(some) > limit {
			t.Fatalf("%d events at once, over the limit of %d", len(some), limit)
		}
		all = append(all, some...)
	}
}

// TestFollow reads a log while it is written, over several segments and in many processes, and finds just what Read finds.
func TestFollow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, &Options{CheckpointEvery: 5 * time.Millisecond, HeadAfter: time.Hour, ReserveBytes: -1, Timeout: time.Minute, SegmentBytes: 64 << 10})
	var got []Entry
	var at []byte
	for i := range 300 {
		e := query(acme, fmt.Sprint(i))
		e.Statement = strings.Repeat("x", i%50*20)
		mustRecord(t, l, e)
		if i%7 == 0 {
			f := mustFollow(t, dir, at)
			got = append(got, drain(t, f, 1+i%13)...)
			at = f.Position()
		}
	}
	mustClose(t, l)
	f := mustFollow(t, dir, at)
	if behind, err := f.Behind(); err != nil || behind == 0 {
		t.Errorf("%d events behind, %v", behind, err)
	}
	got = append(got, drain(t, f, 1000)...)
	if behind, err := f.Behind(); err != nil || behind != 0 {
		t.Errorf("%d events behind, %v", behind, err)
	}
	want := entries(t, dir, nil)
	if len(got) != len(want) || !slices.EqualFunc(got, want, func(a, b Entry) bool { return a.Index == b.Index && a.UID == b.UID && bytes.Equal(a.Raw, b.Raw) }) {
		t.Errorf("%d events were followed, and %d are there", len(got), len(want))
	}
	if names, _ := listSegments(dir); len(names) < 3 {
		t.Errorf("there are only %d segments", len(names))
	}
}

// TestFollowSealedOnly: what is on the disk and not yet sealed is not returned.
func TestFollowSealedOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	f := mustFollow(t, dir, nil)
	before := len(drain(t, f, 100))
	mustRecord(t, l, query(acme, "1"), query(acme, "2"))
	if got := drain(t, f, 100); len(got) != 0 {
		t.Errorf("%d events that are not sealed", len(got))
	}
	if _, err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, f, 100); before+len(got) != 3 || got[len(got)-1].Request != "2" {
		t.Errorf("%d and %d events", before, len(got))
	}
}

// TestFollowNotices: a position is worth something in the log that it was made in alone, and what was changed is not returned.
func TestFollowNotices(t *testing.T) {
	extend := func(dir string, requests ...string) {
		l := mustOpen(t, dir, quiet())
		for _, r := range requests {
			mustRecord(t, l, query(acme, r))
		}
		mustClose(t, l)
	}
	dir := filepath.Join(t.TempDir(), "log")
	extend(dir, "1", "2", "3")
	older := filepath.Join(t.TempDir(), "older")
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{signerName, pseudonymName} {
		if err := os.Chmod(filepath.Join(older, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	extend(dir, "4", "5")
	f := mustFollow(t, dir, nil)
	all := drain(t, f, 100)
	at := f.Position()

	// An older copy that was put back, and one that went on from there in another way.
	tampered := func(what, dir string, at []byte) {
		t.Helper()
		f, err := Follow(dir, at)
		var got []Entry
		for err == nil {
			var some []Entry
			if some, err = f.Next(t.Context(), 2); len(some) == 0 {
				break
			}
			got = append(got, some...)
		}
		if !errors.Is(err, ErrTampered) || len(got) != 0 {
			t.Errorf("%s: %d events, %v", what, len(got), err)
		}
	}
	tampered("an older copy", older, at)
	extend(older, "6", "7", "8")
	tampered("an older copy that went on", older, at)

	// A line that was changed, and one that was changed with its hash.
	change := func(leaves bool) string {
		changed := filepath.Join(t.TempDir(), "changed")
		if err := os.CopyFS(changed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		name := segmentPath(changed, 0)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(data, []byte("\n"))
		lines[2] = bytes.Replace(lines[2], []byte("clinic"), []byte("casino"), 1)
		if err := os.WriteFile(name, bytes.Join(lines, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		if leaves {
			hash := newLeafHasher().leaf(bytes.TrimSuffix(lines[2], []byte("\n")))
			data, err := os.ReadFile(leavesPath(changed, 0))
			if err != nil {
				t.Fatal(err)
			}
			copy(data[2*32:], hash[:])
			if err := os.WriteFile(leavesPath(changed, 0), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return changed
	}
	tampered("a line and its hash were changed", change(true), nil)
	// One by one, those before it are returned, which are as the checkpoint seals them, and it is not.
	f = mustFollow(t, change(false), nil)
	for i := range 3 {
		some, err := f.Next(t.Context(), 1)
		if i < 2 && (err != nil || len(some) != 1 || some[0].UID != all[i].UID) || i == 2 && (!errors.Is(err, ErrTampered) || len(some) != 0) {
			t.Errorf("event %d of a log whose event 2 was changed: %d events, %v", i, len(some), err)
		}
	}
	f = mustFollow(t, change(false), nil)
	if some, err := f.Next(t.Context(), 100); !errors.Is(err, ErrTampered) || len(some) != 0 {
		t.Errorf("a line was changed: %d events, %v", len(some), err)
	}

	// Another log, and what is no position.
	other := filepath.Join(t.TempDir(), "other")
	l := mustOpen(t, other, &Options{Origin: "example.com/other", ReserveBytes: -1})
	mustClose(t, l)
	for what, at := range map[string][]byte{"another log": at, "no position": []byte("{}"), "no JSON": []byte("x"), "too few nodes": bytes.Replace(at, []byte(`"events":`), []byte(`"events":1`), 1)} {
		dir := dir
		if what == "another log" {
			dir = other
		}
		if _, err := Follow(dir, at); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	if len(all) < 7 {
		t.Errorf("only %d events", len(all))
	}
}

// TestFollowRetention: a follower goes on over segments that are compressed and deleted meanwhile; one that is behind what was
// deleted says so, and one without a position begins with what is left.
func TestFollowRetention(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes = 64 << 10
	l := mustOpen(t, dir, opts)
	more := func() {
		t.Helper()
		for i := range 200 {
			mustRecord(t, l, query(acme, fmt.Sprint(i)))
		}
		if _, err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	retain := func(r *Retention) {
		t.Helper()
		if _, err := l.Retain(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	more()
	f := mustFollow(t, dir, nil)
	got, err := f.Next(t.Context(), 30)
	if err != nil {
		t.Fatal(err)
	}
	behind := f.Position()
	retain(&Retention{Compress: true})
	got = append(got, drain(t, f, 30)...)
	want := entries(t, dir, nil)
	// What somebody has still to read is kept.
	retain(&Retention{Bytes: 1, Needed: func(context.Context) (int64, error) { return Followed(dir, behind) }})
	if first, err := Retained(dir); err != nil || first > 30 {
		t.Errorf("it begins with event %d, %v", first, err)
	}
	drain(t, mustFollow(t, dir, behind), 100)
	retain(&Retention{Bytes: 1})
	first, err := Retained(dir)
	if err != nil || first < 100 {
		t.Fatalf("it begins with event %d, %v", first, err)
	}
	if some, err := mustFollow(t, dir, behind).Next(t.Context(), 10); err == nil || errors.Is(err, ErrTampered) || len(some) > 0 || !strings.Contains(err.Error(), "before they were followed") {
		t.Errorf("behind what was deleted: %d events, %v", len(some), err)
	}
	more()
	got = append(got, drain(t, f, 30)...)
	fresh := drain(t, mustFollow(t, dir, nil), 70)
	rest := entries(t, dir, nil)
	if len(fresh) != len(rest) || fresh[0].Index != first || fresh[0].UID != rest[0].UID {
		t.Errorf("%d events from number %d on, want %d from %d", len(fresh), fresh[0].Index, len(rest), first)
	}
	for i, e := range got {
		if e.Index != int64(i) || i < len(want) && e.UID != want[i].UID {
			t.Fatalf("event %d is number %d", i, e.Index)
		}
	}
	if len(got) < 400 {
		t.Errorf("%d events", len(got))
	}
}

// TestFollowRolling: a segment that is begun, and sealed, while a follower looks which there are is nothing that is missing.
func TestFollowRolling(t *testing.T) {
	dir := filepath.Join(memoryDir(t), "log")
	l := mustOpen(t, dir, &Options{CheckpointEvery: time.Millisecond, HeadAfter: time.Hour, ReserveBytes: -1, Timeout: time.Minute, SegmentBytes: 64 << 10})
	const most = 300
	written := make(chan error, 1)
	go func() {
		e := query(acme, "1")
		e.Statement = strings.Repeat("x", 20<<10)
		var err error
		for range most {
			if err = l.Record(background, e); err == nil {
				_, err = l.Checkpoint(background)
			}
			if err != nil {
				break
			}
		}
		written <- err
	}()
	f, n := mustFollow(t, dir, nil), 0
	for n < most {
		some, err := f.Next(t.Context(), 3)
		if err != nil {
			t.Errorf("behind event %d: %v", n, err)
			break
		}
		n += len(some)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	mustClose(t, l)
}

// TestFollowChangedMeanwhile: what is changed with its hash after the follower has compared the hashes with the checkpoint is
// not returned either, wherever it is behind.
func TestFollowChangedMeanwhile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.Durability = Written // thousands of events, one by one
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "m", 2000)
	mustClose(t, l)
	segment, leaves := readFile(t, segmentPath(dir, 0)), readFile(t, leavesPath(dir, 0))
	for _, at := range []int{3, 1023, 1024, 3000, 3999} {
		writeFile(t, segmentPath(dir, 0), segment)
		writeFile(t, leavesPath(dir, 0), leaves)
		f := mustFollow(t, dir, nil)
		if some, err := f.Next(t.Context(), 2); err != nil || len(some) != 2 {
			t.Fatalf("%d events, %v", len(some), err)
		}
		lines := bytes.SplitAfter(segment, []byte("\n"))
		lines[at] = bytes.Replace(lines[at], []byte("clinic"), []byte("casino"), 1)
		hash := newLeafHasher().leaf(bytes.TrimSuffix(lines[at], []byte("\n")))
		writeFile(t, segmentPath(dir, 0), bytes.Join(lines, nil))
		writeFile(t, leavesPath(dir, 0), slices.Concat(leaves[:at*32], hash[:], leaves[(at+1)*32:]))
		for {
			some, err := f.Next(t.Context(), 7)
			for _, e := range some {
				if e.Name == "casino" {
					t.Errorf("event %d was changed, and is returned", e.Index)
				}
			}
			if errors.Is(err, ErrTampered) {
				break
			}
			if err != nil || len(some) == 0 {
				t.Fatalf("event %d was changed: %d events, %v", at, len(some), err)
			}
		}
	}
}

// TestFollowTrustedKeys: whoever is given the log's key takes nobody else's word for what was deleted, although log.json has
// that one's key as well.
func TestFollowTrustedKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes = 64 << 10
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "f", 100)
	key := l.Verifier()
	mustClose(t, l)
	firsts, err := listSegments(dir)
	if err != nil || len(firsts) < 3 {
		t.Fatalf("%d segments, %v", len(firsts), err)
	}
	origin, err := Origin(dir)
	if err != nil {
		t.Fatal(err)
	}
	// All that it takes is to write to the files.
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	own, err := verifierList([]string{key}, origin)
	if err != nil {
		t.Fatal(err)
	}
	r := &replay{fs: vfs.OS{}, dir: dir, origin: origin, verifiers: own, chained: true, until: firsts[1]}
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	body, err := r.record(false).body()
	if err != nil {
		t.Fatal(err)
	}
	file, err := signBody(mustSigner(t, skey), prunedText, body)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, prunedName), file)
	remove(t, segmentPath(dir, 0))
	config := readFile(t, filepath.Join(dir, configName))
	writeFile(t, filepath.Join(dir, configName), bytes.Replace(config, []byte(`"`+key+`"`), []byte(`"`+vkey+`","`+key+`"`), 1))

	f, err := Follow(dir, nil, key)
	if err != nil {
		t.Fatal(err)
	}
	if some, err := f.Next(t.Context(), 10); !errors.Is(err, ErrTampered) || len(some) != 0 {
		t.Errorf("events %d to %d are gone, and following goes on with %d others: %v", 0, firsts[1]-1, len(some), err)
	}
	if b, err := WriteBundle(t.Context(), io.Discard, dir, acme, &BundleOptions{Verifiers: []string{key}}); !errors.Is(err, ErrTampered) {
		t.Errorf("a bundle is written without the events that are gone: %+v, %v", b, err)
	}
}

// TestFollowRecordOnce: the record of what was deleted, which has a line for each tenant, is read when it has changed, and not
// whenever a follower looks for something new.
func TestFollowRecordOnce(t *testing.T) {
	dir, _, _, _, _ := prunedLog(t)
	f := mustFollow(t, dir, nil)
	drain(t, f, 100)
	_, known, err := retained(dir, f.verifiers, nil)
	if err != nil || known == nil {
		t.Fatalf("%v, %v", known, err)
	}
	if _, again, err := retained(dir, f.verifiers, known); err != nil || again != known {
		t.Errorf("the record is read again: %v", err)
	}
	if before := f.pruned; before == nil || !before.same(known) {
		t.Error("the follower does not keep it")
	} else if drain(t, f, 100); f.pruned != before {
		t.Error("the follower reads it again")
	}
	// Another one is not taken for it.
	data := readFile(t, filepath.Join(dir, prunedName))
	data[bytes.Index(data, []byte("\n\n"))-3] ^= 1
	writeFile(t, filepath.Join(dir, prunedName), data)
	if _, _, err := retained(dir, f.verifiers, known); !errors.Is(err, ErrTampered) {
		t.Errorf("a record that nobody signed: %v", err)
	}
}
