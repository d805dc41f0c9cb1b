package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// An advisory lock is on a number that all tenants share. The plan takes it on a number that is mixed with the tenant's id:
// hashtextextended(tenant, key), 64 bits of PostgreSQL's hash of the id, seeded with the key, so that tenants with one key
// never wait for each other but by chance. Two numbers are made one first, under another form of the id.

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
	tenant := p.textTenant()
	args := make([]*pg.Node, len(f.Args))
	for i, arg := range f.Args {
		key := p.expr(arg, in)
		if cast := arg.GetTypeCast(); key.param == 0 || cast == nil {
			key.node = p.castTo(key.node, map[int]string{1: "int8", 2: "int4"}[len(f.Args)])
		}
		p.unsettle(key)
		args[i], e = key.node, e.with(key)
	}
	key := args[0]
	if len(args) == 2 { // (key::int8 << 32) | (second::int8 & 4294967295)
		tenant = p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, "||", p.castTo(stringConst("2/"), "text"), tenant))
		high := p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, "<<", p.castTo(args[0], "int8"), intConst(32)))
		low := p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, "&", p.castTo(args[1], "int8"), p.castTo(stringConst("4294967295"), "int8")))
		key = p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, "|", high, low))
	}
	mixed := &pg.FuncCall{Funcname: strs("pg_catalog", "hashtextextended"), Args: []*pg.Node{tenant, key}, Funcformat: pg.CoercionForm_COERCE_EXPLICIT_CALL}
	p.mark(mixed)
	f.Funcname = strs("pg_catalog", name)
	f.Args = []*pg.Node{{Node: &pg.Node_FuncCall{FuncCall: mixed}}}
	return e
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
