package audit_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"github.com/strongroom-go/strongroom/audit/recordertest"
)

// TestRecorder runs the conformance suite of recorders on the file log, with both durabilities.
func TestRecorder(t *testing.T) {
	for _, durability := range []audit.Durability{audit.Durable, audit.Written} {
		t.Run(durability.String(), func(t *testing.T) {
			recordertest.Run(t, func(t *testing.T) *recordertest.Target {
				target := fileTarget(t, durability, time.Minute)
				target.Impatient = func(t *testing.T) *recordertest.Target { return fileTarget(t, durability, 200*time.Millisecond) }
				return target
			})
		})
	}
}

func fileTarget(t *testing.T, durability audit.Durability, timeout time.Duration) *recordertest.Target {
	t.Helper()
	disk := &hangingDisk{}
	fsys := faultfs.New()
	fsys.Before = disk.before
	dir := filepath.Join(t.TempDir(), "log")
	l, err := audit.OpenLog(dir, audit.OnFS(audit.Options{Durability: durability, Timeout: timeout, ReserveBytes: 1 << 16, AheadBytes: 16 << 10}, fsys))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		disk.goOn()
		l.Close()
	})
	return &recordertest.Target{
		Recorder: l, Close: l.Close, Break: disk.hang, Mend: disk.goOn,
		Lines: func(t *testing.T) [][]byte {
			t.Helper()
			var lines [][]byte
			for e, err := range audit.Read(t.Context(), dir, nil) {
				if err != nil {
					t.Fatal(err)
				}
				lines = append(lines, e.Raw)
			}
			return lines
		},
	}
}

// hangingDisk is a disk that can be told to finish no write.
type hangingDisk struct {
	mu   sync.Mutex
	hung chan struct{} // nil while it does not hang
}

func (d *hangingDisk) before(s faultfs.Step) error {
	d.mu.Lock()
	hung := d.hung
	d.mu.Unlock()
	if hung != nil && (s.Op == faultfs.Write || s.Op == faultfs.Datasync) {
		<-hung
	}
	return nil
}

func (d *hangingDisk) hang() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hung = make(chan struct{})
}

func (d *hangingDisk) goOn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hung != nil {
		close(d.hung)
		d.hung = nil
	}
}
