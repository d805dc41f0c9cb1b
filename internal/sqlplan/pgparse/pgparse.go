// Package pgparse is PostgreSQL's own parser, scanner and deparser (libpg_query, PostgreSQL 17's grammar), with and
// without cgo: [Parse], [Deparse], [Scan], [Normalize] and [Fingerprint].
//
// With cgo it is pganalyze/pg_query_go; without, the same C code compiled to WebAssembly (wasilibs/go-pgquery), whose
// module is loaded on first use, which takes one to two seconds once per process.
package pgparse

import (
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Tree is the parse tree of a text with any number of statements.
type Tree = pg.ParseResult

// SyntaxError is a parser's complaint. It holds no piece of the statement, because the piece may be a literal.
type SyntaxError struct {
	// Position is the byte offset of what the parser could not read, from 0; -1 when it is not known.
	Position int
}

func (e *SyntaxError) Error() string { return "pgparse: syntax error" }

// Parse returns the syntax tree of sql, a [*SyntaxError], or a [*LimitError].
func Parse(sql string) (*Tree, error) {
	if _, err := Scan(sql); err != nil {
		return nil, err
	}
	tree, err := parse(sql)
	if err != nil {
		return nil, wrap(sql, err)
	}
	if tooDeep(tree.ProtoReflect(), maxTree) {
		return nil, &LimitError{What: "depth", Position: -1}
	}
	return tree, nil
}

// Scan returns the tokens of sql with their byte offsets, a [*SyntaxError], or a [*LimitError].
func Scan(sql string) ([]*pg.ScanToken, error) {
	if len(sql) > MaxLength {
		return nil, &LimitError{What: "length", Position: -1}
	}
	if !utf8.ValidString(sql) || strings.IndexByte(sql, 0) >= 0 { // C would end the text at a NUL
		return nil, &SyntaxError{Position: -1}
	}
	result, err := scan(sql)
	if err != nil {
		return nil, wrap(sql, err)
	}
	return result.Tokens, check(result.Tokens)
}

// Deparse returns the canonical text of tree. The tree must not be nested deeper than [Parse] admits.
func Deparse(tree *Tree) (string, error) {
	if tooDeep(tree.ProtoReflect(), maxTree) {
		return "", &LimitError{What: "depth", Position: -1}
	}
	text, err := deparse(tree)
	return text, wrap("", err)
}

// Normalize returns sql, which [Parse] must have accepted, with its literals replaced by parameters. It keeps comments.
func Normalize(sql string) (string, error) {
	text, err := normalize(sql)
	return text, wrap(sql, err)
}

// Fingerprint returns a digest of the shape of sql, which [Parse] must have accepted: the same for texts that differ
// in literals and layout alone.
func Fingerprint(sql string) (string, error) {
	digest, err := fingerprint(sql)
	return digest, wrap(sql, err)
}

// wrap drops the parser's message, which quotes the text near the error.
func wrap(sql string, err error) error {
	if err == nil {
		return nil
	}
	position := -1
	if cursor := cursorOf(err); cursor > 0 {
		position = byteOffset(sql, cursor-1)
	}
	return &SyntaxError{Position: position}
}

// byteOffset converts an offset in characters, which the parser reports, into one in bytes.
func byteOffset(sql string, characters int) int {
	for i := range sql {
		if characters == 0 {
			return i
		}
		characters--
	}
	return len(sql)
}
