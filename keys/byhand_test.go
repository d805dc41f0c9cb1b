package keys_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/keys"
)

// What is here opens a record of [idA] by FORMAT.md and Tink's own factories alone, as somebody in another language
// would: it judges the keyring, and shares nothing with it.

// byHand is a record that was taken apart.
type byHand struct {
	state    byte
	wrapped  []byte
	version  uint32
	purposes []string
	keysets  [][]byte
	seals    map[uint32]uint64
}

// scan reads big-endian fields.
type scan struct{ b []byte }

func (s *scan) take(n int) []byte {
	if n > len(s.b) {
		panic("the record is cut short")
	}
	out := s.b[:n]
	s.b = s.b[n:]
	return out
}

func (s *scan) number() uint32    { return binary.BigEndian.Uint32(s.take(4)) }
func (s *scan) component() []byte { return s.take(int(s.number())) }

func component(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// readByHand returns the record, which must be of version 2, or 4 with what keys may have sealed behind the keysets.
func readByHand(data []byte) (r byHand, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	s := scan{data}
	magic := string(s.take(4))
	if magic != "SRK\x02" && magic != "SRK\x04" || string(s.component()) != idA.String() || string(s.component()) != "main" {
		return r, errors.New("not the tenant's record")
	}
	r.state, r.version, r.wrapped = s.take(1)[0], s.number(), s.component()
	for range s.number() {
		r.purposes, r.keysets = append(r.purposes, string(s.component())), append(r.keysets, s.component())
	}
	if magic == "SRK\x04" {
		r.seals = map[uint32]uint64{}
		for range s.number() {
			key := s.number()
			r.seals[key] = binary.BigEndian.Uint64(s.take(8))
		}
	}
	if len(s.b) > 0 {
		return r, errors.New("something follows the record")
	}
	return r, nil
}

// handles opens the record's keysets.
func (r byHand) handles(kek keys.KEK) (map[string]*keyset.Handle, error) {
	payload, err := kek.Unwrap(context.Background(), idA, r.wrapped)
	if err != nil {
		return nil, err
	}
	head := "\x01\x07" + component(idA.String()) + component("main") + string(binary.BigEndian.AppendUint32(nil, r.version))
	rest, ok := bytes.CutPrefix(payload, []byte(head))
	if !ok {
		return nil, errors.New("the root payload is not the tenant's")
	}
	s := scan{rest}
	h, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(s.component())))
	if err != nil {
		return nil, err
	}
	root, err := aead.New(h)
	if err != nil {
		return nil, err
	}
	all := ""
	for _, p := range r.purposes {
		all += component(p)
	}
	out := map[string]*keyset.Handle{}
	for i, p := range r.purposes {
		ad := "\x01\x05" + component(idA.String()) + component(p) + all
		if out[p], err = keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(r.keysets[i])), root, []byte(ad)); err != nil {
			return nil, fmt.Errorf("the keyset %q: %w", p, err)
		}
	}
	return out, nil
}

// sealedByHand is one value under each keyset.
type sealedByHand struct {
	data, details, name, object []byte
	index, pseudonym            []byte
	indexID, pseudonymID        uint32
}

var handAD = []byte("ad")

func sealByHand(t testing.TB, kek keys.KEK, data []byte) *sealedByHand {
	t.Helper()
	r, err := readByHand(data)
	must(t, err)
	h, err := r.handles(kek)
	must(t, err)
	v := new(sealedByHand)
	seal := func(purpose string) []byte {
		a, err := aead.New(h[purpose])
		must(t, err)
		sealed, err := a.Encrypt([]byte(purpose), handAD)
		must(t, err)
		return sealed
	}
	v.data, v.details = seal("data"), seal("audit")
	d, err := daead.New(h["names"])
	must(t, err)
	v.name, err = d.EncryptDeterministically([]byte("names"), handAD)
	must(t, err)
	var object bytes.Buffer
	stream, err := streamingaead.New(h["blobs"])
	must(t, err)
	w, err := stream.NewEncryptingWriter(&object, handAD)
	must(t, err)
	_, err = io.WriteString(w, "blobs")
	must(t, err)
	must(t, w.Close())
	v.object = object.Bytes()
	compute := func(purpose string) ([]byte, uint32) {
		set, err := prf.NewPRFSet(h[purpose])
		must(t, err)
		out, err := set.ComputePrimaryPRF([]byte(purpose), 16)
		must(t, err)
		return out, set.PrimaryID
	}
	v.index, v.indexID = compute("index")
	v.pseudonym, v.pseudonymID = compute("pseudonym")
	return v
}

// openByHand reports what of v does not open with the record, or of the record itself. v may be nil.
func openByHand(kek keys.KEK, data []byte, v *sealedByHand) error {
	r, err := readByHand(data)
	if err != nil {
		return err
	}
	h, err := r.handles(kek)
	if err != nil || v == nil {
		return err
	}
	var problems []error
	check := func(purpose string, got []byte, err error) {
		if err != nil || string(got) != purpose {
			problems = append(problems, fmt.Errorf("%s: %q, %w", purpose, got, err))
		}
	}
	for purpose, sealed := range map[string][]byte{"data": v.data, "audit": v.details} {
		a, err := aead.New(h[purpose])
		if err != nil {
			return err
		}
		got, err := a.Decrypt(sealed, handAD)
		check(purpose, got, err)
	}
	d, err := daead.New(h["names"])
	if err != nil {
		return err
	}
	got, err := d.DecryptDeterministically(v.name, handAD)
	check("names", got, err)
	var stream tink.StreamingAEAD
	if stream, err = streamingaead.New(h["blobs"]); err != nil {
		return err
	}
	reader, err := stream.NewDecryptingReader(bytes.NewReader(v.object), handAD)
	if err == nil {
		got, err = io.ReadAll(reader)
	}
	check("blobs", got, err)
	for purpose, x := range map[string]struct {
		id   uint32
		want []byte
	}{"index": {v.indexID, v.index}, "pseudonym": {v.pseudonymID, v.pseudonym}} {
		set, err := prf.NewPRFSet(h[purpose])
		if err != nil {
			return err
		}
		f := set.PRFs[x.id]
		if f == nil {
			problems = append(problems, fmt.Errorf("%s: the key is gone", purpose))
			continue
		}
		if got, err := f.ComputePRF([]byte(purpose), 16); err != nil || !bytes.Equal(got, x.want) {
			problems = append(problems, fmt.Errorf("%s: another value, %w", purpose, err))
		}
	}
	return errors.Join(problems...)
}

// opensByHand reports why a value of the data keyset does not open.
func opensByHand(kek keys.KEK, data, sealed []byte) error {
	r, err := readByHand(data)
	if err != nil {
		return err
	}
	h, err := r.handles(kek)
	if err != nil {
		return err
	}
	a, err := aead.New(h["data"])
	if err != nil {
		return err
	}
	got, err := a.Decrypt(sealed, handAD)
	if err == nil && string(got) != "data" {
		err = fmt.Errorf("it opens as %q", got)
	}
	return err
}
