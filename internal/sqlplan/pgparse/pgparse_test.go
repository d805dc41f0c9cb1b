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
		for n := 1; n < 100; n++ {
			sql := build(n)
			tree, err := Parse(sql)
			var limit *LimitError
			if errors.As(err, &limit) {
				break
			}
			var syntax *SyntaxError
			if errors.As(err, &syntax) && name == "explain" {
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
		if _, err := Parse(build(20000)); err == nil {
			t.Errorf("%s: 20000 levels were parsed", name)
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
