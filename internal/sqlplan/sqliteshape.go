package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// lack is a part of PostgreSQL's syntax that SQLite has not: a kind of node, a field that is set, or one value of a field.
type lack struct {
	kind, field, value protoreflect.Name
	construct, hint    string
}

const liteJSON = "call a function of SQLite's, such as json, json_object, json_group_array or json_extract"

// liteLacks is the second table beside that of shape.go: what is refused for SQLite by its syntax alone. What depends on names
// or types is refused where it is visited; what SQLite writes otherwise is rewritten in sqlite.go.
var liteLacks = []lack{
	{"MergeStmt", "", "", "MERGE", "write INSERT … ON CONFLICT, or UPDATE and INSERT"},
	{"DeleteStmt", "using_clause", "", "DELETE … USING", "use WHERE … IN (SELECT …)"},
	{"SetToDefault", "", "", "DEFAULT", "leave the column out"},
	{"SelectStmt", "locking_clause", "", "FOR UPDATE", "leave it out; a write transaction locks the database"},
	{"SelectStmt", "limit_option", "LIMIT_OPTION_WITH_TIES", "WITH TIES", "use LIMIT"},
	{"SelectStmt", "group_distinct", "", "GROUP BY DISTINCT", "use GROUP BY"},
	{"GroupingSet", "", "", "GROUPING SETS", "send a statement for each grouping, or join them with UNION ALL"},
	{"GroupingFunc", "", "", "GROUPING", "send a statement for each grouping"},
	{"RangeSubselect", "lateral", "", "LATERAL", "use a join or a scalar subquery"},
	{"RangeFunction", "", "", "function in FROM", "use a join, or a recursive query of WITH"},
	{"SubLink", "sub_link_type", "ARRAY_SUBLINK", "ARRAY", "use a join"},
	{"SubLink", "oper_name", "", "ANY or ALL of a subquery", "use IN, EXISTS, min or max"},
	{"A_Expr", "kind", "AEXPR_ILIKE", "ILIKE", "use LIKE, which ignores the case of ASCII letters in SQLite"},
	{"A_Expr", "kind", "AEXPR_BETWEEN_SYM", "BETWEEN SYMMETRIC", "use BETWEEN"},
	{"A_Expr", "kind", "AEXPR_NOT_BETWEEN_SYM", "BETWEEN SYMMETRIC", "use BETWEEN"},
	{"A_Indirection", "", "", "subscript", "use json_extract"},
	{"BooleanTest", "booltesttype", "IS_UNKNOWN", "IS UNKNOWN", "use IS NULL"},
	{"BooleanTest", "booltesttype", "IS_NOT_UNKNOWN", "IS UNKNOWN", "use IS NULL"},
	{"MinMaxExpr", "op", "IS_GREATEST", "GREATEST", "use CASE"},
	{"MinMaxExpr", "op", "IS_LEAST", "LEAST", "use CASE"},
	{"RowExpr", "row_format", "COERCE_EXPLICIT_CALL", "ROW", "write (a, b)"},
	{"NamedArgExpr", "", "", "named argument", "pass the arguments by position"},
	{"JsonObjectConstructor", "", "", "JSON_OBJECT", liteJSON},
	{"JsonArrayConstructor", "", "", "JSON_ARRAY", liteJSON},
	{"JsonArrayQueryConstructor", "", "", "JSON_ARRAY", liteJSON},
	{"JsonObjectAgg", "", "", "JSON_OBJECTAGG", liteJSON},
	{"JsonArrayAgg", "", "", "JSON_ARRAYAGG", liteJSON},
	{"JsonParseExpr", "unique_keys", "", "WITH UNIQUE KEYS", "write json(x), which checks that it is JSON"}, // json(x) is a function of SQLite's
	{"JsonFormat", "format_type", "JS_FORMAT_JSON", "FORMAT JSON", liteJSON},
	{"JsonScalarExpr", "", "", "JSON_SCALAR", liteJSON},
	{"JsonSerializeExpr", "", "", "JSON_SERIALIZE", liteJSON},
	{"JsonIsPredicate", "", "", "IS JSON", liteJSON},
	{"JsonFuncExpr", "op", "JSON_EXISTS_OP", "JSON_EXISTS", liteJSON},
	{"JsonFuncExpr", "op", "JSON_QUERY_OP", "JSON_QUERY", liteJSON},
	{"JsonFuncExpr", "op", "JSON_VALUE_OP", "JSON_VALUE", liteJSON},
}

// lacksOf are the rows of liteLacks by the kind of node.
var lacksOf = func() map[protoreflect.Name][]lack {
	all := map[protoreflect.Name][]lack{}
	for _, l := range liteLacks {
		all[l.kind] = append(all[l.kind], l)
	}
	return all
}()

// checkLite refuses what SQLite lacks in a statement.
func checkLite(stmt *pg.Node) {
	visit(stmt.ProtoReflect(), func(m protoreflect.Message) {
		for _, l := range lacksOf[m.Descriptor().Name()] {
			if l.in(m) {
				position := locationOf(m)
				if position <= 0 {
					position = -1
				}
				refuse("unsupported in SQLite", l.construct, position, l.hint)
			}
		}
	})
}

// in tells whether a node of the kind has it.
func (l lack) in(m protoreflect.Message) bool {
	if l.field == "" {
		return true
	}
	f := m.Descriptor().Fields().ByName(l.field)
	return m.Has(f) && (l.value == "" || f.Enum().Values().ByNumber(m.Get(f).Enum()).Name() == l.value)
}
