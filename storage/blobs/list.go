package blobs

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/tenant"
)

const defaultPageSize = 1000

// ListPaged implements driver.Bucket. Every page passes the gate by itself.
func (b *bucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	op := b.op(audit.CodeBlobList, tenant.List, opts.Prefix)
	op.Details = map[string]string{"prefix": opts.Prefix}
	pass, err := b.gate.Begin(ctx, op)
	if err != nil {
		return nil, err
	}
	ctx = pass.Context(ctx)
	page, err := b.list(ctx, pass, opts)
	err = b.release(ctx, pass, opts.Prefix, err)
	result := gate.Result{Rows: -1, Bytes: -1, Err: err}
	if err == nil {
		result.Rows = int64(len(page.Objects))
	}
	if err := b.leave(ctx, pass, opts.Prefix, result); err != nil {
		return nil, err
	}
	return page, nil
}

func (b *bucket) list(ctx context.Context, pass *gate.Pass, opts *driver.ListOptions) (*driver.ListPage, error) {
	if b.sealNames {
		return b.listRenamed(ctx, pass, opts)
	}
	if err := checkDelimiter(opts.Delimiter); err != nil {
		return nil, err
	}
	s := scopeOf(pass.Tenant())
	prefix, err := s.of(opts.Prefix)
	if err != nil {
		return nil, err
	}
	token := blob.FirstPageToken
	if len(opts.PageToken) > 0 {
		if token, err = openPageToken(pass.Keys(), b.pageAD(pass.Keys()), opts); err != nil {
			return nil, err
		}
	}
	if err := hook(opts.BeforeList); err != nil {
		return nil, err
	}
	if err := b.oneNaming(ctx, pass.Keys()); err != nil {
		return nil, err
	}
	size := opts.PageSize
	if size == 0 {
		size = defaultPageSize
	}
	found, next, err := b.storePage(ctx, token, size, &blob.ListOptions{Prefix: prefix, Delimiter: opts.Delimiter})
	if err != nil {
		return nil, fromStore(err)
	}
	sealed := sealedPrefix(pass.Tenant())
	page, asked := &driver.ListPage{Objects: make([]*driver.ListObject, 0, len(found))}, false
	for _, o := range found {
		if !strings.HasPrefix(o.Key, prefix) {
			return nil, isolation("the store listed a name outside of the prefix it was asked for")
		}
		if strings.HasPrefix(o.Key, sealed) {
			// They came after the tenant was checked, or are junk. To ask for each would let who plants many keep us busy.
			if !asked {
				if err := b.noSealedNames(ctx, pass.Keys()); err != nil {
					return nil, err
				}
				asked = true
			}
			continue
		}
		if temporary, err := b.temporary(ctx, o.Key); err != nil {
			return nil, err
		} else if temporary {
			continue
		}
		if listed := s.listed(o); listed != nil {
			page.Objects = append(page.Objects, listed)
		}
	}
	if len(next) > 0 {
		page.NextPageToken, err = sealPageToken(pass.Keys(), b.pageAD(pass.Keys()), opts, next)
	}
	return page, err
}

// listed returns the tenant's view of an object in the store, or nil for a name that this package never gives, such
// as a placeholder that a console leaves for a folder: it is nobody's object.
func (s scope) listed(o *blob.ListObject) *driver.ListObject {
	key, ok := s.key(o.Key)
	if !ok {
		return nil
	}
	return listObject(key, o, o.IsDir)
}

// firstSegment is what a name has before its first slash.
func firstSegment(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// A page token is the store's own, sealed for the tenant and the listing it belongs to: stores put names into
// theirs, and applications hand them to browsers. The plaintext is the prefix and the delimiter, each behind its
// length as a big-endian uint32, and the store's token.

// pageAD is the associated data of page tokens. Those of sealed listings hold a key where others hold the store's token.
func pageAD(k tenantkeys.Keys, label string, sealedNames bool) []byte {
	if sealedNames {
		return envelope.NamesPageAD(nil, k.ID(), label)
	}
	return envelope.BlobPageAD(nil, k.ID(), label)
}

func sealPageToken(k tenantkeys.Keys, ad []byte, opts *driver.ListOptions, token []byte) ([]byte, error) {
	var plain []byte
	for _, part := range []string{opts.Prefix, opts.Delimiter} {
		plain = append(binary.BigEndian.AppendUint32(plain, uint32(len(part))), part...)
	}
	sealed, err := k.Data().Encrypt(append(plain, token...), ad)
	if err != nil {
		return nil, errors.New("blobs: seal the page token")
	}
	return sealed, nil
}

func openPageToken(k tenantkeys.Keys, ad []byte, opts *driver.ListOptions) ([]byte, error) {
	plain, err := k.Data().Decrypt(opts.PageToken, ad)
	for _, part := range []string{opts.Prefix, opts.Delimiter} {
		rest, ok := cutComponent(plain, part)
		if err != nil || !ok {
			return nil, &codedError{gcerrors.InvalidArgument, "refused: page token of another listing",
				"blobs: the page token does not belong to this listing; begin again with blob.FirstPageToken"}
		}
		plain = rest
	}
	return plain, nil
}

func cutComponent(b []byte, want string) (rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, false
	}
	n := int64(binary.BigEndian.Uint32(b))
	if n != int64(len(want)) || n > int64(len(b)-4) || string(b[4:4+n]) != want {
		return nil, false
	}
	return b[4+n:], true
}
