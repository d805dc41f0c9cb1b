package pgparse

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Limits of a statement's text.
const (
	// MaxLength is the longest text that is parsed, in bytes.
	MaxLength = 256 << 10
	// MaxDepth bounds nesting: one for each open parenthesis or bracket and for each operator of a chain such as
	// a + b + c, JOIN or UNION, two for each CASE and nested SELECT.
	//
	// The parser is recursive C. With cgo it overruns the thread's stack, which ends the process, at some thousands;
	// the WebAssembly build has 64 KiB of stack without a guard page, and overruns it silently, into the parser's own
	// tables, from 90 of these units on (measured). Both get the same limit, with a margin of two.
	MaxDepth = 44
)

// LimitError says that a text is over [MaxLength] or [MaxDepth].
type LimitError struct {
	What     string // "length" or "depth"
	Position int    // the byte offset where the limit was passed, or -1
}

func (e *LimitError) Error() string {
	if e.What == "length" {
		return fmt.Sprintf("pgparse: the statement is longer than %d bytes", MaxLength)
	}
	return fmt.Sprintf("pgparse: the statement is nested deeper than %d levels", MaxDepth)
}

// level is what one parenthesis holds open.
type level struct {
	chain  int // operators since the last separator
	struc  int // joins and set operations, which no separator ends
	query  int // 2 where a SELECT began, 3 where a WITH did
	opener pg.Token
}

func (l level) depth() int { return 1 + l.chain + l.struc + l.query }

// check refuses what could overrun the parser's stack. It overestimates: an operator counts as if everything to its
// left were nested in it.
func check(tokens []*pg.ScanToken) error {
	levels := []level{{}}
	total := func() (n int) {
		for _, l := range levels {
			n += l.depth()
		}
		return n
	}
	for _, t := range tokens {
		top := &levels[len(levels)-1]
		switch t.Token {
		case pg.Token_ASCII_40, pg.Token_ASCII_91: // ( [
			levels = append(levels, level{opener: t.Token})
		case pg.Token_CASE:
			levels = append(levels, level{opener: t.Token, query: 1})
		case pg.Token_ASCII_41, pg.Token_ASCII_93: // ) ]
			levels = closeLevel(levels)
		case pg.Token_END_P:
			if top.opener == pg.Token_CASE {
				levels = levels[:len(levels)-1]
			}
		case pg.Token_ASCII_44, pg.Token_AND, pg.Token_OR, pg.Token_FROM, pg.Token_WHERE, pg.Token_ON,
			pg.Token_WHEN, pg.Token_THEN, pg.Token_ELSE, pg.Token_HAVING, pg.Token_ORDER, pg.Token_GROUP_P:
			top.chain = 0
		case pg.Token_SELECT:
			top.chain, top.query = 0, max(top.query, 2)
		case pg.Token_WITH:
			top.query = max(top.query, 3)
		case pg.Token_JOIN, pg.Token_UNION, pg.Token_INTERSECT, pg.Token_EXCEPT:
			top.struc++
		default:
			if chains(t) {
				top.chain++
			}
		}
		if len(levels) > MaxDepth || total() > MaxDepth {
			return &LimitError{What: "depth", Position: int(t.Start)}
		}
	}
	return nil
}

func closeLevel(levels []level) []level {
	for len(levels) > 1 {
		opener := levels[len(levels)-1].opener
		levels = levels[:len(levels)-1]
		if opener != pg.Token_CASE { // an unclosed CASE inside is a syntax error, which the parser reports
			break
		}
	}
	return levels
}

// chains tells the tokens that nest what follows or precedes them without a parenthesis. Every token that is not
// known to be harmless counts.
func chains(t *pg.ScanToken) bool {
	switch t.Token {
	case pg.Token_IDENT, pg.Token_SCONST, pg.Token_ICONST, pg.Token_FCONST, pg.Token_PARAM, pg.Token_ASCII_46, // .
		pg.Token_BCONST, pg.Token_XCONST, pg.Token_USCONST, pg.Token_UIDENT,
		pg.Token_ASCII_59, pg.Token_SQL_COMMENT, pg.Token_C_COMMENT: // ;
		return false
	case pg.Token_NOT, pg.Token_COLLATE, pg.Token_AT, pg.Token_IS, pg.Token_ISNULL, pg.Token_NOTNULL, pg.Token_BETWEEN,
		pg.Token_IN_P, pg.Token_LIKE, pg.Token_ILIKE, pg.Token_SIMILAR, pg.Token_OPERATOR, pg.Token_ESCAPE:
		return true
	}
	return t.KeywordKind == pg.KeywordKind_NO_KEYWORD
}
