package audit

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
)

// TestReadyCallersShareASync: callers that are about to record when the first of them has are not left to the next sync.
func TestReadyCallersShareASync(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that being ready and running are two things
	const callers, each = 16, 50
	var syncs atomic.Int64
	fsys := faultfs.New()
	fsys.Before = func(s faultfs.Step) error {
		if s.Op == faultfs.Datasync && strings.HasSuffix(s.Name, ".jsonl") && syncs.Add(1) == 1 {
			runtime.Gosched() // a disk takes its time, in which the others come
		}
		return nil
	}
	dir := filepath.Join(memoryDir(t), "log")
	l := openFaulty(t, dir, quiet(), fsys)
	syncs.Store(0)
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := range each {
				mustRecord(t, l, query(acme, fmt.Sprint(c, "-", i)))
			}
		})
	}
	group.Wait()
	if n := syncs.Load(); n > callers*each/2 {
		t.Errorf("%d syncs for %d events of %d callers at a time", n, callers*each, callers)
	} else {
		t.Logf("%d syncs for %d events", n, callers*each)
	}
	mustClose(t, l)
	mustVerify(t, dir)
}
