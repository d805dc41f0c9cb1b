package sqldb_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

var sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")

// The statements of SORTING.md do what it says, on a table as it says.
func TestSortingGuide(t *testing.T) {
	guide, err := os.ReadFile("SORTING.md")
	must(t, err)
	var statements []string
	for _, block := range sqlBlock.FindAllStringSubmatch(string(guide), -1) {
		for line := range strings.Lines(block[1]) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "ALTER") {
				statements = append(statements, line)
			}
		}
	}
	for _, inline := range []string{"SELECT count(*) FROM patients WHERE ssn = $1", "count(name)"} {
		if !strings.Contains(string(guide), "`"+inline+"`") {
			t.Errorf("the guide has no %s", inline)
		}
	}
	statements = append(statements, "SELECT count(*) FROM patients WHERE ssn = $1", "SELECT count(name) FROM patients")

	schema := sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text(), "prefix": sqldb.Text().Searchable("prefix_index").FoldCase(),
		"ssn": sqldb.Text().Searchable("ssn_index")}}}
	raw, dsn, _ := newRaw(t, dialect.SQLite)
	mustExec(t, raw, withChecks(dialect.SQLite, schema, `CREATE TABLE patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, prefix BLOB, prefix_index BLOB, ssn BLOB, ssn_index BLOB, ward TEXT, initial TEXT, PRIMARY KEY (tenant_id, id))`))
	db, err := sqldb.Open(t.Context(), dsn, schema, storage.Guard{Keys: newRing(t, tenantA, tenantB), Audit: &recorder{}}, nil)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	e := &env{db: db}
	for i, name := range []string{"Ada", "Bea", "Adalbert", "Zoe"} {
		e.exec(t, tenantA, `INSERT INTO patients (id, name, prefix, ssn, ward, initial) VALUES ($1, $2, $3, $4, 'west', $5)`, i, name, name[:3], fmt.Sprint("ssn-", i%2), name[:1])
	}
	args := map[string][]any{
		"ward = $1": {"west", 0}, "(initial, id) >": {"A", 2}, "INSERT": {9, "Bea B", "Bea"}, "prefix = $1": {"ADA"}, "ssn = $1": {"ssn-1"},
	}
	want := map[string]string{
		"ward = $1": "[[1 Bea] [2 Adalbert] [3 Zoe]]", "(initial, id) >": "[[1 Bea] [3 Zoe]]", "prefix = $1": "[[0 Ada] [2 Adalbert]]", "ssn = $1": "[[2]]",
		"GROUP BY initial": "[[A 2] [B 1] [Z 1]]", "count(name)": "[[5]]", "ORDER BY initial, id LIMIT": "",
	}
	seen := map[string]bool{}
	for _, statement := range statements {
		var with []any
		for part, values := range args {
			if strings.Contains(statement, part) {
				with = values
			}
		}
		if strings.HasPrefix(statement, "INSERT") {
			e.exec(t, tenantA, statement, with...)
			continue
		}
		got := e.rows(t, tenantA, statement, with...)
		for part, rows := range want {
			if strings.Contains(statement, part) {
				seen[part] = true
				slices.SortFunc(got, func(a, b []any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
				if rows != "" && fmt.Sprint(got) != rows {
					t.Errorf("%s: %v, want %s", statement, got, rows)
				}
			}
		}
		if other := fmt.Sprint(e.rows(t, tenantB, statement, with...)); other != "[]" && other != "[[0]]" {
			t.Errorf("%s: the other tenant gets %s", statement, other)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("the guide has not all statements that are looked for: %v", seen)
	}
	// What it calls refused is.
	for _, refused := range []string{`SELECT id FROM patients ORDER BY name`, `SELECT name FROM patients GROUP BY name`, `SELECT DISTINCT name FROM patients`, `SELECT max(name) FROM patients`} {
		if _, err := e.tryRows(as(tenantA), refused); err == nil {
			t.Errorf("%s is accepted", refused)
		}
	}
}
