package tenant_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/tenant"
)

func TestParseRefuses(t *testing.T) {
	hostile := map[string]string{
		"empty": "", "space": " ", "inner space": "a b", "path": "a/../b", "dots": "..", "backslash": `a\b`, "NUL": "a\x00b",
		"newline": "a\n", "quote": "a'b", "percent": "a%b", "leading dash": "-a", "leading dot": ".a", "leading underscore": "_a",
		"Cyrillic а": "clinic-\u0430", "full width": "\uff41", "zero width": "a\u200bb", "combining": "a\u0301", "invalid UTF-8": "a\xff",
		"over-long": strings.Repeat("a", tenant.MaxIDLength+1), "ligature": "\ufb01", "kelvin": "\u212a", "long s": "\u017f",
	}
	for name, s := range hostile {
		id, err := tenant.Parse(s)
		if !errors.Is(err, tenant.ErrInvalidID) {
			t.Errorf("%s: Parse accepted %q or gave another error: %v", name, s, err)
			continue
		}
		if !id.IsZero() {
			t.Errorf("%s: a refused id is not zero", name)
		}
		if len(s) > 2 && strings.Contains(err.Error(), s) {
			t.Errorf("%s: the error repeats what was refused: %v", name, err)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	for _, s := range []string{"a", "A", "0", "clinic-a", "a_b", "a.b", "a:b", "a@b.c", "550e8400-e29b-41d4-a716-446655440000", strings.Repeat("Z", tenant.MaxIDLength)} {
		id, err := tenant.Parse(s)
		if err != nil {
			t.Errorf("Parse(%q): %v", s, err)
		} else if id.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, id.String())
		}
	}
}

// TestSegmentsDiffer takes ids that look alike to a human, a case-folding file system or a joining encoder, and shows
// that every pair has segments that differ even in lower case.
func TestSegmentsDiffer(t *testing.T) {
	ids := []string{
		"a", "A", "aa", "aA", "Aa", "AA", "a-b", "a_b", "a.b", "a:b", "a@b", "a-", "a--", "a_", "a_2d", "a_2D", "a_5f", "t-a", "x-a", "x-", "t-", "t_2da",
		strings.Repeat("A", 66), strings.Repeat("A", 67), strings.Repeat("a", 66), strings.Repeat("A", 128), strings.Repeat("a", 128), strings.Repeat("_", 1) + "a",
	}
	seen := map[string]string{}
	for _, s := range ids {
		id, err := tenant.Parse(s)
		if err != nil {
			continue
		}
		seg := id.Segment()
		if other, taken := seen[strings.ToLower(seg)]; taken {
			t.Errorf("%q and %q share the segment %q", s, other, seg)
		}
		seen[strings.ToLower(seg)] = s
		if seg != strings.ToLower(seg) {
			t.Errorf("segment %q of %q changes where case is folded", seg, s)
		}
	}
	if len(seen) < 20 {
		t.Fatalf("only %d ids were compared", len(seen))
	}
}

func TestParseSegmentTakesOnlyTheCanonicalForm(t *testing.T) {
	for _, s := range []string{"", "a", "t-", "t-A", "t-_61", "t-_4", "t-_4G", "t-_2e_2e", "x-", "x-c4", "t-a/b", "t-a-", "T-a", "x-" + strings.Repeat("0", 5)} {
		if id, err := tenant.ParseSegment(s); err == nil {
			t.Errorf("ParseSegment(%q) = %v", s, id)
		}
	}
}

func FuzzSegmentRoundTrip(f *testing.F) {
	for _, s := range []string{"a", "A-", "a_b", strings.Repeat("A", 128), "clinic-north@example.org"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := tenant.Parse(s)
		if err != nil {
			return
		}
		seg := id.Segment()
		if len(seg) > 207 {
			t.Fatalf("segment of %d bytes", len(seg))
		}
		if strings.Trim(seg, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || strings.HasSuffix(seg, "-") {
			t.Fatalf("segment %q leaves its alphabet", seg)
		}
		back, err := tenant.ParseSegment(seg)
		if err != nil || back != id {
			t.Fatalf("%q became %q, %v", s, back, err)
		}
	})
}

func TestZeroIDIsRefusedEverywhere(t *testing.T) {
	var zero tenant.ID
	if _, err := zero.MarshalText(); !errors.Is(err, tenant.ErrInvalidID) {
		t.Errorf("MarshalText: %v", err)
	}
	if v, err := zero.Value(); !errors.Is(err, tenant.ErrInvalidID) {
		t.Errorf("Value: %v, %v", v, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Segment of the zero id did not panic")
		}
	}()
	zero.Segment()
}

func TestScanAndText(t *testing.T) {
	id := tenant.MustParse("clinic-A")
	for _, src := range []any{"clinic-A", []byte("clinic-A")} {
		var got tenant.ID
		if err := got.Scan(src); err != nil || got != id {
			t.Errorf("Scan(%T) = %v, %v", src, got, err)
		}
	}
	for _, src := range []any{nil, 7, "a b", []byte{}, true} {
		got := id
		if err := got.Scan(src); !errors.Is(err, tenant.ErrInvalidID) || got != id {
			t.Errorf("Scan(%v) = %v, %v; want an error and the id as it was", src, got, err)
		}
	}
	text, err := id.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back tenant.ID
	if err := back.UnmarshalText(text); err != nil || back != id {
		t.Errorf("UnmarshalText(MarshalText) = %v, %v", back, err)
	}
	if v, err := id.Value(); err != nil || v != "clinic-A" {
		t.Errorf("Value = %v, %v", v, err)
	}
}
