package sqldblint_test

import (
	"context"
	"database/sql"
	"fmt"
	"go/ast"
	"go/constant"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"
	"golang.org/x/tools/go/analysis/checker"
	_ "modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb/sqldblint"
	"github.com/strongroom-go/strongroom/storage/sqldb/sqldblint/testdata/clinic"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// check holds the reports on packages in testdata, which import the real sqldb, against their want comments.
func check(t *testing.T, a *analysis.Analyzer, packages ...string) []*analysistest.Result {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packages {
		packages[i] = "./storage/sqldb/sqldblint/testdata/" + p
	}
	results := analysistest.Run(t, root, a, packages...)
	if len(results) < len(packages) {
		t.Fatalf("%d packages were looked at, not %d", len(results), len(packages))
	}
	return results
}

// TestExample: of what people copy nothing is reported.
func TestExample(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if results := analysistest.Run(factless{t}, root, sqldblint.New(), "./examples/clinic/internal/records"); len(results) == 0 {
		t.Error("no package was looked at")
	}
}

// factless is a test in whose sources no comments say which facts are to be found.
type factless struct{ t *testing.T }

func (f factless) Errorf(format string, args ...any) {
	f.t.Helper()
	if text := fmt.Sprintf(format, args...); !strings.Contains(text, "unexpected fact: ") {
		f.t.Error(text)
	}
}

// TestReports also runs every statement of the package clinic that is reported as refused: the guard says the same.
func TestReports(t *testing.T) {
	results := check(t, sqldblint.New(), "clinic", "store", "anyschema", "schemas")
	db := guarded(t)
	ctx := tenant.NewContext(t.Context(), tenant.Access{Tenant: tenant.MustParse("a"), Actor: "dr.adams", Purpose: "treatment"})
	ran := 0
	for _, r := range results {
		if !strings.HasSuffix(r.Action.Package.PkgPath, "/clinic") {
			continue
		}
		for _, d := range r.Action.Diagnostics {
			if !strings.HasPrefix(d.Message, "sqldb: statement refused: ") {
				continue
			}
			text, ok := argument(r.Action, d)
			if !ok {
				continue // a variable
			}
			if _, err := db.ExecContext(ctx, text); err == nil || err.Error() != d.Message {
				t.Errorf("%s\nreported: %s\nthe guard: %v", text, d.Message, err)
			}
			ran++
		}
	}
	if ran < 15 {
		t.Errorf("only %d statements were run", ran)
	}
}

// argument returns the constant statement in the call that a report is about.
func argument(a *checker.Action, d analysis.Diagnostic) (text string, ok bool) {
	for _, f := range a.Package.Syntax {
		ast.Inspect(f, func(n ast.Node) bool {
			call, isCall := n.(*ast.CallExpr)
			if !isCall || call.Pos() != d.Pos || len(call.Args) < 2 {
				return true
			}
			if v := a.Package.TypesInfo.Types[call.Args[1]].Value; v != nil && v.Kind() == constant.String {
				text, ok = constant.StringVal(v), true
			}
			return true
		})
	}
	return text, ok
}

type silence struct{}

func (silence) Record(context.Context, *audit.Event) error { return nil }

// guarded opens an SQLite database with the schema of the package clinic.
func guarded(t *testing.T) *sql.DB {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "clinic.db")
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for _, ddl := range []string{
		`CREATE TABLE patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, name_index BLOB, born BLOB, PRIMARY KEY (tenant_id, id))`,
		`CREATE TABLE visits (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, pid INTEGER, note BLOB, PRIMARY KEY (tenant_id, id))`,
		`CREATE TABLE countries (code TEXT PRIMARY KEY, title TEXT)`,
	} {
		for name, table := range clinic.Schema {
			if checks := table.Checks(dialect.SQLite); len(checks) > 0 && strings.HasPrefix(ddl, "CREATE TABLE "+name+" ") {
				ddl = strings.TrimSuffix(ddl, ")") + ", " + strings.Join(checks, ", ") + ")"
			}
		}
		if _, err := raw.Exec(ddl); err != nil {
			t.Fatal(err)
		}
	}
	kek, err := localkek.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{Audit: silence{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	if err := ring.Provision(t.Context(), tenant.MustParse("a")); err != nil {
		t.Fatal(err)
	}
	db, err := clinic.Open(t.Context(), "sqlite:"+path, storage.Guard{Keys: ring, Audit: silence{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestKnownColumns(t *testing.T) {
	a := sqldblint.New()
	file, err := filepath.Abs("testdata/exact/columns.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Flags.Set("schema", file); err != nil {
		t.Fatal(err)
	}
	check(t, a, "exact")
}

// TestColumnsOfPostgres makes the file with columns_postgres.sql from a real database, and takes what is sealed from the
// program's schema.
func TestColumnsOfPostgres(t *testing.T) {
	db, err := sql.Open("pgx", testenv.Postgres(t).NewDatabase(t).OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, ddl := range []string{
		`CREATE TABLE patients (tenant_id text NOT NULL, name bytea, id bigint GENERATED ALWAYS AS IDENTITY, ward text, bed int DEFAULT 1, PRIMARY KEY (tenant_id, id), UNIQUE (ward, tenant_id))`,
		`CREATE TABLE undeclared (id int)`,
	} {
		if _, err := db.Exec(ddl); err != nil {
			t.Fatal(err)
		}
	}
	query, err := os.ReadFile("columns_postgres.sql")
	if err != nil {
		t.Fatal(err)
	}
	var columns string
	if err := db.QueryRow(string(query)).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "columns.json")
	if err := os.WriteFile(file, []byte(columns), 0o600); err != nil {
		t.Fatal(err)
	}
	a := sqldblint.New()
	if err := a.Flags.Set("schema", file); err != nil {
		t.Fatal(err)
	}
	check(t, a, "fromdb")
}
