//go:build unix

package blobs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// killedImport is the child's side of TestImportKilled: an import from files into files, of which the process is killed
// at a read of the source, if it gets to that.
func killedImport(t *testing.T, dir string, at int) {
	w := worldIn(t, dir)
	source := &changing{bucketDriver: innerDriver(fileBucket(t, filepath.Join(dir, "from"))), change: func(calls int, _ string) {
		if calls == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}
	checkpoint, err := os.OpenFile(filepath.Join(dir, "checkpoint"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	must(t, err)
	defer checkpoint.Close()
	to := w.wrap(t, fileBucket(t, filepath.Join(dir, "to")), "records")
	r, err := Import(w.a, to, blob.NewBucket(source), &ImportOptions{DeleteSource: true, Checkpoint: checkpoint, Concurrency: 2})
	must(t, err)
	fmt.Println(r.Actions)
}

// A process that is killed again and again in the middle of its import loses nothing, and gets to the end.
func TestImportKilled(t *testing.T) {
	if dir := os.Getenv("STRONGROOM_TEST_IMPORT"); dir != "" {
		at, err := strconv.Atoi(os.Getenv("STRONGROOM_TEST_KILL_AT"))
		must(t, err)
		killedImport(t, dir, at)
		return
	}
	dir := t.TempDir()
	for _, name := range []string{"from", "to"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	w := worldIn(t, dir)
	from, to := fileBucket(t, filepath.Join(dir, "from")), w.wrap(t, fileBucket(t, filepath.Join(dir, "to")), "records")
	contents := map[string][]byte{}
	for i := range 8 {
		key := fmt.Sprintf("dir/%d", i)
		contents[key] = pattern(i * 100_000)
		must(t, from.WriteAll(t.Context(), key, contents[key], nil))
	}
	for at, kills := 1, 0; ; at++ {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestImportKilled$")
		child.Env = append(os.Environ(), "STRONGROOM_TEST_IMPORT="+dir, "STRONGROOM_TEST_KILL_AT="+strconv.Itoa(at))
		output, err := child.CombinedOutput()
		checkNothingLost(t, w.a, to, from, contents)
		if err == nil {
			if kills < 5 {
				t.Errorf("killed %d times only", kills)
			}
			break
		}
		if child.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%v\n%s", err, output)
		}
		kills++
	}
	for key, content := range contents {
		if got, err := to.ReadAll(w.a, key); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
	}
}

func checkNothingLost(t *testing.T, ctx context.Context, to, from *blob.Bucket, contents map[string][]byte) {
	t.Helper()
	for key, content := range contents {
		got, err := to.ReadAll(ctx, key)
		if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			// A file and the file of its attributes are written one after the other: without the latter the object
			// does not open, and the source must be there still.
			t.Logf("%s: %v", key, err)
		}
		if err == nil && bytes.Equal(got, content) {
			continue
		}
		if source, sourceErr := from.ReadAll(t.Context(), key); sourceErr != nil || !bytes.Equal(source, content) {
			t.Fatalf("%s is neither here (%d bytes, %v) nor there (%d bytes, %v)", key, len(got), err, len(source), sourceErr)
		}
	}
}
