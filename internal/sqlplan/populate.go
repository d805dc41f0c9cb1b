package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// populated makes of jsonb_populate_recordset(NULL::t, x) and its like what it means for a declared table t: the function of
// records, jsonb_to_recordset(x), with the list of the table's columns, which it returns. The list is empty where the call is
// another one. A cast to the table's row type could not stand: PostgreSQL has the blind indexes' columns in it.
func (p *planner) populated(call *pg.FuncCall) []*pg.Node {
	fields, ok := names(call.Funcname)
	name := fields[len(fields)-1]
	if !ok || len(fields) > 2 || len(fields) == 2 && fields[0] != "pg_catalog" ||
		!contains("json_populate_record json_populate_recordset jsonb_populate_record jsonb_populate_recordset", name) || len(call.Args) != 2 {
		return nil
	}
	cast := call.Args[0].GetTypeCast()
	t := p.rowType(cast.GetTypeName())
	if c, null := isConst(cast.GetArg()); !null || !c.Isnull || t == nil {
		refuse("row that JSON populates", name, call.Location, "write NULL::t, where t is a declared table, or name columns and types: FROM jsonb_to_recordset(…) AS r(id bigint, name text)")
	}
	if t.hasHidden() {
		refuse("whole row of a table with sealed columns", t.Name, call.Location, "name columns and types: FROM jsonb_to_recordset(…) AS r(id bigint, name text)")
	}
	list := make([]*pg.Node, len(t.Columns))
	for i, c := range t.Columns {
		tree, err := pgparse.Parse("SELECT NULL::" + c.Type)
		if err != nil || len(tree.Stmts) != 1 {
			refuse("type not in the allowlist", c.Type, call.Location, "name columns and types: FROM jsonb_to_recordset(…) AS r(id bigint, name text)")
		}
		typ := tree.Stmts[0].Stmt.GetSelectStmt().TargetList[0].GetResTarget().Val.GetTypeCast().GetTypeName()
		list[i] = &pg.Node{Node: &pg.Node_ColumnDef{ColumnDef: &pg.ColumnDef{Colname: c.Name, TypeName: typ, IsLocal: true}}}
	}
	call.Funcname, call.Args = strs(strings.Replace(name, "_populate_", "_to_", 1)), call.Args[1:]
	return list
}

// rowType returns the table whose row type a type's name is, or nil.
func (p *planner) rowType(t *pg.TypeName) *Table {
	fields, ok := names(t.GetNames())
	if !ok || len(fields) == 0 || len(fields) > 2 || len(t.GetTypmods()) > 0 || len(t.GetArrayBounds()) > 0 {
		return nil
	}
	schema := ""
	if len(fields) == 2 {
		schema = fields[0]
	}
	return p.find(schema, fields[len(fields)-1])
}
