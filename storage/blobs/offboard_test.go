package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/memblob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	leaving   = tenant.MustParse("a")
	lookalike = []tenant.ID{tenant.MustParse("A"), tenant.MustParse("a."), tenant.MustParse("a-"), tenant.MustParse("ab"), tenant.MustParse("a_"), tenant.MustParse("0a")}
)

// leaversKeys are keys, in a directory, with a bound that is not waited for.
type leaversKeys struct {
	kek   keys.KEK
	store keys.Store
}

func keysIn(t testing.TB, dir string) leaversKeys {
	t.Helper()
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	must(t, err)
	return leaversKeys{kek, store}
}

func (k leaversKeys) ring(t testing.TB) *keys.Keyring {
	t.Helper()
	ring, err := keys.Open(t.Context(), k.kek, k.store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: 300 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { _ = ring.Close() })
	return ring
}

// leaver is a bucket with objects of tenants that look alike, of whom "a" leaves.
type leaver struct {
	*world
	keys  leaversKeys
	inner *blob.Bucket
	b     *blob.Bucket
	ctx   context.Context // of the tenant that leaves
}

var leaversObjects = []string{"x", "dir/y", "dir/sub/z", ".hidden/..", "/slash", "t-ab/x", "empty"}

func newLeaver(t testing.TB, inner *blob.Bucket) *leaver {
	t.Helper()
	return leaverIn(t, t.TempDir(), inner)
}

func leaverIn(t testing.TB, dir string, inner *blob.Bucket) *leaver {
	t.Helper()
	l := &leaver{world: &world{log: new(recorder), sealNames: inSealedNaming(t)}, keys: keysIn(t, dir), inner: inner, ctx: accessOf(t.Context(), leaving)}
	l.world.ring = l.keys.ring(t)
	l.guard = storage.Guard{Keys: l.world.ring, Audit: l.log}
	l.b = l.wrap(t, inner, "records")
	for _, id := range append([]tenant.ID{leaving}, lookalike...) {
		must(t, l.world.ring.Provision(t.Context(), id))
		for _, key := range leaversObjects {
			must(t, l.b.WriteAll(accessOf(t.Context(), id), key, leaversContent(id, key), nil))
		}
	}
	l.log.take()
	return l
}

func leaversContent(id tenant.ID, key string) []byte {
	if key == "empty" {
		return nil
	}
	return []byte(key + " of " + id.String())
}

func (l *leaver) shred(t testing.TB) {
	t.Helper()
	must(t, l.world.ring.Shred(t.Context(), leaving, "left"))
}

// mine are the names in the store under the tenant's prefix.
func (l *leaver) mine(t testing.TB) (names []string) {
	t.Helper()
	for _, name := range rawNames(t, l.inner) {
		if strings.HasPrefix(name, leaving.Segment()+"/") {
			names = append(names, name)
		}
	}
	return names
}

// others checks that everybody else has everything.
func (l *leaver) others(t testing.TB) {
	t.Helper()
	for _, id := range lookalike {
		for _, key := range leaversObjects {
			if got, err := l.b.ReadAll(accessOf(t.Context(), id), key); err != nil || !bytes.Equal(got, leaversContent(id, key)) {
				t.Errorf("%q of %s: %q, %v", key, id, got, err)
			}
		}
	}
}

func (l *leaver) gone(t testing.TB) {
	t.Helper()
	if left := l.mine(t); len(left) > 0 {
		t.Errorf("left of the tenant: %q", left)
	}
	l.others(t)
}

func TestOffboardDeletesAllOfATenantAndNothingElse(t *testing.T) {
	for _, store := range []string{"memory", "files"} {
		t.Run(store, func(t *testing.T) {
			eachNaming(t, func(t *testing.T) {
				inner := memblob.OpenBucket(nil)
				if store == "files" {
					inner = fileBucket(t, t.TempDir())
				}
				l := newLeaver(t, inner)
				// What is no object of the tenant's and is under its prefix goes too; what only begins like it does not.
				prefix := leaving.Segment() + "/"
				n := int64(len(leaversObjects)) + 3
				for _, name := range []string{prefix + "x.123.tmp", prefix + "plain", prefix + "folder/placeholder"} {
					must(t, inner.WriteAll(t.Context(), name, []byte("junk"), nil))
				}
				beside := []string{"t-a.tmp", "t-a-/x-of-nobody", "t-", "a/x"}
				for _, name := range beside {
					must(t, inner.WriteAll(t.Context(), name, []byte("junk"), nil))
				}
				dry, err := Offboard(l.ctx, l.b, leaving, &OffboardOptions{DryRun: true})
				must(t, err)
				if dry.Objects != n || dry.Bucket != "records" || dry.Leftovers != -1 || int64(len(l.mine(t))) != n {
					t.Errorf("dry run: %+v", dry)
				}
				l.shred(t)
				l.log.take()
				var last OffboardProgress
				r, err := Offboard(l.ctx, l.b, leaving, &OffboardOptions{Progress: func(p OffboardProgress) { last = p }})
				must(t, err)
				if r.Objects != n || r.Bytes != dry.Bytes || last.Objects != n || last.Bytes != r.Bytes {
					t.Errorf("%+v, heard of %+v, where the dry run said %+v", r, last, dry)
				}
				offboardTrail(t, l.log.take(), r)
				l.gone(t)
				for _, name := range beside {
					if ok, err := inner.Exists(t.Context(), name); err != nil || !ok {
						t.Errorf("%s is gone, %v", name, err)
					}
				}
				r, err = Offboard(l.ctx, l.b, leaving, nil)
				if err != nil || r.Objects != 0 {
					t.Errorf("again: %+v, %v", r, err)
				}
			})
		})
	}
}

// On files nothing of the tenant is left, not even a name: neither directories, nor the attributes of an object whose content is gone, or never
// came. What cannot be deleted is left with its attributes.
func TestOffboardLeavesNoNamesOnFiles(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		dir := t.TempDir()
		l := newLeaver(t, fileBucket(t, dir))
		own := filepath.Join(dir, leaving.Segment())
		name := l.nameIn(t, "records", leaving, "dir/y")
		must(t, os.Remove(filepath.Join(dir, filepath.FromSlash(name))))
		must(t, os.MkdirAll(filepath.Join(own, ".reseal", "empty"), 0o700))
		must(t, os.WriteFile(filepath.Join(own, ".reseal", "staged.attrs"), []byte("{}"), 0o600))
		l.shred(t)
		_, err := Offboard(l.ctx, l.b, leaving, nil)
		must(t, err)
		if _, err := os.Lstat(own); !errors.Is(err, os.ErrNotExist) {
			var left []string
			must(t, filepath.WalkDir(own, func(path string, _ os.DirEntry, err error) error {
				left = append(left, path[len(dir):])
				return err
			}))
			t.Errorf("left of the tenant: %q", left)
		}
		l.gone(t)
	})
}

func offboardTrail(t testing.TB, events []audit.Event, r *OffboardReport) {
	t.Helper()
	var deleted int64
	for i, e := range events {
		if e.Code != audit.CodeBlobOffboard || e.Tenant != leaving || e.Actor != "nurse@a" || e.Status != audit.Success || e.Sealer != nil ||
			len(e.Details) > 0 || e.Correlation != r.Correlation || e.Name != "records" {
			t.Errorf("event %d: %+v", i, e)
		}
		if e.Phase == audit.Single {
			deleted += e.Rows
		}
	}
	if first, last := events[0], events[len(events)-1]; first.Phase != audit.Intent || last.Phase != audit.Outcome || last.Rows != r.Objects || deleted != r.Objects {
		t.Errorf("%+v, %+v and %d objects between", first, last, deleted)
	}
}

func TestOffboardRefuses(t *testing.T) {
	l := newLeaver(t, memblob.OpenBucket(nil))
	refused := func(name string, ctx context.Context, id tenant.ID, o *OffboardOptions, want error) {
		t.Helper()
		l.log.take()
		if _, err := Offboard(ctx, l.b, id, o); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if e := l.log.take(); len(e) != 1 || e[0].Status != audit.Denied || e[0].Code != audit.CodeBlobOffboard || e[0].Reason == "error" {
			t.Errorf("%s: the trail has %+v", name, e)
		}
	}
	refused("active", l.ctx, leaving, &OffboardOptions{Suspended: true}, keys.ErrNotShredded)
	refused("nobody", t.Context(), leaving, nil, tenant.ErrMissing)
	refused("somebody else", accessOf(t.Context(), lookalike[0]), leaving, nil, tenant.ErrInvalidAccess)
	must(t, l.keys.ring(t).Suspend(t.Context(), leaving, ""))
	refused("suspended", l.ctx, leaving, nil, keys.ErrNotShredded)
	l.shred(t)
	guard := l.guard
	guard.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
		if a.Verb == tenant.Offboard && a.Store == "blob" && a.Name == "records" {
			return errors.New("no")
		}
		return nil
	})
	b := l.b
	var err error
	l.b, err = Wrap(l.inner, guard, &Options{Label: "records"})
	must(t, err)
	refused("by the authorizer", l.ctx, leaving, nil, tenant.ErrDenied)
	l.b = b
	l.log.set(func(*audit.Event) bool { return true })
	_, err = Offboard(l.ctx, l.b, leaving, nil)
	wantIs(t, err, audit.ErrUnavailable)
	l.log.set(nil)
	for _, o := range []*OffboardOptions{{Concurrency: -1}, {Concurrency: 65}} {
		if _, err := Offboard(l.ctx, l.b, leaving, o); err == nil {
			t.Errorf("%+v", o)
		}
	}
	if _, err := Offboard(l.ctx, l.inner, leaving, nil); err == nil {
		t.Error("a bucket without a guard")
	}
	if len(l.mine(t)) != len(leaversObjects) {
		t.Errorf("refused, and there are %q", l.mine(t))
	}
}

func TestOffboardOfASuspendedTenant(t *testing.T) {
	l := newLeaver(t, memblob.OpenBucket(nil))
	must(t, l.world.ring.Suspend(t.Context(), leaving, ""))
	r, err := Offboard(l.ctx, l.b, leaving, &OffboardOptions{Suspended: true})
	must(t, err)
	if r.Objects != int64(len(leaversObjects)) {
		t.Errorf("%+v", r)
	}
	l.gone(t)
}

// stubborn is a store that does something before it deletes, and may not.
type stubborn struct {
	bucketDriver
	before func(key string) error
}

func (s *stubborn) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	if err := s.before(key); err != nil {
		return err
	}
	return s.bucketDriver.Delete(ctx, key, o)
}

// An object under a lock keeps none of the others, and is not called deleted.
func TestOffboardAndAnObjectThatCannotBeDeleted(t *testing.T) {
	l := newLeaver(t, memblob.OpenBucket(nil))
	l.shred(t)
	locked := true
	l.b = l.wrap(t, blob.NewBucket(&stubborn{innerDriver(l.inner), func(key string) error {
		if locked && strings.HasSuffix(key, "dir/y") {
			return errors.New("under retention")
		}
		return nil
	}}), "records")
	r, err := Offboard(l.ctx, l.b, leaving, nil)
	if err == nil || !strings.Contains(err.Error(), "under retention") || r.Objects != int64(len(leaversObjects))-1 {
		t.Errorf("%+v, %v", r, err)
	}
	if events := l.log.take(); events[len(events)-1].Status != audit.Failure {
		t.Errorf("the trail says %+v", events[len(events)-1])
	}
	if left := l.mine(t); !slices.Equal(left, []string{"t-a/dir/y"}) {
		t.Errorf("left: %q", left)
	}
	locked = false
	r, err = Offboard(l.ctx, l.b, leaving, nil)
	if err != nil || r.Objects != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	l.gone(t)
}

// What another process writes with keys that it still has is deleted too; a tenant that is resumed meanwhile keeps the rest.
func TestOffboardAndWhatHappensMeanwhile(t *testing.T) {
	l := newLeaver(t, memblob.OpenBucket(nil))
	l.shred(t)
	late := false
	r, err := Offboard(l.ctx, l.b, leaving, &OffboardOptions{Progress: func(OffboardProgress) {
		if !late {
			late = true
			must(t, l.inner.WriteAll(t.Context(), "t-a/late", []byte("x"), nil))
		}
	}})
	if err != nil || r.Objects != int64(len(leaversObjects))+1 {
		t.Errorf("%+v, %v", r, err)
	}
	l.gone(t)

	l = newLeaver(t, memblob.OpenBucket(nil))
	other := l.keys.ring(t)
	must(t, other.Suspend(t.Context(), leaving, ""))
	_, err = Offboard(l.ctx, l.b, leaving, &OffboardOptions{Suspended: true, Progress: func(OffboardProgress) {
		must(t, other.Resume(t.Context(), leaving, ""))
		must(t, l.b.WriteAll(l.ctx, "new", []byte("x"), nil))
	}})
	wantIs(t, err, keys.ErrNotShredded)
	if got, err := l.b.ReadAll(l.ctx, "new"); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// A store that lists what it was not asked for has nobody else's objects deleted.
func TestOffboardAndAListThatLies(t *testing.T) {
	l := newLeaver(t, memblob.OpenBucket(nil))
	l.shred(t)
	l.b = l.wrap(t, blob.NewBucket(&lyingLister{innerDriver(l.inner), "t-ab/"}), "records")
	_, err := Offboard(l.ctx, l.b, leaving, nil)
	wantIs(t, err, storage.ErrIsolation)
	l.b = l.wrap(t, l.inner, "records")
	l.others(t)
}

// leftovers are pieces that a store tells of.
type leftovers struct {
	prefix string
	pieces int64
	err    error
}

func (l *leftovers) Clear(_ context.Context, prefix string, dryRun bool) (int64, error) {
	l.prefix = prefix
	n := l.pieces
	if !dryRun {
		l.pieces = 0
	}
	return n, l.err
}

func TestOffboardAndLeftovers(t *testing.T) {
	l := newLeaver(t, memblob.OpenBucket(nil))
	l.shred(t)
	pieces := &leftovers{pieces: 3}
	for _, dryRun := range []bool{true, false} {
		r, err := Offboard(l.ctx, l.b, leaving, &OffboardOptions{DryRun: dryRun, Leftovers: pieces})
		if err != nil || r.Leftovers != 3 || pieces.prefix != "t-a/" {
			t.Errorf("%+v of %q, %v", r, pieces.prefix, err)
		}
	}
	pieces.err = errors.New("under retention")
	if _, err := Offboard(l.ctx, l.b, leaving, &OffboardOptions{Leftovers: pieces}); err == nil || !strings.Contains(err.Error(), "under retention") {
		t.Errorf("%v", err)
	}
}

// More objects than a page has.
func TestOffboardOfManyObjects(t *testing.T) {
	l := newLeaver(t, memblob.OpenBucket(nil))
	const n = 2*defaultPageSize + 1
	for i := range n {
		must(t, l.inner.WriteAll(t.Context(), fmt.Sprintf("t-a/many/%d", i), []byte("x"), nil))
	}
	l.shred(t)
	pages := 0
	r, err := Offboard(l.ctx, l.b, leaving, &OffboardOptions{Concurrency: 3, Progress: func(OffboardProgress) { pages++ }})
	if err != nil || r.Objects != n+int64(len(leaversObjects)) || pages != 3 {
		t.Errorf("%+v in %d pages, %v", r, pages, err)
	}
	l.gone(t)
}

// A copy of the store that is put back after the tenant left does not open.
func TestARestoredBackupBringsNothingBack(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "backup")
		l := newLeaver(t, fileBucket(t, dir))
		must(t, os.CopyFS(copied, os.DirFS(dir)))
		record, err := l.keys.store.Get(t.Context(), leaving)
		must(t, err)
		names := l.mine(t)
		l.shred(t)
		_, err = Offboard(l.ctx, l.b, leaving, nil)
		must(t, err)
		l.gone(t)
		must(t, os.RemoveAll(dir))
		must(t, os.CopyFS(dir, os.DirFS(copied)))
		if !slices.Equal(l.mine(t), names) {
			t.Fatalf("restored: %q", l.mine(t))
		}
		refused := func(want error) {
			t.Helper()
			for name, err := range everyOperation(l.b, l.ctx, "x") {
				if err == nil || err == io.EOF || !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
			}
			l.others(t)
		}
		refused(keys.ErrShredded)
		tombstone, err := l.keys.store.Get(t.Context(), leaving)
		must(t, err)
		_, err = l.keys.store.Put(t.Context(), leaving, record.Data, tombstone.Version)
		must(t, err)
		l.world.ring = l.keys.ring(t)
		l.guard.Keys = l.world.ring
		l.b = l.wrap(t, l.inner, "records")
		refused(keys.ErrNotFound) // there is no KEK
		l.shred(t)
		_, err = Offboard(l.ctx, l.b, leaving, nil)
		must(t, err)
		l.gone(t)
	})
}
