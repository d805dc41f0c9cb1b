package keys

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/recording"
	"github.com/strongroom-go/strongroom/tenant"
)

// sealerWait is how long a life-cycle operation waits for the sealer of its own events. A suspension must not wait
// for a KEK provider that hangs.
const sealerWait = time.Second

// trail is one life-cycle operation in the audit trail.
type trail struct {
	ring        *Keyring
	code        audit.Code
	id          tenant.ID
	sealer      *auditSealer
	correlation string
	keyVersion  uint32
	reason      string
	about       string // what of the keys, in the details
	key         uint32 // a single key that it is about, in the details; 0 for none
	note        string // what else is to be known of an outcome that succeeded, in the clear
	kek         string // the provider whose KEK it is about, in the details; "" for none
}

// begin checks what every operation with a reason needs, and prepares its events.
func (r *Keyring) begin(ctx context.Context, code audit.Code, id tenant.ID, reason string) (*trail, error) {
	if err := r.usable(ctx, id); err != nil {
		return nil, err
	}
	if err := checkReason(reason); err != nil {
		return nil, err
	}
	return r.trail(code, id, r.quickSealer(ctx, id), reason)
}

func checkReason(reason string) error {
	if len(reason) > maxReasonLength {
		return fmt.Errorf("keys: the reason has %d bytes, over the limit of %d", len(reason), maxReasonLength)
	}
	return nil
}

// intend records that an operation is about to happen.
func (r *Keyring) intend(ctx context.Context, code audit.Code, id tenant.ID, sealer *auditSealer, reason string) (*trail, error) {
	t, err := r.trail(code, id, sealer, reason)
	if err != nil {
		return nil, err
	}
	return t, t.intend(ctx)
}

func (t *trail) intend(ctx context.Context) error {
	return t.ring.record(ctx, t.event(ctx, audit.Intent, audit.Success))
}

func (r *Keyring) trail(code audit.Code, id tenant.ID, sealer *auditSealer, reason string) (*trail, error) {
	correlation, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("%w: no randomness for a correlation id: %w", audit.ErrUnavailable, err)
	}
	return &trail{ring: r, code: code, id: id, sealer: sealer, correlation: correlation.String(), reason: reason}, nil
}

// outcome records how the operation went and returns err, joined with the recorder's own.
func (t *trail) outcome(ctx context.Context, err error) error {
	e := t.event(ctx, audit.Outcome, audit.Success)
	e.Reason = t.note
	if err != nil {
		e.Status, e.Reason = audit.Failure, class(err)
	}
	// What happened is recorded although the caller may have gone.
	if rerr := t.ring.record(context.WithoutCancel(ctx), e); rerr != nil {
		return errors.Join(err, fmt.Errorf("keys: tenant %s: the outcome could not be recorded: %w", t.id, rerr))
	}
	return err
}

func (t *trail) event(ctx context.Context, phase audit.Phase, status audit.Status) *audit.Event {
	e := t.ring.event(ctx, t.code, t.id, t.sealer)
	e.Phase, e.Status, e.Correlation, e.KeyVersion = phase, status, t.correlation, t.keyVersion
	if t.reason != "" || t.about != "" || t.key != 0 || t.kek != "" {
		e.Details = map[string]string{}
	}
	if t.reason != "" {
		e.Details["reason"] = t.reason
	}
	switch {
	case t.key != 0:
		e.Details["purpose"], e.Details["key"] = t.about, strconv.FormatUint(uint64(t.key), 10)
	case t.about != "" && t.code == audit.CodeKeyExport:
		e.Details["purpose"] = t.about
	case t.about != "":
		e.Details["rotated"] = t.about
	case t.kek != "":
		e.Details["kek"] = t.kek
	}
	return e
}

// event begins an event about the keys of a tenant. The actor is who the context says, whatever tenant they act for
// there: an administrator's own.
func (r *Keyring) event(ctx context.Context, code audit.Code, id tenant.ID, sealer *auditSealer) *audit.Event {
	e := &audit.Event{Code: code, Tenant: id, Actor: r.opts.Actor, Rows: -1, Bytes: -1}
	if a, err := tenant.FromContext(ctx); err == nil {
		e.Actor, e.Purpose, e.Request = a.Actor, a.Purpose, a.Request
	}
	if sealer != nil {
		e.Sealer = sealer
	}
	return e
}

// record hands an event to the recorder, if there is one, and makes sure that its failure carries the sentinel.
func (r *Keyring) record(ctx context.Context, e *audit.Event) error {
	if r.opts.Audit == nil {
		return nil
	}
	err := recording.Record(ctx, r.opts.Audit, e)
	if err == nil || errors.Is(err, audit.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", audit.ErrUnavailable, err)
}

// quickSealer returns the tenant's sealer if it can be had soon, else nil: then details stay out of the event. So they do where its key is used
// up, or what helps, which is to rotate it, could not be recorded, and so not be done.
func (r *Keyring) quickSealer(ctx context.Context, id tenant.ID) *auditSealer {
	if r.opts.Audit == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sealerWait)
	defer cancel()
	s, err := r.AuditSealer(ctx, id)
	if err != nil {
		return nil
	}
	return s.(*auditSealer).unlessUsedUp()
}

// class is the short, data-free reason that a failed operation has in the trail, "" for nil.
func class(err error) string {
	if err == nil {
		return ""
	}
	for _, c := range []struct {
		is   error
		text string
	}{
		{ErrNotProvisioned, "not provisioned"}, {ErrSuspended, "suspended"}, {ErrShredded, "shredded"},
		{ErrIntegrity, "key material not this tenant's"}, {ErrExhausted, "keys used up"}, {ErrKeyNeeded, "the key is still needed"}, {ErrConflict, "changed by somebody else"},
		{context.Canceled, "cancelled"}, {context.DeadlineExceeded, "deadline exceeded"}, {ErrUnavailable, "keys unavailable"},
	} {
		if errors.Is(err, c.is) {
			return c.text
		}
	}
	return "error"
}
