package sqlplan

import pg "github.com/pganalyze/pg_query_go/v6"

// shown are columns that stand somewhere as they are, by the plan's alias of their relation and their name there.
type shown map[[2]string]bool

func (s shown) add(n *pg.Node) {
	if ref := n.GetColumnRef(); ref != nil {
		fields, _ := names(ref.Fields)
		s[[2]string{fields[0], fields[1]}] = true
	}
}

// byKey tells whether n is a column of a table whose primary key is in keys. Rows that are equal in those then are one
// row of that table, or none where an outer join found none; so they have one and the same ciphertext, and comparing
// ciphertexts tells no more apart than comparing the values would. The key must not be NULL, which SQLite allows.
func (q *selection) byKey(n *pg.Node, keys shown) bool {
	ref := n.GetColumnRef()
	if ref == nil {
		return false
	}
	fields, _ := names(ref.Fields)
	for _, r := range q.scope.relations {
		if r.alias == fields[0] {
			return r.base != nil && r.base.keyNotNull() && r.keyIn(keys)
		}
	}
	return false
}

func (t *Table) keyNotNull() bool {
	for _, name := range t.PrimaryKey {
		if c := t.column(name); c == nil || !c.NotNull {
			return false
		}
	}
	return len(t.PrimaryKey) > 0
}

// distinctSealed refuses DISTINCT over sealed outputs, where equal values have different ciphertexts, unless the
// outputs tell the rows apart anyway. ORMs write so to read each row of a join once.
func (q *selection) distinctSealed() {
	keys := shown{}
	for _, n := range q.s.TargetList {
		keys.add(n.GetResTarget().Val)
	}
	for i, c := range q.out {
		if c.sealed && !q.byKey(q.s.TargetList[i].GetResTarget().Val, keys) {
			refuse("DISTINCT over a sealed column", c.table+"."+c.column, -1,
				"equal values have different ciphertexts; select the table's primary key too, or leave out DISTINCT")
		}
	}
}

// groupedSealed is a sealed column in GROUP BY.
type groupedSealed struct {
	column
	node     *pg.Node
	position int32
}

// checkGrouped refuses sealed columns in GROUP BY without their row's key, and with grouping sets, which may lack the key.
func (q *selection) checkGrouped() {
	keys := q.grouped()
	for _, g := range q.sealedGroups {
		if q.sets || !q.byKey(g.node, keys) {
			refuse("GROUP BY a sealed column", g.table+"."+g.column.column, g.position,
				"equal values have different ciphertexts; group by the table's primary key, or by a plain column")
		}
	}
}

// grouped returns the columns that GROUP BY names, also by ordinal.
func (q *selection) grouped() shown {
	keys := shown{}
	for _, n := range q.s.GroupClause {
		if c, ok := isConst(n); ok {
			keys.add(q.s.TargetList[c.GetIval().GetIval()-1].GetResTarget().Val)
		}
		keys.add(n)
	}
	return keys
}
