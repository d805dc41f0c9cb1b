package sqldblint

import (
	"fmt"
	"go/ast"
	"go/types"
	"slices"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// checker looks at the calls of one package.
type checker struct {
	pass    *analysis.Pass
	index   *index
	guarded bool // the package imports sqldb
	prover  *prover
	raw     map[int]bool // the current file's lines outside the guard
}

func (c *checker) report(call *ast.CallExpr, format string, args ...any) {
	if !c.raw[c.pass.Fset.Position(call.Pos()).Line] {
		c.pass.ReportRangef(call, format, args...)
	}
}

// method is a method of database/sql that takes part in running statements.
type method struct {
	context bool // the first argument is a context
	text    bool // the next one is a statement
	args    bool // the rest are its arguments
	tenant  bool // it fails without a tenant
}

var methods = map[string]method{
	"QueryContext":    {context: true, text: true, args: true, tenant: true},
	"QueryRowContext": {context: true, text: true, args: true, tenant: true},
	"ExecContext":     {context: true, text: true, args: true, tenant: true},
	"PrepareContext":  {context: true, text: true},
	"BeginTx":         {context: true, tenant: true},
	"Query":           {text: true, args: true, tenant: true},
	"QueryRow":        {text: true, args: true, tenant: true},
	"Exec":            {text: true, args: true, tenant: true},
	"Prepare":         {text: true},
	"Begin":           {tenant: true},
}

// handle returns the name of database/sql's type that runs statements, or "".
func handle(t types.Type) string {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg().Path() != "database/sql" {
		return ""
	}
	switch name := named.Obj().Name(); name {
	case "DB", "Tx", "Conn", "Stmt":
		return name
	}
	return ""
}

func (c *checker) call(call *ast.CallExpr) {
	fn, ok := typeutil.Callee(c.pass.TypesInfo, call).(*types.Func)
	if !ok {
		return
	}
	if c.guarded {
		c.bypass(call, fn)
	}
	m, ok := methods[fn.Name()]
	recv := fn.Signature().Recv()
	if !ok || recv == nil {
		return
	}
	sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !ok {
		return
	}
	on := handle(recv.Type())
	if on == "" && !likeHandle(fn, m) {
		return
	}
	if p := c.index.origin(sel.X); p.raw && !p.guarded {
		return
	}
	if on == "Stmt" {
		m.text = false
	}
	c.tenant(call, fn, m)
	c.statement(call, m)
}

// likeHandle tells whether a method of an interface has the form of database/sql's, with a context.
func likeHandle(fn *types.Func, m method) bool {
	s := fn.Signature()
	if !m.context || !m.text || !types.IsInterface(s.Recv().Type()) || s.Results().Len() == 0 || s.Params().Len() < 2 || s.Variadic() != m.args {
		return false
	}
	if s.Params().At(0).Type().String() != "context.Context" || !types.Identical(s.Params().At(1).Type(), types.Typ[types.String]) {
		return false
	}
	t := types.Unalias(s.Results().At(0).Type())
	if p, ok := t.(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	named, ok := t.(*types.Named)
	return ok && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == "database/sql"
}

// tenant reports a call that cannot carry a tenant.
func (c *checker) tenant(call *ast.CallExpr, fn *types.Func, m method) {
	switch {
	case !m.tenant:
	case !m.context:
		with := fn.Name() + "Context"
		if fn.Name() == "Begin" {
			with = "BeginTx"
		}
		c.report(call, "sqldb: %s has no context and so never a tenant: the guard answers tenant.ErrMissing; use %s", fn.Name(), with)
	case len(call.Args) > 0:
		made, ok := ast.Unparen(call.Args[0]).(*ast.CallExpr)
		if !ok {
			return
		}
		if from, ok := typeutil.Callee(c.pass.TypesInfo, made).(*types.Func); ok && isFunc(from, "context", "Background", "TODO") {
			c.report(call, "sqldb: context.%s() has no tenant: the guard answers tenant.ErrMissing; pass the request's context", from.Name())
		}
	}
}

// statement reports a constant statement that would be refused, and arguments that do not fit it.
func (c *checker) statement(call *ast.CallExpr, m method) {
	at := 0
	if m.context {
		at = 1
	}
	if !m.text || len(call.Args) <= at {
		return
	}
	text, ok := c.index.text(call.Args[at])
	if !ok {
		return
	}
	v := c.prover.judge(text)
	switch given := len(call.Args) - at - 1; {
	case v.refused != nil:
		c.report(call, "%s", v.refused)
	case v.planned && m.args && !call.Ellipsis.IsValid() && given != v.inputs:
		c.report(call, "sqldb: the statement takes %d parameters and was given %d", v.inputs, given)
	}
}

var drivers = []string{"pgx", "pgx/v5", "postgres", "postgresql", "cloudsqlpostgres", "sqlite", "sqlite3"}

// bypass reports what opens a database without the guard.
func (c *checker) bypass(call *ast.CallExpr, fn *types.Func) {
	what := ""
	switch {
	case isFunc(fn, "database/sql", "Open") && len(call.Args) == 2:
		if driver, ok := c.index.text(call.Args[0]); ok && slices.Contains(drivers, driver) {
			what = fmt.Sprintf("sql.Open(%q, …)", driver)
		}
	case isFunc(fn, "database/sql", "OpenDB"):
		what = "sql.OpenDB"
	case isFunc(fn, "github.com/jackc/pgx/v5", "Connect", "ConnectConfig", "ConnectWithOptions"):
		what = "pgx." + fn.Name()
	case isFunc(fn, "github.com/jackc/pgx/v5/pgxpool", "New", "NewWithConfig"):
		what = "pgxpool." + fn.Name()
	case isFunc(fn, "github.com/jackc/pgx/v5/stdlib", "OpenDB", "OpenDBFromPool"):
		what = "stdlib." + fn.Name()
	}
	if what != "" {
		c.report(call, "sqldb: %s opens a handle without the guard; use sqldb.Open, or say why on the line above: %swhy", what, directive)
	}
}
