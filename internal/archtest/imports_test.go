package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/strongroom-go/strongroom"

// layers are the public packages in the order in which imports may point: a layer imports itself and what stands before
// it, never what stands behind. A part that stands before the rest of its folder is named before it.
var layers = []string{"storage/dialect", "tenant", "audit", "keys", "storage", "examples"}

// internals says which packages of the module an internal package may import.
var internals = map[string][]string{
	"internal/envelope": {"tenant"},
	"internal/sqlplan":  {"internal/sqlplan", "internal/closest", "internal/reason"},
	"internal/closest":  {},
	"internal/gate":     {"tenant", "audit", "keys", "internal/tenantkeys", "internal/telemetry", "internal/observed", "internal/reason", "internal/recording", "internal/apart"},
	"internal/archtest": {},
	"internal/testenv":  {},
	"internal/redact":   {},
	"internal/reason":   {},

	"internal/samplelog":  {"tenant", "audit"},
	"internal/tenantkeys": {"tenant", "audit"},

	"internal/telemetry": {},
	"internal/observed":  {"audit", "internal/telemetry", "internal/recording"},
	"internal/plainfile": {},

	"internal/strictjson": {},
	"internal/pgtls":      {"internal/loopback"},
	"internal/loopback":   {},
	"internal/overdue":    {},
}

// usesOfInternals says which layers may import an internal package. Commands are one by themselves here.
var usesOfInternals = map[string][]string{
	"internal/envelope":  {"keys", "storage"},
	"internal/sqlplan":   {"storage"},
	"internal/gate":      {"storage"},
	"internal/reason":    {"storage"},
	"internal/telemetry": {"audit", "keys", "storage"},
	"internal/observed":  {"keys"},
	"internal/recording": {"keys"},
	"internal/plainfile": {"audit", "keys", "storage", "commands"},
	"internal/redact":    {"audit", "keys", "storage", "commands"},

	"internal/tenantkeys": {"keys", "storage"},
	"internal/closest":    {"storage"},
	"internal/strictjson": {"storage", "commands"},
	"internal/pgtls":      {"storage", "commands"},
	"internal/loopback":   {"audit", "keys", "storage"},
	"internal/overdue":    {"keys"},
}

// suites are packages for tests and measurements that stand beside library code.
var suites = []string{"audit/recordertest", "audit/sink/internal/sinktest", "internal/bench", "keys/kektest", "keys/storetest", "internal/testenv", "internal/samplelog", "internal/sqlplan/sqlcases", "internal/sqlplan/sqlgen",
	"storage/storagetest"}

// file is one Go file of the module that is not a test.
type file struct {
	path, dir string
	ast       *ast.File
	fset      *token.FileSet
}

func libraryFiles(t *testing.T) []file {
	t.Helper()
	root := filepath.Join("..", "..")
	var files []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			nested, _ := filepath.Glob(filepath.Join(path, "go.mod"))
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || len(nested) > 0) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, file{rel, filepath.ToSlash(filepath.Dir(rel)), f, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files were found", len(files))
	}
	return files
}

func (f file) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

func within(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

func layerOf(dir string) int {
	return slices.IndexFunc(layers, func(l string) bool { return within(dir, l) })
}

// commandsOf returns the directories of the commands that stand beside library code: a program of the operators', which is
// under the layer that it is about, and whatever is below it. It stands on top of all layers but the examples, and nobody
// outside imports any of it. A library's directory does not become one by a file that go build ignores.
func commandsOf(files []file) (dirs []string) {
	library := map[string]bool{}
	for _, f := range files {
		library[f.dir] = library[f.dir] || f.ast.Name.Name != "main"
	}
	for dir, library := range library {
		if from := layerOf(dir); !library && from >= 0 && layers[from] != "examples" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func TestImportsPointOneWay(t *testing.T) {
	files := libraryFiles(t)
	commands := commandsOf(files)
	for _, want := range []string{"audit/auditctl", "keys/keyctl"} {
		if !slices.Contains(commands, want) {
			t.Errorf("%s is not among the commands %q", want, commands)
		}
	}
	for _, f := range files {
		for _, path := range f.imports() {
			target, inside := strings.CutPrefix(path, module+"/")
			if !inside {
				continue
			}
			if why := forbidden(commands, f.dir, target); why != "" {
				t.Errorf("%s imports %s: %s", f.path, target, why)
			}
		}
	}
}

// forbidden returns why the package in dir may not import target, or "".
func forbidden(commands []string, dir, target string) string {
	from, to := layerOf(dir), layerOf(target)
	command := slices.ContainsFunc(commands, func(c string) bool { return within(dir, c) })
	for pkg, allowed := range internals {
		if within(dir, pkg) && !within(target, pkg) && !slices.ContainsFunc(allowed, func(a string) bool { return within(target, a) }) {
			return "it may import only " + strings.Join(allowed, ", ")
		}
	}
	for pkg, users := range usesOfInternals {
		user := "commands"
		if !command && from >= 0 {
			user = layers[from]
		}
		if within(target, pkg) && from >= 0 && !slices.Contains(users, user) {
			return "only " + strings.Join(users, ", ") + " may import it"
		}
	}
	for _, c := range commands {
		if within(target, c) && !within(dir, c) {
			return c + " is a command"
		}
	}
	switch {
	case slices.ContainsFunc(suites, func(s string) bool { return within(target, s) }) && !slices.ContainsFunc(suites, func(s string) bool { return within(dir, s) }):
		return "it is for tests"
	case from >= 0 && to > from && !(command && layers[to] != "examples"):
		return "imports point from " + strings.Join(layers, " ← ")
	}
	return ""
}

func TestForbiddenForbids(t *testing.T) {
	commands := []string{"audit/auditctl", "keys/keyctl"}
	for _, c := range []struct {
		dir, target string
		forbidden   bool
	}{
		{"tenant", "audit", true}, {"audit", "keys", true}, {"keys/localkek", "storage", true}, {"storage/sqldb", "examples/clinic", true},
		{"storage/sqldb", "keys", false}, {"keys", "audit", false}, {"internal/sqlplan", "tenant", true}, {"internal/gate", "storage", true},
		{"examples/quickstart", "internal/tenantkeys", true}, {"audit", "internal/tenantkeys", true}, {"internal/tenantkeys", "keys", true},
		{"audit", "internal/gate", true}, {"examples/quickstart", "internal/gate", true}, {"keys", "keys/kektest", true}, {"examples/quickstart", "storage/blobs", false},
		// A command stands on all layers, and is a door to none of the internals of another.
		{"keys/keyctl", "storage/sqldb", false}, {"keys/keyctl/parts", "storage/offboard", false}, {"audit/auditctl", "keys", false},
		{"keys/keyctl", "keys/keyctl/parts", false}, {"keys/keyctl", "internal/redact", false}, {"keys/keyctl", "internal/gate", true},
		{"keys/keyctl", "internal/envelope", true}, {"keys/keyctl", "internal/sqlplan", true}, {"keys/keyctl", "examples/quickstart", true},
		{"keys/keyctl", "keys/kektest", true}, {"keys/keyctl", "internal/testenv", true}, {"keys/keyctl", "audit/auditctl", true},
		// What is not one does not, whatever it is called, and imports none.
		{"keys", "storage", true}, {"keys/keyctlx", "storage/sqldb", true}, {"keys/localkek", "storage/sqldb", true},
		{"keys", "keys/keyctl/parts", true}, {"storage/sqldb", "keys/keyctl/parts", true}, {"internal/bench", "keys/keyctl/parts", true},
		{"examples/quickstart", "keys/keyctl/parts", true}, {"internal/gate", "keys/keyctl/parts", true},
	} {
		if got := forbidden(commands, c.dir, c.target) != ""; got != c.forbidden {
			t.Errorf("%s imports %s: forbidden %v, want %v", c.dir, c.target, got, c.forbidden)
		}
	}
}

func TestALibraryIsNoCommand(t *testing.T) {
	main, library := &ast.File{Name: ast.NewIdent("main")}, &ast.File{Name: ast.NewIdent("keys")}
	files := []file{{dir: "keys", ast: main}, {dir: "keys", ast: library}, {dir: "keys/ctl", ast: main}, {dir: "examples/x", ast: main}, {dir: "internal/bench", ast: main}}
	if got := commandsOf(files); !slices.Equal(got, []string{"keys/ctl"}) {
		t.Errorf("commands are %q", got)
	}
}

func TestPlannerKnowsNoDriver(t *testing.T) {
	for _, f := range libraryFiles(t) {
		if !within(f.dir, "internal/sqlplan") {
			continue
		}
		for _, path := range f.imports() {
			if path == "database/sql" || path == "database/sql/driver" || strings.HasPrefix(path, "github.com/jackc/") || strings.HasPrefix(path, "modernc.org/") {
				t.Errorf("%s imports %s", f.path, path)
			}
		}
	}
}

func TestLibraryLinksNoTestingLibrary(t *testing.T) {
	for _, f := range libraryFiles(t) {
		if slices.ContainsFunc(suites, func(s string) bool { return within(f.dir, s) }) {
			continue
		}
		for _, path := range f.imports() {
			if path == "testing" || strings.HasPrefix(path, "testing/") || strings.Contains(path, "testcontainers") || strings.Contains(path, "stretchr") {
				t.Errorf("%s imports %s", f.path, path)
			}
		}
	}
}

// TestTelemetryIsGiven: the library reports to the providers that it is given. It neither asks OpenTelemetry's global ones, which the
// package otel itself holds, nor brings the SDK along, whose versions are the application's to choose.
func TestTelemetryIsGiven(t *testing.T) {
	const root = "go.opentelemetry.io/otel"
	for _, f := range libraryFiles(t) {
		for _, path := range f.imports() {
			if path == root || within(path, root+"/sdk") || within(path, root+"/exporters") {
				t.Errorf("%s imports %s", f.path, path)
			}
		}
	}
}

// readsEnvironment is the file that reads the environment to refuse what openers of buckets would take from there.
const readsEnvironment = "storage/blobs/environment.go"

// TestNoHiddenState: a library does nothing when it is merely imported, and takes its settings as arguments.
func TestNoHiddenState(t *testing.T) {
	for _, f := range libraryFiles(t) {
		if within(f.dir, "internal/testenv") {
			continue
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function", f.path)
			}
		}
		if within(f.dir, "examples") || f.ast.Name.Name == "main" || strings.HasSuffix(f.path, readsEnvironment) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if ok && pkg.Name == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "Exit"}, sel.Sel.Name) {
				t.Errorf("%s: os.%s in library code", f.fset.Position(n.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// TestOneDoor: only the gate opens a tenant's keys for data and records accesses; what else wants to is a way around it.
func TestOneDoor(t *testing.T) {
	for _, f := range libraryFiles(t) {
		if !within(f.dir, "storage") || slices.ContainsFunc(suites, func(s string) bool { return within(f.dir, s) }) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if ok && slices.Contains([]string{"Record", "AuditSealer", "Provision", "FromContext"}, sel.Sel.Name) && !tenantLookup(sel) {
				t.Errorf("%s: %s is called outside the gate", f.fset.Position(n.Pos()), sel.Sel.Name)
			}
			// guard.Keys.Tenant(ctx, id) would open keys past the gate; pass.Tenant() has no arguments.
			if ok && sel.Sel.Name == "Tenant" && len(call.Args) > 0 || ok && opensKeys(sel) {
				t.Errorf("%s: a tenant's keys are opened outside the gate", f.fset.Position(n.Pos()))
			}
			return true
		})
	}
}

// opensKeys tells of tenantkeys.Open, by which the gate does.
func opensKeys(sel *ast.SelectorExpr) bool {
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "tenantkeys" && sel.Sel.Name == "Open"
}

// tenantLookup admits tenant.FromContext: looking at who asks, to refuse a transaction of another tenant, opens nothing.
func tenantLookup(sel *ast.SelectorExpr) bool {
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "tenant" && sel.Sel.Name == "FromContext"
}
