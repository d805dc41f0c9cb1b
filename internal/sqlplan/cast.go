package sqlplan

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/closest"
	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// cast plans a cast to one of the allowed types. One of a literal is made while the statement is planned, and one of a
// parameter that has no type yet gives it its type, so that neither can fail for a row.
func (p *planner) cast(n *pg.Node, c *pg.TypeCast, in ctx) expr {
	p.mark(c)
	if p.lite {
		refuse("unsupported in SQLite", "cast", c.Location, "bind a value of the right type")
	}
	name := p.typeName(c.TypeName)
	plain := len(c.TypeName.Typmods) == 0
	if name == "bpchar" && plain {
		refuse("cast to char without a length", "bpchar", c.TypeName.Location, "write char(n), or text")
	}
	if text := c.Arg.GetAConst().GetSval().GetSval(); name == "bool" && (text == "t" || text == "f") && len(c.TypeName.ArrayBounds) == 0 {
		return expr{node: boolConst(text == "t"), typ: "bool", total: true} // which is how they are written back
	}
	to := p.typeOf(c.TypeName, name)
	if ref := c.Arg.GetParamRef(); ref != nil && plain {
		return p.castParam(n, c, ref, name, to)
	}
	in.operand = false
	arg := p.expr(c.Arg, in)
	c.Arg = arg.node
	e := expr{node: n, typ: to}.with(arg)
	_, literal := isConst(c.Arg)
	switch {
	case literal:
		// A domain's constraint is checked each time that the literal is evaluated, so declared types may fail later.
		e.total = plain && !p.declaredType(c.TypeName) || p.enumType(c.TypeName)
	case arg.near > 0 && slices.Contains([]builtin.Type{"date", "timestamp", "timestamptz"}, to) && plain:
		e.total, e.near = arg.total, arg.near
	default:
		e.total = plain && arg.total && builtin.Cast(arg.typ, to)
	}
	return e
}

// castParam plans a cast of a parameter. Where nothing has given it a type before, or all uses are under this cast, the cast
// does, and there is nothing to convert.
func (p *planner) castParam(n *pg.Node, c *pg.TypeCast, ref *pg.ParamRef, name string, to builtin.Type) expr {
	number := p.callerNumber(ref)
	cast := name + strings.Repeat("[]", len(c.TypeName.ArrayBounds))
	from, settled := p.types[number]
	if !settled {
		p.types[number] = to
		p.casts[number] = cast
	}
	c.Arg = p.asIs(number)
	e := expr{node: n, typ: to}
	e.total = !settled || p.casts[number] == cast || p.uses[number].alike() || from == to && to != builtin.Unknown || builtin.Cast(from, to)
	return e
}

// typeOf is the type that a cast names.
func (p *planner) typeOf(t *pg.TypeName, name string) builtin.Type {
	if p.declaredType(t) {
		if p.enumType(t) {
			return builtin.Type("enum:" + name)
		}
		return builtin.Unknown
	}
	return builtin.Canonical(name + strings.Repeat("[]", min(1, len(t.ArrayBounds))))
}

// enumType tells whether a type that typeName has checked is an enumeration of the catalog's.
func (p *planner) enumType(t *pg.TypeName) bool {
	fields, _ := names(t.Names)
	return len(t.ArrayBounds) == 0 && len(t.Typmods) == 0 && slices.Contains(p.cat.Enums, strings.Join(fields, "."))
}

// declaredType tells whether a type that typeName has checked is one of the catalog's, which may be a domain.
func (p *planner) declaredType(t *pg.TypeName) bool {
	fields, _ := names(t.Names)
	return len(fields) != 2 || fields[0] != "pg_catalog" || slices.Contains(p.cat.Types, strings.Join(fields, "."))
}

// types are the types that a cast may name, by the name in pg_catalog. Their input functions read no catalog, which
// those of regclass and its like do.
const types = "bool int2 int4 int8 float4 float8 numeric text varchar bpchar date time timetz timestamp timestamptz" +
	" interval uuid json jsonb bytea jsonpath inet cidr macaddr macaddr8 bit varbit tsvector tsquery" +
	" int4range int8range numrange daterange tsrange tstzrange"

// typeName checks a type, puts it into pg_catalog, and returns its name there.
func (p *planner) typeName(t *pg.TypeName) string {
	p.mark(t)
	fields, ok := names(t.Names)
	if !ok || len(fields) > 2 || len(fields) == 2 && fields[0] != "pg_catalog" || !contains(types, fields[len(fields)-1]) {
		if name := strings.Join(fields, "."); ok && len(t.Typmods) == 0 && slices.Contains(p.cat.Types, name) {
			return name
		}
		hint := "declare the type if its input reads no tables, or use one of " + strings.ReplaceAll(types, " ", ", ")
		if len(fields) > 0 {
			if like := closest.To(fields[len(fields)-1], slices.Concat(strings.Fields(types), p.cat.Types)); like != "" {
				hint = "did you mean " + like + "? otherwise " + hint
			}
		}
		refuse("type not in the allowlist", strings.Join(fields, "."), t.Location, hint)
	}
	for _, m := range t.Typmods {
		if c, ok := isConst(m); !ok || c.GetIval() == nil && c.Val != nil {
			refuse("unsupported type modifier", fields[len(fields)-1], t.Location, "use a number")
		}
	}
	name := fields[len(fields)-1]
	t.Names = strs("pg_catalog", name)
	return name
}
