package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/reason"
	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// codedError is a refusal of this package.
type codedError struct {
	code   gcerrors.ErrorCode
	reason reason.Text // for the audit trail; no data
	text   string
}

func (e *codedError) Error() string { return e.text }

// AuditReason implements the gate's classification.
func (e *codedError) AuditReason() reason.Text { return e.reason }

// isolationError says what did not open; it wraps [storage.ErrIsolation].
type isolationError struct{ what string }

func (e *isolationError) Error() string { return storage.ErrIsolation.Error() + ": " + e.what }

func (e *isolationError) Unwrap() error { return storage.ErrIsolation }

func (e *isolationError) AuditReason() reason.Text { return "isolation" }

func isolation(format string, args ...any) error {
	return &isolationError{fmt.Sprintf(format, args...)}
}

// storeError is an error of the inner bucket.
type storeError struct {
	err  error
	code gcerrors.ErrorCode
}

// Error is the driver's text without what it repeats of signed URLs and of where a local store keeps its files.
func (e *storeError) Error() string { return redact.Paths(redact.Text(e.err.Error()), e.err) }

func (e *storeError) Unwrap() error {
	// An end of file inside a store's error is a broken connection, never the end of an object: a caller that asks
	// errors.Is(err, io.EOF) must not take half an object for a whole one.
	if errors.Is(e.err, io.EOF) {
		return nil
	}
	return e.err
}

// AuditReason implements the gate's classification.
func (e *storeError) AuditReason() reason.Text {
	switch e.code {
	case gcerrors.NotFound:
		return "not found"
	case gcerrors.FailedPrecondition:
		return "precondition failed"
	case gcerrors.Canceled:
		return "cancelled"
	case gcerrors.DeadlineExceeded:
		return "deadline exceeded"
	default:
		return "store error"
	}
}

func fromStore(err error) error {
	if err == nil {
		return nil
	}
	return &storeError{err, gcerrors.Code(err)}
}

// noObject reports whether an error says that there is no such object.
func (b *bucket) noObject(err error) bool {
	return err == errMark || errors.As(err, new(*storeError)) && b.ErrorCode(err) == gcerrors.NotFound
}

// existed reports whether the error of a write of IfNotExist says that there is such an object. A bucket that was closed gives the same
// code.
func (b *bucket) existed(err error) bool {
	return errors.Is(err, errExists) || !b.closed.Load() && errors.As(err, new(*storeError)) && b.ErrorCode(err) == gcerrors.FailedPrecondition
}

// unanswered reports whether an error that the store's driver returned for a write or a deletion may stand for a lost
// answer, so that it may have taken place all the same.
func unanswered(err error) bool {
	switch gcerrors.Code(err) {
	case gcerrors.OK, gcerrors.NotFound, gcerrors.AlreadyExists, gcerrors.InvalidArgument, gcerrors.Unimplemented,
		gcerrors.FailedPrecondition, gcerrors.PermissionDenied, gcerrors.ResourceExhausted:
		return false
	default:
		return true
	}
}

// ErrorCode implements driver.Bucket.
func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode {
	var coded *codedError
	var store *storeError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, tenant.ErrMissing), errors.Is(err, tenant.ErrInvalidAccess), errors.Is(err, tenant.ErrDenied),
		errors.Is(err, keys.ErrSuspended):
		return gcerrors.PermissionDenied
	case errors.Is(err, storage.ErrIsolation), errors.Is(err, keys.ErrShredded), errors.Is(err, keys.ErrNotProvisioned),
		errors.Is(err, keys.ErrKeyDisabled):
		return gcerrors.FailedPrecondition
	case errors.As(err, &store):
		return store.code
	default:
		return gcerrors.Unknown
	}
}

// ErrorAs implements driver.Bucket: an error of the store, such as the SDK's own type, is all that the inner driver
// may show, since unlike a client or a request it opens no way around the gate.
func (b *bucket) ErrorAs(err error, target any) bool {
	var store *storeError
	return errors.As(err, &store) && b.inner.ErrorAs(store.err, target)
}

// leave records how an operation went and, where a value did not open, an alert. It returns r.Err, or where recording
// failed an error that is no longer taken for, say, an absent object.
func (b *bucket) leave(ctx context.Context, pass *gate.Pass, key string, r gate.Result) error {
	var alert error
	if errors.Is(r.Err, storage.ErrIsolation) {
		alert = pass.Alert(ctx, key)
	}
	unrecorded := errors.Join(alert, pass.Leave(ctx, r))
	var isolated *isolationError
	switch {
	case unrecorded == nil:
		return r.Err
	case r.Err == nil:
		return unrecorded
	case errors.As(r.Err, &isolated):
		return fmt.Errorf("%w (and %w)", unrecorded, isolated)
	default:
		return fmt.Errorf("%w (and the operation failed: %v)", unrecorded, r.Err)
	}
}
