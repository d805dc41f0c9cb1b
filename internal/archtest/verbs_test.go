package archtest_test

import (
	"go/ast"
	"strings"
	"testing"
)

// TestOpenSpeaksAndNewDoesNot: what speaks to a server or to another machine to make a value is named Open and takes a
// context; what makes it out of what it is given is named New.
func TestOpenSpeaksAndNewDoesNot(t *testing.T) {
	found := map[string]int{}
	for _, f := range libraryFiles(t) {
		if f.ast.Name.Name == "main" || layerOf(f.dir) < 0 || within(f.dir, "examples") || strings.Contains(f.dir, "/internal/") {
			continue
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || fn.Type.Results == nil || len(fn.Type.Results.List) < 2 {
				continue
			}
			takesContext := len(fn.Type.Params.List) > 0 && isContext(fn.Type.Params.List[0].Type)
			switch {
			case strings.HasPrefix(fn.Name.Name, "New") && takesContext:
				t.Errorf("%s: %s takes a context; what speaks to something is named Open", f.fset.Position(fn.Pos()), fn.Name.Name)
			case strings.HasPrefix(fn.Name.Name, "New"):
				found["New"]++
			case strings.HasPrefix(fn.Name.Name, "Open"):
				found["Open"]++
			case strings.HasPrefix(fn.Name.Name, "Connect"), strings.HasPrefix(fn.Name.Name, "Dial"):
				t.Errorf("%s: %s; the word for that is Open", f.fset.Position(fn.Pos()), fn.Name.Name)
			}
		}
	}
	if found["New"] < 5 || found["Open"] < 10 {
		t.Errorf("%v were found", found)
	}
}

func isContext(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != "Context" {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "context"
}
