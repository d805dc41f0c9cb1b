// Package golden reads the golden vectors in internal/envelope/testdata, for the tests of every package that reads or
// writes one of the formats in FORMAT.md. Nothing but tests imports it.
package golden

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// File is the vectors' path below the module's root.
const File = "internal/envelope/testdata/golden.json"

// Vectors is the file.
type Vectors struct {
	Comment   string
	Tenant    string
	Keyring   string
	LocalKEK  json.RawMessage            // a file of keys/localkek
	Record    Hex                        // the tenant's record in the key store
	Root      Hex                        // what the KEK wraps
	Keysets   map[string]json.RawMessage // Tink keysets in the clear, by purpose; "root" too
	AD        []AD
	Values    []Value
	Fields    []Field
	Indexes   []Index
	Headers   []Header
	Objects   []Object
	Actors    []Actor
	Details   []Details
	Malformed map[string][]Hex // by format: value, header, root, record
}

// AD is an associated data, or the input of a pseudorandom function.
type AD struct {
	Function string // of package envelope
	Args     []string
	Bytes    Hex
}

// Value is an encoded value, given as text.
type Value struct {
	Logical, Text string
	Bytes         Hex
}

// Field is a sealed value.
type Field struct {
	Table, Column, Logical, Text string
	KeyID                        uint32
	Sealed                       Hex
}

// Index is a blind index.
type Index struct {
	Table, Column, Logical, Text string
	KeyID                        uint32
	Bytes                        Hex
}

// Header is an object's header.
type Header struct {
	KeyID uint32
	Bytes Hex
}

// Object is a stored object: header and stream. Its content is Size bytes, of which byte i is i modulo 251.
type Object struct {
	Label, Key string
	Size       int
	SHA256     string // of the stored object, which is in a file beside this one
	File       string
}

// Actor is an actor's pseudonym.
type Actor struct{ Actor, Pseudonym string }

// Details are sealed details of an audit event.
type Details struct {
	UID, Text string
	Sealed    Hex
}

// Hex is bytes, in hexadecimal notation.
type Hex []byte

// MarshalText implements [encoding.TextMarshaler].
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hex) UnmarshalText(b []byte) (err error) {
	*h, err = hex.AppendDecode(nil, b)
	return err
}

// Load reads the vectors, given the path of the module's root. It fails where any kind of vector is missing.
func Load(root string) (*Vectors, error) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(File)))
	if err != nil {
		return nil, err
	}
	var v Vectors
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("golden: %w", err)
	}
	counts := map[string]int{"LocalKEK": len(v.LocalKEK), "Record": len(v.Record), "Root": len(v.Root), "Keysets": len(v.Keysets),
		"AD": len(v.AD), "Values": len(v.Values), "Fields": len(v.Fields), "Indexes": len(v.Indexes), "Headers": len(v.Headers),
		"Objects": len(v.Objects), "Actors": len(v.Actors), "Details": len(v.Details)}
	for _, format := range []string{"value", "header", "root", "record"} {
		counts["Malformed "+format] = len(v.Malformed[format])
	}
	for name, n := range counts {
		if n == 0 {
			return nil, fmt.Errorf("golden: %s has no vectors of %s", File, name)
		}
	}
	return &v, nil
}

// Keyset returns a purpose's keyset.
func (v *Vectors) Keyset(purpose string) (*keyset.Handle, error) {
	return insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(v.Keysets[purpose])))
}

// Parse returns the Go value that a vector's text stands for.
func Parse(logical, text string) (any, error) {
	switch logical {
	case "text", "numeric", "uuid":
		return text, nil
	case "json":
		return []byte(text), nil
	case "bytes":
		return hex.DecodeString(text)
	case "int":
		return strconv.ParseInt(text, 10, 64)
	case "float":
		return strconv.ParseFloat(text, 64)
	case "bool":
		return strconv.ParseBool(text)
	case "time":
		return time.Parse(time.RFC3339Nano, text)
	case "date":
		return time.Parse(time.DateOnly, text)
	}
	return nil, fmt.Errorf("golden: no logical type %q", logical)
}

// Content returns the content of an object.
func (o *Object) Content() []byte {
	b := make([]byte, o.Size)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}
