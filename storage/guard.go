// Package storage holds what every guarded store has in common: what guards it, and the error of a value that is
// not where it belongs. Databases are in storage/sqldb, buckets in storage/blobs.
package storage

import (
	"errors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// ErrIsolation means that a stored value did not open where it was found: it belongs to another tenant, table,
// column or object, or it was damaged. The value is not returned, and the attempt is in the audit trail as an alert.
var ErrIsolation = errors.New("storage: a stored value does not belong where it was found")

// Guard is what a guarded store is guarded by. The same Guard serves any number of stores.
type Guard struct {
	// Keys opens the tenants' keys. Required.
	Keys *keys.Keyring
	// Audit records every access before it happens. Required.
	Audit audit.Recorder
	// Authorizer decides what an actor may do. Optional: nil admits every valid access to its own tenant's data.
	Authorizer tenant.Authorizer
	// Telemetry gets spans, metrics and log lines of the stores. Optional; keys.Options and audit.Options have their own.
	Telemetry *audit.Telemetry
}
