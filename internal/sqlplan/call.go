package sqlplan

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/closest"
	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// builtinName names a built-in in pg_catalog, where no search_path can put another in its place.
func (p *planner) builtinName(name string) []*pg.Node {
	if p.lite {
		return strs(name)
	}
	return strs("pg_catalog", name)
}

// declaredFunction tells whether a name is one of the catalog's further functions.
func (p *planner) declaredFunction(fields []string) bool {
	return slices.Contains(p.cat.Functions, strings.Join(fields, "."))
}

// call plans a function call.
func (p *planner) call(n *pg.Node, f *pg.FuncCall, in ctx) expr {
	p.mark(f)
	fields, ok := names(f.Funcname)
	name := fields[len(fields)-1]
	if !ok || len(fields) > 2 {
		name = ""
	}
	if p.lite && f.Funcformat == pg.CoercionForm_COERCE_SQL_SYNTAX {
		name = p.plainCall(f, name)
	}
	if len(fields) == 2 && fields[0] != "pg_catalog" {
		name = ""
	}
	if !p.lite && slices.Contains(advisoryLocks, name) {
		return p.advisoryLock(n, f, name, in)
	}
	if !p.lite && name == "nextval" {
		return p.nextval(n, f)
	}
	facts, known := builtin.Function(p.engine, name, nil)
	if !p.lite && name == "current_setting" && ownSetting(f.Args) {
		facts, known = builtin.Facts{Kind: builtin.Scalar, Returns: "text"}, true
	}
	if !p.lite && name == "row_to_json" {
		facts, known = builtin.Facts{Kind: builtin.Scalar, Returns: "json"}, true
	}
	declared := !known && ok && p.declaredFunction(fields)
	switch {
	case known:
		f.Funcname = p.builtinName(name)
	case !declared:
		p.refuseFunction(fields, f.Location)
	}
	p.callClauses(f, facts, name, in)
	if facts.Kind == builtin.SetReturning {
		if p.lite || in.clause != clauseTarget && in.clause != clauseFrom && in.clause != clauseRow {
			refuse("function that returns rows", name, f.Location, "call it in FROM or in the select list")
		}
		if in.clause == clauseRow { // and in no subquery of the row's
			p.multiplied++
		}
	}
	e := expr{node: n, typ: builtin.Unknown}
	e.aggregate = e.aggregate || (facts.Kind == builtin.Aggregate || facts.Kind == builtin.Ordered) && f.Over == nil
	if facts.Kind == builtin.Aggregate && name == "count" && len(f.Args) == 1 && !f.AggDistinct {
		if _, row := p.wholeRow(name, f.Args[0], in); row {
			// below, as an argument
		} else if v := p.bare(f.Args[0], in.scope); v != nil {
			counted := p.use(v) // counts what is not NULL, sealed or not
			f.Args[0] = counted.node
			e.typ, e.total = "int8", counted.total && f.AggFilter == nil && f.Over == nil
			e = e.with(counted).with(p.callParts(f, in)...)
			p.ownAggregate(e, f.Over, name, f.Location, in)
			return e
		}
	}
	config := false
	if !p.lite && contains("to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery ts_headline", name) {
		f.Args, config = plainConfig(f.Args)
	}
	args := make([]expr, len(f.Args))
	rows, apart := name, true // whether telling values apart fails for none
	if p.jsonRows == f {
		rows = "json_agg"
	}
	for i, arg := range f.Args {
		if row, ok := p.wholeRow(rows, arg, in); ok {
			args[i], f.Args[i] = row, row.node
			apart = !f.AggDistinct // some types cannot be compared, which PostgreSQL finds when it meets two rows
			continue
		}
		if arg.GetRowExpr() != nil && name == "count" && f.AggDistinct {
			args[i] = p.row(arg, in)
			continue
		}
		if named := arg.GetNamedArgExpr(); named != nil {
			known = false // which signature it is, is not followed
			args[i] = p.expr(named.Arg, in)
			named.Arg = args[i].node
			continue
		}
		if array := arg.GetFuncCall(); array != nil && !p.lite && contains("array_to_json to_json to_jsonb", name) {
			if fields, _ := names(array.Funcname); len(fields) > 0 && fields[len(fields)-1] == "array_agg" {
				p.jsonRows = array
			}
		}
		args[i] = p.expr(arg, in)
		f.Args[i] = args[i].node
	}
	if config && name == "ts_headline" && len(args) == 3 && bare(f.Args[2]) {
		// Without the cast of the first, three arguments without a type may be a text, a query and options.
		f.Args[2] = p.castTo(f.Args[2], "tsquery")
	}
	if p.lite && (name == "substr" || name == "substring") {
		p.substring(f, args, name)
	}
	e = e.with(args...).with(p.callParts(f, in)...)
	if facts.Kind == builtin.Aggregate || facts.Kind == builtin.Ordered {
		p.ownAggregate(e, f.Over, name, f.Location, in)
	}
	e.volatile, p.effects = e.volatile || declared, p.effects || declared
	if !known {
		return e
	}
	types := make([]builtin.Type, len(args))
	for i, arg := range args {
		types[i] = arg.typ
	}
	if slices.Contains(types, "citext") && builtin.OfCitext(name) {
		refuse("function that the extension citext has of its own", name, f.Location,
			"it ignores case there, and here it would not; cast the argument to text, or to lower(…), where case is to count")
	}
	if given, ok := builtin.Function(p.engine, name, types); ok {
		facts = given
	}
	e.typ, e.volatile = facts.Returns, e.volatile || facts.Volatile
	plain := apart && f.AggFilter == nil && f.Over == nil && len(f.AggOrder) == 0
	e.total = facts.Total && plain && allTotal(args)
	switch {
	case p.lite:
	case p.searches(name, args):
		e.total, e.typ = true, "tsquery"
	case name == "date_trunc":
		if e.near = truncated(args); e.near > 0 {
			e.total, e.typ = true, args[1].typ
		}
	case len(args) == 0 && contains("now transaction_timestamp statement_timestamp", name):
		e.near = nowIsNear
	}
	return e
}

// ownAggregate refuses an aggregate that reads rows of the queries around it alone, since it is theirs. The query that it stands
// in is none with an aggregate then: it has as many rows as its FROM, and its HAVING is a condition on rows.
func (p *planner) ownAggregate(e expr, over *pg.WindowDef, name string, position int32, in ctx) {
	if over == nil && len(e.rels) > 0 && !e.rels.at(in.scope.level.depth) {
		refuse("aggregate of a query around this one", name, position, "compute it in a subquery in FROM, or in WITH, and name its column here")
	}
}

// callParts plans what only aggregates and window functions have.
func (p *planner) callParts(f *pg.FuncCall, in ctx) []expr {
	var parts []expr
	for _, n := range f.AggOrder {
		by := n.GetSortBy()
		e := p.expr(by.Node, in)
		by.Node, parts = e.node, append(parts, e)
		p.nulls(by, e)
	}
	if f.AggFilter != nil {
		e := p.expr(f.AggFilter, in)
		f.AggFilter, parts = e.node, append(parts, e)
	}
	if f.Over != nil {
		parts = append(parts, p.window(f.Over, in)...)
	}
	return parts
}

// plainConfig leaves out the cast of a text search configuration that is written out, 'simple'::regconfig, which the function makes, and tells
// whether there was one.
func plainConfig(args []*pg.Node) ([]*pg.Node, bool) {
	if len(args) < 2 || args[0].GetTypeCast() == nil {
		return args, false
	}
	cast := args[0].GetTypeCast()
	fields, _ := names(cast.TypeName.Names)
	c, literal := isConst(cast.Arg)
	if name := strings.Join(fields, "."); !literal || c.GetSval() == nil || name != "regconfig" && name != "pg_catalog.regconfig" ||
		len(cast.TypeName.ArrayBounds) > 0 || len(cast.TypeName.Typmods) > 0 {
		return args, false
	}
	return append([]*pg.Node{cast.Arg}, args[1:]...), true
}

// bare tells a literal or a parameter, which has the type of the place that it stands in.
func bare(n *pg.Node) bool {
	_, literal := isConst(n)
	return literal || n.GetParamRef() != nil
}

// ownSetting tells whether the arguments of current_setting name a setting of the application's own, which has a prefix, as a
// literal: not one of the server's, nor the guard's.
func ownSetting(args []*pg.Node) bool {
	if len(args) < 1 || len(args) > 2 {
		return false
	}
	c, ok := isConst(args[0])
	prefix, _, prefixed := strings.Cut(c.GetSval().GetSval(), ".")
	return ok && prefixed && prefix != "" && !strings.EqualFold(prefix, "strongroom") && strings.IndexFunc(prefix, notLetter) < 0
}

func notLetter(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_')
}

func (p *planner) refuseFunction(fields []string, position int32) {
	name := fields[len(fields)-1]
	hint := "compute it in the application, or declare the function if it reads no tables"
	switch {
	case slices.Contains(sessionLocks, name):
		hint = "a lock of the session would stay with the pooled connection; take pg_advisory_xact_lock, which ends with the transaction"
	case contains("pg_notify", name):
		hint = "a channel is shared by all tenants; send the message through a table of the tenant's, or on a connection that is not guarded"
	case name == "current_setting":
		hint = "name a setting of the application's own as a literal, such as 'app.region'"
	case contains("currval lastval setval", name):
		hint = "a pooled connection has other tenants' last numbers; read the column with RETURNING"
	case contains("uuid_generate_v4 uuid_generate_v1 uuid_generate_v1mc", name):
		hint = "use gen_random_uuid(), which PostgreSQL has itself, or " + hint
	case name == "set_config":
		hint = "make settings in the connection's parameters"
	}
	if like := closest.To(name, builtin.Names(p.engine)); like != "" {
		hint = "did you mean " + like + "? otherwise " + hint
	}
	refuse("function not in the allowlist", strings.Join(fields, "."), position, hint)
}

// plainCall writes a call in SQL's own syntax, such as trim(both x from y), as SQLite's plain call of the same arguments.
func (p *planner) plainCall(f *pg.FuncCall, name string) string {
	plain := map[string]string{"btrim": "trim", "ltrim": "ltrim", "rtrim": "rtrim", "substring": "substring", "position": "instr"}[name]
	if plain == "" {
		refuse("unsupported in SQLite", name+" in SQL's own syntax", f.Location, "write it as a plain function call")
	}
	if cast := f.Args[len(f.Args)-1].GetTypeCast(); cast != nil && name == "substring" && len(f.Args) == 3 && cast.Location < 0 {
		f.Args[2] = cast.Arg // which substring(x FOR n) has of the grammar's making
	}
	f.Funcformat = pg.CoercionForm_COERCE_EXPLICIT_CALL
	return plain
}

// callClauses refuses the clauses of aggregates and window functions on functions that are none.
func (p *planner) callClauses(f *pg.FuncCall, b builtin.Facts, name string, in ctx) {
	aggregate, window := b.Kind == builtin.Aggregate, b.Kind == builtin.Window
	ordered := b.Kind == builtin.Ordered || b.Both
	if !aggregate && !f.AggWithinGroup && (f.AggStar || f.AggDistinct || f.AggFilter != nil || len(f.AggOrder) > 0) {
		refuse("aggregate's clause on a function that is none", name, f.Location, "use an aggregate function")
	}
	if f.AggWithinGroup != ordered && (f.AggWithinGroup || !window) || f.AggWithinGroup && f.Over != nil {
		refuse("WITHIN GROUP", name, f.Location, "use WITHIN GROUP with ordered-set aggregates such as percentile_cont, and only with them")
	}
	if (window && f.Over == nil && !f.AggWithinGroup) || (!window && !aggregate && f.Over != nil) {
		refuse("OVER", name, f.Location, "use OVER with window and aggregate functions, and only with them")
	}
	if f.AggStar && name != "count" {
		refuse("* as an argument", name, f.Location, "name the column")
	}
}

// window plans a window's definition, whose items are expressions over the input.
func (p *planner) window(w *pg.WindowDef, in ctx) []expr {
	parts := p.exprs(w.PartitionClause, in)
	for _, n := range w.OrderClause {
		by := n.GetSortBy()
		e := p.expr(by.Node, in)
		by.Node, parts = e.node, append(parts, e)
		p.nulls(by, e)
	}
	var start, end expr
	w.StartOffset, start = p.optional(w.StartOffset, in)
	w.EndOffset, end = p.optional(w.EndOffset, in)
	return append(parts, start, end)
}
