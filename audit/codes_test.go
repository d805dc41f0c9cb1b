package audit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// TestEveryCodeHasAClass reads the Code constants from the source: one that the log does not know refuses the operation
// it stands for, always.
func TestEveryCodeHasAClass(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Code" {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if _, ok := kindOf(Code(value)); !ok {
			t.Errorf("%s (%q) has no OCSF class", spec.Names[0].Name, value)
		}
		if !slices.Contains(Codes(), Code(value)) {
			t.Errorf("%s (%q) is not in Codes", spec.Names[0].Name, value)
		}
		return true
	})
	if found < 15 {
		t.Fatalf("only %d codes were found", found)
	}
}
