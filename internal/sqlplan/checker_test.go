package sqlplan

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// A checker of plans that shares nothing with the planner but the lists of names. It reads a plan's text, and knows only
// what a safe text looks like: every table of a tenant stands alone in a query whose condition begins with the tenant
// predicate, or is the target of a write with the predicate or the tenant's value.

type checker struct {
	cat      *Catalog
	plan     *Plan
	ctes     map[string]bool
	inferred map[*pg.ColumnRef]bool
	problems []string
	tables   int
}

// checkPlan returns what is wrong with a plan for PostgreSQL.
func checkPlan(plan *Plan, cat *Catalog) []string {
	tree, err := pgparse.Parse(plan.SQL)
	if err != nil {
		return []string{err.Error()}
	}
	c := &checker{cat: cat, plan: plan, ctes: map[string]bool{}, inferred: map[*pg.ColumnRef]bool{}}
	if text, err := pgparse.Deparse(tree); err != nil || text != plan.SQL {
		c.problem("not canonical: %s", text)
	}
	if len(tree.Stmts) != 1 {
		c.problem("%d statements", len(tree.Stmts))
		return c.problems
	}
	visitAll(tree.ProtoReflect(), func(m protoreflect.Message) {
		if cte, ok := m.Interface().(*pg.CommonTableExpr); ok {
			c.ctes[cte.Ctename] = true
			if cat.Tables[cte.Ctename] != nil {
				c.problem("a common table expression named like the table %s", cte.Ctename)
			}
		}
	})
	stmt := tree.Stmts[0].Stmt
	safe := map[*pg.RangeVar]bool{}
	visitAll(stmt.ProtoReflect(), func(m protoreflect.Message) { c.writes(m, safe) })
	visitAll(stmt.ProtoReflect(), func(m protoreflect.Message) { c.derived(m, safe) })
	visitAll(stmt.ProtoReflect(), func(m protoreflect.Message) { c.node(m, safe) })
	c.outputs(stmt)
	return c.problems
}

func (c *checker) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func visitAll(m protoreflect.Message, visit func(protoreflect.Message)) {
	visit(m)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil {
			return true
		}
		if f.IsList() {
			for i := range v.List().Len() {
				visitAll(v.List().Get(i).Message(), visit)
			}
			return true
		}
		visitAll(v.Message(), visit)
		return true
	})
}

func (c *checker) table(rv *pg.RangeVar) *Table {
	t := c.cat.Tables[rv.Relname]
	if t == nil || t.Schema != rv.Schemaname {
		return nil
	}
	return t
}

func (c *checker) isTenant(n *pg.Node) bool {
	ref := n.GetParamRef()
	if ref == nil || ref.Number < 1 || int(ref.Number) > len(c.plan.Params) {
		return false
	}
	p := c.plan.Params[ref.Number-1]
	return p.Source == FromTenant && p.Use == AsIs
}

// scoped tells whether a condition holds for rows of the tenant alone: it is the predicate, or an AND that begins with it.
func (c *checker) scoped(where *pg.Node, alias, column string) bool {
	if b := where.GetBoolExpr(); b != nil {
		return b.Boolop == pg.BoolExprType_AND_EXPR && c.scoped(b.Args[0], alias, column)
	}
	e := where.GetAExpr()
	if e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP || len(e.Name) != 1 || e.Name[0].GetString_().Sval != "=" {
		return false
	}
	fields := e.Lexpr.GetColumnRef().GetFields()
	return len(fields) == 2 && fields[0].GetString_().GetSval() == alias && fields[1].GetString_().GetSval() == column && c.isTenant(e.Rexpr)
}

// writes checks the target of a statement that writes, wherever it stands.
func (c *checker) writes(m protoreflect.Message, safe map[*pg.RangeVar]bool) {
	check := func(rv *pg.RangeVar, ok func(t *Table, alias string) bool) {
		t := c.table(rv)
		switch {
		case t == nil || t.Shared:
			c.problem("write to %s", rv.Relname)
		case !ok(t, rv.GetAlias().GetAliasname()):
			c.problem("unscoped write to %s", rv.Relname)
		default:
			safe[rv] = true
			c.tables++
		}
	}
	switch s := m.Interface().(type) {
	case *pg.UpdateStmt:
		check(s.Relation, func(t *Table, alias string) bool {
			return !sets(s.TargetList, t.TenantColumn) && c.scoped(s.WhereClause, alias, t.TenantColumn)
		})
	case *pg.DeleteStmt:
		check(s.Relation, func(t *Table, alias string) bool { return c.scoped(s.WhereClause, alias, t.TenantColumn) })
	case *pg.InsertStmt:
		check(s.Relation, func(t *Table, _ string) bool { return c.inserts(s, t) })
	case *pg.MergeStmt:
		check(s.Relation, func(t *Table, alias string) bool { return c.merges(s, t, alias) })
	}
}

// sets tells whether a list of assignments or columns names a column.
func sets(targets []*pg.Node, column string) bool {
	return slices.ContainsFunc(targets, func(n *pg.Node) bool { return n.GetResTarget().Name == column })
}

// merges checks the join, and each action by itself.
func (c *checker) merges(s *pg.MergeStmt, t *Table, alias string) bool {
	for _, n := range s.MergeWhenClauses {
		when := n.GetMergeWhenClause()
		ok := false
		switch when.MatchKind {
		case pg.MergeMatchKind_MERGE_WHEN_MATCHED:
			ok = c.scoped(when.Condition, alias, t.TenantColumn) && !sets(when.TargetList, t.TenantColumn)
		case pg.MergeMatchKind_MERGE_WHEN_NOT_MATCHED_BY_TARGET:
			ok = when.CommandType == pg.CmdType_CMD_NOTHING || c.insertsRow(when.TargetList, when.Values, t)
		}
		if !ok {
			return false
		}
	}
	return c.scoped(s.JoinCondition, alias, t.TenantColumn)
}

// insertsRow tells whether the value for the tenant column is the tenant.
func (c *checker) insertsRow(cols, values []*pg.Node, t *Table) bool {
	at := slices.IndexFunc(cols, func(n *pg.Node) bool { return n.GetResTarget().Name == t.TenantColumn })
	return at >= 0 && len(values) == len(cols) && c.isTenant(values[at])
}

func (c *checker) inserts(s *pg.InsertStmt, t *Table) bool {
	sel := s.SelectStmt.GetSelectStmt()
	for _, row := range sel.GetValuesLists() {
		if !c.insertsRow(s.Cols, row.GetList().Items, t) {
			return false
		}
	}
	if len(sel.GetValuesLists()) == 0 {
		var values []*pg.Node
		for _, n := range sel.GetTargetList() {
			values = append(values, n.GetResTarget().Val)
		}
		if sel.Op != pg.SetOperation_SETOP_NONE || !c.insertsRow(s.Cols, values, t) {
			return false
		}
	}
	if conflict := s.OnConflictClause; conflict != nil {
		named := conflict.Infer == nil
		for _, e := range conflict.Infer.GetIndexElems() {
			named = named || e.GetIndexElem().Name == t.TenantColumn
		}
		return !sets(conflict.TargetList, t.TenantColumn) && named && (conflict.Infer != nil || len(conflict.TargetList) == 0)
	}
	return true
}

// derived marks the table of a query that reads nothing but it, for the tenant alone.
func (c *checker) derived(m protoreflect.Message, safe map[*pg.RangeVar]bool) {
	sub, ok := m.Interface().(*pg.RangeSubselect)
	if !ok {
		return
	}
	s := sub.Subquery.GetSelectStmt()
	if len(s.GetFromClause()) != 1 || sub.Lateral {
		return
	}
	rv := s.FromClause[0].GetRangeVar()
	if rv == nil {
		return
	}
	t := c.table(rv)
	if t == nil || s.GroupClause != nil || s.SortClause != nil || s.WithClause != nil || s.LimitCount != nil || s.HavingClause != nil {
		return
	}
	for _, n := range s.TargetList {
		fields := n.GetResTarget().GetVal().GetColumnRef().GetFields()
		if len(fields) != 2 || t.column(fields[1].GetString_().GetSval()) == nil {
			return
		}
	}
	if t.Shared || s.WhereClause.GetAExpr() != nil && c.scoped(s.WhereClause, rv.Alias.GetAliasname(), t.TenantColumn) {
		safe[rv] = true
		c.tables++
	}
}

func (c *checker) node(m protoreflect.Message, safe map[*pg.RangeVar]bool) {
	switch n := m.Interface().(type) {
	case *pg.LockingClause:
		for _, l := range n.LockedRels {
			safe[l.GetRangeVar()] = true
		}
	case *pg.RangeVar:
		if !safe[n] && (n.Schemaname != "" || !c.ctes[n.Relname]) {
			c.problem("unscoped relation %s.%s", n.Schemaname, n.Relname)
		}
	case *pg.FuncCall:
		name := make([]string, 0, 2)
		for _, f := range n.Funcname {
			name = append(name, f.GetString_().Sval)
		}
		_, known := builtin.Function(builtin.PostgreSQL, name[len(name)-1], nil)
		known = known || name[len(name)-1] == "like_escape" || name[len(name)-1] == "similar_to_escape" ||
			contains("row_to_json current_setting pg_advisory_xact_lock pg_try_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_xact_lock_shared", name[len(name)-1])
		if !(len(name) == 2 && name[0] == "pg_catalog" && known) && !(len(name) == 1 && name[0] == "unnest" && len(n.Args) > 1) && !(len(name) == 1 && slices.Contains(c.cat.Functions, name[0])) {
			c.problem("function %s", strings.Join(name, "."))
		}
	case *pg.TypeName:
		if len(n.Names) != 2 && len(n.Names) != 1 || !contains(types, n.Names[len(n.Names)-1].GetString_().Sval) && !(len(n.Names) == 1 && slices.Contains(c.cat.Types, n.Names[0].GetString_().Sval)) {
			c.problem("type %v", n.Names)
		}
	case *pg.InferClause: // which names columns of its table alone
		visitAll(m, func(m protoreflect.Message) {
			if ref, ok := m.Interface().(*pg.ColumnRef); ok {
				c.inferred[ref] = true
			}
		})
	case *pg.ColumnRef:
		if c.inferred[n] && len(n.Fields) == 1 {
			return
		}
		if len(n.Fields) == 2 && n.Fields[1].GetAStar() != nil {
			c.wholeRow(n.Fields[0].GetString_().GetSval())
			return
		}
		if len(n.Fields) != 2 || n.Fields[0].GetString_() == nil || n.Fields[1].GetString_() == nil {
			c.problem("unqualified column %v", n.Fields)
		}
	case *pg.ParamRef:
		if n.Number < 1 || int(n.Number) > len(c.plan.Params) {
			c.problem("parameter $%d of %d", n.Number, len(c.plan.Params))
		}
	case *pg.SelectStmt:
		if n.IntoClause != nil {
			c.problem("INTO")
		}
	case *pg.SQLValueFunction:
		if n.Op >= pg.SQLValueFunctionOp_SVFOP_CURRENT_ROLE {
			c.problem("%v", n.Op)
		}
	}
}

// wholeRow checks that the row of a relation holds no ciphertext and no index: the scoped query of a table shows them only
// where the table has them.
func (c *checker) wholeRow(alias string) {
	for _, t := range c.cat.Tables {
		if strings.HasPrefix(alias, t.Name) && t.hasHidden() {
			c.problem("whole row of %s", alias)
		}
	}
}

// outputs checks that no index column is shown.
func (c *checker) outputs(stmt *pg.Node) {
	targets := slices.Concat(stmt.GetSelectStmt().GetTargetList(), stmt.GetInsertStmt().GetReturningList(),
		stmt.GetUpdateStmt().GetReturningList(), stmt.GetDeleteStmt().GetReturningList(), stmt.GetMergeStmt().GetReturningList())
	if c.plan.ReturnsRows && len(targets) > 0 && len(targets) != len(c.plan.Outputs) {
		c.problem("%d outputs planned, %d written", len(c.plan.Outputs), len(targets))
	}
	for i, o := range c.plan.Outputs {
		if o.Table == "" {
			continue
		}
		column := c.cat.Tables[o.Table].column(o.Column)
		if column == nil || column.Index || column.Sealed != o.Sealed {
			c.problem("output %d is %s.%s", i, o.Table, o.Column)
		}
	}
}
