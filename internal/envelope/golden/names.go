package golden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// NamesFile is the path of the vectors of sealed object names, below the module's root. Tenant, KEK and root keyset are
// those of [File], whose record it has in version 2.
const NamesFile = "internal/envelope/testdata/names.json"

// Names is the file.
type Names struct {
	Comment string
	Record  Hex             // the tenant's record with the keyset of names
	Keyset  json.RawMessage // the Tink keyset of names in the clear
	Names   []SealedName
	Foreign []string   // of a sealed name's form, and of no place in the bucket "scans"
	Junk    []string   // of no sealed name's form
	Pages   []BlobPage // page tokens; Token is a key
}

// SealedName is where an object of the tenant is in the store of a bucket.
type SealedName struct{ Label, Key, Name string }

// LoadNames reads the vectors, given the path of the module's root. It fails where any kind of vector is missing.
func LoadNames(root string) (*Names, error) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(NamesFile)))
	if err != nil {
		return nil, err
	}
	var v Names
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("golden: %w", err)
	}
	for name, n := range map[string]int{"Record": len(v.Record), "Keyset": len(v.Keyset), "Names": len(v.Names), "Foreign": len(v.Foreign),
		"Junk": len(v.Junk), "Pages": len(v.Pages)} {
		if n == 0 {
			return nil, fmt.Errorf("golden: %s has no vectors of %s", NamesFile, name)
		}
	}
	return &v, nil
}

// Handle returns the keyset of names.
func (v *Names) Handle() (*keyset.Handle, error) {
	return insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(v.Keyset)))
}
