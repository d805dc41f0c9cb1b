package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// prelude computes what depends on no row and may fail, such as now() - $1::interval: once, before any row is met, and
// whether or not there is one, so that its failure tells of none. It is an item of FROM,
// (SELECT … AS strongroom_1, … OFFSET 0) prelude, whose columns conditions then compare with, as total expressions that can use
// an index. A scalar subquery in the place of a prelude would be evaluated when the first row asks for it, whoever's.
//
// PostgreSQL may put the item anywhere in the join. It meets only rows there that have left their scans.
type prelude struct {
	p     *planner
	level *level
	rel   *relation
	query *pg.SelectStmt
	item  *pg.Node // what stands in FROM; nil until something is hoisted
}

// newPrelude returns a prelude for a query that can have one.
func (p *planner) newPrelude(l *level) *prelude {
	if p.lite {
		return nil
	}
	return &prelude{p: p, level: l}
}

// takes tells whether an expression can be computed in the prelude: it reads no row, gives the same for all, and its
// parameters have the type that they would have in its place.
func (pre *prelude) takes(e expr) bool {
	if pre == nil || len(e.rels) > 0 || e.volatile || e.aggregate {
		return false
	}
	inside, fits := map[int32]int{}, true
	visit(e.node.ProtoReflect(), func(m protoreflect.Message) {
		switch n := m.Interface().(type) {
		case *pg.ParamRef:
			inside[n.Number]++
		case *pg.CollateClause: // the choice of a collation does not come out of a subquery
			fits = false
		case *pg.ColumnRef: // a query that reads the prelude cannot stand in it
			fields, _ := names(n.Fields)
			fits = fits && (pre.rel == nil || len(fields) == 0 || fields[0] != pre.rel.alias)
		}
	})
	for id, count := range inside {
		if param := pre.p.params[id-1]; param.Source == FromCaller {
			use := pre.p.uses[param.Caller]
			fits = fits && (use.count == count || use.alike())
		}
	}
	return fits
}

// hoist moves an expression into the prelude and returns what stands for it.
func (pre *prelude) hoist(e expr) expr {
	p := pre.p
	if pre.item == nil {
		pre.query = newSelect()
		pre.query.LimitOption, pre.query.LimitOffset = pg.LimitOption_LIMIT_OPTION_COUNT, intConst(0)
		pre.rel = &relation{alias: p.unique("prelude"), depth: pre.level.depth, behind: true}
		sub := &pg.RangeSubselect{Subquery: selectNode(pre.query), Alias: &pg.Alias{Aliasname: pre.rel.alias}}
		p.mark(pre.query)
		p.mark(sub)
		pre.item = &pg.Node{Node: &pg.Node_RangeSubselect{RangeSubselect: sub}}
	}
	name := "strongroom_" + itoa(len(pre.query.TargetList)+1)
	pre.query.TargetList = append(pre.query.TargetList, target(name, e.node))
	pre.level.fails = true
	return expr{node: p.columnRef(pre.rel.alias, name), typ: e.typ, total: true}
}

// before puts the prelude in front of the items of FROM, if there is something in it: beside them, or where conditions of
// joins read it, at the very left of the first one's joins.
func (pre *prelude) before(items []*pg.Node) []*pg.Node {
	if pre == nil || pre.item == nil {
		return items
	}
	if len(items) == 0 || items[0].GetJoinExpr() == nil || !leftDeep(items[0]) {
		return append([]*pg.Node{pre.item}, items...)
	}
	j := items[0].GetJoinExpr()
	for j.Larg.GetJoinExpr() != nil {
		j = j.Larg.GetJoinExpr()
	}
	cross := &pg.JoinExpr{Jointype: pg.JoinType_JOIN_INNER, Larg: pre.item, Rarg: j.Larg}
	pre.p.mark(cross)
	j.Larg = &pg.Node{Node: &pg.Node_JoinExpr{JoinExpr: cross}}
	return items
}

// leftDeep tells whether a prelude at the very left of an item's joins is never NULL: no join on the way to it keeps rows of
// its right side alone.
func leftDeep(n *pg.Node) bool {
	j := n.GetJoinExpr()
	if j == nil {
		return true
	}
	return (j.Jointype == pg.JoinType_JOIN_INNER || j.Jointype == pg.JoinType_JOIN_LEFT) && leftDeep(j.Larg)
}
