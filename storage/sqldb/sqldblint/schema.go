package sqldblint

import (
	"encoding/json"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/tools/go/types/typeutil"
)

// schemas is what packages declare, and a package's fact: every schema that may be meant. A refusal is reported if all
// of them agree.
type schemas struct{ All []schema }

// AFact implements analysis.Fact.
func (*schemas) AFact() {}

// GobEncode makes equal facts equal bytes, which gob by itself does not do for maps.
func (s *schemas) GobEncode() ([]byte, error) { return json.Marshal(s.All) }

// GobDecode reads what GobEncode wrote.
func (s *schemas) GobDecode(data []byte) error { return json.Unmarshal(data, &s.All) }

// String says what is known, such as "patients(name:name_index born) visits countries(shared) +similarity".
func (s *schemas) String() string {
	var all []string
	for _, schema := range s.All {
		all = append(all, schema.String())
	}
	return strings.Join(all, "; ")
}

func (s schema) String() string {
	if s.Tables == nil {
		return "not constant"
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(s.Tables)) {
		t := s.Tables[name]
		var in []string
		if t.Shared {
			in = append(in, "shared")
		}
		if t.TenantColumn != "" {
			in = append(in, "+"+t.TenantColumn)
		}
		for _, column := range slices.Sorted(maps.Keys(t.Sealed)) {
			if index := t.Sealed[column]; index != "" {
				column += ":" + index
			}
			in = append(in, column)
		}
		if len(in) > 0 {
			name += "(" + strings.Join(in, " ") + ")"
		}
		words = append(words, name)
	}
	if s.Opened {
		for _, f := range slices.Concat([]string{s.TenantColumn}, s.Functions, s.Types) {
			words = append(words, "+"+f)
		}
	}
	if s.Dialect != "" {
		words = append(words, s.Dialect)
	}
	return strings.Join(words, " ")
}

func (s *schemas) add(more *schemas) {
	for _, m := range more.All {
		seen := false
		for _, known := range s.All {
			seen = seen || reflect.DeepEqual(known, m)
		}
		if !seen {
			s.All = append(s.All, m)
		}
	}
}

// schema is what is known of one schema and of how it is opened.
type schema struct {
	// Tables by name; nil where they are not constant.
	Tables map[string]table
	// Opened tells that the options are known: TenantColumn, Schema, Functions and Types.
	Opened       bool
	TenantColumn string
	Schema       string
	Functions    []string
	Types        []string
	// Dialect is "postgresql", "sqlite", or empty where it may be either.
	Dialect string
}

// table is what is known of one table.
type table struct {
	Shared bool
	// TenantColumn is the table's own, where it names one.
	TenantColumn string
	// Sealed maps sealed columns to their blind index columns, to "" where they have none.
	Sealed map[string]string
	// Columns are all columns in their order, from a file; nil where only the sealed ones are known.
	Columns []Column
	Primary []string
	Unique  [][]string
}

// schemas evaluates the package's schema literals and calls of sqldb.Open; nil where there are no literals.
func (x *index) schemas() *schemas {
	var tables []map[string]table
	var opened []schema
	constant := true
	for _, f := range x.pass.Files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if isSQLDB(x.pass.TypesInfo.TypeOf(n), "Schema") {
					tables = append(tables, x.tables(n))
				}
			case *ast.CallExpr:
				if fn, ok := typeutil.Callee(x.pass.TypesInfo, n).(*types.Func); ok && isFunc(fn, sqldbPath, "Open") && len(n.Args) == 5 {
					opened = append(opened, x.opening(n))
				}
				for _, arg := range n.Args { // delete, clear, maps.Copy and the like; Open and DDL change nothing
					constant = constant && !(isSQLDB(x.pass.TypesInfo.TypeOf(arg), "Schema", "Columns") && x.mayChange(n))
				}
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					constant = constant && !x.element(left)
				}
			}
			return true
		})
	}
	if len(tables) == 0 {
		return nil
	}
	if len(opened) == 0 {
		opened = []schema{{}}
	}
	all := &schemas{}
	for _, t := range tables {
		for _, s := range opened {
			if s.Tables = t; !constant {
				s.Tables = nil
			}
			all.add(&schemas{[]schema{s}})
		}
	}
	return all
}

// mayChange tells whether a call may change a schema that is passed to it.
func (x *index) mayChange(call *ast.CallExpr) bool {
	fn, ok := typeutil.Callee(x.pass.TypesInfo, call).(*types.Func)
	return !ok || fn.Pkg() == nil || fn.Pkg().Path() != sqldbPath
}

// element tells whether an assignment is to an element of a schema or of a list of columns.
func (x *index) element(left ast.Expr) bool {
	switch e := ast.Unparen(left).(type) {
	case *ast.IndexExpr:
		return isSQLDB(x.pass.TypesInfo.TypeOf(e.X), "Schema", "Columns")
	case *ast.SelectorExpr:
		return isSQLDB(x.pass.TypesInfo.TypeOf(e.X), "Table")
	}
	return false
}

func isSQLDB(t types.Type, names ...string) bool {
	if t == nil {
		return false
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg().Path() != sqldbPath {
		return false
	}
	for _, n := range names {
		if named.Obj().Name() == n {
			return true
		}
	}
	return false
}

// tables evaluates a literal of sqldb.Schema; nil if it is not constant.
func (x *index) tables(lit *ast.CompositeLit) map[string]table {
	all := map[string]table{}
	for _, e := range lit.Elts {
		name, value, ok := x.entry(e)
		if !ok {
			return nil
		}
		t, ok := x.table(value)
		if !ok {
			return nil
		}
		all[name] = t
	}
	return all
}

// entry takes an element of a map's literal apart.
func (x *index) entry(e ast.Expr) (string, ast.Expr, bool) {
	kv, ok := e.(*ast.KeyValueExpr)
	if !ok {
		return "", nil, false
	}
	name, ok := x.constant(kv.Key)
	return name, kv.Value, ok
}

func (x *index) constant(e ast.Expr) (string, bool) {
	v := x.pass.TypesInfo.Types[e].Value
	if v == nil || v.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(v), true
}

func (x *index) table(e ast.Expr) (table, bool) {
	t := table{Sealed: map[string]string{}}
	lit, ok := ast.Unparen(e).(*ast.CompositeLit)
	if !ok {
		return t, false
	}
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return t, false
		}
		switch kv.Key.(*ast.Ident).Name {
		case "Shared":
			v := x.pass.TypesInfo.Types[kv.Value].Value
			if v == nil {
				return t, false
			}
			t.Shared = constant.BoolVal(v)
		case "TenantColumn":
			if t.TenantColumn, ok = x.constant(kv.Value); !ok {
				return t, false
			}
		case "TenantType": // what it is does not matter to a statement
		case "Sealed":
			if !x.columns(kv.Value, t.Sealed) {
				return t, false
			}
		default:
			return t, false
		}
	}
	return t, true
}

func (x *index) columns(e ast.Expr, sealed map[string]string) bool {
	lit, ok := ast.Unparen(e).(*ast.CompositeLit)
	if !ok {
		return false
	}
	for _, e := range lit.Elts {
		name, value, ok := x.entry(e)
		if !ok {
			return false
		}
		if sealed[name], ok = x.column(value); !ok {
			return false
		}
	}
	return true
}

// column evaluates such as sqldb.Text().Searchable("ssn_index").FoldCase() to the index column's name.
func (x *index) column(e ast.Expr) (string, bool) {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		return "", false
	}
	fn, ok := typeutil.Callee(x.pass.TypesInfo, call).(*types.Func)
	if !ok || fn.Pkg() == nil || fn.Pkg().Path() != sqldbPath {
		return "", false
	}
	if fn.Signature().Recv() == nil {
		return "", len(call.Args) == 0 // Text() and its like
	}
	sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	name, ok := x.column(sel.X)
	switch {
	case !ok:
		return "", false
	case fn.Name() == "Searchable" && len(call.Args) == 1:
		return x.constant(call.Args[0])
	}
	return name, len(call.Args) == 0 // options of searching
}

// opening evaluates a call of sqldb.Open to what it says beside the tables.
func (x *index) opening(call *ast.CallExpr) schema {
	var s schema
	if dsn, ok := x.text(call.Args[1]); ok {
		s.Dialect = dialectOf(dsn)
	} else if b, ok := ast.Unparen(call.Args[1]).(*ast.BinaryExpr); ok { // "sqlite:" + path
		for {
			left, ok := ast.Unparen(b.X).(*ast.BinaryExpr)
			if !ok {
				break
			}
			b = left
		}
		if start, ok := x.constant(b.X); ok && b.Op == token.ADD {
			s.Dialect = dialectOf(start)
		}
	}
	s.Opened = x.options(call.Args[4], &s)
	if s.TenantColumn == "" {
		s.TenantColumn = "tenant_id" // sqldb.DefaultTenantColumn
	}
	if s.Schema == "" {
		s.Schema = "public" // sqldb.DefaultSchema
	}
	return s
}

func dialectOf(dsn string) string {
	scheme, _, ok := strings.Cut(dsn, ":")
	switch {
	case !ok:
		return ""
	case scheme == "sqlite":
		return "sqlite"
	case scheme == "postgres" || scheme == "postgresql":
		return "postgresql"
	}
	return ""
}

// options evaluates the options given to sqldb.Open.
func (x *index) options(e ast.Expr, s *schema) bool {
	if x.pass.TypesInfo.Types[e].IsNil() {
		return true
	}
	ref, ok := ast.Unparen(e).(*ast.UnaryExpr)
	if !ok {
		return false
	}
	lit, ok := ast.Unparen(ref.X).(*ast.CompositeLit)
	if !ok {
		return false
	}
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		switch kv.Key.(*ast.Ident).Name {
		case "TenantColumn":
			s.TenantColumn, ok = x.constant(kv.Value)
		case "Schema":
			s.Schema, ok = x.constant(kv.Value)
		case "Functions":
			s.Functions, ok = x.strings(kv.Value)
		case "Types":
			s.Types, ok = x.strings(kv.Value)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (x *index) strings(e ast.Expr) ([]string, bool) {
	lit, ok := ast.Unparen(e).(*ast.CompositeLit)
	if !ok {
		return nil, x.pass.TypesInfo.Types[e].IsNil()
	}
	var all []string
	for _, e := range lit.Elts {
		s, ok := x.constant(e)
		if !ok {
			return nil, false
		}
		all = append(all, s)
	}
	return all, true
}
