package session

import (
	"context"
	"errors"
	"slices"

	"github.com/strongroom-go/strongroom/tenant"
)

type namedKey struct{}

// Naming returns the context of a request whose URL names a clinic, as a link does that somebody was sent. The name chooses
// nothing: it is there for [Authorize] to be held against the session's.
func Naming(ctx context.Context, clinic string) context.Context {
	return context.WithValue(ctx, namedKey{}, clinic)
}

var (
	errOtherClinic = errors.New("the link is another clinic's")
	errNotBilling  = errors.New("billing needs no notes, findings or scans")
)

// medical is what only treatment needs.
var medical = []string{"patients.notes", "visits.finding"}

// Authorize is the service's [tenant.Authorizer]. It is asked before a statement is sent or an object touched, and knows what
// the statement reads. A refusal is a denial in the trail, with who asked and for what.
func Authorize(ctx context.Context, access tenant.Access, action tenant.Action) error {
	if named, ok := ctx.Value(namedKey{}).(string); ok && named != access.Tenant.String() {
		return errOtherClinic
	}
	if access.Purpose != "billing" {
		return nil
	}
	if action.Store == "blob" || slices.ContainsFunc(action.Columns, func(c string) bool { return slices.Contains(medical, c) }) {
		return errNotBilling
	}
	return nil
}
