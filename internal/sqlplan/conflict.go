package sqlplan

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// onConflict plans ON CONFLICT. The conflicting row is the tenant's own, because the key that conflicts includes the tenant
// column: the database takes only an index with exactly the columns and expressions that the plan names, of which one is
// the tenant column, whatever condition the index has.
func (p *planner) onConflict(c *pg.OnConflictClause, r *relation, l *level, ctes *cte) {
	t := r.base
	if c.Infer == nil {
		p.everyKeyScoped(t, c)
		return
	}
	p.conflictKey(c.Infer, r, l)
	if c.Action != pg.OnConflictAction_ONCONFLICT_UPDATE {
		return
	}
	excluded := &relation{name: "excluded", alias: "excluded", base: t, aliased: true, target: true, behind: true, depth: l.depth, columns: r.columns}
	sc := &scope{fragment: fragment{}.plus(show(r)).plus(show(excluded)), ctes: ctes, level: l}
	if p.lite { // where a name alone is the target's; PostgreSQL finds it ambiguous
		sc.columns = show(r).columns
	}
	in := ctx{scope: sc, clause: clauseSet}
	c.TargetList = p.assignments(r, p.withoutTenant(t, c.TargetList, excluded, in), excluded, in)
	// The key includes the tenant column; the predicate holds should the database compare it otherwise than byte by byte.
	in.clause = clauseWhere
	c.WhereClause = p.where(c.WhereClause, r, in)
}

// withoutTenant leaves out tenant_id = excluded.tenant_id, which ORMs write and which changes nothing.
func (p *planner) withoutTenant(t *Table, items []*pg.Node, excluded *relation, in ctx) []*pg.Node {
	out := slices.DeleteFunc(slices.Clone(items), func(n *pg.Node) bool {
		res := n.GetResTarget()
		c := p.columnNamed(t, res.Name)
		if c == nil || c.Name != t.TenantColumn {
			return false
		}
		v := p.bare(res.Val, in.scope)
		return v != nil && v.rel == excluded && v.column.column == t.TenantColumn
	})
	if len(out) == 0 {
		refuse("write to the tenant column", t.Name+"."+t.TenantColumn, -1, "a row does not change its tenant; write DO NOTHING, or set another column")
	}
	return out
}

// conflictKey plans what names the key: columns, expressions and a condition, or a constraint.
func (p *planner) conflictKey(infer *pg.InferClause, r *relation, l *level) {
	t := r.base
	if infer.Conname != "" {
		columns, ok := t.Constraints[infer.Conname]
		if !ok || p.lite {
			refuse("ON CONFLICT on an unknown constraint", infer.Conname, infer.Location, "name a primary key or a unique constraint of the table, or its columns")
		}
		if !slices.Contains(columns, t.TenantColumn) {
			refuse("ON CONFLICT on a key across tenants", infer.Conname, infer.Location, "add the tenant column to the key")
		}
		if p.cat.IndexVersions != 1 && slices.ContainsFunc(columns, func(name string) bool { c := t.column(name); return c != nil && c.Index }) {
			refuse("ON CONFLICT on a sealed column during a rotation of its index key", infer.Conname, infer.Location, "wait for the rotation to end")
		}
		infer.Conname = ""
		infer.IndexElems = nil
		for _, name := range columns {
			infer.IndexElems = append(infer.IndexElems, indexElem(name, nil))
		}
		return
	}
	var key []string
	var elems []*pg.Node
	in := ctx{scope: &scope{fragment: show(r), level: l}, clause: clauseSet}
	for _, n := range infer.IndexElems {
		e := n.GetIndexElem()
		if e.Expr != nil {
			elems = append(elems, indexElem("", unqualified(p.expr(e.Expr, in).node)))
			continue
		}
		name := p.keyColumn(t, e.Name, infer.Location)
		key = append(key, name)
		elems = append(elems, indexElem(name, nil))
	}
	if !slices.Contains(key, t.TenantColumn) {
		key = append(key, t.TenantColumn)
		elems = append(elems, indexElem(t.TenantColumn, nil))
	}
	if infer.WhereClause != nil {
		infer.WhereClause = unqualified(p.expr(infer.WhereClause, in).node)
	} else if len(key) == len(elems) && !t.isKey(key) {
		refuse("ON CONFLICT on columns that are no key", t.Name, infer.Location, "name the columns of a primary key or a unique constraint")
	}
	infer.IndexElems = elems
}

func indexElem(name string, e *pg.Node) *pg.Node {
	return &pg.Node{Node: &pg.Node_IndexElem{IndexElem: &pg.IndexElem{
		Name: name, Expr: e, Ordering: pg.SortByDir_SORTBY_DEFAULT, NullsOrdering: pg.SortByNulls_SORTBY_NULLS_DEFAULT}}}
}

// unqualified names columns without their table, as the database wants it in the place of an index's expression, where no
// other table is seen.
func unqualified(n *pg.Node) *pg.Node {
	visit(n.ProtoReflect(), func(m protoreflect.Message) {
		if ref, ok := m.Interface().(*pg.ColumnRef); ok && len(ref.Fields) == 2 {
			ref.Fields = ref.Fields[1:]
		}
	})
	return n
}

// everyKeyScoped admits ON CONFLICT DO NOTHING without a key where no key can conflict with another tenant's row.
func (p *planner) everyKeyScoped(t *Table, c *pg.OnConflictClause) {
	if c.Action != pg.OnConflictAction_ONCONFLICT_NOTHING {
		refuse("ON CONFLICT DO UPDATE without a key", t.Name, c.Location, "name the columns of a primary key or a unique constraint")
	}
	for _, key := range append([][]string{t.PrimaryKey}, t.UniqueKeys...) {
		if len(key) > 0 && !slices.Contains(key, t.TenantColumn) {
			refuse("ON CONFLICT on a table with a key across tenants", t.Name, c.Location, "add the tenant column to every key of the table")
		}
	}
}

// keyColumn returns the column that stands in a key for the one that ON CONFLICT names: for a searchable sealed
// column, its blind index.
func (p *planner) keyColumn(t *Table, name string, position int32) string {
	c := p.columnNamed(t, name)
	if c == nil || c.Index {
		refuse("unknown column", t.Name+"."+name, position, "name a declared column")
	}
	p.touch(&column{table: t.Name, column: c.Name, sealed: c.Sealed})
	if !c.Sealed {
		return c.Name
	}
	if c.IndexColumn == "" {
		refuse("ON CONFLICT on a sealed column that is not searchable", t.Name+"."+name, position, "declare it Searchable and make a key of its index column")
	}
	if p.cat.IndexVersions != 1 {
		refuse("ON CONFLICT on a sealed column during a rotation of its index key", t.Name+"."+name, position, "wait for the rotation to end")
	}
	return c.IndexColumn
}

// isKey tells whether the columns, in any order, are a primary or unique key.
func (t *Table) isKey(columns []string) bool {
	same := func(key []string) bool {
		a, b := slices.Sorted(slices.Values(key)), slices.Sorted(slices.Values(columns))
		return len(key) > 0 && slices.Equal(a, b)
	}
	return same(t.PrimaryKey) || slices.ContainsFunc(t.UniqueKeys, same)
}
