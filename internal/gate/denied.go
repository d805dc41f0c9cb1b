package gate

import (
	"github.com/strongroom-go/strongroom/internal/reason"
	"github.com/strongroom-go/strongroom/tenant"
)

// deniedError is an authorizer's refusal. Its class is the gate's own: what an application says of itself is not for the trail, nor
// for telemetry.
type deniedError struct{ why error }

func (e *deniedError) Error() string { return tenant.ErrDenied.Error() + ": " + e.why.Error() }

func (e *deniedError) Unwrap() []error { return []error{tenant.ErrDenied, e.why} }

// AuditReason implements [Reasoner].
func (e *deniedError) AuditReason() reason.Text { return "unauthorized" }
