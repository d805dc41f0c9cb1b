package audit

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// TestSummariesAnyLog: of logs of every history, a filter selects with summaries what it selects without. Clocks go back, callers
// give times, tenants are unknown, processes are killed, states and summaries are lost, segments compressed and deleted.
func TestSummariesAnyLog(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ids := []tenant.ID{acme, globex}
	for i := range 6 {
		ids = append(ids, tenant.MustParse(fmt.Sprint("tenant-", i)))
	}
	skips := 0
	for range 12 {
		dir, opts := aging(t)
		clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var shown atomic.Int64 // to the log's own goroutine
		shown.Store(clock.UnixMilli())
		opts.now = func() time.Time { return time.UnixMilli(shown.Load()) }
		opts.SegmentBytes, opts.stateEvents = 8<<10+r.Int64N(16<<10), 5+r.Int64N(100)
		for range 2 + r.IntN(4) {
			l := mustOpen(t, dir, opts)
			some := ids[:1+r.IntN(len(ids))]
			for range 10 + r.IntN(60) {
				if clock = clock.Add(time.Duration(r.IntN(100)) * time.Minute); r.IntN(20) == 0 {
					clock = clock.Add(-time.Duration(r.IntN(100)) * time.Hour)
				}
				shown.Store(clock.UnixMilli())
				e := query(some[r.IntN(len(some))], "q")
				switch r.IntN(8) {
				case 0:
					e.Time = clock.Add(-time.Duration(r.IntN(1000)) * time.Hour)
				case 1:
					e.Code, e.Phase, e.Status = CodeBlobRead, Single, Denied
				case 2:
					e = query(tenant.MustParse(fmt.Sprint("stranger-", r.IntN(5))), "q")
					e.Status = Denied
				case 3:
					mustCheckpoint(t, l)
				}
				mustRecord(t, l, e)
			}
			switch r.IntN(6) {
			case 0:
				mustRetain(t, l, &Retention{Compress: true})
			case 1:
				mustRetain(t, l, &Retention{Bytes: 20 << 10})
			case 2:
				mustCheckpoint(t, l)
			}
			if r.IntN(3) == 0 {
				killed := copyDir(t, dir)
				mustClose(t, l)
				dir = killed
			} else {
				mustClose(t, l)
			}
			switch r.IntN(6) {
			case 0:
				os.Remove(filepath.Join(dir, stateName))
			case 1:
				removeAll(t, filepath.Join(dir, summariesName))
			case 2:
				if names := summaryNames(t, dir); len(names) > 0 {
					remove(t, names[r.IntN(len(names))])
				}
			}
		}
		report := mustVerify(t, dir)
		all := entries(t, dir, nil)
		at := func() (when time.Time) {
			if r.IntN(2) == 0 {
				when = all[r.IntN(len(all))].Time.Add(time.Duration(r.IntN(3)-1) * time.Millisecond)
			}
			return when
		}
		for range 40 {
			f := Filter{Since: at(), Until: at()}
			if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
				f.Since, f.Until = f.Until, f.Since.Add(1)
			}
			if r.IntN(2) == 0 {
				f.Tenant = ids[r.IntN(len(ids))]
			} else if r.IntN(4) == 0 {
				f.Tenant = tenant.MustParse(fmt.Sprint("stranger-", r.IntN(5)))
			}
			if r.IntN(4) == 0 {
				f.Code = []Code{CodeQuery, "blob.", CodeLogStarted, CodeLogHead, "sql."}[r.IntN(5)]
			}
			want := slices.DeleteFunc(slices.Clone(all), func(e Entry) bool { return !f.match(&e) })
			got, n := read(t, dir, f)
			skips += n
			var verified []Entry
			for e, err := range ReadVerified(background, []*Report{report}, &f) {
				if err != nil {
					t.Fatal(err)
				}
				verified = append(verified, e)
			}
			if !sameEntries(got, want) || !sameEntries(verified, want) {
				t.Fatalf("%+v selects %d, with summaries %d, after verifying %d", f, len(want), len(got), len(verified))
			}
		}
	}
	if skips == 0 {
		t.Error("no segment was ever skipped")
	}
}
