package sqlplan

import (
	"fmt"

	"github.com/strongroom-go/strongroom/internal/reason"
)

// RefusedError says that a statement was not proven safe, and what to write instead. Neither field holds a literal
// or a parameter value.
type RefusedError struct {
	// Reason is a short class, such as "range on a sealed column".
	Reason string
	// Construct is the offending piece of SQL, as a name or a keyword: a table, a column, a function, a clause.
	Construct string
	// Position is the byte offset of the construct in the statement, from 0; -1 when it is not known.
	Position int
	// Hint says what to do instead.
	Hint string

	class reason.Text // Reason, where Refused made the error
}

// Refused returns a [*RefusedError]. What is in it must hold no data: all of it is shown, and the reason goes into the audit trail in
// the clear.
func Refused(class reason.Text, construct string, position int, hint string) *RefusedError {
	return &RefusedError{Reason: string(class), Construct: construct, Position: position, Hint: hint, class: "refused: " + class}
}

func (e *RefusedError) Error() string {
	at := ""
	if e.Position >= 0 {
		at = fmt.Sprintf(" at byte %d", e.Position)
	}
	construct := ""
	if e.Construct != "" {
		construct = ": " + e.Construct
	}
	hint := ""
	if e.Hint != "" {
		hint = "; " + e.Hint
	}
	return "sqldb: statement refused: " + e.Reason + construct + at + hint
}

// AuditReason implements the gate's classification: the reason alone, and nothing of an error that is none of the library's making, since
// applications can make one, too.
func (e *RefusedError) AuditReason() reason.Text { return e.class }
