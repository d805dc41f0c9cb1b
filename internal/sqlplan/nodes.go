package sqlplan

import pg "github.com/pganalyze/pg_query_go/v6"

// Constructors of the nodes that the planner puts into a tree.

func str(s string) *pg.Node {
	return &pg.Node{Node: &pg.Node_String_{String_: &pg.String{Sval: s}}}
}

func strs(names ...string) []*pg.Node {
	nodes := make([]*pg.Node, len(names))
	for i, n := range names {
		nodes[i] = str(n)
	}
	return nodes
}

func intConst(i int32) *pg.Node {
	return &pg.Node{Node: &pg.Node_AConst{AConst: &pg.A_Const{Val: &pg.A_Const_Ival{Ival: &pg.Integer{Ival: i}}}}}
}

func stringConst(s string) *pg.Node {
	return &pg.Node{Node: &pg.Node_AConst{AConst: &pg.A_Const{Val: &pg.A_Const_Sval{Sval: &pg.String{Sval: s}}}}}
}

func nullConst() *pg.Node {
	return &pg.Node{Node: &pg.Node_AConst{AConst: &pg.A_Const{Isnull: true}}}
}

func boolConst(b bool) *pg.Node {
	return &pg.Node{Node: &pg.Node_AConst{AConst: &pg.A_Const{Val: &pg.A_Const_Boolval{Boolval: &pg.Boolean{Boolval: b}}}}}
}

func target(name string, val *pg.Node) *pg.Node {
	return &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Name: name, Val: val}}}
}

func opExpr(kind pg.A_Expr_Kind, op string, left, right *pg.Node) *pg.Node {
	return &pg.Node{Node: &pg.Node_AExpr{AExpr: &pg.A_Expr{Kind: kind, Name: strs(op), Lexpr: left, Rexpr: right}}}
}

func eq(left, right *pg.Node) *pg.Node { return opExpr(pg.A_Expr_Kind_AEXPR_OP, "=", left, right) }

func list(items []*pg.Node) *pg.Node {
	return &pg.Node{Node: &pg.Node_List{List: &pg.List{Items: items}}}
}

func boolExpr(op pg.BoolExprType, args ...*pg.Node) *pg.Node {
	return &pg.Node{Node: &pg.Node_BoolExpr{BoolExpr: &pg.BoolExpr{Boolop: op, Args: args}}}
}

// caseWhen is CASE WHEN condition THEN result ELSE other END; other may be nil.
func caseWhen(condition, result, other *pg.Node) *pg.Node {
	when := &pg.Node{Node: &pg.Node_CaseWhen{CaseWhen: &pg.CaseWhen{Expr: condition, Result: result}}}
	return &pg.Node{Node: &pg.Node_CaseExpr{CaseExpr: &pg.CaseExpr{Args: []*pg.Node{when}, Defresult: other}}}
}

func selectNode(s *pg.SelectStmt) *pg.Node {
	return &pg.Node{Node: &pg.Node_SelectStmt{SelectStmt: s}}
}

func newSelect() *pg.SelectStmt {
	return &pg.SelectStmt{LimitOption: pg.LimitOption_LIMIT_OPTION_DEFAULT, Op: pg.SetOperation_SETOP_NONE}
}

// isConst tells whether n is a literal; NULL counts.
func isConst(n *pg.Node) (*pg.A_Const, bool) {
	c, ok := n.GetNode().(*pg.Node_AConst)
	if !ok {
		return nil, false
	}
	return c.AConst, true
}

// names returns the strings of a list of String nodes; ok is false where another node is among them.
func names(nodes []*pg.Node) (out []string, ok bool) {
	for _, n := range nodes {
		s, isString := n.GetNode().(*pg.Node_String_)
		if !isString {
			return nil, false
		}
		out = append(out, s.String_.Sval)
	}
	return out, true
}
