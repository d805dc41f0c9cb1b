package sqlplan

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew; read the difference before you commit it")

// golden reads a file of statements, one a line, that are followed by indented lines of what is expected of them.
func golden(t testing.TB, file string) (comments map[string]string, statements []string, expected map[string]string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	comments, expected = map[string]string{}, map[string]string{}
	comment, last := "", ""
	for line := range strings.Lines(string(content)) {
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
			comment += line
		case strings.HasPrefix(line, "\t"):
			expected[last] += line
		default:
			last = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), `\n`, "\n")
			statements = append(statements, last)
			comments[last], comment = comment, ""
		}
	}
	if len(statements) == 0 {
		t.Fatalf("%s holds no statement", file)
	}
	return comments, statements, expected
}

// goldenFiles are the files of a directory of testdata, each about one feature.
func goldenFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files in %s: %v", dir, err)
	}
	return files
}

// goldenStatements are the statements of directories of testdata.
func goldenStatements(t testing.TB, dirs ...string) []string {
	t.Helper()
	var all []string
	for _, dir := range dirs {
		for _, file := range goldenFiles(t, dir) {
			_, statements, _ := golden(t, file)
			all = append(all, statements...)
		}
	}
	return all
}

// checkGolden runs a test for each file of a directory, by its name.
func checkGolden(t *testing.T, dir string, describe func(t *testing.T, sql string) string) {
	for _, file := range goldenFiles(t, dir) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { checkGoldenFile(t, file, describe) })
	}
}

func checkGoldenFile(t *testing.T, file string, describe func(t *testing.T, sql string) string) {
	comments, statements, expected := golden(t, file)
	var out strings.Builder
	for _, sql := range statements {
		got := describe(t, sql)
		fmt.Fprintf(&out, "%s%s\n%s", comments[sql], strings.ReplaceAll(sql, "\n", `\n`), got)
		if !*update && got != expected[sql] {
			t.Errorf("%s\ngot:\n%swant:\n%s", sql, got, expected[sql])
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func describePlan(_ *testing.T, sql string) string {
	var b strings.Builder
	for _, d := range []Dialect{PostgreSQL, SQLite} {
		name := map[Dialect]string{PostgreSQL: "postgresql", SQLite: "sqlite"}[d]
		plan, err := New(sql, testCatalog(d))
		if err != nil {
			fmt.Fprintf(&b, "\t%s: %v\n", name, err)
			continue
		}
		fmt.Fprintf(&b, "\t%s: %s\n", name, plan.SQL)
		if d == SQLite {
			continue
		}
		for i, p := range plan.Params {
			fmt.Fprintf(&b, "\t  $%d = %s\n", i+1, describeParam(p))
		}
		for _, o := range plan.Outputs {
			fmt.Fprintf(&b, "\t  > %s = %s.%s sealed=%v hidden=%v\n", o.Name, o.Table, o.Column, o.Sealed, o.OriginHidden)
		}
		fmt.Fprintf(&b, "\t  %s rows=%v locks=%v input=%d tables=%v columns=%v sealed=%v\n",
			plan.Verb, plan.ReturnsRows, plan.Locks, plan.NumInput, plan.Tables, plan.Columns, plan.SealedColumns)
		fmt.Fprintf(&b, "\t  %s\n", plan.Statement)
	}
	return b.String()
}

func describeParam(p Param) string {
	source := map[Source]string{FromTenant: "tenant", FromCaller: fmt.Sprintf("caller $%d", p.Caller), FromConst: fmt.Sprintf("const %T %#v", p.Const, p.Const)}[p.Source]
	use := map[Use]string{AsIs: "", Seal: fmt.Sprintf(" sealed for %s.%s", p.Table, p.Column),
		Index: fmt.Sprintf(" indexed for %s.%s under key %d", p.Table, p.Column, p.IndexVersion)}[p.Use]
	if p.Pattern {
		use += " pattern"
	}
	if p.Array {
		use += " array"
	}
	return source + use
}

func TestGoldenPlans(t *testing.T) { checkGolden(t, "plans", describePlan) }

func TestGoldenRefusals(t *testing.T) {
	checkGolden(t, "refused", func(t *testing.T, sql string) string {
		_, err := New(sql, testCatalog(PostgreSQL))
		var refused *RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%s: got %v, want a refusal", sql, err)
			return "\tplanned\n"
		}
		if refused.Reason == "" || refused.Hint == "" {
			t.Errorf("%s: a refusal without a reason or a hint", sql)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the refusal shows a literal: %v", sql, err)
		}
		if _, err := New(sql, testCatalog(SQLite)); !errors.As(err, &refused) {
			t.Errorf("%s: got %v, want a refusal for SQLite too", sql, err)
		}
		errors.As(err, &refused)
		return fmt.Sprintf("\t%v\n", err)
	})
}

// The index values of all live keys are searched, and the primary one is stored.
func TestIndexVersions(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT id FROM patients WHERE ssn = $1":                        "ssn_index IN ($2, $3)",
		"SELECT id FROM patients WHERE ssn <> $1":                       "ssn_index NOT IN ($2, $3)",
		"SELECT id FROM patients WHERE ssn IN ($1, $2)":                 "ssn_index IN ($2, $3, $4, $5)",
		"SELECT id FROM patients WHERE ssn IS NOT DISTINCT FROM $1":     "(patients.ssn_index IS NOT DISTINCT FROM $2 OR patients.ssn_index IS NOT DISTINCT FROM $3)",
		"SELECT id FROM patients WHERE ssn IS DISTINCT FROM $1 OR true": "patients.ssn_index IS DISTINCT FROM $2 AND patients.ssn_index IS DISTINCT FROM $3",
		"UPDATE patients SET ssn = $1":                                  "SET ssn = $2, ssn_index = $3 WHERE",
	} {
		plan, err := New(sql, withVersions(testCatalog(PostgreSQL), 2))
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		if !strings.Contains(strings.ReplaceAll(plan.SQL, "WHERE patients.ssn_index IS NOT DISTINCT FROM $2 OR patients.ssn_index IS NOT DISTINCT FROM $3", "("+"patients.ssn_index IS NOT DISTINCT FROM $2 OR patients.ssn_index IS NOT DISTINCT FROM $3)"), want) {
			t.Errorf("%s: %s lacks %s", sql, plan.SQL, want)
		}
		versions := map[int]bool{}
		for _, p := range plan.Params {
			if p.Use == Index {
				versions[p.IndexVersion] = true
			}
		}
		if !versions[0] || versions[1] != strings.HasPrefix(sql, "SELECT") {
			t.Errorf("%s: index versions %v", sql, versions)
		}
	}
	for _, sql := range []string{"SELECT p.id FROM patients p JOIN patients q ON p.ssn = q.ssn", "INSERT INTO patients (id, ssn) VALUES ($1, $2) ON CONFLICT (ssn) DO NOTHING"} {
		if _, err := New(sql, withVersions(testCatalog(PostgreSQL), 2)); err == nil {
			t.Errorf("planned during a rotation: %s", sql)
		}
	}
}
