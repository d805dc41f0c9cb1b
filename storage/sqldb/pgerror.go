package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// redact removes from a server's error what can hold values. The detail ("Key (ssn)=(…) already exists"), the context and
// the inner statement always go. The message stays where PostgreSQL itself wrote it and it tells of names and types alone;
// elsewhere the condition's name takes its place, and for what a function or trigger raised, whose author chose every
// word, also the place of the names.
func redact(err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if notEncoded(err) {
			return errors.New("sqldb: a parameter cannot be encoded as the type that the database wants; pass a value of that type")
		}
		return err
	}
	c := *pg
	// Every procedural language reports where in it an error arose, and RAISE takes any SQLSTATE there is.
	raised := c.Where != ""
	c.Detail, c.Where, c.InternalQuery = "", "", ""
	if raised {
		c.SchemaName, c.TableName, c.ColumnName, c.DataTypeName, c.ConstraintName = "", "", "", "", ""
	}
	if raised || !tellsNames(c.Code) {
		c.Hint = ""
		c.Message = condition(c.Code) + " (the database's own words are withheld, as they can hold values)"
	}
	return &c
}

// notEncoded tells pgx's refusal of an argument, which prints it.
func notEncoded(err error) bool { return err != nil && strings.Contains(err.Error(), "encode args[") }

// tellsNames tells whether PostgreSQL's messages for a SQLSTATE are of names and types, and never of values: those of
// constraints have the values in the detail, and those of class 42 are about a statement whose constants are parameters.
func tellsNames(code string) bool {
	switch code[:min(2, len(code))] {
	case "08", "0A", "21", "23", "25", "28", "2D", "3B", "3D", "40", "53", "54", "55", "57":
		return true
	case "42":
		return code != "42704" && code != "42601" // an undefined object can be one that a parameter names
	}
	return false
}

// condition names what happened, by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
func condition(code string) string {
	if name, ok := conditions[code]; ok {
		return name
	}
	if name, ok := conditions[code[:min(2, len(code))]]; ok {
		return name
	}
	return "error"
}

var conditions = map[string]string{
	"22": "data exception", "22001": "string data too long", "22003": "numeric value out of range",
	"22007": "invalid datetime format", "22008": "datetime field overflow", "22009": "invalid time zone displacement",
	"22012": "division by zero", "22015": "interval field overflow", "22021": "character not in repertoire",
	"22023": "invalid parameter value", "22025": "invalid escape sequence", "22026": "string data length mismatch",
	"2201B": "invalid regular expression", "2201E": "invalid argument for logarithm", "2201F": "invalid argument for power function",
	"2201W": "invalid row count in LIMIT", "2201X": "invalid row count in OFFSET", "22P02": "invalid text representation",
	"22P03": "invalid binary representation", "22P05": "untranslatable character", "2200G": "most specific type mismatch",
	"22030": "duplicate JSON object key", "22032": "invalid JSON text",
	"23": "integrity constraint violation", "23502": "not-null violation", "23503": "foreign-key violation",
	"23505": "unique violation", "23514": "check violation", "23P01": "exclusion violation",
	"25": "invalid transaction state", "40": "transaction rollback", "40001": "serialization failure", "40P01": "deadlock detected",
	"42": "access rule violation", "42501": "insufficient privilege", "42704": "undefined object", "53": "insufficient resources",
	"54": "program limit exceeded", "55": "object not in prerequisite state", "55P03": "lock not available",
	"57": "operator intervention", "57014": "query cancelled", "P0": "a function or trigger of the database raised an error",
}

// lost tells errors by which the connection ended from those with which the database answered. A server that goes down
// says so at any moment, also between a commit and its acknowledgement.
func (s *pgSession) lost(err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	switch answered := errors.As(err, &pg); {
	case pgconn.SafeToRetry(err), notEncoded(err):
		return &unsentError{redact(err)}
	case answered && doubtful(pg), !answered && s.conn.IsClosed():
		return &noAnswerError{redact(err)}
	}
	return redact(err)
}

// doubtful tells a server's error that does not say how the statement went: it goes down, or it says itself that it does not
// know (completion or resolution unknown, of servers that are many machines).
func doubtful(pg *pgconn.PgError) bool {
	return pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC" || pg.Code == "40003" || pg.Code == "08007"
}

// badConn tells database/sql to try another connection where pgx knows that nothing was sent.
func (s *pgSession) badConn(err error) error {
	if pgconn.SafeToRetry(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return driver.ErrBadConn
	}
	return s.lost(err)
}
