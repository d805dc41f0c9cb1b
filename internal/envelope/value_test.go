package envelope_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

var logicals = []envelope.Logical{envelope.Text, envelope.Bytes, envelope.Int, envelope.Float, envelope.Bool, envelope.Time,
	envelope.Date, envelope.Numeric, envelope.JSON, envelope.UUID}

func TestValuesComeBack(t *testing.T) {
	noon := time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	for _, c := range []struct {
		l       envelope.Logical
		v, want any
	}{
		{envelope.Text, "", ""}, {envelope.Text, "Zoë\x00", "Zoë\x00"}, {envelope.Text, []byte("b"), "b"},
		{envelope.Bytes, []byte{0, 255}, []byte{0, 255}}, {envelope.Bytes, []byte{}, []byte{}},
		{envelope.Int, int64(math.MinInt64), int64(math.MinInt64)}, {envelope.Int, uint8(7), int64(7)}, {envelope.Int, -1, int64(-1)},
		{envelope.Float, 1.5, 1.5}, {envelope.Float, math.Copysign(0, -1), 0.0}, {envelope.Float, float32(0.5), 0.5}, {envelope.Float, math.Inf(-1), math.Inf(-1)},
		{envelope.Bool, true, true}, {envelope.Bool, false, false}, {envelope.Bool, int64(1), true},
		{envelope.Time, noon, noon.UTC()}, {envelope.Time, "2024-02-29T12:00:00.123456789+01:00", noon.UTC()},
		{envelope.Time, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)},
		{envelope.Date, time.Date(1969, 12, 31, 23, 59, 0, 0, time.FixedZone("", -36000)), time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)},
		{envelope.Date, "2024-02-29", time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)}, {envelope.Date, "0001-01-01", time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)},
		{envelope.Numeric, "1.50", "1.5"}, {envelope.Numeric, "-0.0", "0"}, {envelope.Numeric, "+15e-1", "1.5"}, {envelope.Numeric, "12e3", "12000"},
		{envelope.Numeric, "000.001", "0.001"}, {envelope.Numeric, "100", "100"}, {envelope.Numeric, int64(-3), "-3"}, {envelope.Numeric, 0.1, "0.1"},
		{envelope.Numeric, uint64(math.MaxUint64), "18446744073709551615"}, {envelope.Numeric, ".5", "0.5"}, {envelope.Numeric, "5.", "5"},
		{envelope.JSON, `{"a": 1}`, []byte(`{"a": 1}`)}, {envelope.JSON, []byte("null"), []byte("null")},
		{envelope.UUID, "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"},
		{envelope.UUID, [16]byte{15: 1}, "00000000-0000-0000-0000-000000000001"},
	} {
		b, err := envelope.AppendValue([]byte("before"), c.l, c.v)
		if err != nil {
			t.Errorf("%v of %T %v: %v", c.l, c.v, c.v, err)
			continue
		}
		got, err := envelope.ParseValue(c.l, b[len("before"):])
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v of %T %v: got %T %v, %v; want %T %v", c.l, c.v, c.v, got, got, err, c.want, c.want)
		}
		if again, err := envelope.AppendValue(nil, c.l, got); err != nil || !bytes.Equal(again, b[len("before"):]) {
			t.Errorf("%v of %v: encoding is not canonical: %x then %x (%v)", c.l, c.v, b[len("before"):], again, err)
		}
	}
}

func TestNaNHasOneEncoding(t *testing.T) {
	a, _ := envelope.AppendValue(nil, envelope.Float, math.NaN())
	b, _ := envelope.AppendValue(nil, envelope.Float, math.Float64frombits(0xfff8000000000001))
	if !bytes.Equal(a, b) {
		t.Fatalf("%x and %x", a, b)
	}
	if v, err := envelope.ParseValue(envelope.Float, a); err != nil || v.(float64) == v.(float64) {
		t.Fatalf("%v, %v", v, err)
	}
}

func TestValuesThatDoNotFitAreRefused(t *testing.T) {
	const secret = "5ecretvalue"
	for _, c := range []struct {
		l envelope.Logical
		v any
	}{
		{envelope.Text, "\xff" + secret}, {envelope.Text, 1}, {envelope.Text, nil}, {envelope.Bytes, secret}, {envelope.Int, secret}, {envelope.Int, 1.5},
		{envelope.Int, uint64(math.MaxInt64 + 1)}, {envelope.Float, 1}, {envelope.Bool, 2}, {envelope.Bool, "true"}, {envelope.Time, secret}, {envelope.Time, int64(1)},
		{envelope.Time, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, {envelope.Date, "2023-02-29"}, {envelope.Date, time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC)},
		{envelope.Numeric, secret}, {envelope.Numeric, "NaN"}, {envelope.Numeric, math.Inf(1)}, {envelope.Numeric, "1e99999"}, {envelope.Numeric, ""}, {envelope.Numeric, "."},
		{envelope.Numeric, "1.2.3"}, {envelope.Numeric, "0x1"}, {envelope.Numeric, "1e"}, {envelope.Numeric, "１"}, {envelope.JSON, "{" + secret}, {envelope.JSON, ""}, {envelope.JSON, true},
		{envelope.UUID, secret}, {envelope.UUID, "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"}, {envelope.UUID, "{81d4fae-7dec-11d0-a765-00a0c91e6bf6}"}, {envelope.UUID, make([]byte, 15)},
		{0, secret}, {99, secret},
	} {
		b, err := envelope.AppendValue(nil, c.l, c.v)
		if !errors.Is(err, envelope.ErrValue) {
			t.Errorf("%v of %T %v: got %x, %v", c.l, c.v, c.v, b, err)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%v of a %T: the error repeats the value", c.l, c.v)
		}
	}
}

func TestParseValueIsStrict(t *testing.T) {
	for _, l := range logicals {
		for _, other := range logicals {
			if b := sample(t, other); l != other {
				if v, err := envelope.ParseValue(l, b); !errors.Is(err, envelope.ErrMalformed) {
					t.Errorf("a %v was read as %v: %v", other, l, v)
				}
			}
		}
		for _, b := range [][]byte{nil, {}} {
			if _, err := envelope.ParseValue(l, b); !errors.Is(err, envelope.ErrMalformed) {
				t.Errorf("%v from nothing", l)
			}
		}
	}
	for _, bad := range []string{
		"\x01\xff", "\x03\x00", "\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x04\x80\x00\x00\x00\x00\x00\x00\x00", "\x04\xff\xf8\x00\x00\x00\x00\x00\x01",
		"\x05", "\x05\x02", "\x05\x01\x01", "\x06\x00\x00\x00\x00\x00\x00\x00\x00\x3b\x9a\xca\x00", "\x06\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
		"\x07\x7f\xff\xff\xff", "\x07\x00", "\x081.50", "\x08-0", "\x08+1", "\x0801", "\x08.5", "\x081e2", "\x08", "\x09{", "\x09", "\x0a0123456789abcde",
	} {
		if v, err := envelope.ParseValue(envelope.Logical(bad[0]), []byte(bad)); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%x was read as %v", bad, v)
		}
	}
}

// sample is some encoded value of a type.
func sample(t testing.TB, l envelope.Logical) []byte {
	t.Helper()
	v := map[envelope.Logical]any{envelope.Text: "x", envelope.Bytes: []byte("x"), envelope.Int: 1, envelope.Float: 1.0, envelope.Bool: true,
		envelope.Time: time.Unix(1, 0), envelope.Date: "2000-01-01", envelope.Numeric: "1", envelope.JSON: "1", envelope.UUID: [16]byte{1}}[l]
	b, err := envelope.AppendValue(nil, l, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzParseValue(f *testing.F) {
	for _, l := range logicals {
		f.Add(sample(f, l))
	}
	f.Add([]byte("\x081e2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		l := envelope.Logical(b[0])
		v, err := envelope.ParseValue(l, bytes.Clone(b))
		if err != nil {
			return
		}
		// What is accepted is canonical: it encodes to the same bytes.
		again, err := envelope.AppendValue(nil, l, v)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is read as %v, which encodes as %x (%v)", b, v, again, err)
		}
	})
}

func TestLogicalNames(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range logicals {
		if s := fmt.Sprint(l); s == "" || seen[s] {
			t.Errorf("%d has the name %q", byte(l), s)
		} else {
			seen[s] = true
		}
	}
}
