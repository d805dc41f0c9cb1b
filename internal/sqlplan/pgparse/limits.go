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
	// MaxTokens is the most tokens of a text, and of its tree. Planning takes a time that grows with them, some 10 µs each. The parser
	// has what SET (a, b) = (…) assigns in the tree once for each column, so that it counts as often.
	MaxTokens = 80_000
	// MaxDepth bounds nesting, in units: one for each open parenthesis, bracket and operator of a chain such as
	// a + b + c, one for each JOIN and UNION, two for a CASE and a nested SELECT.
	//
	// The parser is recursive C. With cgo it overruns the thread's stack, which ends the process, at some thousands; the
	// WebAssembly build has 64 KiB of stack, overruns it from some 90 of these units on (measured for each form of
	// nesting, see TestDepth), and its instance is not to be trusted afterwards. Both get the same limit.
	MaxDepth = 52
)

// LimitError says that a text is over [MaxLength], [MaxTokens] or [MaxDepth].
type LimitError struct {
	What     string // "length", "tokens" or "depth"
	Position int    // the byte offset where the limit was passed, or -1
}

func (e *LimitError) Error() string {
	switch e.What {
	case "length":
		return fmt.Sprintf("pgparse: the statement is longer than %d bytes", MaxLength)
	case "tokens":
		return fmt.Sprintf("pgparse: the statement has more than %d tokens", MaxTokens)
	}
	return fmt.Sprintf("pgparse: the statement is nested deeper than %d levels", MaxDepth)
}

// maxTree bounds the depth of a parse tree in messages. It is far over what [MaxDepth] admits, and is there in case
// the tokens were misjudged.
const maxTree = 10 * MaxDepth

// level is what one parenthesis or CASE holds open. Height is how far a tree reaches down from a place.
type level struct {
	opener  pg.Token
	query   int // 2 where a SELECT began, 3 where a WITH did
	logic   int // 1 for AND, 2 for OR: lists of any length, of one height
	lasting int // joins, set operations and the like, which no separator ends
	between int // BETWEENs whose AND is still to come
	height  int // of the operand or chain of operators that is being read
	highest int // of those that were read before

	weight  int // how often what stands here is in the tree, but for times
	times   int // how often what is assigned here is, beyond that
	set     bool
	columns int // of a list that SET may assign to; 0 in no such list
	list    int // columns of the list that ended just now
}

// weigh counts a token of the level, and returns how often the tree has what follows it.
func (l *level) weigh(t, previous pg.Token) int {
	columns := l.list
	l.list = 0
	switch t {
	case pg.Token_SET:
		l.set, l.times = true, 1
	case pg.Token_ASCII_44: // ,
		l.times = 1
		if l.columns > 0 {
			l.columns++
		}
	case pg.Token_ASCII_61: // =
		if columns > 0 {
			l.times = columns
		}
	case pg.Token_FROM:
		if previous != pg.Token_DISTINCT {
			l.times = 1
		}
	case pg.Token_WHERE, pg.Token_RETURNING, pg.Token_WHEN:
		l.times = 1
	}
	return l.weight * l.times
}

// open returns the level that a token opens.
func (l *level) open(t, previous pg.Token) *level {
	opened := &level{opener: t, weight: l.weight * l.times, times: 1}
	switch {
	case t == pg.Token_CASE:
		opened.query = 1
	case t == pg.Token_ASCII_40 && l.set && (previous == pg.Token_SET || previous == pg.Token_ASCII_44):
		opened.columns = 1
	}
	return opened
}

func (l *level) depth() int {
	return 1 + l.query + l.logic + l.lasting + max(l.height, l.highest)
}

// separate ends an operand of a list.
func (l *level) separate() {
	l.highest, l.height = max(l.highest, l.height), 0
}

// check refuses what could overrun the parser's stack. It overestimates: an operator counts as if everything to its
// left and to its right were nested in it.
func check(tokens []*pg.ScanToken) error {
	if len(tokens) > MaxTokens {
		return &LimitError{What: "tokens", Position: int(tokens[MaxTokens].Start)}
	}
	levels := []*level{{weight: 1, times: 1}}
	outer := 0 // the depth of all levels but the last
	all := 0   // tokens of the tree
	var previous pg.Token
	for _, t := range tokens {
		if t.Token == pg.Token_SQL_COMMENT || t.Token == pg.Token_C_COMMENT {
			continue // or IS DISTINCT/**/FROM would hide what DISTINCT is to FROM
		}
		top := levels[len(levels)-1]
		if all += top.weigh(t.Token, previous); all > MaxTokens {
			return &LimitError{What: "tokens", Position: int(t.Start)}
		}
		switch {
		case t.Token == pg.Token_ASCII_40, t.Token == pg.Token_ASCII_91, t.Token == pg.Token_CASE: // ( [
			outer += top.depth()
			levels = append(levels, top.open(t.Token, previous))
		case t.Token == pg.Token_ASCII_41, t.Token == pg.Token_ASCII_93: // ) ]
			// An unclosed CASE inside is a syntax error, which the parser reports.
			for closed := false; !closed && len(levels) > 1; {
				closed = levels[len(levels)-1].opener != pg.Token_CASE
				levels, outer = closeLevel(levels, outer)
			}
		case t.Token == pg.Token_END_P && top.opener == pg.Token_CASE:
			levels, outer = closeLevel(levels, outer)
		default:
			top.token(t, previous)
		}
		previous = t.Token
		if outer+levels[len(levels)-1].depth() > MaxDepth {
			return &LimitError{What: "depth", Position: int(t.Start)}
		}
	}
	return nil
}

// closeLevel ends the last level, which becomes a part of the operand that its parenthesis stands in.
func closeLevel(levels []*level, outer int) ([]*level, int) {
	last, parent := levels[len(levels)-1], levels[len(levels)-2]
	outer -= parent.depth()
	parent.height += last.depth()
	parent.list = last.columns
	return levels[:len(levels)-1], outer
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
		l.logic = max(l.logic, 1)
		l.separate()
	case pg.Token_OR:
		l.logic = 2
		l.separate()
	case pg.Token_FROM:
		if previous != pg.Token_DISTINCT {
			l.separate()
		}
	case pg.Token_WHEN, pg.Token_THEN, pg.Token_ELSE:
		if l.opener == pg.Token_CASE {
			l.separate()
		}
	case pg.Token_ON:
		if l.lasting > 0 { // of a join
			l.separate()
		}
	case pg.Token_ASCII_44, pg.Token_WHERE, pg.Token_HAVING:
		l.separate()
	case pg.Token_SELECT:
		l.separate()
		l.query = max(l.query, 2)
	case pg.Token_WITH:
		l.query = max(l.query, 3)
	case pg.Token_BETWEEN:
		l.between++
		l.height += 2
	case pg.Token_JOIN, pg.Token_UNION, pg.Token_INTERSECT, pg.Token_EXCEPT:
		l.separate()
		l.lasting++
	case pg.Token_CREATE, pg.Token_DO, pg.Token_EXPLAIN, pg.Token_PREPARE, pg.Token_DECLARE, pg.Token_COPY, pg.Token_ATOMIC:
		l.lasting += 2 // statements inside statements
	default:
		if chains(t) {
			l.height++
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

// chains tells the tokens that nest what follows or precedes them without a parenthesis. Every token that is not
// known to be harmless counts.
func chains(t *pg.ScanToken) bool {
	switch t.Token {
	case pg.Token_IDENT, pg.Token_SCONST, pg.Token_ICONST, pg.Token_FCONST, pg.Token_PARAM, pg.Token_ASCII_46, // .
		pg.Token_BCONST, pg.Token_XCONST, pg.Token_USCONST, pg.Token_UIDENT,
		pg.Token_ASCII_59, pg.Token_SQL_COMMENT, pg.Token_C_COMMENT: // ;
		return false
	case pg.Token_NOT, pg.Token_COLLATE, pg.Token_AT, pg.Token_IS, pg.Token_ISNULL, pg.Token_NOTNULL,
		pg.Token_IN_P, pg.Token_LIKE, pg.Token_ILIKE, pg.Token_SIMILAR, pg.Token_OPERATOR, pg.Token_ESCAPE,
		pg.Token_OVER, pg.Token_FILTER, pg.Token_WITHIN:
		return true
	}
	return t.KeywordKind == pg.KeywordKind_NO_KEYWORD
}
