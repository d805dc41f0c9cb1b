package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/tenant"
)

// FieldOverhead is by how much a sealed field is longer than its encoded value without the type byte: Tink's output
// prefix (5), the nonce (12), the type byte (1) and the tag (16).
const FieldOverhead = 5 + 12 + 1 + 16

// IndexSize is the length of a blind index value, in bytes: the whole output of AES-CMAC (NIST SP 800-38B, RFC 4493).
const IndexSize = 16

// ErrDecrypt means that a ciphertext does not open in the place where it was found. It does not say why.
var ErrDecrypt = errors.New("envelope: the ciphertext does not open here")

// scratch holds plaintexts and associated data while the AEAD reads them. It saves their allocation on every field;
// what it held is cleared before anybody else gets it.
type scratch struct{ buf []byte }

// maxScratch is the largest buffer that is kept for others.
const maxScratch = 4 << 10

var scratches = sync.Pool{New: func() any { return &scratch{make([]byte, 0, 512)} }}

// release clears and returns s. A buffer that grew beyond need is left to the collector, cleared too.
func (s *scratch) release() {
	clear(s.buf)
	if cap(s.buf) <= maxScratch {
		s.buf = s.buf[:0]
		scratches.Put(s)
	}
}

// SealField returns the ciphertext of a value in a tenant's table and column: Tink's AEAD over the type byte and the
// encoded value, with [FieldAD]. It allocates the ciphertext alone.
func SealField(a tink.AEAD, id tenant.ID, table, column string, l Logical, v any) ([]byte, error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	buf := FieldAD(s.buf, id, table, column)
	n := len(buf)
	buf, err := AppendValue(buf, l, v)
	s.buf = buf
	if err != nil {
		clear(buf[:cap(buf)]) // what was appended before the error
		return nil, err
	}
	return a.Encrypt(buf[n:], buf[:n:n])
}

// Place is where a tenant's sealed values stand: one column of a table. It holds what binds them to it, for who opens many.
type Place struct {
	ad      []byte
	logical Logical
}

// PlaceOf returns the place of a tenant's values in a table and column, of a type.
func PlaceOf(id tenant.ID, table, column string, l Logical) Place {
	return Place{FieldAD(make([]byte, 0, 2+3*4+len(id.String())+len(table)+len(column)), id, table, column), l}
}

// Logical returns the values' type.
func (p *Place) Logical() Logical { return p.logical }

// Open is [OpenField] for a value in the place. It allocates the value alone.
func (p *Place) Open(a tink.AEAD, ciphertext []byte) (any, error) {
	plaintext, err := a.Decrypt(ciphertext, p.ad)
	if err != nil {
		return nil, ErrDecrypt
	}
	return ParseValue(p.logical, plaintext)
}

// OpenField returns the value that [SealField] sealed in the same place, as [ParseValue] gives it. The error wraps
// [ErrDecrypt] or [ErrMalformed].
func OpenField(a tink.AEAD, id tenant.ID, table, column string, l Logical, ciphertext []byte) (any, error) {
	s := scratches.Get().(*scratch)
	s.buf = FieldAD(s.buf, id, table, column)
	plaintext, err := a.Decrypt(ciphertext, s.buf)
	s.release()
	if err != nil {
		return nil, ErrDecrypt
	}
	return ParseValue(l, plaintext)
}

// ResealField returns what a value that [SealField] sealed is when it is sealed anew, and the value. The encoded value is taken
// over byte by byte. The error is that of OpenField, or the AEAD's own where it did not seal.
func ResealField(a tink.AEAD, id tenant.ID, table, column string, l Logical, ciphertext []byte) (sealed []byte, v any, err error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	s.buf = FieldAD(s.buf, id, table, column)
	plaintext, err := a.Decrypt(ciphertext, s.buf)
	if err != nil {
		return nil, nil, ErrDecrypt
	}
	if v, err = ParseValue(l, plaintext); err != nil {
		return nil, nil, err
	}
	sealed, err = a.Encrypt(plaintext, s.buf)
	return sealed, v, err
}

// FieldKey returns the id of the key that a sealed field names, in Tink's output prefix.
func FieldKey(ciphertext []byte) (id uint32, ok bool) {
	if len(ciphertext) < 5 || ciphertext[0] != 1 {
		return 0, false
	}
	return binary.BigEndian.Uint32(ciphertext[1:]), true
}

// FieldPrefix is how the fields begin that a key sealed.
func FieldPrefix(key uint32) []byte { return binary.BigEndian.AppendUint32([]byte{1}, key) }

// BlindIndex returns the index value of an encoded value (see [AppendValue]) in a tenant's table and column under one
// key of the set: AES-CMAC over [IndexInput], [IndexSize] bytes. Rows are found again by computing it under each live
// key; the key's id is not stored with it, since nothing would read it.
func BlindIndex(set *prf.Set, keyID uint32, id tenant.ID, table, column string, value []byte) ([]byte, error) {
	p, ok := set.PRFs[keyID]
	if !ok {
		return nil, fmt.Errorf("envelope: the index keyset has no key %d", keyID)
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	s.buf = IndexInput(s.buf, id, table, column, value)
	return p.ComputePRF(s.buf, IndexSize)
}
