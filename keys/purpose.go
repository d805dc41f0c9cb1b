package keys

import (
	"errors"
	"fmt"
	"slices"
)

// Purpose is what a keyset of a tenant is for. Each purpose is rotated by itself.
type Purpose string

// The purposes.
const (
	PurposeData      Purpose = purposeData      // sealed columns, attributes of objects
	PurposeIndex     Purpose = purposeIndex     // blind indexes
	PurposeBlobs     Purpose = purposeBlobs     // the content of objects
	PurposeAudit     Purpose = purposeAudit     // details in the audit trail
	PurposePseudonym Purpose = purposePseudonym // actors in the audit trail
)

// rotatable returns the purpose if its keys can be rotated. Those of names cannot yet: an object is found by its sealed
// name, and what was named under an older key would be lost to who looks for it under the newer one.
func (p Purpose) rotatable() error {
	switch p {
	case PurposeData, PurposeIndex, PurposeBlobs, PurposeAudit, PurposePseudonym:
		return nil
	case purposeNames:
		return errors.New("keys: the key of objects' names cannot be rotated: objects are found by the names it makes")
	}
	return p.known()
}

// known returns an error unless there is such a purpose.
func (p Purpose) known() error {
	if slices.Contains(purposes(), string(p)) {
		return nil
	}
	return fmt.Errorf("keys: the purpose %q is unknown; use one of the Purpose constants", string(p))
}
