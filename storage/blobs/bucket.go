package blobs

import (
	"context"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/tenant"
)

// bucket implements driver.Bucket over another bucket. Each of its methods passes the gate before it touches the
// inner bucket.
type bucket struct {
	inner  *blob.Bucket
	gate   *gate.Gate
	label  string
	limit  int     // Options.AttributesLimit
	signer *Signer // Options.Signer, may be nil

	buffers   *buffers
	sealNames bool                          // Options.SealNames
	checked   *lru.Cache[tenant.ID, string] // the naming that a tenant's names are all of: see oneNaming
}

var _ driver.Bucket = (*bucket)(nil)

func (b *bucket) op(code audit.Code, verb tenant.Verb, key string) *gate.Op {
	return &gate.Op{
		Code:    code,
		Action:  tenant.Action{Verb: verb, Store: "blob", Name: b.label, Key: key},
		Details: map[string]string{"key": key},
	}
}

// enter passes the gate for an operation on one object, and returns the object's name in the store.
func (b *bucket) enter(ctx context.Context, code audit.Code, verb tenant.Verb, key string) (*gate.Pass, string, error) {
	return b.enterOp(ctx, b.op(code, verb, key))
}

func (b *bucket) enterOp(ctx context.Context, op *gate.Op) (*gate.Pass, string, error) {
	return b.admit(ctx, op, b.gate.Enter)
}

// admit passes the gate by one of its methods.
func (b *bucket) admit(ctx context.Context, op *gate.Op, enter func(context.Context, *gate.Op) (*gate.Pass, error)) (*gate.Pass, string, error) {
	pass, err := enter(ctx, op)
	if err != nil {
		return nil, "", err
	}
	name, err := b.name(pass.Keys(), op.Action.Key)
	if err != nil {
		return nil, "", b.leave(ctx, pass, op.Action.Key, gate.Result{Rows: -1, Bytes: -1, Err: err})
	}
	return pass, name, nil
}

// noAs is the asFunc of every callback and result. What the inner driver would show, its client or the request it is
// about to send, reads and writes around the gate: with it a callback could change the very key that was admitted.
func noAs(any) bool { return false }

// hook calls the callback of an operation's options.
func hook(before func(func(any) bool) error) error {
	if before == nil {
		return nil
	}
	return before(noAs)
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
func (b *bucket) Close() error { return fromStore(b.inner.Close()) }

// Delete implements driver.Bucket.
func (b *bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) error {
	pass, name, err := b.enter(ctx, audit.CodeBlobDelete, tenant.Delete, key)
	if err != nil {
		return err
	}
	unknown := false
	if err = hook(opts.BeforeDelete); err == nil {
		err = b.inner.Delete(ctx, name)
		unknown = unanswered(err)
		err = b.absent(ctx, pass.Keys(), err)
	}
	return b.leave(ctx, pass, key, gate.Result{Rows: -1, Bytes: -1, Err: err, Unknown: unknown})
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
	if err := b.gate.Announce(ctx, op); err != nil {
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
