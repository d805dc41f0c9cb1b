package sqlplan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// Each row of the table of what SQLite lacks is about something that shape.go admits, and refuses a statement that has it.
func TestLiteLacks(t *testing.T) {
	statements := append(goldenStatements(t, "plans"),
		"SELECT id FROM patients GROUP BY DISTINCT ROLLUP (id)", "SELECT ARRAY(SELECT id FROM patients)", "SELECT 1 WHERE 1 = ANY (SELECT id FROM patients)",
		"SELECT 1 WHERE 1 NOT BETWEEN SYMMETRIC 2 AND 3", "SELECT 1 WHERE 1 BETWEEN SYMMETRIC 2 AND 3",
		"SELECT (1 = 2) IS UNKNOWN", "SELECT (1 = 2) IS NOT UNKNOWN", "SELECT least(1, 2)", "SELECT 1 WHERE ROW(1, 2) = (1, 2)", "SELECT own_function(x => 1)",
		"SELECT JSON_ARRAY(1)", "SELECT JSON_ARRAY(SELECT id FROM patients)", "SELECT JSON_OBJECTAGG('a': 1)", "SELECT JSON_ARRAYAGG(1)", "SELECT JSON('1' WITH UNIQUE KEYS)", "SELECT JSON('1' FORMAT JSON)",
		"SELECT JSON_SCALAR(1)", "SELECT JSON_SERIALIZE('1')", "SELECT '1' IS JSON", "SELECT JSON_EXISTS('1', '$')", "SELECT JSON_QUERY('1', '$')",
		"SELECT JSON_VALUE('1', '$')")
	for _, l := range liteLacks {
		if !contains("MergeStmt DeleteStmt", string(l.kind)) && fields[l.kind] == "" || l.field != "" && !contains(fields[l.kind], string(l.field)) {
			t.Errorf("%s.%s is not admitted by shape.go", l.kind, l.field)
		}
		met := slices.ContainsFunc(statements, func(sql string) bool {
			tree, err := pgparse.Parse(sql)
			if err != nil || !has(tree.Stmts[0].Stmt, l) {
				return false
			}
			_, err = New(sql, testCatalog(SQLite))
			var refused *RefusedError
			if !errors.As(err, &refused) {
				t.Errorf("%s is planned for SQLite: %v", sql, err)
			}
			return refused.Reason == "unsupported in SQLite" && strings.Contains(err.Error(), l.construct) && strings.Contains(err.Error(), l.hint)
		})
		if !met {
			t.Errorf("no statement is refused for %s.%s %s (%s)", l.kind, l.field, l.value, l.construct)
		}
	}
}

func has(stmt *pg.Node, l lack) bool {
	found := false
	visit(stmt.ProtoReflect(), func(m protoreflect.Message) { found = found || m.Descriptor().Name() == l.kind && l.in(m) })
	return found
}
