package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fields are the kinds of nodes that a statement may have and, for each, the fields that may be set. What is not
// here, the planner does not know and so refuses: a new clause of a later grammar arrives as an unknown field or kind.
// Every field here is handled where the planner visits the kind; a field that is here and that no visit looks at is
// caught at the end, when every relation, column, function, type and parameter must bear the planner's mark.
var fields = map[protoreflect.Name]string{
	"SelectStmt": "distinct_clause target_list from_clause where_clause group_clause group_distinct having_clause" +
		" window_clause values_lists sort_clause limit_offset limit_count limit_option locking_clause with_clause op all larg rarg",
	"InsertStmt":       "relation cols select_stmt on_conflict_clause returning_list with_clause",
	"UpdateStmt":       "relation target_list where_clause from_clause returning_list with_clause",
	"DeleteStmt":       "relation using_clause where_clause returning_list with_clause",
	"TransactionStmt":  "kind savepoint_name location",
	"ResTarget":        "name val location",
	"MultiAssignRef":   "source colno ncolumns",
	"RangeVar":         "schemaname relname inh relpersistence alias location",
	"Alias":            "aliasname colnames",
	"RangeSubselect":   "lateral subquery alias",
	"RangeFunction":    "lateral ordinality is_rowsfrom functions alias coldeflist",
	"ColumnDef":        "colname type_name is_local location",
	"JoinExpr":         "jointype larg rarg using_clause quals",
	"MergeStmt":        "relation source_relation join_condition merge_when_clauses returning_list with_clause",
	"MergeWhenClause":  "match_kind command_type condition target_list values",
	"MergeSupportFunc": "msftype location",
	"WithClause":       "ctes recursive location",
	"CommonTableExpr":  "ctename aliascolnames ctematerialized ctequery location",
	"LockingClause":    "locked_rels strength wait_policy",
	"SortBy":           "node sortby_dir sortby_nulls location",
	"OnConflictClause": "action infer target_list where_clause location",
	"InferClause":      "index_elems where_clause conname location",
	"IndexElem":        "name expr ordering nulls_ordering",
	"ColumnRef":        "fields location",
	"ParamRef":         "number location",
	"A_Const":          "ival fval boolval sval isnull location",
	"A_Expr":           "kind name lexpr rexpr location",
	"BoolExpr":         "boolop args location",
	"NullTest":         "arg nulltesttype location",
	"BooleanTest":      "arg booltesttype location",
	"SubLink":          "sub_link_type testexpr oper_name subselect location",
	"FuncCall":         "funcname args agg_order agg_filter agg_within_group over agg_star agg_distinct funcformat location",
	"NamedArgExpr":     "arg name argnumber location",
	"GroupingSet":      "kind content location",
	"GroupingFunc":     "args location",
	"CollateClause":    "arg collname location",
	"A_Indirection":    "arg indirection",
	"A_Indices":        "is_slice lidx uidx",
	"WindowDef":        "name refname partition_clause order_clause frame_options start_offset end_offset location",
	"TypeCast":         "arg type_name location",
	"TypeName":         "names typmods typemod array_bounds location",
	"CaseExpr":         "arg args defresult location",
	"CaseWhen":         "expr result location",
	"CoalesceExpr":     "args location",
	"MinMaxExpr":       "op args location",
	"RowExpr":          "args row_format location",
	"A_ArrayExpr":      "elements location",
	"SQLValueFunction": "op typmod location",
	"SetToDefault":     "location",
	// SQL's own syntax for JSON, in json.go.
	"JsonObjectConstructor":     "exprs output absent_on_null unique location",
	"JsonArrayConstructor":      "exprs output absent_on_null location",
	"JsonArrayQueryConstructor": "query output format absent_on_null location",
	"JsonObjectAgg":             "constructor arg absent_on_null unique",
	"JsonArrayAgg":              "constructor arg absent_on_null",
	"JsonAggConstructor":        "output agg_filter agg_order over location",
	"JsonKeyValue":              "key value",
	"JsonValueExpr":             "raw_expr format",
	"JsonFormat":                "format_type encoding location",
	"JsonOutput":                "type_name returning",
	"JsonReturning":             "format typid typmod",
	"JsonParseExpr":             "expr output unique_keys location",
	"JsonScalarExpr":            "expr output location",
	"JsonSerializeExpr":         "expr output location",
	"JsonIsPredicate":           "expr format item_type unique_keys location",
	"JsonFuncExpr":              "op context_item pathspec passing output on_empty on_error wrapper quotes location",
	"JsonArgument":              "val name",
	"JsonBehavior":              "btype expr location",
	"List":                      "items",
	"A_Star":                    "",
	"Integer":                   "ival",
	"Float":                     "fval",
	"Boolean":                   "boolval",
	"String":                    "sval",
}

// hints say what to do instead of the refused fields that people do write.
var hints = map[string]string{
	"SelectStmt.into_clause":        "write INSERT … SELECT",
	"ResTarget.indirection":         "assign to the whole column, as in value = jsonb_set(value, '{key}', $1)",
	"RangeVar.catalogname":          "name tables without a database",
	"JoinExpr.is_natural":           "write JOIN … USING with the columns you mean",
	"JoinExpr.join_using_alias":     "leave out the alias of USING",
	"JoinExpr.alias":                "put the join into a subquery in FROM",
	"SortBy.use_op":                 "write ASC or DESC",
	"FuncCall.func_variadic":        "write the arguments one by one",
	"InsertStmt.override":           "leave identity columns to the database",
	"CommonTableExpr.cycle_clause":  "keep the path in a column and test it, or write UNION without ALL",
	"A_Const.bsval":                 "bind the value as a parameter",
	"CommonTableExpr.search_clause": "order by a column instead",
	"TransactionStmt.chain":         "use the transaction's methods of database/sql",
}

// constructs are hints for what is refused wherever it stands, by the node's name.
var constructs = map[protoreflect.Name]string{
	"JsonTable":        "use jsonb_to_recordset(…) AS r(id bigint, name text) or jsonb_array_elements(…) in FROM, or JSON_VALUE(…) for one value",
	"RangeTableSample": "use ORDER BY a plain column with LIMIT, or a condition such as id % 100 = $1",
	"RangeTableFunc":   "take XML apart in the application, or store JSON",
	"XmlExpr":          "make XML in the application",
	"XmlSerialize":     "make XML in the application",
	"CurrentOfExpr":    "name the row by its primary key; there are no cursors",
}

// statements are the hints for statements that are refused as a whole.
var statements = map[protoreflect.Name]string{
	"TransactionStmt": "use BeginTx, Commit and Rollback of database/sql",
	"ExplainStmt":     "plans show other tenants' statistics; run EXPLAIN on a connection that is not guarded",
	"VariableSetStmt": "make settings in the connection's parameters",
	"PrepareStmt":     "use Prepare of database/sql",
	"ExecuteStmt":     "use Prepare of database/sql",
	"CopyStmt":        "write INSERT with several rows",
	"LockStmt":        "a table's lock would stop every tenant; lock rows with SELECT … FOR UPDATE, or take pg_advisory_xact_lock",
	"TruncateStmt":    "it takes every tenant's rows away; write DELETE FROM the table, which deletes the tenant's",
	"VacuumStmt":      "run maintenance on a connection that is not guarded",
	"ListenStmt":      "a channel is shared by all tenants; listen on a connection that is not guarded",
	"NotifyStmt":      "a channel is shared by all tenants; send the message through a table of the tenant's",
}

// checkShape refuses every node and field that the planner does not know, and enum values that are not set.
func checkShape(m protoreflect.Message, position int32) {
	name := m.Descriptor().Name()
	if p := locationOf(m); p > 0 {
		position = p
	}
	if name == "Node" {
		m.Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			checkShape(v.Message(), position)
			return true
		})
		return
	}
	allowed, ok := fields[name]
	if what, isStatement := strings.CutSuffix(string(name), "Stmt"); !ok && isStatement {
		hint := statements[name]
		if hint == "" {
			hint = "use SELECT, INSERT, UPDATE, DELETE or MERGE here, and anything else on a connection that is not guarded"
		}
		refuse("unsupported statement", what, position, hint)
	}
	if !ok {
		hint := constructs[name]
		if hint == "" {
			hint = "use another form; the documentation of package sqldb lists what is supported"
		}
		refuse("unsupported construct", string(name), position, hint)
	}
	if len(m.GetUnknown()) > 0 {
		refuse("unsupported construct", string(name), position, "the parser is newer than the planner")
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !contains(allowed, string(f.Name())) && !isDefault(name, f, v) {
			key := string(name) + "." + string(f.Name())
			hint := hints[key]
			if hint == "" {
				hint = "leave it out; the documentation of package sqldb lists what is supported"
			}
			refuse("unsupported clause", key, position, hint)
		}
		switch {
		case f.IsList() && f.Message() != nil:
			if what := columnLists[f.Name()]; what != "" && name == "SelectStmt" && v.List().Len() > maxColumns {
				refuse("statement over the limit of columns", what, position, "name at most "+itoa(maxColumns)+" columns")
			}
			for i := range v.List().Len() {
				checkShape(v.List().Get(i).Message(), position)
			}
		case f.Message() != nil:
			checkShape(v.Message(), position)
		}
		return true
	})
}

// maxColumns is PostgreSQL's limit of a target list, MaxTupleAttributeNumber. GROUP BY and ORDER BY count in it.
const maxColumns = 1664

var columnLists = map[protoreflect.Name]string{"target_list": "SELECT", "group_clause": "GROUP BY", "sort_clause": "ORDER BY"}

// isDefault admits values of fields that only say that a clause is absent.
func isDefault(name protoreflect.Name, f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
	return (name == "InsertStmt" || name == "MergeWhenClause") && f.Name() == "override" && v.Enum() == protoreflect.EnumNumber(pg.OverridingKind_OVERRIDING_NOT_SET)
}

func contains(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

// locationOf is the byte offset that a node carries, or 0.
func locationOf(m protoreflect.Message) int32 {
	f := m.Descriptor().Fields().ByName("location")
	if f == nil || f.Kind() != protoreflect.Int32Kind {
		return 0
	}
	return int32(m.Get(f).Int())
}
