package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// A parameter of the caller's is one parameter of the plan wherever it is bound as it is, so that PostgreSQL finds one type
// for it, as it would in the caller's statement. PostgreSQL takes the first place, in the order in which it analyses a
// statement, that says what a parameter is; the planner walks in that order, and leaves the places where they are.

// paramUse is how often the caller's statement names a parameter, and under which cast.
type paramUse struct {
	count int
	cast  string // of the first use; empty where it has none
	mixed bool   // another use has another cast, or none
}

// alike tells whether every use is under one and the same cast, so that the parameter's type depends on no order.
func (u paramUse) alike() bool { return u.cast != "" && !u.mixed }

// countParams counts the uses of parameters.
func countParams(stmt *pg.Node) map[int]paramUse {
	uses := map[int]paramUse{}
	casts := map[*pg.ParamRef]string{}
	visit(stmt.ProtoReflect(), func(m protoreflect.Message) {
		switch n := m.Interface().(type) {
		case *pg.TypeCast:
			if ref := n.Arg.GetParamRef(); ref != nil && len(n.TypeName.Typmods) == 0 {
				fields, _ := names(n.TypeName.Names)
				casts[ref] = strings.TrimPrefix(strings.Join(fields, "."), "pg_catalog.") + strings.Repeat("[]", len(n.TypeName.ArrayBounds))
			}
		case *pg.ParamRef:
			u := uses[int(n.Number)]
			if cast := casts[n]; u.count == 0 {
				u.cast = cast
			} else if cast != u.cast {
				u.mixed = true
			}
			u.count++
			uses[int(n.Number)] = u
		}
	})
	return uses
}

// settlePlain gives a parameter that nothing has given a type before the type that a sealed column would give it. The
// database does not see that place: others of the same parameter say the type with a cast, see asIs.
func (p *planner) settlePlain(sealed *Param, c *Column) {
	n := sealed.Caller
	if _, settled := p.types[n]; sealed.Source == FromCaller && !settled && c.Plain != "" && !p.lite {
		p.types[n], p.plain[n] = builtin.Canonical(c.Plain), c.Plain
		for _, earlier := range p.untyped[n] {
			earlier.Node = p.castTo(&pg.Node{Node: earlier.Node}, c.Plain).Node
		}
	}
}

// asIs is a parameter of the caller's that is bound as it is.
func (p *planner) asIs(n int) *pg.Node {
	param := p.param(Param{Source: FromCaller, Caller: n, Use: AsIs}, "")
	if plain := p.plain[n]; plain != "" {
		return p.castTo(param, plain)
	}
	return param
}

// parameter plans a parameter that is bound as it is. Operand tells that an operator is around it, which settles its type
// once the other operand is known; any other place may give it a type that the planner does not know.
func (p *planner) parameter(ref *pg.ParamRef, operand bool) expr {
	n := p.callerNumber(ref)
	e := expr{node: p.asIs(n), total: true, param: n}
	if p.lite {
		e.typ = builtin.Adapts
		return e
	}
	typ, settled := p.types[n]
	switch {
	case settled:
		e.typ = typ
	case !operand:
		p.types[n] = builtin.Unknown // from here on
	}
	return e
}

// settle gives a parameter that nothing has given a type before the type of the operand on the other side. PostgreSQL takes
// an operand of an unknown type to be of the other's.
func (p *planner) settle(e, other expr) {
	if e.param == 0 || p.lite {
		return
	}
	if _, settled := p.types[e.param]; settled {
		return
	}
	switch t := other.typ; {
	case t == builtin.Adapts && other.param == 0, t == "varchar":
		p.types[e.param] = "text"
	case t == builtin.Adapts, t == "bpchar", strings.HasPrefix(string(t), "enum:"):
		p.types[e.param] = builtin.Unknown
	default:
		p.types[e.param] = t
	}
}

// callerNumber checks the number of a parameter and notes that it was met.
func (p *planner) callerNumber(ref *pg.ParamRef) int {
	n := int(ref.Number)
	if n < 1 || n > MaxParams {
		refuse("parameter number out of range", "", ref.Location, "number parameters from $1 to $"+itoa(MaxParams))
	}
	if _, ok := p.callers[n]; !ok {
		p.callers[n] = ref.Location
	}
	return n
}

// pattern marks a parameter as the end of a LIKE pattern, which is checked when it is bound.
func (p *planner) patternParam(ref *pg.ParamRef, tail bool) expr {
	e := p.parameter(ref, true)
	p.settle(e, expr{typ: "text"})
	if id := p.param(Param{Source: FromCaller, Caller: e.param, Use: AsIs}, "").GetParamRef().Number; tail {
		p.params[id-1].Pattern = true
	} else {
		p.params[id-1].Head = true
	}
	return e
}

// unsettle says that the types of parameters are found by a place that the planner does not follow.
func (p *planner) unsettle(parts ...expr) {
	for _, e := range parts {
		if _, settled := p.types[e.param]; e.param != 0 && !settled {
			p.types[e.param] = builtin.Unknown
		}
	}
}
