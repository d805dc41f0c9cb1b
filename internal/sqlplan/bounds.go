package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// Some operators are total only while an operand is bounded: a tsquery of tens of thousands of words, or jsonb nested as
// deep, overruns PostgreSQL's stack. A literal is measured here, a parameter when it is bound.

// Limits of parameters with [Param.Nesting] and [Param.Query].
const (
	MaxNesting = builtin.MaxNesting
	MaxQuery   = builtin.MaxQuery
)

// Depth is how deep the text of a JSON value is nested.
func Depth(json string) int { return builtin.Depth(json) }

// within tells whether an operator that is total within a bound is so for these operands, and notes what is to be checked
// of parameters.
func (p *planner) within(op string, left, right expr) bool {
	if p.lite {
		return false
	}
	switch builtin.Requires(op, left.typ, right.typ) {
	case builtin.Nesting:
		return p.shallow(left) || p.shallow(right)
	case builtin.Length:
		query := right
		if left.typ == "tsquery" || right.typ == "tsvector" {
			query = left
		}
		return query.column != nil && query.column.table != "" || p.shortQuery(query)
	}
	return false
}

// shallow tells whether an operand is a jsonb that is written out or bound, and is not nested deep.
func (p *planner) shallow(e expr) bool {
	n := e.node
	if cast := n.GetTypeCast(); cast != nil {
		n = cast.Arg
	}
	if c, ok := isConst(n); ok {
		return builtin.Depth(c.GetSval().GetSval()) <= MaxNesting
	}
	if ref := n.GetParamRef(); ref != nil && p.params[ref.Number-1].Source == FromCaller {
		p.params[ref.Number-1].Nesting = true
		return true
	}
	return false
}

// shortQuery tells whether an operand is a tsquery that is made of texts that are written out or bound, and are not long.
func (p *planner) shortQuery(e expr) bool {
	if len(e.rels) > 0 || e.node == nil {
		return false
	}
	short, params := true, []int32{}
	visit(e.node.ProtoReflect(), func(m protoreflect.Message) {
		switch n := m.Interface().(type) {
		case *pg.SubLink, *pg.ColumnRef:
			short = false
		case *pg.FuncCall: // none that makes a longer text of a short one
			fields, _ := names(n.Funcname)
			short = short && contains("to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery lower upper", fields[len(fields)-1])
		case *pg.A_Expr: // && and || of queries, few of which fit into a statement
			op, _ := names(n.Name)
			short = short && len(op) == 1 && contains("&& ||", op[0])
		case *pg.A_Const:
			short = short && len(n.GetSval().GetSval()) <= MaxQuery
		case *pg.ParamRef:
			short = short && p.params[n.Number-1].Source == FromCaller
			params = append(params, n.Number)
		}
	})
	if !short || len(params) > 3 {
		return false
	}
	for _, id := range params {
		p.params[id-1].Query = true
	}
	return true
}

// searches tells whether a function makes a tsquery of any text, if no word of it is too long: of one that is written out or
// bound, with a configuration that is written out or none.
func (p *planner) searches(name string, args []expr) bool {
	if p.lite || !contains("plainto_tsquery phraseto_tsquery websearch_to_tsquery", name) || len(args) == 0 || len(args) > 2 {
		return false
	}
	if _, literal := isConst(args[0].node); len(args) == 2 && !literal {
		return false
	}
	text := args[len(args)-1]
	n := text.node
	if cast := n.GetTypeCast(); cast != nil && text.typ == "text" {
		n = cast.Arg
	}
	if c, ok := isConst(n); ok {
		return ShortWords(c.GetSval().GetSval())
	}
	ref := n.GetParamRef()
	if ref == nil || !text.total || p.params[ref.Number-1].Source != FromCaller {
		return false
	}
	p.params[ref.Number-1].Query = true
	return true
}

// MaxWord is the longest word of a text with [Param.Query], in bytes. PostgreSQL refuses a lexeme of 2,047 bytes, and folding
// its case may make a word half as long again.
const MaxWord = 1000

// ShortWords tells whether a text has at most [MaxQuery] bytes, and no run without a space of more than [MaxWord].
func ShortWords(text string) bool {
	run := 0
	for i := range len(text) {
		if run++; text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r' {
			run = 0
		}
		if run > MaxWord {
			return false
		}
	}
	return len(text) <= MaxQuery
}
