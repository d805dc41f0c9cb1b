package builtin

import (
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
