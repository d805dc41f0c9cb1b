package blobs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// errReplaced means that somebody else wrote or deleted an object while it was sealed anew, whose doing stands.
var errReplaced = &codedError{gcerrors.FailedPrecondition, "precondition failed", "blobs: the object was written or deleted while it was sealed anew"}

// attributesKey returns the id of the key that an object's attributes name, or 0.
func attributesKey(stored *blob.Attributes) uint32 {
	sealed, err := base64.RawURLEncoding.DecodeString(stored.Metadata[attributesName])
	if err != nil {
		return 0
	}
	key, _ := envelope.FieldKey(sealed)
	return key
}

// contentKey returns the id of the key that an object's header names, or 0.
func contentKey(header []byte) uint32 {
	key, err := envelope.ParseBlobHeader(header)
	if err != nil {
		return 0
	}
	return key
}

// behind returns which of the keys that an object names are not the newest ones, of the purposes that are to be moved.
func (r *resealer) behind(k tenantkeys.Keys, named, data, content uint32) (left []ResealLeft) {
	for _, p := range r.opts.Purposes {
		switch {
		case p == keys.PurposeNames && isOlderName(k, named):
			left = append(left, ResealLeft{Purpose: p, Key: named})
		case p == keys.PurposeData && data != k.DataKeyID():
			left = append(left, ResealLeft{Purpose: p, Key: data})
		case p == keys.PurposeBlobs && content != k.BlobKeyID():
			left = append(left, ResealLeft{Purpose: p, Key: content})
		}
	}
	return left
}

// isOlderName tells whether a name's key is neither the one that names new objects nor a newer one; 0 is a plain name's.
func isOlderName(k tenantkeys.Keys, named uint32) bool {
	all, err := k.NameKeys()
	for _, n := range all {
		if n.ID == named {
			return false
		}
		if n.Seals {
			break
		}
	}
	return named != 0 && err == nil
}

// look asks the store which keys an object names. The attributes' copy of the header is not asked: it may be of another version.
func (r *resealer) look(ctx context.Context, k tenantkeys.Keys, o resealObject) ([]ResealLeft, error) {
	name := o.name
	done, err := r.undisturbed(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { done() }()
	if temporary, err := r.temporary(ctx, name); temporary || err != nil {
		return nil, err
	}
	if o.mark {
		mark, err := r.statAt(ctx, k, o.key, name)
		if err == nil && mark.sealed.Mark {
			if r.replace == nil || r.progress.Counting {
				// A mark is no object, and needs the keys that its attributes and its name were sealed with.
				return r.behind(k, o.named, attributesKey(mark.stored), k.BlobKeyID()), nil
			}
			done()
			done = func() {}
			return nil, r.sweep(ctx, k, o, mark)
		}
	}
	data, content := k.DataKeyID(), k.BlobKeyID()
	for _, p := range r.opts.Purposes {
		var err error
		switch p {
		case keys.PurposeData:
			var stored *blob.Attributes
			if stored, err = r.inner.Attributes(ctx, name); err == nil {
				data = attributesKey(stored)
			}
		case keys.PurposeBlobs:
			var body *blob.Reader
			if body, err = r.inner.NewRangeReader(ctx, name, 0, objectHeaderSize, nil); err == nil {
				var header []byte
				header, err = io.ReadAll(body)
				content = contentKey(header)
				err = errors.Join(err, body.Close())
			}
		}
		switch {
		case gcerrors.Code(err) == gcerrors.NotFound: // it was deleted
			return nil, nil
		case err != nil:
			return nil, fromStore(err)
		}
	}
	return r.behind(k, o.named, data, content), nil
}

// resealTries is how often an object is tried that others change meanwhile.
const resealTries = 4

// move moves one object to the newest keys.
func (r *resealer) move(ctx context.Context, o resealObject) error {
	for try := 1; ; try++ {
		again, err := r.attempt(ctx, o)
		if err == nil || !again || try == resealTries {
			return err
		}
	}
}

// attempt is one access. Again tells that another one may succeed: somebody else changed the object, or the store gave no clear
// answer.
func (r *resealer) attempt(ctx context.Context, o resealObject) (again bool, err error) {
	pass, err := r.gate.Enter(ctx, r.op(audit.CodeBlobReseal, tenant.Write, o.key))
	if err != nil {
		return false, err
	}
	var moved int64
	var unknown bool
	if isOlderName(pass.Keys(), o.named) {
		moved, unknown, err = r.rename(ctx, pass.Keys(), o)
	} else {
		moved, _, unknown, err = r.renew(ctx, pass.Keys(), o, o.name, nil)
	}
	result := gate.Result{Rows: -1, Bytes: max(moved, 0), Err: err, Unknown: unknown}
	again = unknown || errors.Is(err, errReplaced)
	left := r.leave(ctx, pass, o.key, result)
	if left != nil && err == nil || errors.Is(left, audit.ErrUnavailable) {
		return false, left
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil && moved >= 0:
		r.report.Resealed++
		r.report.Bytes += moved
	case errors.Is(err, errReplaced):
		r.report.Changed++
	}
	return again, left
}

// renew seals an object anew and has it replace what is at a name: the object itself, or what was read there. Moved is how many
// bytes it has, or -1 where there was nothing to do; read is the version that was sealed anew.
func (r *resealer) renew(ctx context.Context, k tenantkeys.Keys, o resealObject, target string, replaces *blob.Attributes) (moved int64, read *blob.Attributes, unknown bool, err error) {
	done, err := r.undisturbed(ctx, o.name)
	if err != nil {
		return 0, nil, false, err
	}
	src, err := r.openBeside(ctx, k, o.key, at(o.name), 0, -1, func(context.Context, string) (func(), error) { return notAlone() }) // we are
	done()
	if r.noObject(err) {
		return -1, nil, false, nil // it was deleted
	}
	if err != nil {
		return 0, nil, false, err
	}
	defer src.close()
	if replaces == nil && len(r.behind(k, o.named, attributesKey(src.stat.stored), contentKey(src.headers[:objectHeaderSize]))) == 0 {
		return -1, nil, false, nil // somebody else moved it, or wrote it
	}
	n := &renewal{resealer: r, keys: k, object: o, src: src, target: target, replaces: cmp.Or(replaces, src.stat.stored)}
	if !bytes.Equal(src.headers, src.stat.sealed.Headers) {
		// Attributes and content are not of one version. Where that stays so, as after a crash on files, it is what readers get.
		if err := r.unchanged(ctx, o.name, src.stat.stored); err != nil {
			return 0, nil, false, err
		}
	}
	moved, unknown, err = r.replace.put(ctx, n)
	return moved, src.stat.stored, unknown, err
}

// renewal is one object that is sealed anew.
type renewal struct {
	*resealer
	keys     tenantkeys.Keys
	object   resealObject
	src      *object
	target   string           // the name in the store that it gets
	replaces *blob.Attributes // what was read there
	sum      []byte           // SHA-256 of the content, once it is read
}

// seal seals the object anew into a draft of a name in the store, which is not committed yet.
func (n *renewal) seal(ctx context.Context, name string, opts *blob.WriterOptions) (*draft, error) {
	var p *proof
	attrs := *n.src.stat.sealed
	// What was written under a higher limit keeps its attributes, which are as long as before.
	limit := max(n.limit, len(n.src.stat.stored.Metadata[attributesName]))
	d, err := n.createVia(ctx, n.keys, n.object.key, name, &attrs, opts, limit, func(to io.Writer, headers []byte) (io.Writer, error) {
		s, err := newSegments(n.keys, headers, envelope.BlobAD(nil, n.keys.ID(), n.label, n.object.key))
		p = &proof{to: to, segments: s, layout: n.src.stat.layout, sum: sha256.New()}
		return p, err
	})
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	read := io.TeeReader(&limitedReader{ctx, n.bytes, n.src}, sum)
	if _, err := io.CopyBuffer(struct{ io.Writer }{d}, read, make([]byte, segmentSize)); err != nil && d.err == nil {
		d.err = err
	}
	n.sum = sum.Sum(nil)
	d.verify = func() error { return p.whole(n.sum) }
	return d, nil
}
