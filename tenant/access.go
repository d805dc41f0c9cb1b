package tenant

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"
)

var (
	// ErrMissing means that the context carries no [Access]: nothing is read or written without one.
	ErrMissing = errors.New("tenant: no access in the context; put one there with tenant.NewContext or tenant.Middleware")
	// ErrInvalidAccess is wrapped by every error about an [Access] that lacks a part or has an unusable one.
	ErrInvalidAccess = errors.New("tenant: invalid access")
	// ErrDenied is wrapped by every refusal of an [Authorizer].
	ErrDenied = errors.New("tenant: access denied")
)

// Limits of an [Access]'s texts, in bytes.
const (
	MaxActorLength   = 256
	MaxPurposeLength = 128
	MaxRequestLength = 128
)

// Access is one authenticated request's claim: for whom, by whom, and why.
type Access struct {
	// Tenant is whose data is touched. Required.
	Tenant ID
	// Actor is the stable identifier of the authenticated person or service, at most [MaxActorLength] bytes.
	// Required. The audit trail shows it as a pseudonym and keeps it sealed under the tenant's own key.
	Actor string
	// Purpose is why, as a short code such as "treatment" or "billing", at most [MaxPurposeLength] bytes.
	// Required. It stands in the audit trail in the clear: never put personal data in it.
	Purpose string
	// Request is the application's identifier of the request, at most [MaxRequestLength] bytes. Optional. It
	// stands in the audit trail in the clear.
	Request string
}

// Validate reports every part of a that is missing or unusable; the error wraps [ErrInvalidAccess].
func (a Access) Validate() error {
	var problems []error
	if a.Tenant.IsZero() {
		problems = append(problems, errors.New("the Tenant is the zero ID; obtain it from tenant.Parse"))
	}
	check := func(name, value string, limit int, required bool) {
		switch {
		case value == "" && required:
			problems = append(problems, fmt.Errorf("%s is empty; set it", name))
		case len(value) > limit:
			problems = append(problems, fmt.Errorf("%s has %d bytes, over the limit of %d", name, len(value), limit))
		case !printable(value):
			problems = append(problems, fmt.Errorf("%s is not printable UTF-8 text", name))
		}
	}
	check("Actor", a.Actor, MaxActorLength, true)
	check("Purpose", a.Purpose, MaxPurposeLength, true)
	check("Request", a.Request, MaxRequestLength, false)
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidAccess, errors.Join(problems...))
}

// printable refuses what could forge or break a line of a log that shows the text.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 {
			return false
		}
	}
	return true
}

type contextKey struct{}

// NewContext returns a context that carries a. An Access already in ctx is replaced; a is checked when it is used.
func NewContext(ctx context.Context, a Access) context.Context {
	return context.WithValue(ctx, contextKey{}, a)
}

// FromContext returns the valid [Access] that ctx carries, or an error that wraps [ErrMissing] or
// [ErrInvalidAccess].
func FromContext(ctx context.Context) (Access, error) {
	a, ok := ctx.Value(contextKey{}).(Access)
	if !ok {
		return Access{}, ErrMissing
	}
	if err := a.Validate(); err != nil {
		return Access{}, err
	}
	return a, nil
}
