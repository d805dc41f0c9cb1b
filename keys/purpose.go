package keys

import (
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
	PurposeNames     Purpose = purposeNames     // names of objects
	PurposePseudonym Purpose = purposePseudonym // actors in the audit trail
)

// known returns an error unless there is such a purpose.
func (p Purpose) known() error {
	if slices.Contains(purposes(), string(p)) {
		return nil
	}
	return fmt.Errorf("keys: the purpose %q is unknown; use one of the Purpose constants", string(p))
}
