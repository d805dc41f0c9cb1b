package keys_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	idA = tenant.MustParse("a")
	idB = tenant.MustParse("b")
)

// local is a keyring's two backends, on disk.
type local struct {
	kek   *localkek.KEK
	store *filestore.Store
	dir   string
}

func newLocal(t testing.TB) *local {
	t.Helper()
	l := &local{dir: t.TempDir()}
	var err error
	if l.kek, err = localkek.Open(filepath.Join(l.dir, "kek"), nil); err != nil {
		t.Fatal(err)
	}
	if l.store, err = filestore.Open(filepath.Join(l.dir, "records"), nil); err != nil {
		t.Fatal(err)
	}
	return l
}

func openRing(t testing.TB, kek keys.KEK, store keys.Store, o *keys.Options) *keys.Keyring {
	t.Helper()
	var opts keys.Options
	if o != nil {
		opts = *o
	}
	opts.InsecureWithoutAudit = opts.Audit == nil
	r, err := keys.Open(t.Context(), kek, store, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func provision(t testing.TB, r *keys.Keyring, ids ...tenant.ID) {
	t.Helper()
	for _, id := range ids {
		if err := r.Provision(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t testing.TB, r *keys.Keyring, id tenant.ID) tenantkeys.Keys {
	t.Helper()
	for {
		k, err := tenantkeys.Open(t.Context(), r, id)
		switch {
		case err == nil:
			return k
		case !strings.Contains(err.Error(), "later than is of use"): // see quick
			t.Fatal(err)
		}
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got the error %v, want one that wraps %v", err, want)
	}
}

func wantStatus(t testing.TB, r *keys.Keyring, id tenant.ID, want keys.Status) {
	t.Helper()
	got, err := r.Status(t.Context(), id)
	if err != nil || got != want {
		t.Fatalf("status of %s: %q, %v; want %q", id, got, err, want)
	}
}

func TestLifeOfATenant(t *testing.T) {
	l := newLocal(t)
	ctx := context.Background()
	r := openRing(t, l.kek, l.store, nil)
	_, err := r.Tenant(ctx, idA)
	wantErr(t, err, keys.ErrNotProvisioned)
	_, err = r.Status(ctx, idA)
	wantErr(t, err, keys.ErrNotProvisioned)
	provision(t, r, idA, idB, idA)

	sealed, err := open(t, r, idA).Data().Encrypt([]byte("x"), []byte("ad"))
	if err != nil {
		t.Fatal(err)
	}
	other := openRing(t, l.kek, l.store, nil)
	if got, err := open(t, other, idA).Data().Decrypt(sealed, []byte("ad")); err != nil || !bytes.Equal(got, []byte("x")) {
		t.Fatalf("a second keyring opened %q, %v", got, err)
	}
	if _, err := open(t, r, idB).Data().Decrypt(sealed, []byte("ad")); err == nil {
		t.Fatal("tenant b opened tenant a's value")
	}

	if err := r.Suspend(ctx, idA, "payment overdue"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, r, idA, keys.StatusSuspended)
	_, err = r.Tenant(ctx, idA)
	wantErr(t, err, keys.ErrSuspended)
	wantErr(t, r.Provision(ctx, idA), keys.ErrSuspended)
	if s, err := r.AuditSealer(ctx, idA); err != nil || s == nil {
		t.Fatalf("no sealer for a suspended tenant: %v", err)
	}
	wantStatus(t, r, idB, keys.StatusActive)
	if err := r.Resume(ctx, idA, "paid"); err != nil {
		t.Fatal(err)
	}
	open(t, r, idA)

	if err := r.Shred(ctx, idA, "contract ended"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, r, idA, keys.StatusShredded)
	_, err = r.Tenant(ctx, idA)
	wantErr(t, err, keys.ErrShredded)
	wantErr(t, r.Resume(ctx, idA, ""), keys.ErrShredded)
	wantErr(t, r.Provision(ctx, idA), keys.ErrShredded)
	if err := r.Shred(ctx, idA, "again"); err != nil {
		t.Fatalf("shredding is not idempotent: %v", err)
	}
	open(t, r, idB)

	r.Close()
	_, err = r.Tenant(ctx, idB)
	wantErr(t, err, keys.ErrClosed)
}
