package sqlplan

import (
	"errors"
	"fmt"

	"github.com/strongroom-go/strongroom/internal/reason"
	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// refusal is how a refusal travels up through the recursive walk; New turns it into an error. Anything else that
// panics is a bug and is not caught.
type refusal struct{ err *RefusedError }

// interruption is how the end of the context travels up.
type interruption struct{ err error }

// refuse stops the planning. Neither construct nor hint may hold a literal.
func refuse(class, construct string, position int32, hint string) {
	if position < 0 {
		position = -1
	}
	panic(refusal{Refused(reason.Text(class), construct, int(position), hint)})
}

// hasPlaceholder tells whether a text has a ? that stands alone, as other databases write parameters.
func hasPlaceholder(sql string) bool {
	tokens, err := pgparse.Scan(sql)
	if err != nil {
		return false
	}
	for _, t := range tokens {
		if sql[t.Start:t.End] == "?" {
			return true
		}
	}
	return false
}

// parseRefusal turns a parser's error into a refusal.
func parseRefusal(err error) *RefusedError {
	var limit *pgparse.LimitError
	if errors.As(err, &limit) {
		hint := fmt.Sprintf("send it in parts of at most %d bytes", pgparse.MaxLength)
		switch limit.What {
		case "tokens":
			hint = fmt.Sprintf("send it in parts of at most %d words, numbers and signs; what SET (a, b) = (…) assigns counts once for each of the columns", pgparse.MaxTokens)
		case "depth":
			hint = "split the statement, or write a long chain of operators as a list or a function"
		}
		return Refused(reason.Text("statement over the limit of "+limit.What), "", limit.Position, hint)
	}
	position := -1
	var syntax *pgparse.SyntaxError
	if errors.As(err, &syntax) {
		position = syntax.Position
	}
	return Refused("syntax error", "", position, "write the statement in PostgreSQL's SQL")
}
