//go:build unix

package keys_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// operations are those of a tenant's life, each with what is so once it has succeeded.
var operations = []struct {
	name string
	do   func(context.Context, *keys.Keyring) error
	code audit.Code
	then keys.Status
}{
	{"provision", func(ctx context.Context, r *keys.Keyring) error { return r.Provision(ctx, idA) }, audit.CodeKeyProvision, keys.StatusActive},
	{"rotate data", rotation(keys.PurposeData), audit.CodeKeyRotate, keys.StatusActive},
	{"rotate index", rotation(keys.PurposeIndex), audit.CodeKeyRotate, keys.StatusActive},
	{"rotate blobs", rotation(keys.PurposeBlobs), audit.CodeKeyRotate, keys.StatusActive},
	{"rotate audit", rotation(keys.PurposeAudit), audit.CodeKeyRotate, keys.StatusActive},
	{"rotate pseudonym", rotation(keys.PurposePseudonym), audit.CodeKeyRotate, keys.StatusActive},
	{"disable", onOldest(func(ctx context.Context, r *keys.Keyring, key uint32) error {
		return r.DisableKey(ctx, idA, keys.PurposeData, key, "", none)
	}), audit.CodeKeyDisable, keys.StatusActive},
	{"enable", onOldest(func(ctx context.Context, r *keys.Keyring, key uint32) error {
		return r.EnableKey(ctx, idA, keys.PurposeData, key, "")
	}), audit.CodeKeyEnable, keys.StatusActive},
	{"destroy", onOldest(func(ctx context.Context, r *keys.Keyring, key uint32) error {
		return r.DestroyKey(ctx, idA, keys.PurposeData, key, "", none)
	}), audit.CodeKeyDestroy, keys.StatusActive},
	{"rotate the kek", func(ctx context.Context, r *keys.Keyring) error { return r.RotateKEK(ctx, idA, "") }, audit.CodeKeyRotate, keys.StatusActive},
	{"rewrap", func(ctx context.Context, r *keys.Keyring) error { return r.Rewrap(ctx, idA, "") }, audit.CodeKeyRotate, keys.StatusActive},
	{"suspend", func(ctx context.Context, r *keys.Keyring) error { return r.Suspend(ctx, idA, "") }, audit.CodeKeySuspend, keys.StatusSuspended},
	{"resume", func(ctx context.Context, r *keys.Keyring) error { return r.Resume(ctx, idA, "") }, audit.CodeKeyResume, keys.StatusActive},
	{"shred", func(ctx context.Context, r *keys.Keyring) error { return r.Shred(ctx, idA, "") }, audit.CodeKeyShred, keys.StatusShredded},
}

func rotation(p keys.Purpose) func(context.Context, *keys.Keyring) error {
	return func(ctx context.Context, r *keys.Keyring) error { return r.Rotate(ctx, idA, p, "") }
}

// onOldest does something with the oldest data key, as long as another one seals.
func onOldest(do func(context.Context, *keys.Keyring, uint32) error) func(context.Context, *keys.Keyring) error {
	return func(ctx context.Context, r *keys.Keyring) error {
		all, err := r.Versions(ctx, idA, keys.PurposeData)
		if err != nil || all[0].Status == keys.KeySeals {
			return err
		}
		return do(ctx, r, all[0].ID)
	}
}

// lifeOptions are those for an operation: rotations wait for SuspendWithin, and all else waits for the disk.
func lifeOptions(operation string) *keys.Options {
	switch operation {
	case "disable", "enable", "destroy":
		return quick()
	}
	if strings.HasPrefix(operation, "rotate ") {
		return quick()
	}
	return patient()
}

// TestKilledAtEveryStep kills a process before and after each call it makes to the KEK provider, the store and the audit
// trail. What was sealed before must open then and there, for who knows the format and no code of the keyring, and
// afterwards, when another process has repeated the operation.
func TestKilledAtEveryStep(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				if at > 200 {
					t.Fatal("it makes too many steps")
				}
				d := newDead(t, op.name)
				killed := d.run(t, op.name, at)
				d.check(t, op.name, at, op.code)
				if !killed {
					if at < 6 {
						t.Fatalf("it was over after %d steps", at)
					}
					return
				}
				synctest.Test(t, func(t *testing.T) {
					if err := op.do(t.Context(), openRing(t, d.kek, d.store, lifeOptions(op.name))); err != nil {
						t.Errorf("repeated after it was killed at step %d: %v", at, err)
					}
				})
				wantStatus(t, openRing(t, d.kek, d.store, patient()), idA, op.then)
				d.checked(t, at, op.then)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// dead is what a killed process leaves on the disk, and what it found there.
type dead struct {
	*local
	before  keys.Record
	sealed  *sealedByHand // nil before provisioning
	shred   bool
	creates bool
}

func newDead(t *testing.T, op string) *dead {
	t.Helper()
	d := &dead{local: newLocal(t), creates: op == "provision", shred: op == "shred"}
	if !d.creates {
		synctest.Test(t, func(t *testing.T) { d.prepare(t, op) })
	}
	return d
}

// prepare provisions the tenant, and does to it what the operation is about.
func (d *dead) prepare(t *testing.T, op string) {
	r := openRing(t, d.kek, d.store, quick())
	provision(t, r, idA)
	old := open(t, r, idA).DataKeyID()
	switch op {
	case "resume":
		must(t, r.Suspend(t.Context(), idA, ""))
	case "disable", "enable", "destroy":
		rotate(t, r, idA, keys.PurposeData)
		if op != "disable" {
			must(t, r.DisableKey(t.Context(), idA, keys.PurposeData, old, "", none))
		}
	}
	d.before = record(t, d.local, idA)
	d.sealed = sealByHand(t, d.kek, d.before.Data)
	must(t, r.Close())
}

// run has another process do the operation, and reports whether it was killed on the way.
func (d *dead) run(t testing.TB, op string, at int) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), "STRONGROOM_TEST_KILLED="+d.dir, "STRONGROOM_TEST_OPERATION="+op, "STRONGROOM_TEST_STEP="+strconv.Itoa(at))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	t.Fatalf("step %d: %v\n%s", at, err, out)
	return false
}

// check looks at what the killed process left.
func (d *dead) check(t testing.TB, op string, at int, code audit.Code) {
	t.Helper()
	rec, err := d.store.Get(t.Context(), idA)
	if errors.Is(err, keys.ErrNotFound) && d.creates {
		return
	}
	must(t, err)
	if rec.Version == d.before.Version {
		d.opens(t, at, rec)
		return
	}
	if !strings.Contains(d.recorded(t), fmt.Sprintf("%s intent", code)) {
		t.Errorf("step %d: the record was changed, and no event says who meant to", at)
	}
	if !d.shred {
		d.opens(t, at, rec)
	}
}

func (d *dead) opens(t testing.TB, at int, rec keys.Record) {
	t.Helper()
	if err := openByHand(d.kek, rec.Data, d.sealed); err != nil {
		t.Errorf("step %d: %v", at, err)
	}
}

// checked looks at what there is once the operation was repeated.
func (d *dead) checked(t testing.TB, at int, want keys.Status) {
	t.Helper()
	if want != keys.StatusShredded {
		d.opens(t, at, record(t, d.local, idA))
		return
	}
	if _, err := d.kek.Wrap(t.Context(), idA, []byte("x")); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("step %d: the KEK outlived the shredding: %v", at, err)
	}
	if err := openByHand(d.kek, d.before.Data, d.sealed); err == nil {
		t.Errorf("step %d: a copy of the record from before the shredding opens", at)
	}
}

func (d *dead) recorded(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, "trail"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// TestKilledProcess is no test: it is the process that TestKilledAtEveryStep kills.
func TestKilledProcess(t *testing.T) {
	dir := os.Getenv("STRONGROOM_TEST_KILLED")
	if dir == "" {
		t.Skip("for a process of TestKilledAtEveryStep")
	}
	synctest.Test(t, func(t *testing.T) { testKilledProcess(t, dir) })
}

func testKilledProcess(t *testing.T, dir string) {
	at, err := strconv.Atoi(os.Getenv("STRONGROOM_TEST_STEP"))
	must(t, err)
	kek, err := localkek.Open(filepath.Join(dir, "kek"), nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(dir, "records"), nil)
	must(t, err)
	f, err := os.OpenFile(filepath.Join(dir, "trail"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer f.Close()
	m := &mortal{at: at}
	o := lifeOptions(os.Getenv("STRONGROOM_TEST_OPERATION"))
	o.Audit = mortalTrail{m, f}
	r, err := keys.Open(t.Context(), mortalKEK{m, kek}, mortalStore{m, store}, o)
	must(t, err)
	defer r.Close()
	if os.Getenv("STRONGROOM_TEST_OPERATION") == "seal" {
		sealMany(t, r, dir)
		return
	}
	for _, op := range operations {
		if op.name == os.Getenv("STRONGROOM_TEST_OPERATION") {
			must(t, op.do(t.Context(), r))
			return
		}
	}
	t.Fatal("an unknown operation")
}

// TestAKilledProcessHasSealedNoMoreThanIsCounted, wherever it was in reserving seals, and the next goes on from there.
func TestAKilledProcessHasSealedNoMoreThanIsCounted(t *testing.T) {
	d := newDead(t, "seal")
	sealed := func() uint64 {
		info, err := os.Stat(filepath.Join(d.dir, "sealed"))
		if errors.Is(err, os.ErrNotExist) {
			return 0
		}
		must(t, err)
		return uint64(info.Size())
	}
	var before uint64
	for at := 1; d.run(t, "seal", at); at++ {
		r, err := readByHand(record(t, d.local, idA).Data)
		must(t, err)
		var counted uint64
		for _, n := range r.seals {
			counted += n
		}
		if counted < sealed() || counted < before {
			t.Fatalf("step %d: %d were sealed, and %d are counted; %d were before", at, sealed(), counted, before)
		}
		before = counted
		d.opens(t, at, record(t, d.local, idA))
		if at > 100 {
			t.Fatal("it makes too many steps")
		}
	}
	if sealed() < 3000 {
		t.Fatalf("%d were sealed", sealed())
	}
}

// sealMany seals some thousand values, and has each of them on the disk.
func sealMany(t *testing.T, r *keys.Keyring, dir string) {
	f, err := os.OpenFile(filepath.Join(dir, "sealed"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer f.Close()
	k := open(t, r, idA)
	for range 3000 {
		_, err := k.Data().Encrypt([]byte("v"), nil)
		must(t, err)
		_, err = f.Write([]byte{1})
		must(t, err)
	}
}

// mortal kills its process at the given step.
type mortal struct {
	mu    sync.Mutex
	steps int
	at    int
}

func (m *mortal) step() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.steps++; m.steps == m.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		for { // nobody goes on until the signal has come, nor does the clock
			runtime.Gosched()
		}
	}
}

type mortalKEK struct {
	m *mortal
	keys.KEK
}

func (k mortalKEK) Create(ctx context.Context, id tenant.ID) error {
	defer k.m.step()
	k.m.step()
	return k.KEK.Create(ctx, id)
}

func (k mortalKEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	defer k.m.step()
	k.m.step()
	return k.KEK.Wrap(ctx, id, plaintext)
}

func (k mortalKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	defer k.m.step()
	k.m.step()
	return k.KEK.Unwrap(ctx, id, wrapped)
}

func (k mortalKEK) Rotate(ctx context.Context, id tenant.ID) error {
	defer k.m.step()
	k.m.step()
	return k.KEK.Rotate(ctx, id)
}

func (k mortalKEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	defer k.m.step()
	k.m.step()
	return k.KEK.Rewrap(ctx, id, wrapped)
}

func (k mortalKEK) Destroy(ctx context.Context, id tenant.ID) error {
	defer k.m.step()
	k.m.step()
	return k.KEK.Destroy(ctx, id)
}

type mortalStore struct {
	m *mortal
	keys.Store
}

func (s mortalStore) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	defer s.m.step()
	s.m.step()
	return s.Store.Get(ctx, id)
}

func (s mortalStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	defer s.m.step()
	s.m.step()
	return s.Store.Put(ctx, id, data, version)
}

// mortalTrail is a recorder whose events are on the disk when Record returns.
type mortalTrail struct {
	m *mortal
	f *os.File
}

func (r mortalTrail) Record(_ context.Context, e *audit.Event) error {
	defer r.m.step()
	r.m.step()
	_, err := fmt.Fprintf(r.f, "%s %s %s\n", e.Code, e.Phase, e.Status)
	return err
}
