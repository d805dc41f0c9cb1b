// Package envelope defines what surrounds a ciphertext at rest: the associated data that binds it to its place,
// the headers in front of it, and the plaintext encodings inside. FORMAT.md in this folder specifies all of it for
// readers in other languages; the golden vectors in testdata pin it.
package envelope

import (
	"encoding/binary"

	"github.com/strongroom-go/strongroom/tenant"
)

// adVersion is the first byte of every associated data and every index input.
const adVersion = 1

// Kinds of associated data: what a ciphertext is. The kind is part of what is authenticated, so that a ciphertext
// of one kind never opens as another.
const (
	kindField     = 1  // one value of a sealed column
	kindIndex     = 2  // the input of a blind index
	kindBlob      = 3  // an object's content
	kindBlobAttrs = 4  // an object's attributes
	kindKeyset    = 5  // a purpose keyset under its root keyset
	kindAudit     = 6  // an audit event's sealed details
	kindRoot      = 7  // not associated data: the payload that a KEK wraps
	kindPseudonym = 8  // the input of an actor's pseudonym
	kindBlobPage  = 9  // a page token of an object listing, which is not kept
	kindBlobGrant = 10 // a token for one object over HTTP, which is not kept; begins with no tenant
	kindBlobName  = 11 // one piece of an object's sealed name
	kindNamesPage = 12 // a page token of a listing of sealed names, which is not kept
)

// begin appends the version, the kind and the tenant.
func begin(dst []byte, kind byte, id tenant.ID) []byte {
	return component(append(dst, adVersion, kind), id.String())
}

// component appends s behind its length as a big-endian uint32. Because every component carries its length, two
// different lists of components never encode alike, whatever bytes they hold.
func component(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// FieldAD appends the associated data of a value in a tenant's table and column. Table is the name under which
// it is declared, with its schema where that is not the default one; it and column are as the database spells them.
func FieldAD(dst []byte, id tenant.ID, table, column string) []byte {
	return component(component(begin(dst, kindField, id), table), column)
}

// IndexInput appends the input of the blind index's pseudorandom function for a normalised value.
func IndexInput(dst []byte, id tenant.ID, table, column string, value []byte) []byte {
	dst = component(component(begin(dst, kindIndex, id), table), column)
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(value))), value...)
}

// BlobAD appends the associated data of an object's content. Label names the bucket for the application, whatever
// the store calls it; key is the tenant's own key, without the tenant's prefix.
func BlobAD(dst []byte, id tenant.ID, label, key string) []byte {
	return component(component(begin(dst, kindBlob, id), label), key)
}

// BlobAttrsAD appends the associated data of an object's sealed attributes.
func BlobAttrsAD(dst []byte, id tenant.ID, label, key string) []byte {
	return component(component(begin(dst, kindBlobAttrs, id), label), key)
}

// KeysetAD appends the associated data of a purpose keyset encrypted under the tenant's root keyset. Where its record
// binds its keysets to each other, [Record.KeysetAD] appends more.
func KeysetAD(dst []byte, id tenant.ID, purpose string) []byte {
	return component(begin(dst, kindKeyset, id), purpose)
}

// AuditAD appends the associated data of an audit event's sealed details; uid is the event's metadata.uid.
func AuditAD(dst []byte, id tenant.ID, uid string) []byte {
	return component(begin(dst, kindAudit, id), uid)
}

// PseudonymInput appends the input of the pseudorandom function that makes an actor's pseudonym.
func PseudonymInput(dst []byte, id tenant.ID, actor string) []byte {
	return component(begin(dst, kindPseudonym, id), actor)
}
