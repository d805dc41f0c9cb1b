package archtest_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var prefixed = regexp.MustCompile(`^([a-z0-9]+): `)

// TestErrorsNameTheirPackage: a text that begins with a name and a colon begins with the package's, and sentinels, which
// callers see as they are, all do. A text without one is for another error of the package to wrap.
func TestErrorsNameTheirPackage(t *testing.T) {
	sentinels := 0
	for _, f := range libraryFiles(t) {
		if f.ast.Name.Name == "main" || layerOf(f.dir) < 0 || within(f.dir, "examples") || strings.Contains(f.dir, "/internal/") {
			continue
		}
		prefix := f.ast.Name.Name + ": "
		for _, decl := range f.ast.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok != token.VAR {
				continue
			}
			for _, spec := range vars.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					if i >= len(v.Values) || !strings.HasPrefix(name.Name, "Err") {
						continue
					}
					if text, ok := errorText(v.Values[i]); ok {
						sentinels++
						if !strings.HasPrefix(text, prefix) {
							t.Errorf("%s: %s is %q; it begins with %q", f.fset.Position(name.Pos()), name.Name, text, prefix)
						}
					}
				}
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			expr, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			if text, ok := errorText(expr); ok && prefixed.MatchString(text) && !strings.HasPrefix(text, prefix) && !strings.HasPrefix(text, "panic: ") {
				t.Errorf("%s: the error %q has another package's name; it begins with %q, or with none", f.fset.Position(n.Pos()), text, prefix)
			}
			return true
		})
	}
	if sentinels < 15 {
		t.Errorf("only %d sentinels were found", sentinels)
	}
}

// errorText is the text of a call of errors.New or fmt.Errorf.
func errorText(expr ast.Expr) (string, bool) {
	call, ok := expr.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "New" && sel.Sel.Name != "Errorf" {
		return "", false
	}
	if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "errors" && pkg.Name != "fmt" {
		return "", false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}
