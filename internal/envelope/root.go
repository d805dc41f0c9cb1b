package envelope

import (
	"encoding/binary"
	"fmt"

	"github.com/strongroom-go/strongroom/tenant"
)

// Root is what a tenant's KEK wraps: the root keyset and whose it is. The identity is inside what is encrypted
// because not every KEK provider authenticates associated data with its ciphertexts (Vault Transit loses it when it
// rewraps), and is compared after every unwrap.
type Root struct {
	Tenant  tenant.ID
	Keyring string // the keyring's label
	Version uint32 // of the root keyset, from 1
	Keyset  []byte // a Tink keyset in the clear, binary serialization
}

// AppendRoot appends the payload: version 1, kind 7, the tenant, the keyring's label, the root's version as a
// big-endian uint32, and the keyset behind its length.
func AppendRoot(dst []byte, r *Root) []byte {
	dst = component(begin(dst, kindRoot, r.Tenant), r.Keyring)
	dst = binary.BigEndian.AppendUint32(dst, r.Version)
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(r.Keyset))), r.Keyset...)
}

// ParseRoot is the inverse of [AppendRoot]. Keyset shares memory with b. The error wraps [ErrMalformed].
func ParseRoot(b []byte) (*Root, error) {
	r := newReader(b)
	if v, k := r.byte(), r.byte(); v != adVersion || k != kindRoot {
		return nil, fmt.Errorf("%w: not a root payload of version %d", ErrMalformed, adVersion)
	}
	id, err := tenant.Parse(string(r.component()))
	root := &Root{Tenant: id, Keyring: string(r.component()), Version: r.uint32(), Keyset: r.component()}
	if !r.done() || err != nil || root.Version == 0 || len(root.Keyset) == 0 {
		return nil, fmt.Errorf("%w: a root payload that is cut short, too long or has an unusable part", ErrMalformed)
	}
	return root, nil
}
