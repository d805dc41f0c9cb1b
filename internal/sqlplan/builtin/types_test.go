package builtin

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func keysOf(m map[Type]bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range maps.Keys(m) {
			if !yield(string(k)) {
				return
			}
		}
	}
}

// since17 are functions that version 15 does not have.
const since17 = "any_value array_sample array_shuffle date_add date_subtract erf erfc json_agg_strict jsonb_agg_strict json_object_agg_strict" +
	" jsonb_object_agg_strict json_object_agg_unique jsonb_object_agg_unique json_object_agg_unique_strict jsonb_object_agg_unique_strict" +
	" random_normal to_bin to_oct unicode_assigned uuid_extract_timestamp uuid_extract_version"

// checkTypes compares what the catalogue says of types, total or not, with what the server makes of them.
func (p *poisoned) checkTypes(t *testing.T) {
	t.Run("functions", p.checkFunctions)
	t.Run("operators", p.checkOperators)
	t.Run("choices", p.checkChoices)
}

// typeOf returns the type of an expression, or "" where the server has none such.
func (p *poisoned) typeOf(t *testing.T, expression string) Type {
	d, err := p.Prepare(t.Context(), "", "SELECT "+expression)
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e) && slices.Contains([]string{"42883", "42725", "42P18", "42804", "42846", "42P38", "42809", "22P02", "22007"}, e.Code):
		return ""
	case err != nil:
		t.Fatalf("%s: %v", expression, err)
	}
	if typ, ok := p.byOID[d.Fields[0].DataTypeOID]; ok {
		return typ
	}
	return Unknown
}

func (p *poisoned) checkOperators(t *testing.T) {
	operands := append(everyType(), Adapts)
	for op := range signs[PostgreSQL] {
		for _, left := range append(slices.Clone(operands), Nothing) {
			for _, right := range operands {
				returns, total, allowed := Operator(PostgreSQL, string(op), left, right)
				if returns == Unknown || !allowed || contains(comparisons, string(op)) && !total {
					continue
				}
				e := entry{args: []Type{left, right}, format: "(%s " + strings.ReplaceAll(string(op), "%", "%%") + " %s)"}
				if left == Nothing {
					e.args, e.format = e.args[1:], e.format[len("(%s"):len(e.format)-1]
				}
				expression := strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf(e.format, e.nulls()...), "$1", "NULL"), "$2", "NULL")
				refused := left == Adapts || right == Adapts // PostgreSQL refuses to choose an operator, whatever the rows
				if got := p.typeOf(t, expression); got != returns && (got != "" || !refused) {
					t.Errorf("%s is %q and not %q", expression, got, returns)
				}
			}
		}
	}
}

// checkFunctions checks that each function exists and is of its kind, and each signature that names its types.
func (p *poisoned) checkFunctions(t *testing.T) {
	for name, fn := range functions[PostgreSQL] {
		if p.version < 17 && contains(since17, name) {
			continue
		}
		var kinds string
		err := p.QueryRow(t.Context(), `SELECT coalesce(string_agg(DISTINCT CASE WHEN proretset THEN 's' ELSE prokind::text END || CASE WHEN aggkind <> 'n' THEN 'o' ELSE '' END, ','), '') FROM pg_proc LEFT JOIN pg_aggregate ON aggfnoid = pg_proc.oid WHERE proname = $1 AND pronamespace = 'pg_catalog'::regnamespace`, name).Scan(&kinds)
		if err != nil {
			t.Fatal(err)
		}
		want := map[Kind]string{Scalar: "f", Aggregate: "a", Window: "w", Ordered: "ao", SetReturning: "s"}[fn.facts.Kind]
		if fn.facts.Both {
			want = "ao,w"
		}
		if strings.HasSuffix(name, "_to_record") { // it returns one
			want = "f"
		}
		if kinds != want {
			t.Errorf("%s is of kind %q and not %q", name, kinds, want)
		}
		p.checkSignatures(t, name, fn)
	}
}

func (p *poisoned) checkSignatures(t *testing.T, name string, fn function) {
	for _, s := range fn.signatures {
		if s.returns == Unknown || slices.Contains(s.args, anyType) || contains("overlaps extract normalize position substring overlay", name) || fn.facts.Both {
			continue
		}
		calls := s.calls()
		for i, args := range calls {
			if len(calls) > 500 && i%(len(calls)/500) != 0 {
				continue
			}
			f, _ := Function(PostgreSQL, name, args)
			if f.Returns == Unknown {
				continue
			}
			e := entry{args: args, format: "pg_catalog." + name + "(" + strings.TrimSuffix(strings.Repeat("%s, ", len(args)), ", ") + ")"}
			if len(args) == 0 && name == "count" {
				e.format = "pg_catalog.count(*)"
			}
			if fn.facts.Kind == Window {
				e.format += " OVER ()"
			}
			expression := fmt.Sprintf(e.format, e.nulls()...)
			for n := len(args); n > 0; n-- {
				expression = strings.ReplaceAll(expression, fmt.Sprintf("$%d", n), "NULL")
			}
			if got := p.typeOf(t, expression); got != f.Returns && (got != "" || !slices.Contains(args, Adapts) && (f.Total || slices.Equal(args, s.args) && p.version >= 17)) {
				t.Errorf("%s is %q and not %q", expression, got, f.Returns)
			}
		}
	}
}

func (p *poisoned) checkChoices(t *testing.T) {
	for _, a := range everyType() {
		for _, b := range everyType() {
			want, _ := Common(a, b)
			if want == Unknown {
				continue
			}
			for _, form := range []string{"COALESCE(NULL::%s, NULL::%s)", "CASE WHEN true THEN NULL::%s ELSE NULL::%s END"} {
				expression := fmt.Sprintf(form, sqlType(a), sqlType(b))
				if strings.HasPrefix(form, "CASE") { // whose last branch PostgreSQL looks at first
					expression = fmt.Sprintf(form, sqlType(b), sqlType(a))
				}
				if got := p.typeOf(t, expression); got != want {
					t.Errorf("%s is %q and not %q", expression, got, want)
				}
			}
		}
	}
}
