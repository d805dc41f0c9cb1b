package pgparse

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
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

// maxTree bounds the depth of a parse tree in messages. It is far over what [MaxDepth] admits, and is there in case
// the tokens were misjudged.
const maxTree = 12 * MaxDepth

// level is what one parenthesis or CASE holds open.
type level struct {
	opener  pg.Token
	query   int // 2 where a SELECT began, 3 where a WITH did
	lasting int // joins, set operations and the like, which no separator ends
	chain   int // operators since the last separator
	between int // BETWEENs whose AND is still to come
}

func (l level) depth() int { return 1 + l.query + l.lasting + l.chain }

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
	var previous pg.Token
	for _, t := range tokens {
		switch t.Token {
		case pg.Token_ASCII_40, pg.Token_ASCII_91: // ( [
			levels = append(levels, level{opener: t.Token})
		case pg.Token_CASE:
			levels = append(levels, level{opener: t.Token, query: 1})
		case pg.Token_ASCII_41, pg.Token_ASCII_93: // ) ]
			levels = closeLevel(levels)
		case pg.Token_END_P:
			if levels[len(levels)-1].opener == pg.Token_CASE {
				levels = levels[:len(levels)-1]
			}
		default:
			levels[len(levels)-1].token(t, previous)
		}
		previous = t.Token
		if len(levels) > MaxDepth || total() > MaxDepth {
			return &LimitError{What: "depth", Position: int(t.Start)}
		}
	}
	return nil
}

// token counts a token that opens and closes nothing. Only what surely separates two operands of one list ends a chain:
// AND does, but not the one of BETWEEN; FROM does, but not that of IS DISTINCT FROM.
func (l *level) token(t *pg.ScanToken, previous pg.Token) {
	switch t.Token {
	case pg.Token_AND:
		if l.between > 0 {
			l.between--
			return
		}
		l.chain = 0
	case pg.Token_FROM:
		if previous != pg.Token_DISTINCT {
			l.chain = 0
		}
	case pg.Token_WHEN, pg.Token_THEN, pg.Token_ELSE:
		if l.opener == pg.Token_CASE {
			l.chain = 0
		}
	case pg.Token_ON:
		if l.lasting > 0 { // of a join
			l.chain = 0
		}
	case pg.Token_ASCII_44, pg.Token_OR, pg.Token_WHERE, pg.Token_HAVING:
		l.chain = 0
	case pg.Token_SELECT:
		l.chain, l.query = 0, max(l.query, 2)
	case pg.Token_WITH:
		l.query = max(l.query, 3)
	case pg.Token_BETWEEN:
		l.between++
		l.lasting++
	case pg.Token_JOIN, pg.Token_UNION, pg.Token_INTERSECT, pg.Token_EXCEPT,
		// Statements inside statements.
		pg.Token_CREATE, pg.Token_DO, pg.Token_EXPLAIN, pg.Token_PREPARE, pg.Token_DECLARE, pg.Token_COPY, pg.Token_ATOMIC:
		l.lasting++
	default:
		if chains(t) {
			l.chain++
		}
	}
}

// tooDeep tells whether a tree is deeper than limit.
func tooDeep(m protoreflect.Message, limit int) bool {
	if limit == 0 {
		return true
	}
	deep := false
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Message() != nil:
			for i := 0; i < v.List().Len() && !deep; i++ {
				deep = tooDeep(v.List().Get(i).Message(), limit-1)
			}
		case f.Message() != nil:
			deep = tooDeep(v.Message(), limit-1)
		}
		return !deep
	})
	return deep
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
	case pg.Token_NOT, pg.Token_COLLATE, pg.Token_AT, pg.Token_IS, pg.Token_ISNULL, pg.Token_NOTNULL,
		pg.Token_IN_P, pg.Token_LIKE, pg.Token_ILIKE, pg.Token_SIMILAR, pg.Token_OPERATOR, pg.Token_ESCAPE:
		return true
	}
	return t.KeywordKind == pg.KeywordKind_NO_KEYWORD
}
