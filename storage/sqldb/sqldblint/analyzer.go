package sqldblint

import (
	"go/ast"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
)

const (
	sqldbPath = "github.com/strongroom-go/strongroom/storage/sqldb"
	directive = "//sqldblint:raw "
)

// New returns the analyzer. Its flags are -schema, a file with the tables' columns, and -tests.
func New() *analysis.Analyzer {
	l := &linter{}
	a := &analysis.Analyzer{
		Name:      "sqldblint",
		Doc:       "report SQL that package sqldb would refuse, and ways past its guard",
		URL:       "https://pkg.go.dev/" + sqldbPath + "/sqldblint",
		Run:       l.run,
		FactTypes: []analysis.Fact{new(schemas)},
	}
	a.Flags.StringVar(&l.file, "schema", "", "absolute path of a JSON file with the tables' columns")
	a.Flags.BoolVar(&l.tests, "tests", false, "look at test files too")
	return a
}

type linter struct {
	file  string
	tests bool
}

func (l *linter) run(pass *analysis.Pass) (any, error) {
	index := newIndex(pass)
	found := index.schemas()
	if found != nil {
		pass.ExportPackageFact(found)
	}
	guarded := imports(pass, sqldbPath)
	known := &schemas{}
	for _, f := range pass.AllPackageFacts() {
		known.add(f.Fact.(*schemas))
	}
	if !guarded && len(known.All) == 0 && l.file == "" {
		return nil, nil
	}
	if l.file != "" {
		file, err := readFile(l.file)
		if err != nil {
			return nil, err
		}
		known = file.merge(known)
	}
	c := &checker{pass: pass, index: index, guarded: guarded, prover: newProver(known)}
	for _, f := range pass.Files {
		if name := pass.Fset.Position(f.Pos()).Filename; strings.HasSuffix(name, "_test.go") && !l.tests {
			continue
		}
		c.raw = directives(pass, f)
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				c.call(call)
			}
			return true
		})
	}
	return nil, nil
}

func imports(pass *analysis.Pass, path string) bool {
	for _, p := range pass.Pkg.Imports() {
		if p.Path() == path {
			return true
		}
	}
	// Pkg.Imports may leave out what only one file of the package imports.
	for _, f := range pass.Files {
		for _, spec := range f.Imports {
			if got, err := strconv.Unquote(spec.Path.Value); err == nil && got == path {
				return true
			}
		}
	}
	return false
}

// directives are the lines that are meant to be outside the guard: those with the comment, and those below it.
func directives(pass *analysis.Pass, f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if why, ok := strings.CutPrefix(c.Text, directive); ok && strings.TrimSpace(why) != "" {
				line := pass.Fset.Position(c.Pos()).Line
				lines[line], lines[line+1] = true, true
			}
		}
	}
	return lines
}
