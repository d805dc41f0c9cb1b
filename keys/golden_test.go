package keys_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/envelope/golden"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

var update = flag.Bool("update", false, "make the golden vectors anew, with new keys: only when a format changes")

// logicals by the names in the vectors.
var logicals = map[string]envelope.Logical{"text": envelope.Text, "bytes": envelope.Bytes, "int": envelope.Int, "float": envelope.Float, "bool": envelope.Bool,
	"time": envelope.Time, "date": envelope.Date, "numeric": envelope.Numeric, "json": envelope.JSON, "uuid": envelope.UUID}

// TestGolden opens the stored tenant through the whole hierarchy, and everything that was sealed with it.
func TestGolden(t *testing.T) {
	if *update {
		makeGolden(t)
	}
	v, err := golden.Load("..")
	if err != nil {
		t.Fatal(err)
	}
	checkVectors(t, v, openGolden(t, v))
}

// checkVectors opens all that was sealed with the tenant's keys.
func checkVectors(t *testing.T, v *golden.Vectors, k tenantkeys.Keys) {
	t.Helper()
	for _, f := range v.Fields {
		want, err := golden.Parse(f.Logical, f.Text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := envelope.OpenField(k.Data(), k.ID(), f.Table, f.Column, logicals[f.Logical], f.Sealed)
		if err != nil || !same(t, logicals[f.Logical], got, want) {
			t.Errorf("field %s.%s: %v, %v; want %v", f.Table, f.Column, got, err, want)
		}
		if _, err := envelope.OpenField(k.Data(), k.ID(), f.Column, f.Table, logicals[f.Logical], f.Sealed); err == nil {
			t.Errorf("field %s.%s opens in another place", f.Table, f.Column)
		}
	}
	for _, x := range v.Indexes {
		value, err := golden.Parse(x.Logical, x.Text)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := envelope.AppendValue(nil, logicals[x.Logical], value)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := envelope.BlindIndex(k.Index(), x.KeyID, k.ID(), x.Table, x.Column, encoded); err != nil || !bytes.Equal(got, x.Bytes) {
			t.Errorf("index %s.%s under key %d: %x, %v; want %x", x.Table, x.Column, x.KeyID, got, err, x.Bytes)
		}
	}
	for _, a := range v.Actors {
		if got, err := k.Audit().Pseudonym(a.Actor); err != nil || got != a.Pseudonym {
			t.Errorf("pseudonym of %q: %q, %v; want %q", a.Actor, got, err, a.Pseudonym)
		}
	}
	for _, d := range v.Details {
		opener := k.Audit().(interface {
			OpenDetails([]byte, string) ([]byte, error)
		})
		if got, err := opener.OpenDetails(d.Sealed, d.UID); err != nil || string(got) != d.Text {
			t.Errorf("details of %s: %q, %v", d.UID, got, err)
		}
	}
	for _, o := range v.Objects {
		checkObject(t, k, &o)
	}
}

func same(t *testing.T, l envelope.Logical, a, b any) bool {
	t.Helper()
	x, err := envelope.AppendValue(nil, l, a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := envelope.AppendValue(nil, l, b)
	return err == nil && bytes.Equal(x, y)
}

func checkObject(t *testing.T, k tenantkeys.Keys, o *golden.Object) {
	t.Helper()
	stored, err := os.ReadFile(filepath.Join("..", filepath.Dir(golden.File), o.File))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(stored); hex.EncodeToString(sum[:]) != o.SHA256 {
		t.Fatalf("%s was changed", o.File)
	}
	id, err := envelope.ParseBlobHeader(stored[:envelope.BlobHeaderSize])
	if err != nil {
		t.Fatal(err)
	}
	by, ok := k.BlobsByID(id)
	if !ok {
		t.Fatalf("%s: no key %d", o.File, id)
	}
	open := func(ad []byte) ([]byte, error) {
		r, err := by.NewDecryptingReader(bytes.NewReader(stored[envelope.BlobHeaderSize:]), ad)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	if got, err := open(envelope.BlobAD(nil, k.ID(), o.Label, o.Key)); err != nil || !bytes.Equal(got, o.Content()) {
		t.Errorf("%s: %d bytes, %v", o.File, len(got), err)
	}
	if _, err := open(envelope.BlobAD(nil, k.ID(), o.Key, o.Label)); err == nil {
		t.Errorf("%s opens in another place", o.File)
	}
}

// openGolden opens the vectors' tenant from its KEK file and record.
func openGolden(t *testing.T, v *golden.Vectors) tenantkeys.Keys {
	t.Helper()
	l := goldenLocal(t, v)
	return open(t, openRing(t, l.kek, l.store, &keys.Options{Label: v.Keyring}), tenant.MustParse(v.Tenant))
}

// goldenLocal has the vectors' KEK file and record.
func goldenLocal(t *testing.T, v *golden.Vectors) *local {
	t.Helper()
	l := &local{dir: t.TempDir()}
	must(t, os.WriteFile(filepath.Join(l.dir, "kek"), v.LocalKEK, 0o600))
	var err error
	l.kek, err = localkek.Open(filepath.Join(l.dir, "kek"), &localkek.Options{MustExist: true})
	must(t, err)
	l.store, err = filestore.Open(filepath.Join(l.dir, "records"), nil)
	must(t, err)
	_, err = l.store.Put(t.Context(), tenant.MustParse(v.Tenant), v.Record, 0)
	must(t, err)
	return l
}

// makeGolden makes new keys and vectors. Formats that are in use must go on reading the old ones: keep them beside.
func makeGolden(t *testing.T) {
	l := newLocal(t)
	v := &golden.Vectors{Comment: "Test vectors for FORMAT.md. The keys here are in the clear and protect nothing.",
		Tenant: "Acme-1", Keyring: "golden", Keysets: map[string]json.RawMessage{}, Malformed: map[string][]golden.Hex{}}
	id := tenant.MustParse(v.Tenant)
	r := openRing(t, l.kek, l.store, &keys.Options{Label: v.Keyring})
	provision(t, r, id)
	before := open(t, r, id)
	sealGolden(t, v, before)
	for _, purpose := range []string{"data", "index", "blobs", "audit"} {
		must(t, r.AddKey(t.Context(), id, purpose, true))
	}
	// What cannot be computed again was sealed under keys that are no longer the primary, and under those that are.
	k := open(t, openRing(t, l.kek, l.store, &keys.Options{Label: v.Keyring}), id)
	sealGolden(t, v, k)
	var err error
	v.LocalKEK, err = os.ReadFile(filepath.Join(l.dir, "kek"))
	must(t, err)
	rec, err := l.store.Get(t.Context(), id)
	must(t, err)
	v.Record = rec.Data
	v.Root, err = r.RootPayload(t.Context(), id)
	must(t, err)
	for _, purpose := range []string{"root", "data", "index", "blobs", "audit", "pseudonym"} {
		v.Keysets[purpose], err = r.ClearKeyset(t.Context(), id, purpose)
		must(t, err)
	}
	constants(t, v, id)
	b, err := json.MarshalIndent(v, "", "\t")
	must(t, err)
	must(t, os.WriteFile(filepath.Join("..", golden.File), append(b, '\n'), 0o644))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var goldenValues = []golden.Value{
	{Logical: "text", Text: "Zoë"}, {Logical: "text", Text: ""}, {Logical: "bytes", Text: "00ff"}, {Logical: "int", Text: "-2"}, {Logical: "float", Text: "1.5"},
	{Logical: "bool", Text: "true"}, {Logical: "time", Text: "2024-02-29T12:00:00.000000001Z"}, {Logical: "date", Text: "1969-12-31"},
	{Logical: "numeric", Text: "-1234.5"}, {Logical: "json", Text: `{"a": [1]}`}, {Logical: "uuid", Text: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"},
}

// sealGolden adds what has to be sealed by a tenant.
func sealGolden(t *testing.T, v *golden.Vectors, k tenantkeys.Keys) {
	t.Helper()
	for _, val := range goldenValues {
		value, err := golden.Parse(val.Logical, val.Text)
		must(t, err)
		sealed, err := envelope.SealField(k.Data(), k.ID(), "patients", "c_"+val.Logical, logicals[val.Logical], value)
		must(t, err)
		v.Fields = append(v.Fields, golden.Field{Table: "patients", Column: "c_" + val.Logical, Logical: val.Logical, Text: val.Text, KeyID: k.DataKeyID(), Sealed: sealed})
		encoded, err := envelope.AppendValue(nil, logicals[val.Logical], value)
		must(t, err)
		index, err := envelope.BlindIndex(k.Index(), k.Index().PrimaryID, k.ID(), "patients", "c_"+val.Logical, encoded)
		must(t, err)
		v.Indexes = append(v.Indexes, golden.Index{Table: "patients", Column: "c_" + val.Logical, Logical: val.Logical, Text: val.Text, KeyID: k.Index().PrimaryID, Bytes: index})
	}
	sealed, err := k.Audit().SealDetails([]byte(`{"key":"a/b"}`), "01890a5d-ac96-774b-bcce-b302099a8057")
	must(t, err)
	v.Details = append(v.Details, golden.Details{UID: "01890a5d-ac96-774b-bcce-b302099a8057", Text: `{"key":"a/b"}`, Sealed: sealed})
	pseudonym, err := k.Audit().Pseudonym("doctor-1")
	must(t, err)
	v.Actors = append(v.Actors, golden.Actor{Actor: "doctor-1", Pseudonym: pseudonym})
	v.Headers = append(v.Headers, golden.Header{KeyID: k.BlobKeyID(), Bytes: envelope.AppendBlobHeader(nil, k.BlobKeyID())})
	o := golden.Object{Label: "scans", Key: "2024/ct.dcm", Size: 70_000, File: []string{"object1.bin", "object2.bin"}[len(v.Objects)]}
	var out bytes.Buffer
	out.Write(envelope.AppendBlobHeader(nil, k.BlobKeyID()))
	w, err := k.Blobs().NewEncryptingWriter(&out, envelope.BlobAD(nil, k.ID(), o.Label, o.Key))
	must(t, err)
	_, err = w.Write(o.Content())
	must(t, err)
	must(t, w.Close())
	sum := sha256.Sum256(out.Bytes())
	o.SHA256 = hex.EncodeToString(sum[:])
	must(t, os.WriteFile(filepath.Join("..", filepath.Dir(golden.File), o.File), out.Bytes(), 0o644))
	v.Objects = append(v.Objects, o)
}

// constants adds what depends on no key.
func constants(t *testing.T, v *golden.Vectors, id tenant.ID) {
	t.Helper()
	add := func(function string, b []byte, args ...string) {
		v.AD = append(v.AD, golden.AD{Function: function, Args: args, Bytes: b})
	}
	add("FieldAD", envelope.FieldAD(nil, id, "patients", "name"), "patients", "name")
	add("IndexInput", envelope.IndexInput(nil, id, "patients", "name", []byte{1, 'x'}), "patients", "name", "\x01x")
	add("BlobAD", envelope.BlobAD(nil, id, "scans", "a/b"), "scans", "a/b")
	add("BlobAttrsAD", envelope.BlobAttrsAD(nil, id, "scans", "a/b"), "scans", "a/b")
	add("BlobPageAD", envelope.BlobPageAD(nil, id, "scans"), "scans")
	add("KeysetAD", envelope.KeysetAD(nil, id, "data"), "data")
	add("AuditAD", envelope.AuditAD(nil, id, "uid"), "uid")
	add("PseudonymInput", envelope.PseudonymInput(nil, id, "doctor-1"), "doctor-1")
	for _, val := range goldenValues {
		value, err := golden.Parse(val.Logical, val.Text)
		must(t, err)
		val.Bytes, err = envelope.AppendValue(nil, logicals[val.Logical], value)
		must(t, err)
		v.Values = append(v.Values, val)
	}
	cut := func(b []byte) []golden.Hex {
		return []golden.Hex{{}, b[:1], b[:len(b)-1], append(bytes.Clone(b), 0), append([]byte{b[0] ^ 1}, b[1:]...), append([]byte{b[0], b[1] ^ 1}, b[2:]...)}
	}
	v.Malformed["root"] = cut(v.Root)
	v.Malformed["record"] = cut(v.Record)
	v.Malformed["header"] = cut(v.Headers[0].Bytes)
	for _, s := range []string{"01ff", "0300", "04fff8000000000001", "0502", "0600000000000000003b9aca00", "077fffffff", "08312e3530", "097b", "0a00", "00", "0b00", "082d30"} {
		b, err := hex.DecodeString(s)
		must(t, err)
		v.Malformed["value"] = append(v.Malformed["value"], b)
	}
}
