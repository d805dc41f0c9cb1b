package envelope

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// stringOf returns b as a string without copying it. Callers own b and let go of it.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func appendText(dst []byte, v any) ([]byte, error) {
	start := len(dst)
	switch v := v.(type) {
	case string:
		dst = append(dst, v...)
	case []byte:
		dst = append(dst, v...)
	default:
		return nil, errKind
	}
	if !utf8.Valid(dst[start:]) {
		return nil, errors.New("it is not valid UTF-8; declare the column as bytes")
	}
	return dst, nil
}

func appendJSON(dst []byte, v any) ([]byte, error) {
	start := len(dst)
	switch v := v.(type) {
	case string:
		dst = append(dst, v...)
	case []byte:
		dst = append(dst, v...)
	case json.RawMessage:
		dst = append(dst, v...)
	default:
		return nil, errKind
	}
	if !json.Valid(dst[start:]) {
		return nil, errors.New("it is not valid JSON")
	}
	return dst, nil
}

// integer returns v as an int64. ok is false where v is no integer.
func integer(v any) (i int64, ok bool, err error) {
	var u uint64
	switch v := v.(type) {
	case int64:
		return v, true, nil
	case int:
		return int64(v), true, nil
	case int32:
		return int64(v), true, nil
	case int16:
		return int64(v), true, nil
	case int8:
		return int64(v), true, nil
	case uint64:
		u = v
	case uint:
		u = uint64(v)
	case uint32:
		u = uint64(v)
	case uint16:
		u = uint64(v)
	case uint8:
		u = uint64(v)
	default:
		return 0, false, nil
	}
	if u > math.MaxInt64 {
		return 0, false, errors.New("it does not fit 64 bits with a sign")
	}
	return int64(u), true, nil
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	}
	return 0, false
}

func appendBool(dst []byte, v any) ([]byte, error) {
	if b, ok := v.(bool); ok {
		if b {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	}
	// Engines without a boolean type use 0 and 1.
	i, ok, err := integer(v)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errKind
	case i != 0 && i != 1:
		return nil, errors.New("it is neither 0 nor 1")
	}
	return append(dst, byte(i)), nil
}

// maxDigits bounds a numeric value on each side of its point; PostgreSQL's own bounds are 131,072 and 16,383.
const maxDigits = 16_383

func appendNumeric(dst []byte, v any) ([]byte, error) {
	if s, ok := v.(string); ok {
		return canonicalNumeric(dst, s)
	}
	if u, ok := v.(uint64); ok { // may be larger than an int64
		return strconv.AppendUint(dst, u, 10), nil
	}
	if i, ok, err := integer(v); ok || err != nil {
		return strconv.AppendInt(dst, i, 10), err
	}
	switch v := v.(type) {
	case float64:
		return canonicalNumeric(dst, strconv.FormatFloat(v, 'e', -1, 64))
	case float32:
		return canonicalNumeric(dst, strconv.FormatFloat(float64(v), 'e', -1, 32))
	}
	return nil, errKind
}

var errNumeric = errors.New("it is no decimal number, or too long a one")

// canonicalNumeric appends the shortest decimal notation of s: digits, with a point and an exponent if need be, and a
// sign. 1.50, +1.5 and 15e-1 all become 1.5; the number of trailing zeros is not part of a number's value.
func canonicalNumeric(dst []byte, s string) ([]byte, error) {
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		var err error
		mantissa = s[:i]
		if exponent, err = strconv.Atoi(s[i+1:]); err != nil || exponent > maxDigits || exponent < -maxDigits {
			return nil, errNumeric
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || len(digits) > 2*maxDigits || strings.Trim(digits, "0123456789") != "" {
		return nil, errNumeric
	}
	point := len(whole) + exponent // digits before the point
	trimmed := strings.TrimLeft(digits, "0")
	point -= len(digits) - len(trimmed)
	digits = strings.TrimRight(trimmed, "0")
	switch {
	case digits == "":
		return append(dst, '0'), nil
	case point > maxDigits || len(digits)-point > maxDigits:
		return nil, errNumeric
	}
	if negative {
		dst = append(dst, '-')
	}
	switch {
	case point <= 0:
		dst = append(append(dst, "0."...), strings.Repeat("0", -point)...)
		return append(dst, digits...), nil
	case point >= len(digits):
		return append(append(dst, digits...), strings.Repeat("0", point-len(digits))...), nil
	}
	return append(append(append(dst, digits[:point]...), '.'), digits[point:]...), nil
}

var errUUID = errors.New("it is no UUID")

func appendUUID(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case [16]byte:
		return append(dst, v[:]...), nil
	case []byte:
		if len(v) == 16 {
			return append(dst, v...), nil
		}
		if len(v) == 36 {
			return appendUUIDText(dst, string(v))
		}
		return nil, errUUID
	case string:
		return appendUUIDText(dst, v)
	}
	return nil, errKind
}

// appendUUIDText takes the notation of RFC 9562 and nothing else, in either case.
func appendUUIDText(dst []byte, s string) ([]byte, error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return nil, errUUID
	}
	out, err := hex.AppendDecode(dst, []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:]))
	if err != nil {
		return nil, errUUID
	}
	return out, nil
}

func parseUUID(b []byte) (any, bool) {
	if len(b) != 16 {
		return nil, false
	}
	text := make([]byte, 0, 36)
	for i, n := 0, 0; n < 16; n++ {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			text = append(text, '-')
			i++
		}
		text = hex.AppendEncode(text, b[n:n+1])
		i += 2
	}
	return stringOf(text), true
}
