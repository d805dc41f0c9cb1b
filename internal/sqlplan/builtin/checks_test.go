package builtin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// checkBounded meets the operators that are total within a bound with operands that are just within it, and beyond.
func (p *poisoned) checkBounded(t *testing.T) {
	p.must(t, fmt.Sprintf(`
		CREATE TABLE p_nested (id int GENERATED ALWAYS AS IDENTITY, v jsonb);
		INSERT INTO p_nested(v) VALUES (NULL), ('1'), ('{}'), ('[]'), ('{"a": 1}'), ((repeat('[', %[1]d)||repeat(']', %[1]d))::jsonb),
			((repeat('{"a":', %[1]d)||'1'||repeat('}', %[1]d))::jsonb), ((repeat('[1,', %[1]d)||'2'||repeat(']', %[1]d))::jsonb);
		CREATE TABLE p_asked (id int GENERATED ALWAYS AS IDENTITY, v text);
		INSERT INTO p_asked(v) VALUES (''), ('a'), (repeat('a|', %[2]d/2-1)||'b'), (repeat('a&', %[2]d/2-1)||'b'), (repeat('(a&', %[2]d/4-1)||'b'||repeat(')', %[2]d/4-1)),
			(repeat('(!a|', %[2]d/5-1)||'b'||repeat(')', %[2]d/5-1)), (repeat('a<->', %[2]d/4-1)||'b')`, MaxNesting, MaxQuery))
	// The bound is far enough from what fails: it holds on half of the usual stack too.
	for _, stack := range []string{"2MB", "1MB"} {
		p.must(t, "SET max_stack_depth = '"+stack+"'")
		for _, op := range []string{"@>", "<@"} {
			for _, tables := range [][2]string{{"p_jsonb", "p_nested"}, {"p_nested", "p_jsonb"}} {
				var n int
				if err := p.QueryRow(t.Context(), fmt.Sprintf("SELECT count(a.v %s b.v) FROM %s a, %s b", op, tables[0], tables[1])).Scan(&n); err != nil {
					t.Errorf("%s of %v with a stack of %s: %.300v", op, tables, stack, err)
				}
			}
		}
		for _, make := range []string{"%s::tsquery", "to_tsquery('simple', %s)", "plainto_tsquery('simple', %s)", "websearch_to_tsquery('simple', %s)", "phraseto_tsquery('simple', %s)"} {
			for _, op := range []string{"a.v @@ q", "q @@ a.v"} {
				var n int
				if err := p.QueryRow(t.Context(), fmt.Sprintf("SELECT count(%s) FROM p_tsvector a, (SELECT %s AS q FROM p_asked OFFSET 0) b", op, fmt.Sprintf(make, "v"))).Scan(&n); err != nil {
					t.Errorf("%s of %s with a stack of %s: %.300v", op, make, stack, err)
				}
			}
		}
	}
	p.must(t, "RESET max_stack_depth")
	for _, query := range []string{
		"SELECT count(a.v @> b.v) FROM p_jsonb a, p_jsonb b",
		"SELECT count(v @@ q) FROM p_tsvector, (SELECT (repeat('a|', 60000)||'b')::tsquery AS q OFFSET 0) b",
	} {
		if p.passes(t.Context(), query) {
			t.Errorf("%s needs no bound", query)
		}
	}
	for _, e := range []entry{ // a column's value fits a page
		{what: "@@", format: "(%s @@ %s)", args: []Type{"tsvector", "tsquery"}, returns: "bool"},
		{what: "@@", format: "(%s @@ %s)", args: []Type{"tsquery", "tsvector"}, returns: "bool"},
	} {
		if err := p.asRows(t, e); err != nil {
			t.Errorf("%v: %.300v", e, err)
		}
	}
}

// checkLarge meets what has one operand, and comparisons, with values of the greatest size that the catalogue speaks of.
func (p *poisoned) checkLarge(t *testing.T) {
	large := map[Type][]string{
		"text":   {`repeat('a', %d)`, `repeat('é', %d / 2)`, `repeat(chr(1), %d)`, `repeat(' ', %d)`, `repeat('"', %d)`, `repeat('🙂', %d / 4)`},
		"bytea":  {`decode(repeat('ff', %d), 'hex')`},
		"jsonb":  {`to_jsonb(repeat(chr(1), %d))`, `to_jsonb(repeat('"', %d))`},
		"text[]": {`ARRAY[repeat('"', %d)]`, `array_fill('a'::text, ARRAY[%d / 8])`},
		"int4[]": {`array_fill(-2147483648, ARRAY[%d / 4])`},
		"varbit": {`repeat('1', %d)::varbit`},
	}
	large["varchar"], large["bpchar"], large["citext"] = large["text"], large["text"], large["text"]
	for typ, values := range large {
		name := "large_" + strings.TrimPrefix(p.tables[typ], "p_")
		p.must(t, fmt.Sprintf("CREATE TABLE %s (v %s)", name, sqlType(typ)))
		for _, v := range values {
			p.must(t, fmt.Sprintf("INSERT INTO %s VALUES (("+v+")::%s)", name, MaxValue, sqlType(typ)))
		}
	}
	for _, e := range totalEntries() {
		if !e.declared || len(e.args) == 0 || large[e.args[0]] == nil || len(e.args) > 1 && !contains("= < ||", strings.TrimPrefix(e.what, "operator ")) {
			continue
		}
		e.tables = map[int]string{}
		for i, arg := range e.args {
			if large[arg] != nil {
				e.tables[i] = "large_" + strings.TrimPrefix(p.tables[arg], "p_")
			}
		}
		if err := p.asRows(t, e); err != nil {
			t.Errorf("%v is not total for large values: %.300v", e, err)
		}
	}
}

// checkWrong meets entries that are wrong on purpose.
func (p *poisoned) checkWrong(t *testing.T, find func(testing.TB, entry) string) {
	for _, e := range []entry{
		{what: "ceil", format: "ceil(%s)", args: []Type{"numeric"}, returns: "numeric"},
		{what: "+", format: "(%s + %s)", args: []Type{"int4", "int4"}, returns: "int4"},
		{what: "/", format: "(%s / %s)", args: []Type{"int4", "int4"}, returns: "int4"},
		{what: "+", format: "(%s + %s)", args: []Type{"int4", Adapts}, returns: "int4"},
		{what: "=", format: "(%s = %s)", args: []Type{"numeric", "float8"}, returns: "bool"},
		{what: "-", format: "(%s - %s)", args: []Type{"timestamptz", "timestamptz"}, returns: "interval"},
		{what: "cast", format: "CAST(%s AS timestamptz)", args: []Type{"timestamp"}, returns: "timestamptz"},
		{what: "cast", format: "CAST(%s AS timestamp)", args: []Type{"timestamptz"}, returns: "timestamp"},
		{what: "cast", format: "CAST(%s AS jsonb)", args: []Type{"json"}, returns: "jsonb"},
		{what: "->>", format: "(%s ->> %s)", args: []Type{"json", "text"}, returns: "text"},
		{what: "@>", format: "(%s @> %s)", args: []Type{"jsonb", "jsonb"}, returns: "bool"},
		{what: "=", format: "(%s = %s)", args: []Type{"json[]", "json[]"}, returns: "bool"},
		{what: "-", format: "(%s - %s)", args: []Type{"jsonb", "text"}, returns: "jsonb"},
		{what: "array_append", format: "array_append(%s, %s)", args: []Type{"int4[]", "int4"}, returns: "int4[]"},
		{what: "LIKE of a row's pattern", format: "(%s ~~ %s)", args: []Type{"text", "text"}, returns: "bool"},
		{what: "a wrong type", format: "(%s + %s)", args: []Type{"int4", "int4"}, returns: "int8"},
		{what: "no values", format: "(%s = %s)", args: []Type{"money", "money"}, returns: "bool"},
	} {
		if slices.Contains(e.args, Adapts) && !*catalogue {
			continue // it needs a parameter
		}
		if why := find(t, e); why == "" {
			t.Errorf("the test does not notice that %v is not total", e)
		}
	}
}

// checkMutants calls signatures of the catalogue total that are not, one at a time: the entries that come of it are found.
func (p *poisoned) checkMutants(t *testing.T, find func(testing.TB, entry) string) {
	for name, list := range map[string][]signature{
		"function abs": functions[PostgreSQL]["abs"].signatures, "function mod": functions[PostgreSQL]["mod"].signatures,
		"function jsonb_array_length": functions[PostgreSQL]["jsonb_array_length"].signatures,
		"operator -":                  operatorTable["-"], "operator #-": operatorTable["#-"],
	} {
		for i := range list {
			if list[i].total || name == "operator -" && among("time timetz anymultirange", list[i].args[0]) {
				continue // these fail for infinite intervals alone, which version 15 does not have, or for none that are tried
			}
			list[i].total = true
			entries := slices.DeleteFunc(totalEntries(), func(e entry) bool { return e.what != name || !e.declared })
			list[i].total = false
			if len(entries) > 0 && !slices.ContainsFunc(entries, func(e entry) bool { return find(t, e) != "" }) {
				t.Errorf("the test does not notice that %s of %q is not total", name, list[i].args)
			}
		}
	}
}
