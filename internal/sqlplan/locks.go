package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// An advisory lock is on a number that all tenants share. The plan takes it on a number that is mixed with the tenant's id: the
// first 64 bits of SHA-256 (FIPS 180-4) over id/key, or id/key/key, since no id has a slash. Tenants with one key never wait for
// each other but by chance, and one that may choose its keys finds none that is another's lock in less than 2^64 tries, which
// it would with PostgreSQL's own hashes.

var (
	advisoryLocks = []string{"pg_advisory_xact_lock", "pg_advisory_xact_lock_shared", "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared"}
	sessionLocks  = []string{"pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared",
		"pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all"}
)

// advisoryLock plans a lock for the transaction. One for the session would stay with the pooled connection.
func (p *planner) advisoryLock(n *pg.Node, f *pg.FuncCall, name string, in ctx) expr {
	p.callClauses(f, builtin.Facts{Kind: builtin.Scalar}, name, in)
	if in.clause != clauseTarget || len(f.Args) != 1 && len(f.Args) != 2 {
		refuse("advisory lock", name, f.Location, "take it with SELECT "+name+"(key)")
	}
	e := expr{node: n, typ: builtin.Unknown, volatile: true}
	text := p.textTenant()
	for _, arg := range f.Args {
		key := p.expr(arg, in)
		p.unsettle(key)
		key.node = p.castTo(p.castTo(key.node, map[int]string{1: "int8", 2: "int4"}[len(f.Args)]), "text")
		text, e = p.joined(p.joined(text, p.castTo(stringConst("/"), "text")), key.node), e.with(key)
	}
	digest := p.builtinCall("sha256", p.builtinCall("convert_to", text, stringConst("UTF8")))
	digits := p.builtinCall("substr", p.builtinCall("encode", digest, stringConst("hex")), intConst(1), intConst(16))
	bits := p.castTo(p.joined(p.castTo(stringConst("x"), "text"), digits), "bit")
	bits.GetTypeCast().TypeName.Typmods = []*pg.Node{intConst(64)}
	f.Funcname = strs("pg_catalog", name)
	f.Args = []*pg.Node{p.castTo(bits, "int8")}
	return e
}

func (p *planner) joined(left, right *pg.Node) *pg.Node {
	return p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, "||", left, right))
}

// builtinCall calls one of PostgreSQL's functions.
func (p *planner) builtinCall(name string, args ...*pg.Node) *pg.Node {
	f := &pg.FuncCall{Funcname: strs("pg_catalog", name), Args: args, Funcformat: pg.CoercionForm_COERCE_EXPLICIT_CALL}
	p.mark(f)
	return &pg.Node{Node: &pg.Node_FuncCall{FuncCall: f}}
}

// textTenant is the tenant's id as a text.
func (p *planner) textTenant() *pg.Node {
	return p.castTo(p.param(Param{Source: FromTenant, Use: AsIs}, "text of the tenant"), "text")
}

func (p *planner) castTo(n *pg.Node, name string) *pg.Node {
	t := &pg.TypeName{Names: strs("pg_catalog", name), Typemod: -1}
	c := &pg.TypeCast{Arg: n, TypeName: t}
	p.mark(t)
	p.mark(c)
	return &pg.Node{Node: &pg.Node_TypeCast{TypeCast: c}}
}
