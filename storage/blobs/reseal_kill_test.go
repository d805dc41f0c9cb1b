//go:build unix

package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/s3blob"

	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/blobs/s3match"
)

// killing is a store after so many of whose calls the process is killed, from beside: at whatever it does by then.
type killing struct {
	meddled
	calls chan struct{}
}

func (k *killing) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	k.call()
	return k.meddled.Attributes(ctx, key)
}

func (k *killing) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	k.call()
	return k.meddled.NewRangeReader(ctx, key, offset, length, o)
}

func (k *killing) call() {
	select {
	case k.calls <- struct{}{}:
	default: // about to be killed
	}
}

// killedReseal is the child's side: it re-seals, on files beside a writer of its own, and is killed.
func killedReseal(t *testing.T, dir string, at int) {
	r := killedStore(t, dir)
	k := &killing{meddled{bucketDriver: innerDriver(r.inner)}, make(chan struct{}, 1000)}
	go func() {
		for range at {
			<-k.calls
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}()
	r.bucket = r.wrap(t, blob.NewBucket(k), "records")
	if r.opts.SoleProcess {
		journal, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		must(t, err)
		go func() {
			for n := range 1 << 20 {
				key := fmt.Sprintf("written/%d/%d", at, n%overwritten)
				err := r.bucket.WriteAll(r.a, key, numbered(n), rich(n))
				for errors.Is(err, errRenamed) {
					err = r.bucket.WriteAll(r.a, key, numbered(n), rich(n))
				}
				if err != nil {
					panic(err)
				}
				fmt.Fprintf(journal, "%s %d\n", key, n)
			}
		}()
	}
	_, err := r.reseal(r.a)
	must(t, err)
}

// overwritten is how many objects a writer that is killed overwrites one after the other.
const overwritten = 3

func killedStore(t *testing.T, dir string) *resealed {
	t.Helper()
	r := &resealed{world: quickWorld(t, dir), opts: ResealOptions{SoleProcess: true}}
	r.sealNames = os.Getenv("STRONGROOM_TEST_SEAL_NAMES") != ""
	if name := os.Getenv("STRONGROOM_TEST_BUCKET"); name != "" {
		inner, err := blob.OpenBucket(t.Context(), name)
		must(t, err)
		r.inner, r.opts = inner, ResealOptions{IfMatch: s3match.IfMatch}
	} else {
		r.inner = fileBucket(t, filepath.Join(dir, "objects"))
	}
	r.bucket = r.wrap(t, r.inner, "records")
	return r
}

// A process that is killed in Reseal again and again loses nothing of what was there, and nothing that others wrote meanwhile
// (on S3 from another process, on files from the one that is killed), and leaves nothing in the store that stays.
func TestResealKilled(t *testing.T) {
	if dir := os.Getenv("STRONGROOM_TEST_RESEAL"); dir != "" {
		at, err := strconv.Atoi(os.Getenv("STRONGROOM_TEST_KILL_AT"))
		must(t, err)
		killedReseal(t, dir, at)
		return
	}
	t.Run("files", func(t *testing.T) {
		eachNaming(t, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Mkdir(filepath.Join(dir, "objects"), 0o700))
			r := &resealed{world: quickWorld(t, dir), inner: fileBucket(t, filepath.Join(dir, "objects")), opts: ResealOptions{SoleProcess: true}}
			testResealKilled(t, dir, r, nil)
		})
	})
	t.Run("S3", func(t *testing.T) {
		eachNaming(t, func(t *testing.T) {
			server := s3env.Server(t)
			server.Setenv(t)
			name := server.NewBucket(t)
			inner, err := s3blob.OpenBucket(t.Context(), server.Client(t), name, nil)
			must(t, err)
			dir := t.TempDir()
			r := &resealed{world: quickWorld(t, dir), inner: inner, opts: ResealOptions{IfMatch: s3match.IfMatch}}
			testResealKilled(t, dir, r, []string{"STRONGROOM_TEST_BUCKET=" + server.BucketURL(name)})
		})
	})
}

func testResealKilled(t *testing.T, dir string, r *resealed, environ []string) {
	r.bucket = r.wrap(t, r.inner, "records")
	before := map[string]any{}
	for i := range 12 {
		key := fmt.Sprintf("still/%d", i)
		must(t, r.bucket.WriteAll(r.a, key, pattern(i*30_000), rich(i)))
		before[key] = r.seen(t, r.a, key)
	}
	ctx, stop := context.WithCancel(r.a)
	defer stop()
	var writer sync.WaitGroup
	last := 0
	if environ != nil {
		writer.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				err := r.bucket.WriteAll(r.a, "busy", numbered(n), nil)
				for errors.Is(err, errRenamed) { // and so not acknowledged
					err = r.bucket.WriteAll(r.a, "busy", numbered(n), nil)
				}
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
				last = n
			}
		})
	}
	kills, most := 0, 6
	if environ != nil {
		most = 3
	}
	for at := 15; kills < most; at += 11 {
		r.rotate(t, both...)
		if kills == 0 && r.sealNames {
			r.rotate(t, keys.PurposeNames)
		}
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestResealKilled$", "-test.count=1")
		child.Env = append(append(os.Environ(), "STRONGROOM_TEST_RESEAL="+dir, "STRONGROOM_TEST_KILL_AT="+strconv.Itoa(at)), environ...)
		if r.sealNames {
			child.Env = append(child.Env, "STRONGROOM_TEST_SEAL_NAMES=yes")
		}
		output, err := child.CombinedOutput()
		if err == nil {
			break
		}
		if child.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%v\n%s", err, output)
		}
		kills++
		for key, was := range before {
			if now := r.seen(t, r.a, key); !reflect.DeepEqual(now, was) {
				t.Fatalf("%s is not what it was, after %d kills", key, kills)
			}
		}
	}
	stop()
	writer.Wait()
	if kills < 3 {
		t.Errorf("killed %d times only", kills)
	}
	if last > 0 {
		if got, err := r.bucket.ReadAll(r.a, "busy"); err != nil || !bytes.Equal(got, numbered(last)) {
			t.Errorf("%d bytes, %v, are not what was written last", len(got), err)
		}
	}
	journal, _ := os.ReadFile(filepath.Join(dir, "journal"))
	acknowledged := map[string]int{}
	for line := range strings.Lines(string(journal)) {
		var key string
		var n int
		if _, err := fmt.Sscanf(line, "%s %d\n", &key, &n); err != nil {
			t.Fatal(err)
		}
		acknowledged[key] = n
	}
	for key, n := range acknowledged {
		got, err := r.bucket.ReadAll(r.a, key) // or what was about to be acknowledged
		if err != nil || !bytes.Equal(got, numbered(n)) && !bytes.Equal(got, numbered(n+overwritten)) {
			t.Errorf("%s: %d bytes, %v, are not what was written last", key, len(got), err)
		}
		if a, err := r.bucket.Attributes(r.a, key); err != nil || a.Metadata["number"] != fmt.Sprint(n) && a.Metadata["number"] != fmt.Sprint(n+overwritten) {
			t.Errorf("%s: %+v, %v", key, a, err)
		}
	}
	if environ != nil {
		old := innerDriver(r.inner) // in which all is older than it is
		c := conditional{bucket: &bucket{inner: blob.NewBucket(&aged{old})}, dir: stagingPrefix(alice), ifMatch: s3match.IfMatch}
		must(t, c.clean(t.Context()))
	} else {
		age := filesLeftoverAge
		defer func() { filesLeftoverAge = age }()
		filesLeftoverAge = 0
	}
	report, err := r.reseal(r.a)
	if err != nil || len(report.Left) != 0 || report.Objects < 12 {
		t.Errorf("%+v, %v", report, err)
	}
	r.nothingStaged(t)
	if environ == nil {
		found, err := os.ReadDir(filepath.Join(dir, "objects", "t-alice", ".reseal"))
		if err != nil || len(found) != 0 {
			t.Errorf("%v, %v", found, err)
		}
	}
}

// aged is a store all of whose objects are of yesterday.
type aged struct{ bucketDriver }

func (a *aged) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	found, err := a.bucketDriver.Attributes(ctx, key)
	if err == nil {
		found.ModTime = found.ModTime.Add(-24 * time.Hour)
	}
	return found, err
}
