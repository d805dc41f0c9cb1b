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

// BlobsFile is the path of the vectors of what is stored with objects, below the module's root. Tenant, keys and the
// objects' contents are those of [File].
const BlobsFile = "internal/envelope/testdata/blobs.json"

// Blobs is the file.
type Blobs struct {
	Comment     string
	GrantKeyset json.RawMessage // a signer's Tink keyset in the clear
	Attributes  []BlobAttributes
	Pages       []BlobPage
	Grants      []BlobGrant
	GrantAD     Hex   // of the label "scans"
	Malformed   []Hex // grants
	Names       []BlobName
}

// BlobAttributes are sealed attributes of the object in File.
type BlobAttributes struct {
	File, Label, Key string
	JSON             string // what is sealed
	Sealed           string // the text in the store
}

// BlobPage is a page token.
type BlobPage struct {
	Label, Prefix, Delimiter string
	Token                    Hex // the store's own
	Sealed                   Hex
}

// BlobGrant is a token for an object over HTTP.
type BlobGrant struct {
	ID                                          Hex
	Issued, Expires, MaxBytes                   int64
	Method                                      byte
	CreateOnly, FixedType                       bool
	Tenant, Actor, Purpose, Request, Label, Key string
	ContentType                                 string
	Plain                                       Hex
	Token                                       string
}

// BlobName is where an object of a tenant is in the store.
type BlobName struct{ Tenant, Key, Name string }

// LoadBlobs reads the vectors, given the path of the module's root. It fails where any kind of vector is missing.
func LoadBlobs(root string) (*Blobs, error) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(BlobsFile)))
	if err != nil {
		return nil, err
	}
	var v Blobs
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("golden: %w", err)
	}
	for name, n := range map[string]int{"GrantKeyset": len(v.GrantKeyset), "Attributes": len(v.Attributes), "Pages": len(v.Pages),
		"Grants": len(v.Grants), "GrantAD": len(v.GrantAD), "Malformed": len(v.Malformed), "Names": len(v.Names)} {
		if n == 0 {
			return nil, fmt.Errorf("golden: %s has no vectors of %s", BlobsFile, name)
		}
	}
	return &v, nil
}

// Signer returns the keyset of the grants.
func (v *Blobs) Signer() (*keyset.Handle, error) {
	return insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(v.GrantKeyset)))
}
