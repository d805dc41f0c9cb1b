package blobs

import (
	"context"
	"net/http"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/tenant"
)

// bucket implements driver.Bucket over another bucket. Each of its methods passes the gate before it touches the
// inner bucket.
type bucket struct {
	inner *blob.Bucket
	gate  *gate.Gate
	label string
	limit int // Options.AttributesLimit
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
	pass, err := b.gate.Enter(ctx, op)
	if err != nil {
		return nil, "", err
	}
	name, err := scopeOf(pass.Tenant()).name(op.Action.Key)
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

// As implements driver.Bucket; see noAs.
func (b *bucket) As(any) bool { return false }

// Close implements driver.Bucket.
func (b *bucket) Close() error { return fromStore(b.inner.Close()) }

// Delete implements driver.Bucket.
func (b *bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) error {
	pass, name, err := b.enter(ctx, audit.CodeBlobDelete, tenant.Delete, key)
	if err != nil {
		return err
	}
	if err = hook(opts.BeforeDelete); err == nil {
		err = fromStore(b.inner.Delete(ctx, name))
	}
	return b.leave(ctx, pass, key, gate.Result{Rows: -1, Bytes: -1, Err: err})
}

// SignedURL implements driver.Bucket: it refuses, and the refusal is recorded.
func (b *bucket) SignedURL(ctx context.Context, key string, opts *driver.SignedURLOptions) (string, error) {
	op := b.op(audit.CodeBlobRead, tenant.Read, key)
	switch opts.Method {
	case http.MethodPut:
		op = b.op(audit.CodeBlobWrite, tenant.Write, key)
	case http.MethodDelete:
		op = b.op(audit.CodeBlobDelete, tenant.Delete, key)
	}
	return "", b.gate.Refuse(ctx, op, &codedError{gcerrors.Unimplemented, "refused: signed URL",
		"blobs: a signed URL would serve ciphertext, and accept plaintext, past the audit trail; " +
			"serve the object from a handler of your own: NewReader or NewWriter with the request's context"})
}
