package sqlplan

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// A checker of plans that shares nothing with the planner but the lists of names. It reads a plan's text, and knows only
// what a safe text looks like: every table of a tenant stands alone in a query whose condition begins with the tenant
// predicate, or is the target of a write with the predicate or the tenant's value.

type checker struct {
	cat      *Catalog
	plan     *Plan
	ctes     map[string]bool
	problems []string
	tables   int
}

// checkPlan returns what is wrong with a plan for PostgreSQL.
func checkPlan(plan *Plan, cat *Catalog) []string {
	tree, err := pgparse.Parse(plan.SQL)
	if err != nil {
		return []string{err.Error()}
	}
	c := &checker{cat: cat, plan: plan, ctes: map[string]bool{}}
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
	c.writes(stmt, safe)
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

func (c *checker) writes(stmt *pg.Node, safe map[*pg.RangeVar]bool) {
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
	switch s := stmt.Node.(type) {
	case *pg.Node_UpdateStmt:
		check(s.UpdateStmt.Relation, func(t *Table, alias string) bool {
			for _, set := range s.UpdateStmt.TargetList {
				if set.GetResTarget().Name == t.TenantColumn {
					return false
				}
			}
			return c.scoped(s.UpdateStmt.WhereClause, alias, t.TenantColumn)
		})
	case *pg.Node_DeleteStmt:
		check(s.DeleteStmt.Relation, func(t *Table, alias string) bool { return c.scoped(s.DeleteStmt.WhereClause, alias, t.TenantColumn) })
	case *pg.Node_InsertStmt:
		check(s.InsertStmt.Relation, func(t *Table, _ string) bool { return c.inserts(s.InsertStmt, t) })
	}
}

func (c *checker) inserts(s *pg.InsertStmt, t *Table) bool {
	at := slices.IndexFunc(s.Cols, func(n *pg.Node) bool { return n.GetResTarget().Name == t.TenantColumn })
	if at < 0 {
		return false
	}
	sel := s.SelectStmt.GetSelectStmt()
	for _, row := range sel.GetValuesLists() {
		if items := row.GetList().Items; len(items) != len(s.Cols) || !c.isTenant(items[at]) {
			return false
		}
	}
	if len(sel.GetValuesLists()) == 0 && (len(sel.GetTargetList()) != len(s.Cols) || !c.isTenant(sel.TargetList[at].GetResTarget().Val)) {
		return false
	}
	if conflict := s.OnConflictClause; conflict != nil {
		for _, set := range conflict.TargetList {
			if set.GetResTarget().Name == t.TenantColumn {
				return false
			}
		}
		named := conflict.Infer == nil
		for _, e := range conflict.Infer.GetIndexElems() {
			named = named || e.GetIndexElem().Name == t.TenantColumn
		}
		return named && (conflict.Infer != nil || len(conflict.TargetList) == 0)
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
		_, known := findBuiltin(name[len(name)-1], false)
		known = known || contains(relationFunctions+" like_escape", name[len(name)-1])
		if !(len(name) == 2 && name[0] == "pg_catalog" && known) && !(len(name) == 1 && slices.Contains(c.cat.Functions, name[0])) {
			c.problem("function %s", strings.Join(name, "."))
		}
	case *pg.TypeName:
		if len(n.Names) != 2 && len(n.Names) != 1 || !contains(types, n.Names[len(n.Names)-1].GetString_().Sval) {
			c.problem("type %v", n.Names)
		}
	case *pg.ColumnRef:
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

// outputs checks that no index column is shown.
func (c *checker) outputs(stmt *pg.Node) {
	targets := slices.Concat(stmt.GetSelectStmt().GetTargetList(), stmt.GetInsertStmt().GetReturningList(),
		stmt.GetUpdateStmt().GetReturningList(), stmt.GetDeleteStmt().GetReturningList())
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
