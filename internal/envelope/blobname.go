package envelope

import (
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/tenant"
)

// A key's pieces are its path segments, each with the slash behind it; what stands behind the last slash is a piece
// too, and may be empty. "a//b/" has the pieces "a/", "/", "b/" and "". Joined they are the key again.
//
// A sealed piece is a Tink deterministic AEAD (AES256-SIV, RFC 5297) of it, bound by its associated data to the tenant,
// the bucket and the pieces before it, in lower-case base32hex (RFC 4648) without padding: letters that survive where
// a store folds case, and no dot, slash or other character that any store gives a meaning. That the slash is part of
// what is sealed tells a directory from an object of the same name.

// nameOverhead is what a piece grows by before it is encoded: Tink's output prefix and the synthetic initialization
// vector.
const nameOverhead = 5 + 16

var nameEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// BlobNameAD appends the associated data of a piece of an object's key. Parent is what the key has before it.
func BlobNameAD(dst []byte, id tenant.ID, label, parent string) []byte {
	return component(component(begin(dst, kindBlobName, id), label), parent)
}

// NamesPageAD appends the associated data of a page token of a listing of sealed names.
func NamesPageAD(dst []byte, id tenant.ID, label string) []byte {
	return component(begin(dst, kindNamesPage, id), label)
}

// SealedNameLength returns the length in the store of a piece of n bytes.
func SealedNameLength(n int) int { return nameEncoding.EncodedLen(n + nameOverhead) }

// SealName seals a piece of an object's key.
func SealName(d tink.DeterministicAEAD, id tenant.ID, label, parent, piece string) (string, error) {
	sealed, err := d.EncryptDeterministically([]byte(piece), BlobNameAD(nil, id, label, parent))
	if err != nil {
		return "", fmt.Errorf("seal an object's name: %w", err)
	}
	return nameEncoding.EncodeToString(sealed), nil
}

// IsSealedName reports whether name has the form of a sealed piece. One of another tenant, bucket or place has it too.
func IsSealedName(name string) bool {
	_, ok := decodeName(name)
	return ok
}

// NameKey returns the id of the key that a sealed piece names. It is false for what has not the form of one.
func NameKey(name string) (id uint32, ok bool) {
	sealed, ok := decodeName(name)
	if !ok {
		return 0, false
	}
	return FieldKey(sealed)
}

// decodeName accepts exactly what is encoded: the decoder skips line feeds and stray bits.
func decodeName(name string) ([]byte, bool) {
	sealed, err := nameEncoding.DecodeString(name)
	ok := err == nil && len(sealed) >= nameOverhead && sealed[0] == 1 && nameEncoding.EncodeToString(sealed) == name
	return sealed, ok
}

// OpenName is the inverse of [SealName]. It is false for what that does not return for this place.
func OpenName(d tink.DeterministicAEAD, id tenant.ID, label, parent, name string) (piece string, ok bool) {
	sealed, ok := decodeName(name)
	if !ok {
		return "", false
	}
	plain, err := d.DecryptDeterministically(sealed, BlobNameAD(nil, id, label, parent))
	if err != nil {
		return "", false
	}
	piece = string(plain)
	if i := strings.IndexByte(piece, '/'); i >= 0 && i < len(piece)-1 {
		return "", false // of no key
	}
	return piece, true
}
