package envelope

import "github.com/strongroom-go/strongroom/tenant"

// BlobPageAD appends the associated data of a page token: the store's own token, with the prefix and the delimiter of
// the listing that it continues, sealed under the tenant's data keyset. Tokens are not kept at rest.
func BlobPageAD(dst []byte, id tenant.ID, label string) []byte {
	return component(begin(dst, kindBlobPage, id), label)
}
