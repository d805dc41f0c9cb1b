package envelope_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// place is where a value belongs.
type place struct{ tenant, table, column string }

// lookalikes are places that a join with a separator, a fold of case or a missing length would confuse.
var lookalikes = []place{
	{"a_b", "c", "d"}, {"a", "b_c", "d"}, {"a", "b", "c_d"}, {"a_b_c", "d", ""}, {"a", "b_c_d", ""}, {"a_b_c_d", "", ""}, {"a", "", "b_c_d"},
	{"a.b", "c", "d"}, {"a", "b.c", "d"}, {"a:b", "c", "d"}, {"a", "b:c", "d"}, {"a-b", "c", "d"}, {"a", "b-c", "d"},
	{"ab", "c", "d"}, {"a", "bc", "d"}, {"a", "b", "cd"}, {"abcd", "", ""}, {"a", "bcd", ""}, {"a", "", "bcd"},
	{"A_b", "c", "d"}, {"a_b", "C", "d"}, {"a_b", "c", "D"}, {"a", "b\x00c", "d"}, {"a", "b", "\x00c"}, {"a", "b\x00", "c"},
	{"a", "\x00\x00\x00\x01b", "c"}, {"a", "b\x00\x00\x00\x01c", ""}, {"a", "", "\x00\x00\x00\x01b"}, {"a", "b ", "c"}, {"a", " b", "c"}, {"a", "é", "c"}, {"a", "e\u0301", "c"},
	{"1", "1", "1"}, {"11", "1", ""}, {"1", "11", ""}, {"111", "", ""},
}

// TestNoTwoPlacesEncodeAlike encodes every look-alike as every kind, and compares all with all.
func TestNoTwoPlacesEncodeAlike(t *testing.T) {
	seen := map[string]string{}
	add := func(what string, b []byte) {
		t.Helper()
		if other, ok := seen[string(b)]; ok {
			t.Errorf("%s encodes like %s: %x", what, other, b)
		}
		seen[string(b)] = what
	}
	for _, p := range lookalikes {
		id := tenant.MustParse(p.tenant)
		add(fmt.Sprintf("field %q", p), envelope.FieldAD(nil, id, p.table, p.column))
		add(fmt.Sprintf("blob %q", p), envelope.BlobAD(nil, id, p.table, p.column))
		add(fmt.Sprintf("attributes %q", p), envelope.BlobAttrsAD(nil, id, p.table, p.column))
		add(fmt.Sprintf("name %q", p), envelope.BlobNameAD(nil, id, p.table, p.column))
		for _, value := range []string{"", "v", "\x00\x00\x00\x01v"} {
			add(fmt.Sprintf("index %q of %q", p, value), envelope.IndexInput(nil, id, p.table, p.column, []byte(value)))
		}
	}
	singles := map[place]bool{}
	for _, p := range lookalikes {
		for _, s := range []string{p.table, p.column} {
			k := place{tenant: p.tenant, table: s}
			if singles[k] {
				continue
			}
			singles[k] = true
			id := tenant.MustParse(p.tenant)
			add(fmt.Sprintf("keyset %q", k), envelope.KeysetAD(nil, id, s))
			add(fmt.Sprintf("audit %q", k), envelope.AuditAD(nil, id, s))
			add(fmt.Sprintf("page %q", k), envelope.BlobPageAD(nil, id, s))
			add(fmt.Sprintf("page of names %q", k), envelope.NamesPageAD(nil, id, s))
			for _, beside := range [][]string{{s}, {s, ""}, {s, "x"}} {
				rec := envelope.Record{Format: envelope.Bound, Tenant: id}
				for _, p := range beside {
					rec.Keysets = append(rec.Keysets, envelope.Keyset{Purpose: p})
				}
				add(fmt.Sprintf("keyset %q beside %q", k, beside), rec.KeysetAD(nil, s))
			}
			add(fmt.Sprintf("pseudonym %q", k), envelope.PseudonymInput(nil, id, s))
			add(fmt.Sprintf("root %q", k), envelope.AppendRoot(nil, &envelope.Root{Tenant: id, Keyring: s, Version: 1, Keyset: []byte("k")}))
		}
	}
	if len(seen) < 6*len(lookalikes) {
		t.Fatalf("only %d encodings", len(seen))
	}
}

// TestSealedValuesDoNotMove opens a value of each look-alike place in every other, under one and the same key.
func TestSealedValuesDoNotMove(t *testing.T) {
	v, _ := load(t)
	a := dataAEAD(t, v)
	set := indexSet(t, v)
	indexes := map[string]place{}
	for _, p := range lookalikes {
		sealed, err := envelope.SealField(a, tenant.MustParse(p.tenant), p.table, p.column, envelope.Text, "v")
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range lookalikes {
			got, err := envelope.OpenField(a, tenant.MustParse(q.tenant), q.table, q.column, envelope.Text, sealed)
			if (err == nil) != (p == q) {
				t.Errorf("sealed in %q, opened in %q: %v, %v", p, q, got, err)
			}
		}
		index, err := envelope.BlindIndex(set, set.PrimaryID, tenant.MustParse(p.tenant), p.table, p.column, []byte("\x01v"))
		if err != nil || len(index) != envelope.IndexSize {
			t.Fatalf("%x, %v", index, err)
		}
		if q, ok := indexes[string(index)]; ok {
			t.Errorf("%q and %q have the same index", p, q)
		}
		indexes[string(index)] = p
	}
	if _, err := envelope.BlindIndex(set, 1, tenant.MustParse("a"), "t", "c", nil); err == nil {
		t.Error("an index under a key that does not exist")
	}
}

func TestFieldsAreCheap(t *testing.T) {
	v, id := load(t)
	a := dataAEAD(t, v)
	var value any = "sixteen bytes ok"
	sealed, err := envelope.SealField(a, id, "t", "c", envelope.Text, value)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(200, func() { envelope.SealField(a, id, "t", "c", envelope.Text, value) }); n > 1 {
		t.Errorf("sealing allocates %v times; the ciphertext alone is 1", n)
	}
	// The plaintext, and what a string costs in an interface.
	if n := testing.AllocsPerRun(200, func() { envelope.OpenField(a, id, "t", "c", envelope.Text, sealed) }); n > 2 {
		t.Errorf("opening allocates %v times", n)
	}
}

// TestScratchDoesNotLeakBetweenValues: no plaintext waits in a buffer for the next user of it.
func TestScratchDoesNotLeakBetweenValues(t *testing.T) {
	v, id := load(t)
	a := dataAEAD(t, v)
	secret := bytes.Repeat([]byte("secret"), 20)
	clean := func(after string) {
		t.Helper()
		for _, b := range envelope.Scratches(8) {
			if bytes.Contains(b, []byte("secret")) {
				t.Fatalf("after %s a plaintext was left in a buffer", after)
			}
		}
	}
	for range 50 {
		if _, err := envelope.SealField(a, id, "t", "c", envelope.Bytes, secret); err != nil {
			t.Fatal(err)
		}
		clean("sealing")
		if _, err := envelope.SealField(a, id, "t", "c", envelope.Text, append(bytes.Clone(secret), 0xff)); err == nil {
			t.Fatal("accepted")
		}
		clean("a refusal")
	}
}
