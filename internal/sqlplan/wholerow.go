package sqlplan

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// rowFunctions are those that may be given a whole row, such as row_to_json(p): what comes out names the row's columns, and
// a relation's columns in a plan are those that the statement may name.
var rowFunctions = []string{"row_to_json", "to_json", "to_jsonb", "json_agg", "jsonb_agg", "count"}

// wholeRow plans an argument that is a whole row: a relation's name, or name.*. Ok is false where it is none.
func (p *planner) wholeRow(function string, n *pg.Node, in ctx) (row expr, ok bool) {
	ref := n.GetColumnRef()
	if ref == nil || p.lite || !slices.Contains(rowFunctions, function) {
		return expr{}, false
	}
	fields, plain := names(ref.Fields)
	if !plain {
		if fields, plain = names(ref.Fields[:len(ref.Fields)-1]); !plain || len(fields) != 1 {
			return expr{}, false
		}
	} else if len(fields) != 1 || p.namesColumn(fields[0], in.scope, ref.Location) {
		return expr{}, false
	}
	r := p.relationOf(in.scope, fields)
	if r == nil || r.scalar {
		return expr{}, false
	}
	p.visible(len(r.columns))
	row = expr{typ: builtin.Unknown, rels: relset{r}, total: true}
	for i := range r.columns {
		v := &visible{column: r.columns[i], rel: r}
		if v.sealed || r.target && r.base.hasHidden() {
			refuse("whole row of a table with sealed columns", r.name, ref.Location, "select its plain columns in a subquery and take that one's row")
		}
		if v.as != "" {
			refuse("whole row with two columns of one name", r.name+"."+v.name, ref.Location, "give the columns of the subquery different names")
		}
		row.total = row.total && p.use(v).total
	}
	// The form with * means the row, whatever columns are named like the relation.
	whole := &pg.ColumnRef{Fields: []*pg.Node{str(r.alias), {Node: &pg.Node_AStar{AStar: &pg.A_Star{}}}}}
	p.mark(whole)
	row.node = &pg.Node{Node: &pg.Node_ColumnRef{ColumnRef: whole}}
	return row, true
}

// namesColumn tells whether an unqualified name means a column.
func (p *planner) namesColumn(name string, s *scope, position int32) bool {
	for ; s != nil; s = s.parent {
		if p.local(s, name, position) != nil {
			return true
		}
	}
	return false
}

// hasHidden tells whether a table has columns that statements cannot name.
func (t *Table) hasHidden() bool {
	return slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Index || c.Sealed })
}
