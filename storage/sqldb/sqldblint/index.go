package sqldblint

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// index is what a package says about where the values of its variables, fields and parameters come from.
type index struct {
	pass *analysis.Pass
	// values are all that is assigned to a variable or field in this package; of a call with several results, the call.
	values map[types.Object][]ast.Expr
	// changed are variables that also get values otherwise: by range, ++, +=, or through their address.
	changed map[types.Object]bool
	// returns are what the package's functions return, for results that are handles.
	returns map[types.Object][]ast.Expr
}

func newIndex(pass *analysis.Pass) *index {
	x := &index{pass: pass, values: map[types.Object][]ast.Expr{}, changed: map[types.Object]bool{}, returns: map[types.Object][]ast.Expr{}}
	for _, f := range pass.Files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Body != nil {
				x.function(pass.TypesInfo.Defs[fn.Name], fn.Body)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			x.note(n)
			return true
		})
	}
	return x
}

// function notes a function's returns; those of function literals inside are not its own.
func (x *index) function(fn types.Object, body ast.Node) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			for _, e := range n.Results {
				if len(n.Results) == 1 || handle(x.pass.TypesInfo.TypeOf(e)) != "" {
					x.returns[fn] = append(x.returns[fn], e)
				}
			}
		}
		return true
	})
}

func (x *index) note(n ast.Node) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for i, left := range n.Lhs {
			switch {
			case n.Tok != token.ASSIGN && n.Tok != token.DEFINE:
				x.change(left)
			case len(n.Rhs) == len(n.Lhs):
				x.assign(left, n.Rhs[i])
			case len(n.Rhs) == 1:
				x.assign(left, n.Rhs[0])
			}
		}
	case *ast.ValueSpec:
		for i, name := range n.Names {
			switch {
			case len(n.Values) == len(n.Names):
				x.assign(name, n.Values[i])
			case len(n.Values) == 1:
				x.assign(name, n.Values[0])
			case len(n.Values) == 0:
				x.change(name) // it is empty at first
			}
		}
	case *ast.RangeStmt:
		x.change(n.Key)
		x.change(n.Value)
	case *ast.IncDecStmt:
		x.change(n.X)
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			x.change(n.X)
		}
	case *ast.CompositeLit:
		x.literal(n)
	case *ast.CallExpr:
		x.arguments(n)
	}
}

func (x *index) assign(left, value ast.Expr) {
	if o := x.object(left); o != nil {
		x.values[o] = append(x.values[o], value)
	}
}

func (x *index) change(e ast.Expr) {
	if o := x.object(e); o != nil {
		x.changed[o] = true
	}
}

// literal notes the fields that a struct's literal sets.
func (x *index) literal(lit *ast.CompositeLit) {
	s, ok := types.Unalias(x.pass.TypesInfo.TypeOf(lit)).Underlying().(*types.Struct)
	if !ok {
		return
	}
	for i, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			x.assign(kv.Key, kv.Value)
		} else if i < s.NumFields() {
			x.values[s.Field(i)] = append(x.values[s.Field(i)], e)
		}
	}
}

// arguments notes what the parameters of the package's own functions get.
func (x *index) arguments(call *ast.CallExpr) {
	fn, ok := typeutil.Callee(x.pass.TypesInfo, call).(*types.Func)
	if !ok || fn.Pkg() != x.pass.Pkg {
		return
	}
	params := fn.Signature().Params()
	for i, arg := range call.Args {
		if i < params.Len() {
			x.values[params.At(i)] = append(x.values[params.At(i)], arg)
		}
	}
}

// object returns the variable or field that an expression is, or nil.
func (x *index) object(e ast.Expr) types.Object {
	switch e := e.(type) {
	case *ast.Ident:
		if v, ok := x.pass.TypesInfo.ObjectOf(e).(*types.Var); ok {
			return v.Origin()
		}
	case *ast.SelectorExpr:
		if v, ok := x.pass.TypesInfo.ObjectOf(e.Sel).(*types.Var); ok {
			return v.Origin()
		}
	case *ast.ParenExpr:
		return x.object(e.X)
	}
	return nil
}

// text returns the string that an expression always is: a constant, or a variable of this package that is set once, to a
// constant.
func (x *index) text(e ast.Expr) (string, bool) {
	if v := x.pass.TypesInfo.Types[e].Value; v != nil && v.Kind() == constant.String {
		return constant.StringVal(v), true
	}
	v, ok := x.object(e).(*types.Var)
	if !ok || v.IsField() || v.Pkg() != x.pass.Pkg || v.Exported() && v.Parent() == v.Pkg().Scope() || x.changed[v] || x.isParameter(v) {
		return "", false
	}
	values := x.values[v]
	if len(values) != 1 {
		return "", false
	}
	if c := x.pass.TypesInfo.Types[values[0]].Value; c != nil && c.Kind() == constant.String {
		return constant.StringVal(c), true
	}
	return "", false
}

// isParameter tells whether a variable gets values that the index does not see: from callers, or as a named result.
func (x *index) isParameter(v *types.Var) bool {
	switch v.Kind() {
	case types.ParamVar, types.RecvVar, types.ResultVar:
		return true
	}
	return false
}

// provenance is where a handle can come from.
type provenance struct{ raw, guarded bool }

// origin follows a handle back through the package.
func (x *index) origin(e ast.Expr) provenance {
	var p provenance
	x.follow(e, &p, map[types.Object]bool{})
	return p
}

func (x *index) follow(e ast.Expr, p *provenance, seen map[types.Object]bool) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		x.follow(e.X, p, seen)
	case *ast.StarExpr:
		x.follow(e.X, p, seen)
	case *ast.UnaryExpr:
		x.follow(e.X, p, seen)
	case *ast.Ident, *ast.SelectorExpr:
		x.followAll(x.object(e), x.values, p, seen)
	case *ast.CallExpr:
		fn, ok := typeutil.Callee(x.pass.TypesInfo, e).(*types.Func)
		switch {
		case !ok || fn.Pkg() == nil:
		case isFunc(fn, "database/sql", "Open", "OpenDB"):
			p.raw = true
		case isFunc(fn, sqldbPath, "Open"):
			p.guarded = true
		case fn.Pkg().Path() == "database/sql" && fn.Signature().Recv() != nil: // a handle's transaction, connection, statement
			if sel, ok := ast.Unparen(e.Fun).(*ast.SelectorExpr); ok {
				x.follow(sel.X, p, seen)
			}
		case fn.Pkg() == x.pass.Pkg:
			x.followAll(fn, x.returns, p, seen)
		}
	}
}

func (x *index) followAll(o types.Object, from map[types.Object][]ast.Expr, p *provenance, seen map[types.Object]bool) {
	if o == nil || seen[o] {
		return
	}
	seen[o] = true
	for _, e := range from[o] {
		x.follow(e, p, seen)
	}
}

// isFunc tells whether fn is one of a package's functions, not a method.
func isFunc(fn *types.Func, path string, names ...string) bool {
	if fn.Pkg() == nil || fn.Pkg().Path() != path || fn.Signature().Recv() != nil {
		return false
	}
	for _, n := range names {
		if fn.Name() == n {
			return true
		}
	}
	return false
}
