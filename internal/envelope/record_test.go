package envelope_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

func TestCountsOfARecord(t *testing.T) {
	v, _ := load(t)
	plain, err := envelope.ParseRecord(v.Record)
	if err != nil {
		t.Fatal(err)
	}
	rec := *plain
	for _, x := range []struct {
		key  uint32
		n    uint64
		want uint64
	}{{7, 5, 5}, {3, 1 << 40, 1 << 40}, {9, 1, 1}, {7, 6, 11}} {
		if got := rec.Add(x.key, x.n); got != x.want || rec.Seals(x.key) != x.want {
			t.Errorf("%d, %d: %d", x.key, x.n, got)
		}
	}
	if len(plain.Counts) != 0 || rec.Seals(8) != 0 {
		t.Error("a count that nobody made")
	}
	b := envelope.AppendRecord(nil, &rec)
	if b[3] != v.Record[3]+2 || !bytes.Equal(b[4:len(v.Record)], v.Record[4:]) {
		t.Error("the counts change more than the version and the end")
	}
	got, err := envelope.ParseRecord(b)
	if err != nil || got.Format != plain.Format || !slices.Equal(got.Counts, []envelope.Count{{Key: 3, Seals: 1 << 40}, {Key: 7, Seals: 11}, {Key: 9, Seals: 1}}) {
		t.Fatalf("%+v, %v", got, err)
	}
	end := len(v.Record)
	for name, bad := range map[string]func(b []byte) []byte{
		"cut short":        func(b []byte) []byte { return b[:len(b)-1] },
		"too long":         func(b []byte) []byte { return append(b, 0) },
		"no counts":        func(b []byte) []byte { return append(b[:end], 0, 0, 0, 0) },
		"too many":         func(b []byte) []byte { b[end+2] = 1; return b },
		"not in order":     func(b []byte) []byte { b[end+4] = 1; return b },
		"one of nothing":   func(b []byte) []byte { clear(b[len(b)-8:]); return b },
		"the other format": func(b []byte) []byte { b[3] -= 2; return b },
		"no such version":  func(b []byte) []byte { b[3] = 5; return b },
	} {
		if _, err := envelope.ParseRecord(bad(bytes.Clone(b))); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rec.State, rec.RootVersion, rec.WrappedRoot, rec.Keysets = envelope.StateShredded, 0, nil, nil
	if _, err := envelope.ParseRecord(envelope.AppendRecord(nil, &rec)); !errors.Is(err, envelope.ErrMalformed) {
		t.Errorf("a shredded record that counts: %v", err)
	}
}

func TestAShreddedRecordTellsWhatWasDestroyed(t *testing.T) {
	v, _ := load(t)
	rec, err := envelope.ParseRecord(v.Record)
	if err != nil {
		t.Fatal(err)
	}
	format := rec.Format
	rec.Entomb(1_700_000_000_000, []envelope.Destroyed{{"index", 9}, {"data", 1 << 31}, {"data", 7}, {"index", 9}})
	b := envelope.AppendRecord(nil, rec)
	if b[3] != byte(format)+4 {
		t.Errorf("version %d", b[3])
	}
	got, err := envelope.ParseRecord(b)
	if err != nil || got.State != envelope.StateShredded || got.ShreddedAt != 1_700_000_000_000 ||
		!slices.Equal(got.Destroyed, []envelope.Destroyed{{"data", 7}, {"data", 1 << 31}, {"index", 9}}) {
		t.Fatalf("%+v, %v", got, err)
	}
	// Two and a half keys, the number of them, and the time, from the end.
	n, at := len(b)-13-12-12-4, len(b)-13-12-12-12
	for name, bad := range map[string]func(b []byte) []byte{
		"cut short":        func(b []byte) []byte { return b[:len(b)-1] },
		"too long":         func(b []byte) []byte { return append(b, 0) },
		"fewer":            func(b []byte) []byte { b[n+3]--; return b },
		"too many":         func(b []byte) []byte { b[n+2] = 5; return b },
		"not in order":     func(b []byte) []byte { b[n+4+8] = 0xff; return b },
		"no time":          func(b []byte) []byte { clear(b[at : at+8]); return b },
		"the format alone": func(b []byte) []byte { b[3] -= 4; return b },
		"with counts":      func(b []byte) []byte { b[3] += 2; return b },
	} {
		if _, err := envelope.ParseRecord(bad(bytes.Clone(b))); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got.State = envelope.StateSuspended
	if _, err := envelope.ParseRecord(envelope.AppendRecord(nil, got)); !errors.Is(err, envelope.ErrMalformed) {
		t.Errorf("a suspended record that was shredded: %v", err)
	}
	many := make([]envelope.Destroyed, 2*envelope.MaxDestroyed)
	for i := range many {
		many[i] = envelope.Destroyed{Purpose: "pseudonym", Key: uint32(i)}
	}
	rec.Entomb(1, many)
	if got, err := envelope.ParseRecord(envelope.AppendRecord(nil, rec)); err != nil || len(got.Destroyed) != envelope.MaxDestroyed {
		t.Errorf("too many: %v", err)
	}
}

func TestAShreddedRecordTellsWhichKeysSurvived(t *testing.T) {
	v, _ := load(t)
	rec, err := envelope.ParseRecord(v.Record)
	if err != nil {
		t.Fatal(err)
	}
	rec.Format = envelope.Bound
	rec.Entomb(1_700_000_000_000, []envelope.Destroyed{{"data", 7}})
	rec.Shared = []envelope.Shared{{"a", 3}, {"b", 1 << 31}}
	b := envelope.AppendRecord(nil, rec)
	got, err := envelope.ParseRecord(b)
	if err != nil || !slices.Equal(got.Shared, rec.Shared) || !bytes.Equal(envelope.AppendRecord(nil, got), b) || b[3] != 14 {
		t.Fatalf("%+v, %v", got, err)
	}
	// Two keys of 9 bytes, and before them the number of them.
	n := len(b) - 9 - 9 - 4
	for name, bad := range map[string]func(b []byte) []byte{
		"cut short":            func(b []byte) []byte { return b[:len(b)-1] },
		"too long":             func(b []byte) []byte { return append(b, 0) },
		"fewer":                func(b []byte) []byte { b[n+3]--; return b },
		"too many":             func(b []byte) []byte { b[n+3] = 17; return b },
		"none":                 func(b []byte) []byte { b[n+3] = 0; return b[:n+4] },
		"not in order":         func(b []byte) []byte { b[n+4+4] = 'b'; return b },
		"a version 0":          func(b []byte) []byte { clear(b[len(b)-4:]); return b },
		"the format alone":     func(b []byte) []byte { b[3] -= 8; return b },
		"without what is gone": func(b []byte) []byte { b[3] -= 4; return b },
		"with counts":          func(b []byte) []byte { b[3] += 2; return b },
	} {
		if _, err := envelope.ParseRecord(bad(bytes.Clone(b))); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
