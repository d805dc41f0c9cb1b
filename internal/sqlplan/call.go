package sqlplan

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// call plans a function call. Built-ins are named in pg_catalog, where no search_path can put another in their place.
func (p *planner) call(f *pg.FuncCall, in ctx) {
	p.mark(f)
	fields, ok := names(f.Funcname)
	name := strings.Join(fields, ".")
	builtinName := ""
	switch {
	case ok && len(fields) == 1:
		builtinName = fields[0]
	case ok && len(fields) == 2 && fields[0] == "pg_catalog":
		builtinName = fields[1]
	}
	if p.lite && f.Funcformat == pg.CoercionForm_COERCE_SQL_SYNTAX {
		builtinName = p.plainCall(f, builtinName)
	}
	b, known := findBuiltin(builtinName, p.lite)
	switch {
	case known && p.lite:
		f.Funcname = strs(builtinName)
	case known:
		f.Funcname = strs("pg_catalog", builtinName)
	case len(fields) == 1 && slices.Contains(p.cat.Functions, fields[0]):
		b.raises = true
	default:
		refuse("function not in the allowlist", name, f.Location,
			"compute it in the application, or declare the function if it reads no tables")
	}
	p.callClauses(f, b, name, in)
	// How long a function of several values takes can depend on what they are, such as strpos of a long text in a short
	// one, and so tell of rows that it must not see; length(bytea, encoding) and random(low, high) may fail too.
	if b.raises || !b.aggregate && !b.window && len(f.Args) > 1 {
		p.mayRaise(in)
	}
	if b.aggregate && name == "count" && len(f.Args) == 1 && !f.AggDistinct {
		if v := p.bare(f.Args[0], in.scope); v != nil {
			f.Args[0] = p.use(v) // counts what is not NULL, sealed or not
			return
		}
	}
	for i, n := range f.Args {
		if named := n.GetNamedArgExpr(); named != nil {
			if p.lite {
				refuse("unsupported in SQLite", "named argument", named.Location, "pass the arguments by position")
			}
			named.Arg = p.expr(named.Arg, in)
			continue
		}
		f.Args[i] = p.expr(n, in)
	}
}

// plainCall writes a call in SQL's own syntax, such as trim(both x from y), as SQLite's plain call of the same arguments.
func (p *planner) plainCall(f *pg.FuncCall, name string) string {
	plain := map[string]string{"btrim": "trim", "ltrim": "ltrim", "rtrim": "rtrim", "substring": "substring", "position": "instr"}[name]
	if plain == "" {
		refuse("unsupported in SQLite", name+" in SQL's own syntax", f.Location, "write it as a plain function call")
	}
	f.Funcformat = pg.CoercionForm_COERCE_EXPLICIT_CALL
	return plain
}

// callClauses plans what only aggregates and window functions may have.
func (p *planner) callClauses(f *pg.FuncCall, b builtin, name string, in ctx) {
	if !b.aggregate && !f.AggWithinGroup && (f.AggStar || f.AggDistinct || f.AggFilter != nil || len(f.AggOrder) > 0) {
		refuse("aggregate's clause on a function that is none", name, f.Location, "use an aggregate function")
	}
	if f.AggWithinGroup != b.ordered && (f.AggWithinGroup || !b.window) || f.AggWithinGroup && f.Over != nil {
		refuse("WITHIN GROUP", name, f.Location, "use WITHIN GROUP with ordered-set aggregates such as percentile_cont, and only with them")
	}
	if (b.window && f.Over == nil && !f.AggWithinGroup) || (!b.window && !b.aggregate && f.Over != nil) {
		refuse("OVER", name, f.Location, "use OVER with window and aggregate functions, and only with them")
	}
	if f.AggStar && name != "count" && name != "pg_catalog.count" {
		refuse("* as an argument", name, f.Location, "name the column")
	}
	for _, n := range f.AggOrder {
		by := n.GetSortBy()
		by.Node = p.expr(by.Node, in)
	}
	f.AggFilter = p.optional(f.AggFilter, in)
	if f.Over != nil {
		p.window(f.Over, in)
	}
}

// window plans a window's definition, whose items are expressions over the input.
func (p *planner) window(w *pg.WindowDef, in ctx) {
	p.exprs(w.PartitionClause, in)
	for _, n := range w.OrderClause {
		by := n.GetSortBy()
		by.Node = p.expr(by.Node, in)
	}
	w.StartOffset, w.EndOffset = p.optional(w.StartOffset, in), p.optional(w.EndOffset, in)
}
