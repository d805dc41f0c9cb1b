package audit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// ErrTampered means that a log is not what was recorded: something in it was changed, taken out, put in or cut.
// Errors that wrap it are [TamperError] values.
var ErrTampered = errors.New("audit: the log was tampered with or damaged")

// TamperError says where a log differs from what was recorded. It wraps [ErrTampered].
type TamperError struct {
	File  string // relative to the log's directory
	Index int64  // of the event, from 0; -1 where it is not about one
	What  string
}

// Error implements error.
func (e *TamperError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("%v: %s: %s", ErrTampered, plainName(e.File), e.What)
	}
	return fmt.Sprintf("%v: %s: event %d: %s", ErrTampered, plainName(e.File), e.Index, e.What)
}

// plainName returns the name of a file as it may be printed. Whoever can write to the directory can name a file so that it
// commands a terminal, or reads like the result of verification.
func plainName(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r == ' ' || r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		return strconv.QuoteToASCII(name)
	}
	return name
}

// Unwrap returns [ErrTampered].
func (e *TamperError) Unwrap() error { return ErrTampered }
