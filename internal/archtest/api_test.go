package archtest_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the list of exported names anew")

// TestExportedNames holds what the library exports against a list, so that nothing is added, changed or taken away unnoticed: go test
// ./internal/archtest -update writes the list, and the change shows what it does to applications.
func TestExportedNames(t *testing.T) {
	files := libraryFiles(t)
	commands := commandsOf(files)
	var lines []string
	for _, f := range files {
		if layerOf(f.dir) < 0 || within(f.dir, "examples") || strings.Contains(f.dir, "/internal/") || slices.ContainsFunc(commands, func(c string) bool { return within(f.dir, c) }) {
			continue
		}
		for _, decl := range f.ast.Decls {
			for _, name := range exported(decl) {
				lines = append(lines, f.dir+": "+name)
			}
		}
	}
	slices.Sort(lines)
	got := strings.Join(slices.Compact(lines), "\n") + "\n"
	path := filepath.Join("testdata", "api.txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	before, after := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("gone:  %s", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("added: %s", line)
		}
	}
	t.Error("where this is meant, go test ./internal/archtest -update writes the list anew")
}

// exported are the exported names of a declaration, with their types.
func exported(decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() {
			return nil
		}
		signature := strings.TrimPrefix(types.ExprString(d.Type), "func")
		if d.Recv == nil {
			return []string{"func " + d.Name.Name + signature}
		}
		receiver := types.ExprString(d.Recv.List[0].Type)
		base, _, _ := strings.Cut(strings.TrimPrefix(receiver, "*"), "[")
		if !ast.IsExported(base) {
			return nil
		}
		return []string{fmt.Sprintf("func (%s) %s%s", receiver, d.Name.Name, signature)}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					names = append(names, members(s)...)
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() {
						names = append(names, fmt.Sprint(d.Tok, " ", name.Name))
					}
				}
			}
		}
	}
	return names
}

// members are a type, and the exported fields or methods that it is declared with.
func members(s *ast.TypeSpec) []string {
	name := "type " + s.Name.Name
	var list *ast.FieldList
	switch t := s.Type.(type) {
	case *ast.StructType:
		list, name = t.Fields, name+" struct"
	case *ast.InterfaceType:
		list, name = t.Methods, name+" interface"
	default:
		if s.Assign.IsValid() {
			name += " ="
		}
		return []string{name + " " + types.ExprString(s.Type)}
	}
	names := []string{name}
	for _, field := range list.List {
		text := types.ExprString(field.Type)
		if len(field.Names) == 0 && ast.IsExported(strings.TrimPrefix(text[strings.LastIndex(text, ".")+1:], "*")) {
			names = append(names, fmt.Sprintf("%s, %s", name, text))
		}
		for _, n := range field.Names {
			if n.IsExported() {
				names = append(names, fmt.Sprintf("%s, %s %s", name, n.Name, text))
			}
		}
	}
	return names
}
