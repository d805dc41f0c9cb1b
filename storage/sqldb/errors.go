package sqldb

import (
	"errors"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// RefusedError says that a statement was not proven to stay inside one tenant, and what to write instead. It holds
// no literal and no parameter value. Use [errors.As] to find it.
type RefusedError = sqlplan.RefusedError

// ErrTxTenant means that a statement in a transaction came with another tenant than the one that began it.
var ErrTxTenant = errors.New("sqldb: the transaction belongs to another tenant; use the context that began it")

// ErrSchemaChanged means that the database described a result otherwise than when it was opened: a table or column was
// changed under the running process.
var ErrSchemaChanged = errors.New("sqldb: the database's schema has changed since it was opened; open it again")

// ErrOutcomeUnknown means that a write outside a transaction, or a commit, was sent and that the connection or the context
// ended before the answer came, or that the rows it returns could not be shown. It may have taken place: read before you
// try again. The audit trail says "unknown" too. A write that was not sent, because its context had ended already, fails
// with the context's error alone. A transaction in which a statement was cut off like that can only be rolled back.
var ErrOutcomeUnknown = errors.New("sqldb: the write may have taken place, as no answer to it came; read before you try again")

var errTxTenant = ErrTxTenant

// errCommitRolledBack is PostgreSQL's answer to COMMIT in a transaction that had failed.
var errCommitRolledBack = errors.New("sqldb: the transaction had failed and was rolled back instead of committed")
