package blobs

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/tenant"
)

// MaxKeyLength is the longest name that an object may have in the store, in bytes: what S3 and GCS allow. A tenant's
// own key is shorter by the tenant's segment and a slash (at most 208 bytes), by one byte for every path segment of it
// that begins with a dot, and by two for every empty one.
const MaxKeyLength = 1024

// scope maps a tenant's keys to names in the store and back.
type scope struct {
	prefix string // the tenant's segment and a slash
}

func scopeOf(id tenant.ID) scope { return scope{id.Segment() + "/"} }

// name returns the object's name in the store.
func (s scope) name(key string) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	return s.of(key)
}

func checkKey(key string) error {
	switch {
	case key == "":
		return &codedError{gcerrors.InvalidArgument, "empty object key", "blobs: the object key is empty; name the object"}
	case !utf8.ValidString(key):
		return errNotUTF8
	}
	return nil
}

// checkListable refuses new names that a store cannot show: S3 answers in XML 1.0, which has neither of these two characters, so that no
// listing of the tenant's could be read any more, nor could the tenant be offboarded.
func checkListable(name string) error {
	if strings.ContainsAny(name, "\uFFFE\uFFFF") {
		return &codedError{gcerrors.InvalidArgument, "unlistable object key",
			"blobs: the object key has a character that is none (U+FFFE or U+FFFF), and which S3 could not list; use another key, or Options.SealNames"}
	}
	return nil
}

var errNotUTF8 = &codedError{gcerrors.InvalidArgument, "malformed object key", "blobs: the object key is not valid UTF-8"}

// of returns the name of a key or of a prefix of keys.
func (s scope) of(key string) (string, error) {
	// gocloud refuses keys that are no UTF-8 before they get here, but not prefixes.
	if !utf8.ValidString(key) {
		return "", errNotUTF8
	}
	name := s.prefix + markSegments(key)
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
	return unmarkSegments(marked)
}

// Marks make sure that no store is ever asked for a path segment that is empty, "." or "..": a file system, a gateway
// in front of one or an HTTP library may resolve those, and so take one object for another or leave the tenant's
// prefix. A dot at the start of a segment is written ".!", and an empty segment before a slash ".~".
//
// Names keep the order of their keys (".!" and ".~" sort where "." and "/" do, among what may stand there), and the name
// of a prefix of a key is a prefix of the key's name: the store's own listing stays right.
const (
	dotMark   = '!'
	emptyMark = '~'
)

func markSegments(key string) string {
	b := make([]byte, 0, len(key)+8)
	for i := range len(key) {
		c, start := key[i], i == 0 || key[i-1] == '/'
		switch {
		case start && c == '.':
			b = append(b, '.', dotMark)
		case start && c == '/':
			b = append(b, '.', emptyMark, '/')
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// unmarkSegments is the inverse of markSegments. It is false for what that does not return.
func unmarkSegments(name string) (string, bool) {
	b := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		c, start := name[i], i == 0 || name[i-1] == '/'
		switch rest := name[i+1:]; {
		case start && c == '/':
			return "", false
		case !start || c != '.':
			b = append(b, c)
		case strings.HasPrefix(rest, string(dotMark)):
			b = append(b, '.')
			i++
		case strings.HasPrefix(rest, string(emptyMark)+"/"):
			b = append(b, '/')
			i += 2
		default:
			return "", false
		}
	}
	return string(b), true
}

// checkDelimiter refuses the delimiters that marks would hide or imitate.
func checkDelimiter(d string) error {
	if strings.ContainsAny(d, ".!~") || strings.Contains(d, "//") {
		return &codedError{gcerrors.InvalidArgument, "unusable delimiter",
			`blobs: a delimiter cannot contain ".", "!", "~" or "//"; use "/"`}
	}
	return nil
}
