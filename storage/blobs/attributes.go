package blobs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/keys"
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
}

// seal returns the attributes as the store keeps them.
func (a *attributes) seal(k *keys.Tenant, label, key string, limit int) (map[string]string, error) {
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

// openAttributes is the inverse of seal.
func openAttributes(k *keys.Tenant, label, key string, metadata map[string]string) (*attributes, error) {
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
		return nil, isolation("the object's attributes do not open")
	}
	a := new(attributes)
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	if err := dec.Decode(a); err != nil || dec.More() {
		return nil, errors.New("blobs: the object's attributes have a newer format; upgrade this process")
	}
	return a, nil
}

// stat is one version of an object, as far as its attributes tell.
type stat struct {
	stored *blob.Attributes
	sealed *attributes
	layout layout
}

func (b *bucket) stat(ctx context.Context, k *keys.Tenant, key, name string) (*stat, error) {
	stored, err := b.inner.Attributes(ctx, name)
	if err != nil {
		return nil, b.absent(ctx, k, err)
	}
	sealed, err := openAttributes(k, b.label, key, stored.Metadata)
	if err != nil {
		return nil, err
	}
	l, ok := layoutOf(stored.Size)
	if !ok {
		return nil, isolation("the object has %d bytes in the store, which no sealed object has", stored.Size)
	}
	return &stat{stored, sealed, l}, nil
}

// Attributes implements driver.Bucket.
func (b *bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	pass, name, err := b.enter(ctx, audit.CodeBlobAttributes, tenant.Read, key)
	if err != nil {
		return nil, err
	}
	s, err := b.stat(ctx, pass.Keys(), key, name)
	if err := b.leave(ctx, pass, key, gate.Result{Rows: -1, Bytes: -1, Err: err}); err != nil {
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
