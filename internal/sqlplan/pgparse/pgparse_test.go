package pgparse

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// nested builds statements that recurse in the parser in different ways.
var nested = map[string]func(n int) string{
	"plus":  func(n int) string { return "SELECT 1" + strings.Repeat("+1", n) },
	"paren": func(n int) string { return "SELECT " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n) },
	"minus": func(n int) string { return "SELECT " + strings.Repeat("- ", n) + "x" },
	"not":   func(n int) string { return "SELECT " + strings.Repeat("NOT ", n) + "x" },
	"sub":   func(n int) string { return "SELECT " + strings.Repeat("(SELECT ", n) + "1" + strings.Repeat(")", n) },
	"from": func(n int) string {
		return strings.Repeat("SELECT * FROM (", n) + "SELECT 1" + strings.Repeat(") x", n)
	},
	"with": func(n int) string {
		return strings.Repeat("WITH a AS (", n) + "SELECT 1" + strings.Repeat(") SELECT 1", n)
	},
	"func": func(n int) string { return "SELECT " + strings.Repeat("f(", n) + "1" + strings.Repeat(")", n) },
	"case": func(n int) string {
		return "SELECT " + strings.Repeat("CASE WHEN ", n) + "1" + strings.Repeat(" THEN 1 END", n)
	},
	"else": func(n int) string {
		return "SELECT " + strings.Repeat("CASE WHEN x THEN 1 ELSE ", n) + "1" + strings.Repeat(" END", n)
	},
	"union": func(n int) string { return "SELECT 1" + strings.Repeat(" UNION SELECT 1 ", n) },
	"cast":  func(n int) string { return "SELECT 1" + strings.Repeat("::int", n) },
	"join":  func(n int) string { return "SELECT 1 FROM a" + strings.Repeat(" JOIN b ON x AND y", n) },
	"array": func(n int) string { return "SELECT " + strings.Repeat("ARRAY[", n) + "1" + strings.Repeat("]", n) },
	"in": func(n int) string {
		return "SELECT 1 WHERE x" + strings.Repeat(" IN (SELECT 1 WHERE x", n) + strings.Repeat(")", n)
	},
	"zone":    func(n int) string { return "SELECT x" + strings.Repeat(" AT TIME ZONE y", n) },
	"collate": func(n int) string { return "SELECT x" + strings.Repeat(` COLLATE "C"`, n) },
	"exists": func(n int) string {
		return "SELECT 1 WHERE EXISTS (" + strings.Repeat("SELECT 1 WHERE EXISTS (", n) + "SELECT 1)" + strings.Repeat(")", n)
	},
	"between":   func(n int) string { return "SELECT " + strings.Repeat("1 BETWEEN 1 AND NOT ", n) + "1" },
	"distinct":  func(n int) string { return "SELECT " + strings.Repeat("1 IS DISTINCT FROM NOT ", n) + "1" },
	"commented": func(n int) string { return "SELECT " + strings.Repeat("1 IS DISTINCT/**/FROM NOT ", n) + "1" },
	"atomic": func(n int) string {
		return strings.Repeat("CREATE FUNCTION f() BEGIN ATOMIC ", n) + "SELECT 1" + strings.Repeat("; END", n)
	},
	"filter": func(n int) string {
		return "SELECT " + strings.Repeat("f(x) FILTER (WHERE ", n) + "true" + strings.Repeat(")", n)
	},
	"window": func(n int) string {
		return "SELECT " + strings.Repeat("f() OVER (PARTITION BY ", n) + "1" + strings.Repeat(")", n)
	},
	"lateral": func(n int) string {
		return "SELECT 1" + strings.Repeat(" FROM (SELECT 1", n) + strings.Repeat(") x", n)
	},
	"joined": func(n int) string {
		return "SELECT 1 FROM " + strings.Repeat("(a JOIN ", n) + "b" + strings.Repeat(" ON true)", n)
	},
	"comment": func(n int) string { return "SELECT " + strings.Repeat("/* ", n) + strings.Repeat("*/ ", n) + "1" },
	"not or": func(n int) string {
		return "SELECT " + strings.Repeat("NOT (a OR b AND ", n) + "c" + strings.Repeat(")", n)
	},
	"left": func(n int) string { return "SELECT " + strings.Repeat("(", n) + "x" + strings.Repeat("+ 1)", n) },
	"left and": func(n int) string {
		return "SELECT " + strings.Repeat("(", n) + "x" + strings.Repeat(" AND y OR z)", n)
	},
	"left ops": func(n int) string {
		return "SELECT " + strings.Repeat("(", n) + "x" + strings.Repeat("::a + 1 = 2 AND y OR z)", n)
	},
	"left cast": func(n int) string {
		return "SELECT " + strings.Repeat("(", n) + "x" + strings.Repeat(" :: a :: b :: c)", n)
	},
	"left case": func(n int) string {
		return "SELECT " + strings.Repeat("CASE ", n) + "x" + strings.Repeat(" WHEN 1 THEN 2 END", n)
	},
	"left union": func(n int) string {
		return strings.Repeat("(", n) + "SELECT 1" + strings.Repeat(" UNION SELECT 2)", n)
	},
	"left join": func(n int) string {
		return "SELECT 1 FROM " + strings.Repeat("(", n) + "a" + strings.Repeat(" JOIN b ON x AND y OR z)", n)
	},
	"right union": func(n int) string {
		return "SELECT 1" + strings.Repeat(" UNION (SELECT 2", n) + strings.Repeat(")", n)
	},
	"subscript": func(n int) string { return "SELECT " + strings.Repeat("(x)[", n) + "1" + strings.Repeat("]", n) },
	"row":       func(n int) string { return "SELECT " + strings.Repeat("ROW(1, ", n) + "1" + strings.Repeat(")", n) },
	"any":       func(n int) string { return "SELECT 1" + strings.Repeat(" = ANY (SELECT 1", n) + strings.Repeat(")", n) },
	"order": func(n int) string {
		return "SELECT 1" + strings.Repeat(" ORDER BY (SELECT 1", n) + strings.Repeat(")", n)
	},
	"group": func(n int) string {
		return "SELECT 1" + strings.Repeat(" GROUP BY GROUPING SETS (ROLLUP ((SELECT 1", n) + strings.Repeat(")))", n)
	},
	"conflict": func(n int) string {
		return "INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = " + strings.Repeat("(SELECT b + ", n) + "1" + strings.Repeat(")", n)
	},
	"explain": func(n int) string { return strings.Repeat("EXPLAIN ", n) + "SELECT 1" },
}

// Whatever is under the limit parses, deparses and parses to the same again, at once and repeatedly; whatever is far
// over it is refused before the recursive parser sees it. Afterwards the parser is still sane.
func TestDepth(t *testing.T) {
	const sane = "SELECT a, count(*) FROM t JOIN u USING (id) WHERE b IN (1, 2) GROUP BY a ORDER BY 2 DESC"
	before, err := Parse(sane)
	if err != nil {
		t.Fatal(err)
	}
	for name, build := range nested {
		deepest := 0
		for n := 1; n < 90; n++ {
			sql := build(n)
			tree, err := Parse(sql)
			var limit *LimitError
			if errors.As(err, &limit) {
				break
			}
			var syntax *SyntaxError
			if errors.As(err, &syntax) && (name == "explain" || name == "atomic") {
				continue
			}
			if err != nil {
				t.Fatalf("%s %d: %v", name, n, err)
			}
			deepest = n
			text, err := Deparse(tree)
			if err != nil {
				t.Fatalf("%s %d: %v", name, n, err)
			}
			if _, err := Fingerprint(text); err != nil {
				t.Fatalf("%s %d: %v", name, n, err)
			}
			if _, err := Normalize(text); err != nil {
				t.Fatalf("%s %d: %v", name, n, err)
			}
			after, err := Parse(sane)
			if err != nil || !proto.Equal(before, after) {
				t.Fatalf("%s %d: the parser is no longer sane: %v", name, n, err)
			}
		}
		t.Logf("%s: %d deep", name, deepest)
		if _, err := Parse(build(5000)); err == nil && name != "comment" {
			t.Errorf("%s: 5000 levels were parsed", name)
		}
	}
}

// Ordinary long statements are not deep.
func TestLongIsNotDeep(t *testing.T) {
	for _, sql := range []string{
		"SELECT 1 FROM t WHERE " + strings.Repeat("a = 1 AND b BETWEEN 1 AND 2 AND NOT c IS NULL AND ", 30) + "true",
		"SELECT 1 FROM t WHERE " + strings.Repeat("(a = 1 AND b <> 2) OR ", 2000) + "true",
		"INSERT INTO t (a, b) VALUES (1 + 1, 'x')" + strings.Repeat(", ($1 + 1, lower('x'))", 5000),
		"SELECT 1 FROM t WHERE a IN (1" + strings.Repeat(", 2", 20000) + ")",
		"SELECT CASE" + strings.Repeat(" WHEN a = 1 THEN b + 1", 1000) + " ELSE 2 END",
		"SELECT a.x FROM a" + strings.Repeat(" LEFT JOIN b ON a.x = b.x AND a.y = b.y", 20),
	} {
		tree, err := Parse(sql)
		if err != nil {
			t.Errorf("%.60s: %v", sql, err)
			continue
		}
		if _, err := Deparse(tree); err != nil {
			t.Errorf("%.60s: %v", sql, err)
		}
	}
}

// TestAssignedTogether: the tree has what SET (a, b) = (…) assigns once for each column, so that some KiB of text come to gigabytes. It is
// counted as often before the parser makes it, and nowhere else is anything.
func TestAssignedTogether(t *testing.T) {
	list := func(n int) string { return "(a" + strings.Repeat(", a", n-1) + ")" }
	values := func(n int) string { return "(1" + strings.Repeat(", 1", n-1) + ")" }
	inside := "a = 1"
	for range 6 {
		inside = "(a, b, c, d, e, f, g, h) = (WITH w AS (UPDATE t SET " + inside + " RETURNING 1) SELECT 1, 2, 3, 4, 5, 6, 7, 8)"
	}
	for name, c := range map[string]struct {
		sql  string
		fits bool
	}{
		"as many as a wide table has":     {"UPDATE t SET " + list(100) + " = " + values(100), true},
		"many":                            {"UPDATE t SET " + list(1000) + " = " + values(1000), false},
		"behind another":                  {"UPDATE t SET b = 1, " + list(1000) + " = " + values(1000), false},
		"behind FROM that is none":        {"UPDATE t SET b = c IS DISTINCT/**/FROM 1, " + list(1000) + " = " + values(1000), false},
		"of an expression":                {"UPDATE t SET " + list(1000) + " = CASE WHEN b IS DISTINCT FROM 1 THEN " + values(1000) + " END", false},
		"of a query":                      {"UPDATE t SET " + list(1000) + " = (SELECT 1 WHERE b IN " + values(1000) + ")", false},
		"of an ARRAY":                     {"UPDATE t SET " + list(1000) + "/**/= ROW(ARRAY[1" + strings.Repeat(", 1", 1000) + "])", false},
		"in ON CONFLICT":                  {"INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET " + list(1000) + " = " + values(1000), false},
		"in MERGE":                        {"MERGE INTO t USING u ON true WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED BY SOURCE THEN UPDATE SET " + list(1000) + " = " + values(1000), false},
		"in one another":                  {"UPDATE t SET " + inside, false},
		"parts of columns":                {"UPDATE t SET (a" + strings.Repeat(", a[1].b", 999) + ") = " + values(1000), false},
		"few, and many values behind":     {"UPDATE t SET " + list(20) + " = " + values(20) + " WHERE a IN " + values(5000), true},
		"few, and many values of another": {"UPDATE t SET " + list(20) + " = " + values(20) + ", b = c IN " + values(5000), true},
		"few, and many values in FROM":    {"UPDATE t SET " + list(20) + " = " + values(20) + " FROM (VALUES " + values(5000) + ") v", true},
		"few, and many values RETURNING":  {"UPDATE t SET " + list(20) + " = " + values(20) + " RETURNING a IN " + values(5000), true},
		"rows that are compared":          {"SELECT 1 FROM t WHERE true" + strings.Repeat(" AND (a, b) = (1, 2)", 4000), true},
	} {
		tree, err := Parse(c.sql)
		var limit *LimitError
		if limited := errors.As(err, &limit) && limit.What == "tokens"; limited == c.fits || c.fits && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if size := proto.Size(tree); size > 40*MaxTokens {
			t.Errorf("%s: %d bytes are parsed to %d", name, len(c.sql), size)
		}
	}
}

func TestSyntaxErrorHoldsNoText(t *testing.T) {
	_, err := Parse("SELECT 'é' FRM 'my-secret-literal' x")
	var syntax *SyntaxError
	if !errors.As(err, &syntax) {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "secret") || syntax.Position != len("SELECT 'é' FRM ") {
		t.Errorf("got %q at %d", err, syntax.Position)
	}
	for _, sql := range []string{"SELECT 1\x00; DROP TABLE t", "SELECT '\xff'", strings.Repeat(" ", MaxLength+1)} {
		if _, err := Parse(sql); err == nil {
			t.Errorf("%.20q was parsed", sql)
		}
	}
}
