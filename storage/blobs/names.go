package blobs

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/tenant"
)

// MaxKeyLength is the longest name that an object may have in the store, in bytes: what S3 and GCS allow. A tenant's
// own key is shorter by the tenant's segment and a slash (at most 208 bytes) and by one byte for every path segment
// of it that begins with a dot.
const MaxKeyLength = 1024

// scope maps a tenant's keys to names in the store and back.
type scope struct {
	prefix string // the tenant's segment and a slash
}

func scopeOf(id tenant.ID) scope { return scope{id.Segment() + "/"} }

// name returns the object's name in the store.
func (s scope) name(key string) (string, error) {
	if key == "" {
		return "", &codedError{gcerrors.InvalidArgument, "empty object key", "blobs: the object key is empty; name the object"}
	}
	return s.mark(key)
}

func (s scope) mark(key string) (string, error) {
	// gocloud refuses keys that are no UTF-8 before they get here, but not prefixes.
	if !utf8.ValidString(key) {
		return "", &codedError{gcerrors.InvalidArgument, "malformed object key", "blobs: the object key is not valid UTF-8"}
	}
	name := s.prefix + markDots(key)
	if len(name) > MaxKeyLength {
		return "", &codedError{gcerrors.InvalidArgument, "object key too long", fmt.Sprintf(
			"blobs: the object's name has %d bytes with the tenant's prefix, over the limit of %d; use a shorter key", len(name), MaxKeyLength)}
	}
	return name, nil
}

// key is the inverse of name. It is false for a name that name does not return.
func (s scope) key(name string) (string, bool) {
	marked, ok := strings.CutPrefix(name, s.prefix)
	if !ok || marked == "" {
		return "", false
	}
	return unmarkDots(marked)
}

// mark makes sure that no store is ever asked for a path segment "." or "..", which a file system, a gateway in front
// of one or an HTTP library may resolve, and so leave the tenant's prefix: behind a dot at the start of a segment
// stands one more byte. Because that byte follows the dot wherever one is, names keep the order of their keys, and
// the name of a prefix of a key is a prefix of the key's name: the store's own listing stays right.
const mark = '~'

func markDots(key string) string {
	if key == "" || key[0] != '.' && !strings.Contains(key, "/.") {
		return key
	}
	b := make([]byte, 0, len(key)+8)
	for i := range len(key) {
		b = append(b, key[i])
		if key[i] == '.' && (i == 0 || key[i-1] == '/') {
			b = append(b, mark)
		}
	}
	return string(b)
}

// unmarkDots is the inverse of markDots. A dot at the very end needs no mark: there a listing may have cut the name
// behind its delimiter.
func unmarkDots(name string) (string, bool) {
	b := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		b = append(b, name[i])
		if name[i] != '.' || i > 0 && name[i-1] != '/' || i == len(name)-1 {
			continue
		}
		if i++; name[i] != mark {
			return "", false
		}
	}
	return string(b), true
}

// checkDelimiter refuses the delimiters that the marks in names would hide or imitate.
func checkDelimiter(d string) error {
	if strings.ContainsRune(d, mark) || strings.Contains(strings.TrimSuffix(d, "."), ".") {
		return &codedError{gcerrors.InvalidArgument, "unusable delimiter",
			`blobs: a delimiter cannot contain "~", nor a dot before its end; use "/"`}
	}
	return nil
}
