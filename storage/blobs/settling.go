package blobs

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
)

// settling sees to it that a written object is where it is looked for, in a bucket with sealed names: while it was being
// written, which takes as long as the caller likes, the key of names may have been rotated, and the object moved.
//
// An object is at its newest name if there is one there, else at the older one. Who writes to the newest name deletes what is at
// the older one afterwards, so that a crash leaves the newer object as the current one. Who wrote to the older one,
// because its process or its writer did not know the newer key or did not use it yet, looks afterwards whether there is anything
// at the newer name: Reseal puts a mark there before it reads what it moves. If there is nothing, Reseal has yet to begin and
// will find what was written. If there is something, the object may be hidden by what was moved before: that is an error.
type settling struct {
	bucket     *bucket
	pass       *gate.Pass // of the write
	key        string
	name       string // where the object is written
	ifNotExist bool
	headers    []byte
}

// errRenamed means that an object was written where nobody may look for it, or would have been.
var errRenamed = &codedError{gcerrors.Unknown, "key of names rotated",
	"blobs: the key of names was rotated while the object was being written; write it again"}

var errExists = &codedError{gcerrors.FailedPrecondition, "precondition failed", "blobs: there is such an object already"}

// errUnconditional means that nobody could say afterwards whether IfNotExist was kept.
var errUnconditional = &codedError{gcerrors.FailedPrecondition, "refused: IfNotExist while names rotate",
	"blobs: while the tenant has two keys of names IfNotExist needs Options.IfMatch (s3match.IfMatch on S3), or Options.SoleProcess; " +
		"or run Reseal and disable the older key first"}

// target returns the name that an object is to be written to, and for IfNotExist the mark that is in its place, which no object
// is, and which it is to replace.
func (b *bucket) target(ctx context.Context, k tenantkeys.Keys, key string, p place, ifNotExist bool) (name string, mark *blob.Attributes, err error) {
	name = p.name()
	if len(p.names) > 1 && (p.own != 0 || ifNotExist) {
		other := p.names[1-p.own]
		exists, err := b.inner.Exists(ctx, other)
		switch {
		case err != nil:
			return "", nil, fromStore(err)
		case exists && p.own == 0:
			return "", nil, errExists
		case exists: // it is the newest, and hides what is at ours
			name = other
		case ifNotExist && b.versions() == nil:
			return "", nil, errUnconditional // see withdraw
		}
	}
	if !ifNotExist || !b.sealNames || b.versions() == nil {
		return name, nil, nil
	}
	at, err := b.statAt(ctx, k, key, name)
	if err != nil || !at.sealed.Mark {
		return name, nil, nil // it is the store that says whether there is anything
	}
	if older := p.names[len(p.names)-1]; older != name {
		if exists, err := b.inner.Exists(ctx, older); err != nil || exists {
			return "", nil, cmp.Or(fromStore(err), error(errExists))
		}
	}
	return name, at.stored, nil
}

// place returns where the object is looked for by now, and which of the places it is written to.
func (s *settling) place(ctx context.Context) (p place, mine int, err error) {
	var k tenantkeys.Keys
	if k, err = s.pass.Current(ctx); err != nil {
		return place{}, 0, err
	}
	if p, err = s.bucket.place(k, s.key); err != nil {
		return place{}, 0, err
	}
	return p, slices.Index(p.names, s.name), nil
}

// before refuses to complete an object at a name that new objects do not get any more. So does after: what is acknowledged at an
// older name was there before any process names objects by the newer key for longer than keys.Options.SuspendWithin, and
// so before keys.Keyring.DisableKey has the names counted.
func (s *settling) before(ctx context.Context) error {
	p, mine, err := s.place(ctx)
	if err == nil && (mine < 0 || mine > p.own) {
		err = errRenamed
	}
	return err
}

// after does what is left to do once the object is there.
func (s *settling) after(ctx context.Context) error {
	p, mine, err := s.place(ctx)
	switch {
	case err != nil:
		return err
	case mine < 0: // its key is not in use any more: nobody looks there, and nothing else was there
		if err := s.bucket.deleteStored(ctx, s.name); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return fromStore(err)
		}
		return errRenamed
	case mine > p.own:
		return errRenamed
	}
	for i, name := range p.names {
		switch {
		case i == mine:
		case i < mine:
			if exists, err := s.bucket.inner.Exists(ctx, name); err != nil || exists {
				return orRenamed(fromStore(err))
			}
		case s.ifNotExist:
			if exists, err := s.bucket.inner.Exists(ctx, name); err != nil || exists {
				return s.withdraw(ctx, fromStore(err))
			}
		default:
			// What is at the older name is hidden, and Reseal deletes it. To delete it here would take away what another process made
			// there meanwhile, one that deleted this object and does not know yet that its own name for it is the older one.
		}
	}
	return nil
}

func orRenamed(err error) error {
	if err != nil {
		return err
	}
	return errRenamed
}

// withdraw deletes an object that must not be, since another one was written to the older name meanwhile: that very version, as
// somebody may have overwritten it by now.
func (s *settling) withdraw(ctx context.Context, why error) error {
	if why != nil {
		return why
	}
	k, err := s.pass.Current(ctx)
	if err != nil {
		return err
	}
	now, err := s.bucket.statAt(ctx, k, s.key, s.name)
	if err != nil || now.sealed.Mark || !bytes.Equal(now.sealed.Headers, s.headers) {
		return errExists // somebody else's
	}
	how := s.bucket.versions()
	if how == nil { // the older name's key was enabled again meanwhile
		return errRenamed
	}
	if err := s.bucket.deleteVersion(ctx, how, s.name, now.stored); err != nil && err != errReplaced {
		return err
	}
	return errExists
}
