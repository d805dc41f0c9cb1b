package blobs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// sealedMark is the path segment below which a tenant's sealed names are. No plain name has it: see markSegments.
const sealedMark = ".sealed"

// sealedPrefix is what all sealed names of a tenant begin with.
func sealedPrefix(id tenant.ID) string { return scopeOf(id).prefix + sealedMark + "/" }

// sealedScope maps a tenant's keys to sealed names in the store and back. Each piece of a key, a path segment with its
// slash, is sealed by itself (see [envelope.SealName]), and the sealed pieces are joined by slashes. So the store's
// directories are the key's, and the name of one is found without the names beside it.
type sealedScope struct {
	prefix string
	aead   tink.DeterministicAEAD
	id     tenant.ID
	label  string
	key    uint32          // the id of the key that seals the pieces, all of them
	keys   tenantkeys.Keys // which has it
}

// newSealedScopes returns the scopes of the tenant's names keys, the newest first, and which of them new objects are in.
func newSealedScopes(k tenantkeys.Keys, label string) (all []*sealedScope, own int, err error) {
	names, err := k.NameKeys()
	if err != nil {
		return nil, 0, err
	}
	for i, n := range names {
		all = append(all, &sealedScope{sealedPrefix(k.ID()), n.AEAD, k.ID(), label, n.ID, k})
		if n.Seals {
			own = i
		}
	}
	return all, own, nil
}

// newSealedScope returns the scope that new objects are in.
func newSealedScope(k tenantkeys.Keys, label string) (*sealedScope, error) {
	all, own, err := newSealedScopes(k, label)
	if err != nil {
		return nil, err
	}
	return all[own], nil
}

// name returns the object's name in the store.
func (s *sealedScope) name(key string) (string, error) {
	if err := checkSealed(s.id, key); err != nil {
		return "", err
	}
	return s.of(key)
}

// of seals the pieces of a key, or of the part of one that ends in a slash: then the last piece is not sealed, and the
// name ends in a slash as well.
func (s *sealedScope) of(key string) (string, error) {
	var b strings.Builder
	b.WriteString(s.prefix)
	for parent := 0; ; {
		piece := key[parent:]
		i := strings.IndexByte(piece, '/')
		if i >= 0 {
			piece = piece[:i+1]
		}
		sealed, err := envelope.SealName(s.aead, s.id, s.label, key[:parent], piece)
		if err != nil {
			return "", fmt.Errorf("blobs: %w", err)
		}
		b.WriteString(sealed)
		if i < 0 {
			return b.String(), nil
		}
		b.WriteByte('/')
		parent += i + 1
	}
}

// dir returns the prefix of the names of what is in a directory: dir is "" or ends in a slash.
func (s *sealedScope) dir(dir string) (string, error) {
	name, err := s.of(dir)
	// The last piece is the empty one behind the slash.
	return name[:strings.LastIndexByte(name, '/')+1], err
}

// checkSealed refuses what has no sealed name, without the key that seals.
func checkSealed(id tenant.ID, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	n := len(sealedPrefix(id)) - 1
	for piece := range strings.SplitAfterSeq(key, "/") {
		n += 1 + envelope.SealedNameLength(len(piece))
	}
	if n > MaxKeyLength {
		return &codedError{gcerrors.InvalidArgument, "object key too long", fmt.Sprintf(
			"blobs: the object's sealed name has %d bytes with the tenant's prefix, over the limit of %d: each path segment takes 35 and 8/5 of its length; "+
				"use a shorter key, or fewer segments", n, MaxKeyLength)}
	}
	return nil
}

// opener opens the names of one listing. It remembers the directories of the last one, which most have in common.
type opener struct {
	*sealedScope
	path []openedDir
}

type openedDir struct {
	sealed string // the piece
	key    string // all up to it, and it
}

// other tells whether a key of names is another one of the tenant's.
func (s *sealedScope) other(id uint32) bool {
	all, err := s.keys.NameKeys()
	return err == nil && id != s.key && slices.ContainsFunc(all, func(k tenantkeys.NameKey) bool { return k.ID == id })
}

// openers open a name that may be of any scope.
type openers []*opener

func newOpeners(scopes []*sealedScope) (all openers) {
	for _, s := range scopes {
		all = append(all, &opener{sealedScope: s})
	}
	return all
}

// key does what that of the name's scope does, which it returns too.
func (all openers) key(name string) (key string, in *sealedScope, ok bool, err error) {
	for _, o := range all {
		if key, ok, err = o.key(name); ok || err != nil {
			return key, o.sealedScope, ok, err
		}
	}
	return "", nil, false, nil
}

// key is the inverse of name and dir. It is false for a name of another scope of the tenant's, and for what neither returns
// and no version of them could: junk, which is nobody's object. What looks like a sealed name and is not that of this place is an isolation error: somebody moved
// it here from another directory, bucket or tenant, or the tenant's key record is not the one it was sealed under.
func (o *opener) key(name string) (key string, ok bool, err error) {
	rest := strings.TrimPrefix(name, o.prefix)
	for depth := 0; rest != ""; depth++ {
		sealed, below, isDir := strings.Cut(rest, "/")
		rest = below
		if isDir && depth < len(o.path) && o.path[depth].sealed == sealed {
			key = o.path[depth].key
			continue
		}
		o.path = o.path[:min(depth, len(o.path))]
		named, ok := envelope.NameKey(sealed)
		switch {
		case !ok:
			return "", false, nil
		case named == o.sealedScope.key:
		case o.keys.NameKeyDisabled(named):
			return "", false, fmt.Errorf("%w: the name %q in the store needs the key of names %d; Keyring.EnableKey lets it be opened, and Reseal moves it to a newer key",
				keys.ErrKeyDisabled, sealed, named)
		case depth == 0 && o.other(named):
			return "", false, nil // of another scope, which opens it
		}
		piece, opened := envelope.OpenName(o.aead, o.id, o.label, key, sealed)
		if !opened || isDir != strings.HasSuffix(piece, "/") {
			return "", false, isolation("the name %q in the store does not belong where it was found", sealed)
		}
		key += piece
		if isDir {
			o.path = append(o.path, openedDir{sealed, key})
		} else {
			return key, key != "", nil
		}
	}
	// A directory, which the store lists with its slash. One that an object has as its name is a console's placeholder.
	return key, key != "", nil
}
