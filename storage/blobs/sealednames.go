package blobs

import (
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/envelope"
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
}

func newSealedScope(k *keys.Tenant, label string) (*sealedScope, error) {
	aead, err := k.Names()
	if err != nil {
		return nil, err
	}
	return &sealedScope{sealedPrefix(k.ID()), aead, k.ID(), label}, nil
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

// key is the inverse of name and dir. It is false for what neither returns and no version of them could: junk, which is
// nobody's object. What looks like a sealed name and is not that of this place is an isolation error: somebody moved
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
		if !envelope.IsSealedName(sealed) {
			return "", false, nil
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
