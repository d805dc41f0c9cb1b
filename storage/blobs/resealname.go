package blobs

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/tenantkeys"
)

// markSize is the size of a mark in the store, in bytes, which no object has. They are random, so that no two marks have one ETag.
const markSize = 16

// rename moves an object from its older name to the newest, in this order:
//
//  1. It puts a mark at the newest name, unless there is something. Readers pass over a mark, and find the object at its older
//     name.
//  2. It reads the object, and replaces the mark by it, if the mark is still that one.
//  3. It deletes the object at the older name, which the newest name hides by then, if that still is the version that was read: a
//     process that does not name objects by the newest key yet may have deleted the object, at both names, and made another.
//
// Who writes or deletes the object meanwhile writes or deletes at the newest name too, and so takes the mark away, or finds out
// that there is one: see deletePlace and settling. A crash leaves a mark, or an object that is hidden, and the next run goes on there.
func (r *resealer) rename(ctx context.Context, k tenantkeys.Keys, o resealObject) (moved int64, unknown bool, err error) {
	p, err := r.place(k, o.key)
	if err != nil {
		return 0, false, err
	}
	if p.own != 0 || slices.Index(p.names, o.name) < 1 {
		return -1, false, nil // by now it is no older name
	}
	to := p.names[0]
	mark, err := r.marked(ctx, k, o.key, to)
	if err != nil {
		return 0, false, err
	}
	if !mark.sealed.Mark { // what is at the older name is hidden
		return -1, false, r.deleteHidden(ctx, k, o, to)
	}
	moved, read, unknown, err := r.renew(ctx, k, o, to, mark.stored)
	if err == nil && moved >= 0 {
		return moved, false, r.deleteOlder(ctx, o.name, read)
	}
	if unknown || errors.Is(err, errReplaced) {
		return moved, unknown, err
	}
	return moved, false, errors.Join(err, ignoreReplaced(r.deleteVersion(ctx, r.replace, to, mark.stored)))
}

// marked returns what is at a name, once there is a mark, or an object.
func (r *resealer) marked(ctx context.Context, k tenantkeys.Keys, key, name string) (*stat, error) {
	s, err := r.statUndisturbed(ctx, k, key, name)
	if gcerrors.Code(err) != gcerrors.NotFound {
		return s, err
	}
	metadata, err := (&attributes{Mark: true}).seal(k, r.label, key, r.limit)
	if err != nil {
		return nil, err
	}
	body := make([]byte, markSize)
	rand.Read(body)
	err = r.putMark(ctx, k, name, body, &blob.WriterOptions{ContentType: storedContentType, Metadata: metadata, IfNotExist: true})
	if err != nil && err != errExists && !conditionFailed(err) {
		return nil, fromStore(err)
	}
	s, err = r.statUndisturbed(ctx, k, key, name)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, errReplaced
	}
	return s, err
}

// putMark makes a mark where there is nothing.
func (r *resealer) putMark(ctx context.Context, k tenantkeys.Keys, name string, body []byte, opts *blob.WriterOptions) error {
	if !r.onFiles {
		done, err := r.replace.alone(ctx, name)
		if err != nil {
			return err
		}
		defer done()
		return r.inner.WriteAll(ctx, name, body, opts)
	}
	p := r.newPlacing(k.ID(), name, true, nil)
	defer p.drop()
	opts.IfNotExist = false
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := r.inner.NewWriter(ctx, p.stagedName(), opts)
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		cancel()
		return errors.Join(err, w.Close())
	}
	return p.complete(ctx, w)
}

func (r *resealer) statUndisturbed(ctx context.Context, k tenantkeys.Keys, key, name string) (*stat, error) {
	done, err := r.undisturbed(ctx, name)
	if err != nil {
		return nil, err
	}
	defer done()
	return r.statAt(ctx, k, key, name)
}

func ignoreReplaced(err error) error {
	if errors.Is(err, errReplaced) {
		return nil
	}
	return err
}

// deleteOlder deletes the version at an older name that was read. In a sole process nobody acknowledges another there any
// more: all its writers have the keys that Reseal has.
func (r *resealer) deleteOlder(ctx context.Context, name string, read *blob.Attributes) error {
	if r.opts.IfMatch != nil {
		return r.deleteVersion(ctx, r.replace, name, read)
	}
	if err := r.deleteStored(ctx, name); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fromStore(err)
	}
	return nil
}

// deleteHidden deletes what is at an older name, and hidden by what is at the newest: a version that was there before that was
// looked at.
func (r *resealer) deleteHidden(ctx context.Context, k tenantkeys.Keys, o resealObject, newest string) error {
	read, err := r.inner.Attributes(ctx, o.name)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	if err != nil {
		return fromStore(err)
	}
	switch now, err := r.statUndisturbed(ctx, k, o.key, newest); {
	case gcerrors.Code(err) == gcerrors.NotFound || err == nil && now.sealed.Mark:
		return errReplaced
	case err != nil:
		return err
	}
	return r.deleteOlder(ctx, o.name, read)
}

// sweep deletes a mark that a run left which was killed, and whose object is not at its older name. At an older name a mark is
// nobody's: nothing is moved there.
func (r *resealer) sweep(ctx context.Context, k tenantkeys.Keys, o resealObject, mark *stat) error {
	p, err := r.place(k, o.key)
	if err != nil {
		return err
	}
	for _, name := range p.names {
		if name == o.name || o.name != p.names[0] {
			continue
		}
		if exists, err := r.inner.Exists(ctx, name); err != nil || exists {
			return fromStore(err)
		}
	}
	return ignoreReplaced(r.deleteVersion(ctx, r.replace, o.name, mark.stored))
}
