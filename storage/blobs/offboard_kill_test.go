//go:build unix

package blobs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/storage"
)

// killedOffboarding is the child's side of TestOffboardKilled: the process is killed before the store deletes for a time.
func killedOffboarding(t *testing.T, dir string, at int) {
	ring := keysIn(t, dir).ring(t)
	calls := 0
	store := &stubborn{innerDriver(fileBucket(t, filepath.Join(dir, "objects"))), func(string) error {
		if calls++; calls == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}}
	w := &world{ring: ring, log: new(recorder)}
	w.guard = storage.Guard{Keys: ring, Audit: w.log}
	b := w.wrap(t, blob.NewBucket(store), "records")
	_, err := Offboard(accessOf(context.Background(), leaving), b, leaving, &OffboardOptions{Concurrency: 1})
	must(t, err)
}

// A process that is killed in the middle leaves the others' objects, and the next one goes on.
func TestOffboardKilled(t *testing.T) {
	if dir := os.Getenv("STRONGROOM_TEST_OFFBOARD"); dir != "" {
		at, err := strconv.Atoi(os.Getenv("STRONGROOM_TEST_KILL_AT"))
		must(t, err)
		killedOffboarding(t, dir, at)
		return
	}
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "objects"), 0o700))
	l := leaverIn(t, dir, fileBucket(t, filepath.Join(dir, "objects")))
	l.shred(t)
	kills := 0
	for at := 1; ; at++ {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOffboardKilled$", "-test.count=1")
		child.Env = append(os.Environ(), "STRONGROOM_TEST_OFFBOARD="+dir, "STRONGROOM_TEST_KILL_AT="+strconv.Itoa(at))
		output, err := child.CombinedOutput()
		l.others(t)
		if err == nil {
			break
		}
		if child.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%v\n%s", err, output)
		}
		kills++
	}
	if kills < 3 {
		t.Errorf("killed %d times only", kills)
	}
	l.gone(t)
}
