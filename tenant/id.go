package tenant

import (
	"database/sql/driver"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// MaxIDLength is the longest tenant id that [Parse] accepts, in bytes.
const MaxIDLength = 128

// ErrInvalidID is wrapped by every error about a malformed tenant id.
var ErrInvalidID = errors.New("tenant: invalid id")

// ID names one tenant. It is opaque and comparable; the zero value is invalid and refused everywhere.
// Ids that differ in any byte, upper and lower case included, are different tenants.
type ID struct{ s string }

// Parse returns the tenant id written as s: 1 to [MaxIDLength] bytes, each an ASCII letter, an ASCII digit or one
// of "-", "_", ".", ":", "@", beginning with a letter or digit. Nothing is trimmed, folded or normalised, so two
// texts that merely look alike never become the same tenant: what is outside the alphabet (white space, slashes,
// NUL, anything that is not ASCII) is refused. The error wraps [ErrInvalidID] and does not repeat s.
func Parse(s string) (ID, error) {
	switch {
	case s == "":
		return ID{}, fmt.Errorf("%w: it is empty; pass the customer's identifier", ErrInvalidID)
	case len(s) > MaxIDLength:
		return ID{}, fmt.Errorf("%w: %d bytes is over the limit of %d; use a shorter identifier, such as a UUID", ErrInvalidID, len(s), MaxIDLength)
	}
	for i := range len(s) {
		c := s[i]
		if isAlphanumeric(c) || i > 0 && strings.IndexByte("-_.:@", c) >= 0 {
			continue
		}
		if strings.IndexByte("-_.:@", c) >= 0 {
			return ID{}, fmt.Errorf("%w: it begins with %q; begin with an ASCII letter or digit", ErrInvalidID, c)
		}
		return ID{}, fmt.Errorf("%w: byte %d is 0x%02x; use only ASCII letters, digits and - _ . : @", ErrInvalidID, i, c)
	}
	return ID{s}, nil
}

// MustParse is [Parse] for constants in programs and tests; it panics when s is not a valid id.
func MustParse(s string) ID {
	id, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return id
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// String returns the id as it was parsed, or "" for the zero value.
func (id ID) String() string { return id.s }

// IsZero reports whether id is the invalid zero value.
func (id ID) IsZero() bool { return id.s == "" }

// maxPlainSegment keeps a segment below the 255 bytes that common file systems allow in one name.
const maxPlainSegment = 200

var segmentBase32 = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// Segment returns the id's canonical encoding as one segment of an object key, a file name or a Vault key name.
//
// Different ids have different segments even where case is folded: a segment has only lower-case letters, digits,
// "-" and "_". It is "t-" and the id with every byte but a-z, 0-9 and an inner "-" written as "_" and two hex
// digits; where that would pass 202 bytes it is "x-" and the id in lower-case base32hex (RFC 4648) without
// padding, at most 207 bytes. It panics for the zero value, which has no encoding.
func (id ID) Segment() string {
	if id.s == "" {
		panic("tenant: Segment of the zero ID")
	}
	const hex = "0123456789abcdef"
	b := make([]byte, 0, 2+len(id.s)+8)
	b = append(b, "t-"...)
	for i := range len(id.s) {
		c := id.s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-' && i < len(id.s)-1:
			b = append(b, c)
		default:
			b = append(b, '_', hex[c>>4], hex[c&15])
		}
	}
	if len(b) > 2+maxPlainSegment {
		return "x-" + segmentBase32.EncodeToString([]byte(id.s))
	}
	return string(b)
}

// ParseSegment returns the id whose [ID.Segment] is exactly s.
func ParseSegment(s string) (ID, error) {
	var raw string
	switch {
	case strings.HasPrefix(s, "t-"):
		raw = unescape(s[2:])
	case strings.HasPrefix(s, "x-"):
		b, err := segmentBase32.DecodeString(s[2:])
		if err == nil {
			raw = string(b)
		}
	}
	id, err := Parse(raw)
	// Encoding again and comparing admits the one canonical form of each id and nothing else.
	if err != nil || id.Segment() != s {
		return ID{}, fmt.Errorf("%w: the segment is not a canonical encoding of one", ErrInvalidID)
	}
	return id, nil
}

func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '_' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return ""
		}
		hi, lo := strings.IndexByte("0123456789abcdef", s[i+1]), strings.IndexByte("0123456789abcdef", s[i+2])
		if hi < 0 || lo < 0 {
			return ""
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	return string(b)
}

// MarshalText implements [encoding.TextMarshaler]. The zero value is an error.
func (id ID) MarshalText() ([]byte, error) {
	if id.s == "" {
		return nil, fmt.Errorf("%w: the zero ID has no text; obtain ids from Parse", ErrInvalidID)
	}
	return []byte(id.s), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [Parse]; id is unchanged on error.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Value implements [driver.Valuer]: the id's exact text. The zero value is an error, never NULL or "".
func (id ID) Value() (driver.Value, error) {
	if id.s == "" {
		return nil, fmt.Errorf("%w: the zero ID cannot be stored; obtain ids from Parse", ErrInvalidID)
	}
	return id.s, nil
}

// Scan implements [database/sql.Scanner] for text columns. NULL is an error; id is unchanged on error.
func (id *ID) Scan(src any) error {
	switch v := src.(type) {
	case string:
		return id.UnmarshalText([]byte(v))
	case []byte:
		return id.UnmarshalText(v)
	case nil:
		return fmt.Errorf("%w: the column is NULL", ErrInvalidID)
	default:
		return fmt.Errorf("%w: cannot scan a %T; store tenant ids as text", ErrInvalidID, src)
	}
}
