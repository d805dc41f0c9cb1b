package blobs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// attributesName is the one metadata key of an object in the store.
const attributesName = "strongroom"

// storedContentType is the content type of every object in the store.
const storedContentType = "application/octet-stream"

// DefaultAttributesLimit is the default of [Options.AttributesLimit], in bytes. S3 takes 2 KB of metadata, keys and
// values together; ours is one key of 10 bytes.
const DefaultAttributesLimit = 2<<10 - len(attributesName)

// attributes is what is sealed: JSON (RFC 8259), encrypted with the tenant's data AEAD under
// [envelope.BlobAttrsAD] and written as unpadded base64url (RFC 4648).
type attributes struct {
	// Headers are the first 48 bytes of the object that the attributes were written with. With them a range needs
	// no request of its own for the object's beginning. They are a hint: the content authenticates itself.
	Headers            []byte            `json:"headers"`
	ContentType        string            `json:"content_type,omitempty"`
	CacheControl       string            `json:"cache_control,omitempty"`
	ContentDisposition string            `json:"content_disposition,omitempty"`
	ContentEncoding    string            `json:"content_encoding,omitempty"`
	ContentLanguage    string            `json:"content_language,omitempty"`
	MD5                []byte            `json:"md5,omitempty"` // of the plaintext, where the writer knew it beforehand
	Metadata           map[string]string `json:"metadata,omitempty"`
	Imported           *provenance       `json:"imported,omitempty"` // by Import, and not written since
	// Mark tells that there is no object at this name yet, and Reseal is about to move it here from its older name, where it
	// is until then. A mark has no content, and so the size of no object.
	Mark bool `json:"mark,omitempty"`
}

// seal returns the attributes as the store keeps them.
func (a *attributes) seal(k tenantkeys.Keys, label, key string, limit int) (map[string]string, error) {
	if !a.isUTF8() {
		return nil, &codedError{gcerrors.InvalidArgument, "malformed attributes",
			"blobs: the object's content type, a cache header or metadata are not valid UTF-8, and would not be kept as they are; encode them, as RFC 8187 has it for file names"}
	}
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a); err != nil {
		return nil, fmt.Errorf("blobs: encode the object's attributes: %w", err)
	}
	text := bytes.TrimSuffix(plain.Bytes(), []byte("\n"))
	sealed, err := k.Data().Encrypt(text, envelope.BlobAttrsAD(nil, k.ID(), label, key))
	if err != nil {
		return nil, fmt.Errorf("blobs: seal the object's attributes: %w", err)
	}
	if n := base64.RawURLEncoding.EncodedLen(len(sealed)); n > limit {
		return nil, &codedError{gcerrors.InvalidArgument, "attributes too large", fmt.Sprintf(
			"blobs: the object's attributes (metadata, content type, cache headers) have %d bytes sealed, over the limit of %d; "+
				"store less metadata, or raise Options.AttributesLimit where the store takes more than S3's 2 KB", n, limit)}
	}
	return map[string]string{attributesName: base64.RawURLEncoding.EncodeToString(sealed)}, nil
}

// isUTF8 reports whether all texts are, as JSON has no others.
func (a *attributes) isUTF8() bool {
	for k, v := range a.Metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return false
		}
	}
	return utf8.ValidString(a.ContentType) && utf8.ValidString(a.CacheControl) && utf8.ValidString(a.ContentDisposition) &&
		utf8.ValidString(a.ContentEncoding) && utf8.ValidString(a.ContentLanguage)
}

// openAttributes is the inverse of seal.
func openAttributes(k tenantkeys.Keys, label, key string, metadata map[string]string) (*attributes, error) {
	text, ok := metadata[attributesName]
	if !ok {
		return nil, isolation("the object has no sealed attributes; it was not written through this package, or they were removed")
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, isolation("the object's sealed attributes are damaged")
	}
	plain, err := k.Data().Decrypt(sealed, envelope.BlobAttrsAD(nil, k.ID(), label, key))
	if err != nil {
		return nil, unopenedAttributes(k, sealed)
	}
	a := new(attributes)
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	if err := dec.Decode(a); err != nil || dec.More() {
		return nil, errors.New("blobs: the object's attributes have a newer format; upgrade this process")
	}
	return a, nil
}

// unopenedAttributes says why attributes did not open where their key, which stands before them in the clear, explains it.
func unopenedAttributes(k tenantkeys.Keys, sealed []byte) error {
	switch key, named := envelope.FieldKey(sealed); {
	case named && k.DataKeyDisabled(key):
		return fmt.Errorf("%w: the object's attributes need data key %d; Keyring.EnableKey lets them be opened, and Reseal moves them to a newer key",
			keys.ErrKeyDisabled, key)
	case named && !k.HasDataKey(key):
		return isolation("the object's attributes are sealed with key %d, which the tenant has not, or not any more", key)
	}
	return isolation("the object's attributes do not open")
}

// stat is one version of an object, as far as its attributes tell.
type stat struct {
	name   string // where it is
	stored *blob.Attributes
	sealed *attributes
	layout layout
}

// stat looks an object up. Where it may be in two places it looks at the newest, the older, and the newest again: the object may
// have been moved there meanwhile, and is never moved back.
func (b *bucket) stat(ctx context.Context, k tenantkeys.Keys, key string, p place) (*stat, error) {
	names := p.names
	if len(names) > 1 {
		names = append(slices.Clone(names), names[0])
	}
	var absent error
	for _, name := range names {
		s, err := b.statAt(ctx, k, key, name)
		switch {
		case err == nil && s.sealed.Mark:
			if absent == nil {
				absent = errMark
			}
		case err == nil:
			return s, nil
		case gcerrors.Code(err) == gcerrors.NotFound:
			absent = err
		default:
			return nil, err
		}
	}
	if absent == errMark {
		return nil, absent
	}
	return nil, b.absent(ctx, k, absent)
}

// errMark means that there is a mark, and no object.
var errMark = &codedError{gcerrors.NotFound, "not found", "blobs: there is no such object"}

// statAt looks up what is at a name, which may be a mark. That there is nothing is the store's own error.
//
// A store that is no object store may answer with the size of a mark and the attributes of the object that took its place in
// that moment, or with no attributes of an object that was deleted. So only what stayed as it is without being an object is an isolation
// error.
func (b *bucket) statAt(ctx context.Context, k tenantkeys.Keys, key, name string) (*stat, error) {
	var before *blob.Attributes
	for range openAttempts {
		stored, err := b.inner.Attributes(ctx, name)
		if gcerrors.Code(err) == gcerrors.NotFound {
			return nil, err
		}
		if err != nil {
			return nil, fromStore(err)
		}
		sealed, err := openAttributes(k, b.label, key, stored.Metadata)
		if err != nil && stored.Size == markSize && lostKey(k, attributesKey(stored)) {
			sealed, err = &attributes{Mark: true}, nil
		}
		if err != nil {
			if before != nil && same(before, stored) || !errors.Is(err, storage.ErrIsolation) {
				return nil, err
			}
			before = stored
			continue
		}
		if sealed.Mark {
			return &stat{name: name, stored: stored, sealed: sealed}, nil
		}
		if l, ok := layoutOf(stored.Size); ok {
			return &stat{name, stored, sealed, l}, nil
		}
		if before != nil && same(before, stored) {
			return nil, isolation("the object has %d bytes in the store, which no sealed object has", stored.Size)
		}
		before = stored
	}
	return nil, errors.New("blobs: the object was replaced again and again while it was looked up; try again")
}

// lostKey tells whether a data key was disabled or destroyed. A mark that it sealed stays one, by its size, which no object has: it
// says nothing but that the object is to be looked for at its older name, and who puts one there could as well have deleted
// what it hides.
func lostKey(k tenantkeys.Keys, id uint32) bool {
	return id != 0 && (!k.HasDataKey(id) || k.DataKeyDisabled(id))
}

// look passes the gate to look an object up.
func (b *bucket) look(ctx context.Context, key string) (*stat, error) {
	pass, p, err := b.begin(ctx, audit.CodeBlobAttributes, tenant.Read, key)
	if err != nil {
		return nil, err
	}
	ctx = pass.Context(ctx)
	var s *stat
	err = b.find(ctx, pass, key, p, func(k tenantkeys.Keys, p place) (err error) {
		s, err = b.stat(ctx, k, key, p)
		return err
	})
	err = b.release(ctx, pass, key, err)
	if err := b.leave(ctx, pass, key, gate.Result{Rows: -1, Bytes: -1, Err: err}); err != nil {
		return nil, err
	}
	return s, nil
}

// Attributes implements driver.Bucket.
func (b *bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	s, err := b.look(ctx, key)
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{
		CacheControl:       s.sealed.CacheControl,
		ContentDisposition: s.sealed.ContentDisposition,
		ContentEncoding:    s.sealed.ContentEncoding,
		ContentLanguage:    s.sealed.ContentLanguage,
		ContentType:        s.sealed.ContentType,
		Metadata:           s.sealed.Metadata,
		MD5:                s.sealed.MD5,
		CreateTime:         s.stored.CreateTime,
		ModTime:            s.stored.ModTime,
		ETag:               s.stored.ETag,
		Size:               s.layout.size,
	}, nil
}
