package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// figureName returns the name that PostgreSQL gives an output without AS, and how sure it is: 2 for a name of its own,
// 1 for the name of a type, 0 for ?column?. It follows FigureColnameInternal in parse_target.c.
func figureName(n *pg.Node) (string, int) {
	last := func(nodes []*pg.Node) (string, int) {
		fields, _ := names(nodes)
		if len(fields) == 0 {
			return "?column?", 0
		}
		return fields[len(fields)-1], 2
	}
	switch e := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		return last(e.ColumnRef.Fields)
	case *pg.Node_FuncCall:
		return last(e.FuncCall.Funcname)
	case *pg.Node_AExpr:
		if e.AExpr.Kind == pg.A_Expr_Kind_AEXPR_NULLIF {
			return "nullif", 2
		}
	case *pg.Node_TypeCast:
		if name, strength := figureName(e.TypeCast.Arg); strength > 1 {
			return name, strength
		}
		name, _ := last(e.TypeCast.TypeName.GetNames())
		return name, 1
	case *pg.Node_SubLink:
		switch e.SubLink.SubLinkType {
		case pg.SubLinkType_EXISTS_SUBLINK:
			return "exists", 2
		case pg.SubLinkType_ARRAY_SUBLINK:
			return "array", 2
		case pg.SubLinkType_EXPR_SUBLINK:
			if targets := e.SubLink.Subselect.GetSelectStmt().GetTargetList(); len(targets) > 0 {
				if t := targets[0].GetResTarget(); t.Name != "" {
					return t.Name, 2
				} else {
					return figureName(t.Val)
				}
			}
		}
	case *pg.Node_CaseExpr:
		if name, strength := figureName(e.CaseExpr.Defresult); strength > 1 {
			return name, strength
		}
		return "case", 1
	case *pg.Node_AArrayExpr:
		return "array", 2
	case *pg.Node_AIndirection: // the name of a field, which is refused, or of what is subscripted
		return figureName(e.AIndirection.Arg)
	case *pg.Node_CollateClause:
		return figureName(e.CollateClause.Arg)
	case *pg.Node_GroupingFunc:
		return "grouping", 2
	case *pg.Node_MergeSupportFunc:
		return "merge_action", 2
	case *pg.Node_CoalesceExpr:
		return "coalesce", 2
	case *pg.Node_MinMaxExpr:
		return strings.ToLower(e.MinMaxExpr.Op.String()[len("IS_"):]), 2
	case *pg.Node_SqlvalueFunction:
		return strings.TrimSuffix(strings.ToLower(strings.TrimPrefix(e.SqlvalueFunction.Op.String(), "SVFOP_")), "_n"), 2
	}
	if name := jsonName(n); name != "" {
		return name, 2
	}
	return "?column?", 0
}
