package keys_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
)

// TestRotatedKeysets: records hold several keys per keyset, and a tenant works with all of them.
func TestRotatedKeysets(t *testing.T) {
	l := newLocal(t)
	ctx := context.Background()
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA)
	old := open(t, r, idA)
	field := seal(t, old, "old value")
	object := stream(t, old, "old object")
	hidden, err := old.Audit().SealDetails([]byte("d"), "uid")
	if err != nil {
		t.Fatal(err)
	}
	for _, purpose := range []string{"data", "index", "blobs", "audit", "pseudonym"} {
		for _, primary := range []bool{true, false} {
			if err := r.AddKey(ctx, idA, purpose, primary); err != nil {
				t.Fatal(err)
			}
		}
	}
	k := open(t, openRing(t, l.kek, l.store, nil), idA)

	if k.DataKeyID() == old.DataKeyID() || binary.BigEndian.Uint32(seal(t, k, "x")[1:]) != k.DataKeyID() {
		t.Error("new values are not sealed under the new primary")
	}
	for _, c := range [][]byte{field, seal(t, k, "old value")} {
		if got, err := k.Data().Decrypt(c, []byte("ad")); err != nil || string(got) != "old value" {
			t.Errorf("a value of a rotated keyset: %q, %v", got, err)
		}
	}
	if _, err := old.Data().Decrypt(seal(t, k, "x"), []byte("ad")); err == nil {
		t.Error("the old keyset opens what the new key sealed")
	}
	if _, err := k.Data().Decrypt([]byte{1, 2}, nil); err == nil {
		t.Error("two bytes were opened")
	}

	ids := k.IndexKeyIDs()
	if len(ids) != 3 || ids[0] != k.Index().PrimaryID || !slices.Contains(ids, old.IndexKeyIDs()[0]) || len(k.Index().PRFs) != 3 {
		t.Errorf("index keys %v of the set %v", ids, k.Index())
	}
	want, _ := old.Index().ComputePrimaryPRF([]byte("x"), 16)
	if got, err := k.Index().PRFs[old.IndexKeyIDs()[0]].ComputePRF([]byte("x"), 16); err != nil || !bytes.Equal(got, want) {
		t.Error("the old index key computes something else")
	}

	if k.BlobKeyID() == old.BlobKeyID() {
		t.Error("new objects are not sealed under the new primary")
	}
	by, ok := k.BlobsByID(old.BlobKeyID())
	if !ok {
		t.Fatal("the old streaming key is gone")
	}
	rd, err := by.NewDecryptingReader(bytes.NewReader(object), []byte("ad"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(rd); err != nil || string(got) != "old object" {
		t.Errorf("an object of a rotated keyset: %q, %v", got, err)
	}
	if _, ok := k.BlobsByID(k.BlobKeyID() ^ 1); ok {
		t.Error("a streaming key that does not exist")
	}
	if key, ok := k.BlobKey(old.BlobKeyID()); !ok || key == nil {
		t.Error("the old streaming key's material is gone")
	}

	opener := k.Audit().(interface {
		OpenDetails(sealed []byte, uid string) ([]byte, error)
	})
	if got, err := opener.OpenDetails(hidden, "uid"); err != nil || string(got) != "d" {
		t.Errorf("audit details of a rotated keyset: %q, %v", got, err)
	}
}

func seal(t *testing.T, k tenantkeys.Keys, value string) []byte {
	t.Helper()
	c, err := k.Data().Encrypt([]byte(value), []byte("ad"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stream(t *testing.T, k tenantkeys.Keys, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := k.Blobs().NewEncryptingWriter(&out, []byte("ad"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAuditSealer(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA, idB)
	a, b := open(t, r, idA).Audit(), open(t, r, idB).Audit()
	pseudonym := func(s interface{ Pseudonym(string) (string, error) }, actor string) string {
		t.Helper()
		p, err := s.Pseudonym(actor)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := pseudonym(a, "doctor-1")
	if len(p) != 28 || !strings.HasPrefix(p, "p-") || strings.Contains(p, "doctor") {
		t.Errorf("pseudonym %q", p)
	}
	runtime.GC() // lets the primitives go; the pseudonym must not change with them
	runtime.GC()
	if again := pseudonym(a, "doctor-1"); again != p {
		t.Errorf("pseudonyms %q and %q of one actor", p, again)
	}
	if other := openRing(t, l.kek, l.store, nil); pseudonym(open(t, other, idA).Audit(), "doctor-1") != p {
		t.Error("another process has another pseudonym")
	}
	if pseudonym(a, "doctor-2") == p || pseudonym(b, "doctor-1") == p {
		t.Error("different actors, or one actor of different tenants, share a pseudonym")
	}

	sealed, err := a.SealDetails([]byte(`{"reason":"x"}`), "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	type opener interface {
		OpenDetails(sealed []byte, uid string) ([]byte, error)
	}
	if got, err := a.(opener).OpenDetails(sealed, "uid-1"); err != nil || string(got) != `{"reason":"x"}` {
		t.Errorf("%q, %v", got, err)
	}
	_, err = a.(opener).OpenDetails(sealed, "uid-2")
	wantErr(t, err, keys.ErrIntegrity)
	_, err = b.(opener).OpenDetails(sealed, "uid-1")
	wantErr(t, err, keys.ErrIntegrity)
}
