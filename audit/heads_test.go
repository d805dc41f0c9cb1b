package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// denial is an event of a tenant that nobody knows.
func denial(id tenant.ID) *Event {
	return &Event{Code: CodeBlobRead, Phase: Single, Status: Denied, Tenant: id, Actor: "x", Store: "blob", Name: "scans", Rows: -1, Bytes: -1}
}

// TestHeadsAreSpread: head leaves of however many tenants go to the disk a few at a time, with events among them.
func TestHeadsAreSpread(t *testing.T) {
	const tenants = 2000
	dir := filepath.Join(t.TempDir(), "log")
	fsys := faultfs.New()
	fsys.Volatile = true
	var mu sync.Mutex
	now, biggest, writes := time.Now(), 0, 0
	opts := quiet()
	opts.fs, opts.HeadAfter, opts.SegmentBytes = fsys, time.Minute, 1<<20
	opts.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	fsys.Before = func(s faultfs.Step) error {
		if isLines(s, faultfs.Write) {
			mu.Lock()
			biggest, writes = max(biggest, s.Size), writes+1
			mu.Unlock()
		}
		return nil
	}
	l := mustOpen(t, dir, opts)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < tenants; i += 8 {
				if err := l.Record(t.Context(), query(tenant.MustParse(fmt.Sprintf("tenant-%d", i)), "x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	mu.Lock()
	now, biggest, writes = now.Add(2*time.Minute), 0, 0
	mu.Unlock()
	if _, err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRecord(t, l, query(acme, "meanwhile"))
	for l.Stats().HeadsDue > 0 {
		mustRecord(t, l, query(acme, "meanwhile"))
	}
	mu.Lock()
	if biggest > 400<<10 || writes < tenants/headsPerCommit {
		t.Errorf("%d writes of at most %d bytes", writes, biggest)
	}
	mu.Unlock()
	mustClose(t, l)
	r := mustVerify(t, dir)
	if r.Heads < tenants || r.Uncovered != 0 || r.Tenants != tenants+1 {
		t.Errorf("%s", r)
	}
	for _, name := range segments(t, dir) {
		if info, err := os.Stat(name); err != nil || info.Size() > opts.SegmentBytes {
			t.Errorf("%s has %d bytes (%v)", name, info.Size(), err)
		}
	}
}

// TestStrangers: ids that somebody made up are recorded, and take no place in memory and no head leaf; the proofs of
// those who do come to be known are right.
func TestStrangers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	for i := range 100 {
		mustRecord(t, l, denial(tenant.MustParse(fmt.Sprintf("invented-%d", i))))
	}
	if s := l.Stats(); s.Tenants != 0 || s.Unnumbered != 100 {
		t.Errorf("%+v", s)
	}
	mustRecord(t, l, denial(acme), denial(globex)) // before anything is known of them
	known := denial(globex)                        // a tenant with keys is one, whatever happens to it
	known.Sealer = newSealer(t)
	mustRecord(t, l, query(acme, "1"), denial(acme), known, denial(globex))
	mustClose(t, l)
	l = mustOpen(t, dir, quiet())
	if s := l.Stats(); s.Tenants != 2 {
		t.Errorf("opened again: %+v", s)
	}
	mustRecord(t, l, denial(acme), denial(tenant.MustParse("invented-1")))
	mustClose(t, l)
	r := mustVerify(t, dir)
	if r.Tenants != 2 || r.Unnumbered != 103 || r.Uncovered != 0 || r.Heads != 3 {
		t.Errorf("%s", r)
	}
	for id, want := range map[tenant.ID]string{acme: "[0 1 2 0 3 0]", globex: "[0 1 2 0]", tenant.MustParse("invented-1"): "[0 0]"} {
		var got []int64
		for _, e := range entries(t, dir, &Filter{Tenant: id}) {
			got = append(got, e.Sequence)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: numbers %v, want %s", id, got, want)
		}
	}
	if bytes.Contains(lineOf(t, bytes.ReplaceAll(readFile(t, segmentPath(dir, 0)), []byte(`"tenant_uid":"invented-1"`), []byte(`"request":"it"`)), "it"), []byte(`"sequence"`)) {
		t.Error("an invented tenant's event has a number")
	}
}

// TestTenantsOption: memory for tenants is bounded whoever they are.
func TestTenantsOption(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.Tenants = 3
	for range 2 {
		l := mustOpen(t, dir, opts)
		for i := range 6 {
			mustRecord(t, l, query(tenant.MustParse(fmt.Sprintf("tenant-%d", i)), "x"))
		}
		if s := l.Stats(); s.Tenants != 3 || s.Unnumbered != 3 {
			t.Errorf("%+v", s)
		}
		mustClose(t, l)
	}
	if r := mustVerify(t, dir); r.Tenants != 3 || r.Unnumbered != 6 || r.Uncovered != 0 {
		t.Errorf("%s", r)
	}
}
