package blobs

import (
	"context"
	"errors"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/tenant"
)

// name returns an object's name in the store.
func (b *bucket) name(k tenantkeys.Keys, key string) (string, error) {
	if !b.sealNames {
		return scopeOf(k.ID()).name(key)
	}
	s, err := newSealedScope(k, b.label)
	if err != nil {
		return "", err
	}
	return s.name(key)
}

// place is where an object is in the store, or may be: see [tenantkeys.Keys]. While a tenant has two keys of names, an
// object is at its newest name if there is one there that is no mark, else at the older one.
type place struct {
	names []string // the newest first, one or two
	own   int      // the name that a new object gets
}

// name is the name that a new object gets.
func (p place) name() string { return p.names[p.own] }

// at is the place of an object in a store with one name for it.
func at(name string) place { return place{names: []string{name}} }

// place returns an object's place.
func (b *bucket) place(k tenantkeys.Keys, key string) (p place, err error) {
	if !b.sealNames {
		name, err := scopeOf(k.ID()).name(key)
		return at(name), err
	}
	scopes, own, err := newSealedScopes(k, b.label)
	if err != nil {
		return place{}, err
	}
	p.own = own
	for _, s := range scopes {
		name, err := s.name(key)
		if err != nil {
			return place{}, err
		}
		p.names = append(p.names, name)
	}
	return p, nil
}

// nameable refuses a key that has no name, without the tenant's keys.
func (b *bucket) nameable(id tenant.ID, key string) error {
	if b.sealNames {
		return checkSealed(id, key)
	}
	_, err := scopeOf(id).name(key)
	return err
}

// oneNaming refuses a tenant's space that holds names of the other kind: a bucket that is opened with
// [Options.SealNames] once and without it another time would show each time a part of its objects as if there were no
// more, and write names in the clear beside sealed ones. It also refuses sealed names that are not of the tenant's
// names key, as after an older key record was put back.
//
// It asks the store once for each tenant and names key, before the first write, the first listing and the first object
// that is not found; an object that is found needs no question. What was found with one names key says nothing of
// another, which a running process gets when an older record was put back and completed anew. Configuration is what it guards against, not attack: who can write
// to the store can have every process refuse, which is no more than what deleting all does.
func (b *bucket) oneNaming(ctx context.Context, k tenantkeys.Keys) error {
	naming, err := b.naming(k)
	if err != nil {
		return err
	}
	if was, ok := b.checked.Get(k.ID()); ok && was == naming {
		return nil
	}
	check := b.noSealedNames
	if b.sealNames {
		check = b.onlySealedNames
	}
	if err := check(ctx, k); err != nil {
		return err
	}
	b.checked.Add(k.ID(), naming)
	return nil
}

// naming is one text for each way that a tenant's objects are named: the sealed name that the empty key would have, which
// no other names key makes, of each key of names, or "" for plain names.
func (b *bucket) naming(k tenantkeys.Keys) (string, error) {
	if !b.sealNames {
		return "", nil
	}
	scopes, _, err := newSealedScopes(k, b.label)
	if err != nil {
		return "", err
	}
	all := ""
	for _, s := range scopes {
		name, err := s.of("")
		if err != nil {
			return "", err
		}
		all += name
	}
	return all, nil
}

// maxChecked bounds the tenants that are remembered as checked.
const maxChecked = 1 << 14

func (b *bucket) noSealedNames(ctx context.Context, k tenantkeys.Keys) error {
	prefix := sealedPrefix(k.ID())
	return b.each(ctx, prefix, func(name string) error {
		if envelope.IsSealedName(firstSegment(name[len(prefix):])) {
			return errSealedNames
		}
		return nil
	})
}

var errSealedNames = &codedError{gcerrors.FailedPrecondition, "refused: the tenant's objects have sealed names",
	"blobs: the tenant's objects in this bucket have sealed names; open it with Options.SealNames"}

func (b *bucket) onlySealedNames(ctx context.Context, k tenantkeys.Keys) error {
	scopes, _, err := newSealedScopes(k, b.label)
	if err != nil {
		return err
	}
	plain := scopeOf(k.ID())
	err = b.each(ctx, plain.prefix, func(name string) error {
		if _, ok := plain.key(name); ok {
			return &codedError{gcerrors.FailedPrecondition, "refused: the tenant's objects have plain names",
				"blobs: the tenant has objects in this bucket whose names are not sealed; open it without Options.SealNames, " +
					"or Import them into a bucket with it that is over another one, or over another prefix of it (blob.PrefixedBucket)"}
		}
		return nil
	})
	if err != nil {
		return err
	}
	o := newOpeners(scopes)
	return b.each(ctx, sealedPrefix(k.ID()), func(name string) error {
		_, _, ok, err := o.key(name)
		if ok && err == nil {
			err = errEnough
		}
		return err
	})
}

// errEnough ends each.
var errEnough = errors.New("enough")

// each calls f for the names and directories directly below a prefix, until it returns an error.
func (b *bucket) each(ctx context.Context, prefix string, f func(name string) error) error {
	for token := blob.FirstPageToken; len(token) > 0; {
		found, next, err := b.storePage(ctx, token, 100, &blob.ListOptions{Prefix: prefix, Delimiter: "/"})
		if err != nil {
			return fromStore(err)
		}
		for _, o := range found {
			if !strings.HasPrefix(o.Key, prefix) {
				return isolation("the store listed a name outside of the prefix it was asked for")
			}
			if err := f(o.Key); err == errEnough {
				return nil
			} else if err != nil {
				return err
			}
		}
		token = next
	}
	return nil
}

// storePage is a page of the store's own listing, and on files of ours: see fileLister. A store that keeps files elsewhere may
// answer that something is not found where a file that it was about to list has just been renamed or deleted; then it is asked again.
func (b *bucket) storePage(ctx context.Context, token []byte, size int, opts *blob.ListOptions) (found []*blob.ListObject, next []byte, err error) {
	if b.onFiles {
		root, err := b.exclusion.files.root(ctx)
		if err != nil {
			return nil, nil, err
		}
		after := "" // the token is the last name of the page before, as fileblob's own is
		if string(token) != string(blob.FirstPageToken) {
			after = string(token)
		}
		l := &fileLister{ctx: ctx, root: root, prefix: opts.Prefix, delimiter: opts.Delimiter, linked: errLinked}
		if found, after, err = filePage(b.inner, l, after, size); after != "" {
			next = []byte(after)
		}
		return found, next, err
	}
	for range 16 {
		if err = ctx.Err(); err != nil { // memory and files do not look
			break
		}
		found, next, err = b.inner.ListPage(ctx, token, size, opts)
		if gcerrors.Code(err) != gcerrors.NotFound {
			break
		}
	}
	return found, next, err
}

// absent returns err, or where it says that there is no object and that may be for the other naming, why.
func (b *bucket) absent(ctx context.Context, k tenantkeys.Keys, err error) error {
	if err == nil || gcerrors.Code(err) != gcerrors.NotFound {
		return fromStore(err)
	}
	if err := b.oneNaming(ctx, k); err != nil {
		return err
	}
	return fromStore(err)
}
