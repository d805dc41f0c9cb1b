package blobs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// bucket implements driver.Bucket over another bucket. Each of its methods passes the gate before it touches the
// inner bucket.
type bucket struct {
	inner   *blob.Bucket
	onFiles bool // of gocloud.dev's fileblob
	gate    *gate.Gate
	label   string
	limit   int     // Options.AttributesLimit
	signer  *Signer // Options.Signer, may be nil

	buffers   *buffers
	sealNames bool                          // Options.SealNames
	checked   *lru.Cache[tenant.ID, string] // the naming that a tenant's names are all of: see oneNaming
	exclusion *exclusion
	begun     begun
	closed    atomic.Bool
	staged    staged
	durable   *lru.Cache[string, struct{}] // directories of files: see onDisk

	ifMatch     func(as func(any) bool, read *blob.Attributes) error // Options.IfMatch, may be nil
	soleProcess bool                                                 // Options.SoleProcess
}

var _ driver.Bucket = (*bucket)(nil)

func (b *bucket) op(code audit.Code, verb tenant.Verb, key string) *gate.Op {
	return &gate.Op{
		Code:    code,
		Action:  tenant.Action{Verb: verb, Store: "blob", Name: b.label, Key: key},
		Details: map[string]string{"key": key},
	}
}

// enter passes the gate for an operation on one object, and returns the object's place in the store.
func (b *bucket) enter(ctx context.Context, code audit.Code, verb tenant.Verb, key string) (*gate.Pass, place, error) {
	return b.enterOp(ctx, b.op(code, verb, key))
}

func (b *bucket) enterOp(ctx context.Context, op *gate.Op) (*gate.Pass, place, error) {
	return b.admit(ctx, op, b.gate.Enter)
}

// begin passes the gate for a read of one object. The store is asked while the intent is on its way to the trail; release says
// when what it answered may be told.
func (b *bucket) begin(ctx context.Context, code audit.Code, verb tenant.Verb, key string) (*gate.Pass, place, error) {
	return b.admit(ctx, b.op(code, verb, key), b.gate.Begin)
}

// release waits until the intent of a pass from begin is in the trail. It returns err, which is how the store was asked, or
// where the intent did not get there why, and nothing of what the store answered.
func (b *bucket) release(ctx context.Context, pass *gate.Pass, key string, err error) error {
	unrecorded := pass.Wait(ctx)
	switch {
	case unrecorded == nil:
		return err
	case errors.Is(err, storage.ErrIsolation):
		// A caller that gives up does not make the attempt unseen, and hears nothing of it.
		return errors.Join(unrecorded, pass.Alert(ctx, key))
	}
	return unrecorded
}

// admit passes the gate by one of its methods.
func (b *bucket) admit(ctx context.Context, op *gate.Op, enter func(context.Context, *gate.Op) (*gate.Pass, error)) (*gate.Pass, place, error) {
	pass, err := enter(ctx, op)
	if err != nil {
		return nil, place{}, err
	}
	p, err := b.place(pass.Keys(), op.Action.Key)
	if err != nil {
		return nil, place{}, b.leave(ctx, pass, op.Action.Key, gate.Result{Rows: -1, Bytes: -1, Err: err})
	}
	return pass, p, nil
}

// noAs is the asFunc of every callback and result. What the inner driver would show, its client or the request it is
// about to send, reads and writes around the gate: with it a callback could change the very key that was admitted.
func noAs(any) bool { return false }

// hook calls the callback of an operation's options.
func hook(before func(func(any) bool) error) error {
	if before == nil {
		return nil
	}
	return ask("a hook of the options", func() error { return before(noAs) })
}

// ask calls code of the application's. What breaks there is an error, so that the outcome is recorded, and on a goroutine of a run's own neither
// ends the process nor is passed over.
func ask(what string, code func() error) error {
	broke, err := apart.Call(code)
	if broke != "" {
		return errors.New("blobs: " + what + " " + broke)
	}
	return err
}

// matched calls the application's IfMatch.
func matched(ifMatch func(as func(any) bool, read *blob.Attributes) error, read *blob.Attributes) func(as func(any) bool) error {
	return func(as func(any) bool) error {
		return ask("IfMatch of the options", func() error { return ifMatch(as, read) })
	}
}

// As implements driver.Bucket. It hands out nothing, see noAs, but to this package itself the guarded driver, whose type
// nobody else can name and all of whose methods pass the gate.
func (b *bucket) As(target any) bool {
	self, ok := target.(**bucket)
	if ok {
		*self = b
	}
	return ok
}

// Close implements driver.Bucket.
func (b *bucket) Close() error {
	b.closed.Store(true)
	return fromStore(b.inner.Close())
}

// Delete implements driver.Bucket.
func (b *bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) error {
	pass, p, err := b.enter(ctx, audit.CodeBlobDelete, tenant.Delete, key)
	if err != nil {
		return err
	}
	ctx = pass.Context(ctx)
	unknown := false
	if err = hook(opts.BeforeDelete); err == nil {
		unknown, err = b.deleteObject(ctx, pass, key, p)
	}
	return b.leave(ctx, pass, key, gate.Result{Rows: -1, Bytes: -1, Err: err, Unknown: unknown})
}

// deletePlace deletes an object wherever it may be, at the newest name last: what is there hides what is elsewhere. It asks for
// every name, whatever is there: Reseal marks a name before it looks whether the object is there to be moved. A mark goes too,
// and is no object that was deleted.
func (b *bucket) deletePlace(ctx context.Context, k tenantkeys.Keys, key string, p place) (err error) {
	found := false
	for i := len(p.names) - 1; i >= 0; i-- {
		marked := false
		if i == 0 && !found && b.sealNames {
			s, err := b.statAt(ctx, k, key, p.names[i])
			if errors.As(err, new(*storeError)) {
				return err
			}
			marked = err == nil && s.sealed.Mark // whatever else is there is deleted, if it opens or not
		}
		err = b.deleteStored(ctx, p.names[i])
		switch {
		case err == nil && marked:
			err = errMark
		case err == nil:
			found = true
		case gcerrors.Code(err) != gcerrors.NotFound:
			return err
		}
	}
	if found {
		return nil
	}
	return err
}

// deleteStored deletes an object in the store, on files so that it does not come back with the machine.
func (b *bucket) deleteStored(ctx context.Context, name string) error {
	done, err := b.exclusion.shared(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	path := ""
	if b.onFiles {
		path, _ = filePath(ctx, b.inner, name) // none of an object whose attributes are damaged, which goes all the same
	}
	return b.exclusion.keeping(name, func() error {
		err := b.inner.Delete(ctx, name)
		if err == nil && path != "" {
			err = syncDirectory(filepath.Dir(path))
		}
		return err
	})
}

// SignedURL implements driver.Bucket. The store's own signed URLs would serve ciphertext; what it returns leads to a
// [Handler], or it refuses. It also is how [Signer.Sign] learns an object's whole key.
func (b *bucket) SignedURL(ctx context.Context, key string, opts *driver.SignedURLOptions) (string, error) {
	if s, ok := ctx.Value(signingKey{}).(*signing); ok {
		if s == nil {
			return key, nil // see wholeKey
		}
		return b.sign(ctx, s, key, opts)
	}
	if b.signer == nil {
		return "", b.gate.Refuse(ctx, b.opOf(grantMethod(opts.Method), key), &codedError{gcerrors.Unimplemented, "refused: signed URL",
			"blobs: the store's signed URL would serve ciphertext, and accept plaintext, past the audit trail; " +
				"set Options.Signer and serve the URLs with NewHandler, or sign tokens for it with Signer.Sign"})
	}
	g := &Grant{Method: opts.Method, Lifetime: opts.Expiry, ContentType: opts.ContentType, absentType: opts.EnforceAbsentContentType}
	if g.Lifetime == blob.DefaultSignedURLExpiry {
		g.Lifetime = min(g.Lifetime, b.signer.max) // what the portable type fills in where the caller has no wish
	}
	token, err := b.sign(ctx, &signing{b.signer, g}, key, opts)
	if err != nil {
		return "", err
	}
	u := *b.signer.url
	u.RawQuery = tokenParameter + "=" + token
	return u.String(), nil
}

func (b *bucket) sign(ctx context.Context, s *signing, key string, opts *driver.SignedURLOptions) (string, error) {
	access, err := b.gate.Check(ctx, b.opOf(grantMethod(s.grant.Method), key))
	if err != nil {
		return "", err
	}
	if err := b.nameable(access.Tenant, key); err != nil {
		return "", err
	}
	if err := hook(opts.BeforeSign); err != nil {
		return "", err
	}
	token, issued, err := s.signer.issue(access, b.label, key, s.grant)
	if err != nil {
		return "", err
	}
	// The event names the token as its uses do, so that each can be led back to who asked for it.
	op := b.op(audit.CodeBlobGrant, b.opOf(issued.Method, key).Action.Verb, key)
	op.Details["grant"], op.Details["method"] = grantName(issued), s.grant.Method
	op.Details["expires"] = time.Unix(issued.Expires, 0).UTC().Format(time.RFC3339)
	if err := b.gate.RecordBefore(ctx, op); err != nil {
		return "", fmt.Errorf("blobs: no token is issued that is not recorded: %w", err)
	}
	return token, nil
}

// opOf is the operation that a token is for.
func (b *bucket) opOf(m envelope.GrantMethod, key string) *gate.Op {
	switch m {
	case envelope.GrantPut:
		return b.op(audit.CodeBlobWrite, tenant.Write, key)
	case envelope.GrantDelete:
		return b.op(audit.CodeBlobDelete, tenant.Delete, key)
	default:
		return b.op(audit.CodeBlobRead, tenant.Read, key)
	}
}
