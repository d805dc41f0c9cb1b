package builtin

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// indexed is a function that an index evaluates, with what its operator takes.
type indexed struct {
	function    string
	op          string
	left, right string
}

// checkLeakproof compares the lists with the server's own catalog: each function that an index evaluates and that is not
// marked is in the one that the catalogue puts it into, or in none.
func (p *poisoned) checkLeakproof(t *testing.T) {
	rows, err := p.Query(t.Context(), `
		SELECT DISTINCT 'pg_catalog.' || f.proname || '(' || format_type(o.oprleft, NULL) || ', ' || format_type(o.oprright, NULL) || ')',
		       o.oprname::text, l.typname::text, r.typname::text
		FROM pg_amop a JOIN pg_am m ON m.oid = a.amopmethod JOIN pg_operator o ON o.oid = a.amopopr JOIN pg_proc f ON f.oid = o.oprcode
		     JOIN pg_type l ON l.oid = o.oprleft JOIN pg_type r ON r.oid = o.oprright
		WHERE a.amoppurpose = 's' AND m.amname IN ('btree', 'hash', 'gin', 'gist') AND NOT f.proleakproof AND f.pronamespace = 'pg_catalog'::regnamespace`)
	if err != nil {
		t.Fatal(err)
	}
	functions, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f indexed, err error) {
		return f, row.Scan(&f.function, &f.op, &f.left, &f.right)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range functions {
		if list := f.list(); list != "" {
			want[f.function] = list
		}
	}
	got := map[string]string{}
	for _, f := range Leakproof() {
		got[f] = "leakproof"
	}
	for _, k := range KeptOut() {
		for _, f := range k.Functions {
			got[f] = k.list
		}
	}
	for f, list := range got {
		if want[f] != list {
			t.Errorf("%s is in the list %q and not %q", f, list, want[f])
		}
	}
	for f, list := range want {
		if got[f] == "" {
			t.Errorf("%s is missing from the list %q", f, list)
		}
	}
}

// list is where a function belongs.
func (f indexed) list() string {
	left, right := examples(f.left), examples(f.right)
	for _, l := range left {
		for _, r := range right {
			_, total, _ := Operator(PostgreSQL, f.op, l, r)
			switch {
			case Requires(f.op, l, r) != Unbounded:
				return "deep"
			case total && (among("anyarray anyrange anymultirange", Type(f.left)) || among("anyarray anyrange anymultirange", Type(f.right))):
				return "elements"
			case total:
				return "leakproof"
			}
		}
	}
	return ""
}

// examples are types of the catalogue that an operator takes where it is declared for a type.
func examples(typ string) []Type {
	switch typ {
	case "anyarray":
		return []Type{"text[]"}
	case "anyenum":
		return []Type{"enum:mood"}
	case "anyrange":
		return []Type{"int4range"}
	case "anymultirange":
		return []Type{"int4multirange"}
	case "anyelement":
		return []Type{"int4"}
	}
	if element, ok := strings.CutPrefix(typ, "_"); ok {
		return []Type{Array(Type(element))}
	}
	return []Type{Type(typ)}
}

// checkKeptOut shows that functions which are kept out tell of a row by failing: each statement does for one value of the
// row's, and not for the other.
func (p *poisoned) checkKeptOut(t *testing.T) {
	const deepQuery = `(repeat('a|', 15000) || 'b')`
	p.must(t, `CREATE TYPE asked AS RANGE (subtype = tsquery); SET max_stack_depth = '500kB'`) // what is four times as deep takes long to parse
	defer p.must(t, `RESET max_stack_depth`)
	for function, c := range map[string]struct{ statement, fails, passes string }{
		"ts_match_vq(tsvector, tsquery)":     {`SELECT v::tsvector @@ q FROM v, (SELECT ('secret & (' || ` + deepQuery + ` || ')')::tsquery AS q OFFSET 0) q`, `'secret'`, `'other'`},
		"jsonb_contains(jsonb, jsonb)":       {`SELECT CASE v WHEN 'secret' THEN d ELSE '[]' END @> d FROM v, (SELECT v AS d FROM p_jsonb ORDER BY id DESC LIMIT 1) d`, `'secret'`, `'other'`},
		"arraycontains(anyarray, anyarray)":  {`SELECT ARRAY[v::tsquery] @> ARRAY[` + deepQuery + `::tsquery] FROM v`, deepQuery, `'other'`},
		"range_overlaps(anyrange, anyrange)": {`SELECT asked(v::tsquery, NULL) && asked(` + deepQuery + `::tsquery, NULL) FROM v`, deepQuery, `'other'`},
	} {
		if !slices.ContainsFunc(KeptOut(), func(k Kept) bool { return slices.Contains(k.Functions, "pg_catalog."+function) }) {
			t.Errorf("%s is not kept out", function)
		}
		for _, v := range []string{c.fails, c.passes} {
			query := `SELECT count(x) FROM (WITH v AS MATERIALIZED (SELECT ` + v + ` AS v) ` + c.statement + ` OFFSET 0) q(x)`
			if passes := p.passes(t.Context(), query); passes != (v == c.passes) {
				_, err := p.Exec(t.Context(), query)
				t.Errorf("%s for %.20s: %.200v", function, v, err)
			}
		}
	}
}
