package envelope

import (
	"encoding/binary"
	"fmt"

	"github.com/strongroom-go/strongroom/tenant"
)

// Grant is what a token for one object over HTTP says. Tokens are sealed, so that whoever passes them on, or finds
// them in a log, learns nothing from them, and are not kept at rest.
type Grant struct {
	ID      [16]byte // a UUID
	Issued  int64    // seconds since 1970-01-01T00:00:00Z
	Expires int64    // likewise; from then on the token is void
	Method  GrantMethod
	// CreateOnly lets a Put make the object, and not replace it.
	CreateOnly bool
	// FixedType makes a Put carry exactly ContentType; where that is empty, none.
	FixedType   bool
	MaxBytes    int64 // of a Put; else 0
	Tenant      tenant.ID
	Actor       string
	Purpose     string
	Request     string // of the one who asked for the token
	Key         string
	ContentType string
}

// GrantMethod is what a [Grant] admits.
type GrantMethod byte

// The methods. Get admits HEAD as well.
const (
	GrantGet    GrantMethod = 1
	GrantPut    GrantMethod = 2
	GrantDelete GrantMethod = 3
)

const (
	grantCreateOnly = 1 << iota
	grantFixedType
	grantFlags
)

// BlobGrantAD appends the associated data of a token: version, kind 10 and the bucket's label. Whose token it is stands
// inside, as it is not known before the token is open.
func BlobGrantAD(dst []byte, label string) []byte {
	return component(append(dst, adVersion, kindBlobGrant), label)
}

// AppendGrant appends the plaintext of a token: the id, issued, expires and maximum as big-endian uint64, a byte for
// the method, one for the flags (1 create only, 2 fixed type), and the tenant, actor, purpose, request, key and content
// type, each behind its length.
func AppendGrant(dst []byte, g *Grant) []byte {
	dst = append(dst, g.ID[:]...)
	for _, n := range []int64{g.Issued, g.Expires, g.MaxBytes} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	var flags byte
	if g.CreateOnly {
		flags |= grantCreateOnly
	}
	if g.FixedType {
		flags |= grantFixedType
	}
	dst = append(dst, byte(g.Method), flags)
	for _, s := range []string{g.Tenant.String(), g.Actor, g.Purpose, g.Request, g.Key, g.ContentType} {
		dst = component(dst, s)
	}
	return dst
}

// ParseGrant is the inverse of [AppendGrant]. The error wraps [ErrMalformed].
func ParseGrant(b []byte) (*Grant, error) {
	r, g := newReader(b), new(Grant)
	copy(g.ID[:], r.take(len(g.ID)))
	for _, n := range []*int64{&g.Issued, &g.Expires, &g.MaxBytes} {
		*n = int64(r.uint64())
	}
	g.Method = GrantMethod(r.byte())
	flags := r.byte()
	g.CreateOnly, g.FixedType = flags&grantCreateOnly != 0, flags&grantFixedType != 0
	id, err := tenant.Parse(string(r.component()))
	g.Tenant = id
	for _, s := range []*string{&g.Actor, &g.Purpose, &g.Request, &g.Key, &g.ContentType} {
		*s = string(r.component())
	}
	known := g.Method >= GrantGet && g.Method <= GrantDelete && flags < grantFlags
	if !r.done() || err != nil || !known || g.MaxBytes < 0 {
		return nil, fmt.Errorf("%w: a grant that is cut short, too long or has an unknown part", ErrMalformed)
	}
	return g, nil
}
