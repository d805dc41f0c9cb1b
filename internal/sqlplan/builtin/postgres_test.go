package builtin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

var (
	catalogue = flag.Bool("catalogue", false, "meet every total entry of the catalogue with poisonous values in every form, for half an hour")
	only      = flag.String("entries", "", "a regular expression of the entries to meet, such as '^(operator|cast)'; all others are left out")
)

// TestTotal meets everything that the catalogue calls total with poisonous values. Without the flag it meets each entry
// as it is declared with rows alone, in one time zone.
func TestTotal(t *testing.T) {
	p := poisonedBy(t, connect(t, testenv.Postgres(t).NewDatabase(t).SuperURL))
	p.must(t, "SET statement_timeout = '120s'")
	entries := totalEntries()
	if len(entries) < 4000 {
		t.Fatalf("there are %d entries", len(entries))
	}
	find := p.whole
	if !*catalogue {
		// In the west, the last timestamp without a zone is too late for one with a zone, and the first instant too early.
		p.must(t, "SET timezone = 'America/Los_Angeles'")
		find = p.quick
		entries = slices.DeleteFunc(entries, func(e entry) bool { return !e.declared })
	}
	wanted := regexp.MustCompile(*only)
	// Conversions of three operands are too many combinations of what is met with each.
	entries = slices.DeleteFunc(entries, func(e entry) bool {
		return !e.declared && len(e.args) > 2 || !wanted.MatchString(e.String())
	})
	t.Logf("%d entries", len(entries))
	for _, e := range entries {
		if why := find(t, e); why != "" {
			t.Errorf("%v is not total: %.300s", e, why)
		}
	}
	t.Run("bounded", p.checkBounded)
	if *catalogue {
		t.Run("large", p.checkLarge)
	}
	t.Run("leakproof", p.checkLeakproof)
	t.Run("kept out", p.checkKeptOut)
	t.Run("types", p.checkTypes)
	t.Run("wrong entries are found", func(t *testing.T) { p.checkWrong(t, find) })
	t.Run("mutants are found", func(t *testing.T) { p.checkMutants(t, find) })
}

// patterns are for LIKE: none ends in a lone backslash.
func (p *poisoned) patterns(t testing.TB) {
	p.must(t, `CREATE TABLE p_pattern (id int GENERATED ALWAYS AS IDENTITY, v text);
		INSERT INTO p_pattern(v) VALUES (NULL), (''), ('%'), ('_'), ('a%'), ('%a'), ('%a%'), ('\%'), ('\\'), ('a\_%'), ('%é_'), ('%\\'), ('(('), ('İ%'),
			(repeat('%a', 20) || '%'), (repeat('_', 10000)), (repeat('a', 1000000)), ('%' || repeat('a_', 10)), ('%b')`)
}

var zones = []string{"UTC", "Pacific/Kiritimati", "America/Los_Angeles"}

// described returns why an entry is no expression of the type that it should have, or "". PostgreSQL may refuse, whatever the
// rows, to choose a function for what adapts.
func (p *poisoned) described(t testing.TB, e entry) (why string, refused bool) {
	for i, arg := range e.args {
		if arg != Adapts && e.tables[i] == "" && p.tables[arg] == "" {
			return fmt.Sprintf("there are no poisonous values of type %s", arg), false
		}
	}
	d, err := p.Prepare(t.Context(), "", "SELECT "+fmt.Sprintf(e.format, e.nulls()...))
	var ambiguous *pgconn.PgError
	if errors.As(err, &ambiguous) && ambiguous.Code == "42725" && slices.Contains(e.args, Adapts) {
		return "", true
	}
	if err != nil {
		return err.Error(), false
	}
	if got := p.byOID[d.Fields[0].DataTypeOID]; got != e.returns {
		return fmt.Sprintf("it returns %q and not %q", got, e.returns), false
	}
	return "", false
}

// quick returns why an entry is not what it should be, or "". It meets it with rows.
func (p *poisoned) quick(t testing.TB, e entry) string {
	if why, refused := p.described(t, e); why != "" || refused {
		return why
	}
	if err := p.asRows(t, e); err != nil {
		return err.Error()
	}
	return ""
}

// whole is quick in every time zone that may matter, with parameters and literals too.
func (p *poisoned) whole(t testing.TB, e entry) string {
	if why, refused := p.described(t, e); why != "" || refused {
		return why
	}
	for _, zone := range p.zones(e) {
		p.must(t, "SET timezone = '"+zone+"'")
		for _, meet := range []func(testing.TB, entry) error{p.asRows, p.asParameters, p.asLiterals} {
			if err := meet(t, e); err != nil {
				return fmt.Sprintf("in %s: %v", zone, err)
			}
		}
	}
	return ""
}

// zones are the time zones to try an entry in.
func (p *poisoned) zones(e entry) []string {
	for _, t := range append(e.args, e.returns) {
		if strings.Contains(string(t), "date") || strings.Contains(string(t), "time") || strings.HasPrefix(string(t), "ts") {
			return zones
		}
	}
	return zones[:1]
}

// nulls writes each operand as a NULL of its type; what adapts is a parameter.
func (e entry) nulls() []any {
	var all []any
	parameters := 0
	for _, arg := range e.args {
		if arg == Adapts {
			parameters++
			all = append(all, fmt.Sprintf("$%d", parameters))
			continue
		}
		all = append(all, "NULL::"+sqlType(arg))
	}
	return all
}

func (p *poisoned) table(e entry, i int) string {
	if e.tables[i] != "" {
		return e.tables[i]
	}
	return p.tables[e.args[i]]
}

// query counts an expression over the tables of the operands that are rows, so that nothing but it can fail.
func (p *poisoned) query(e entry, operands []any, rows []int) string {
	var from []string
	for _, i := range rows {
		from = append(from, fmt.Sprintf("%s a%d", p.table(e, i), i))
	}
	q := "SELECT count(x) FROM (SELECT " + fmt.Sprintf(e.format, operands...) + " AS x"
	if len(from) > 0 {
		q += " FROM " + strings.Join(from, ", ")
	}
	return q + " OFFSET 0) q"
}

// asRows meets an entry with every combination of rows.
func (p *poisoned) asRows(t testing.TB, e entry) error {
	var operands []any
	var rows []int
	for i, arg := range e.args {
		if arg == Adapts {
			return nil // there is no row without a type
		}
		operands, rows = append(operands, fmt.Sprintf("a%d.v", i)), append(rows, i)
	}
	var n int64
	return p.QueryRow(t.Context(), p.query(e, operands, rows)).Scan(&n)
}

// asParameters meets rows of each operand but one with each value of that as a parameter, whose type is inferred where it adapts.
func (p *poisoned) asParameters(t testing.TB, e entry) error {
	for i, arg := range e.args {
		operands, rows, ok := p.allBut(e, i, "$1")
		if !ok {
			continue
		}
		query := p.query(e, operands, rows)
		d, err := p.Prepare(t.Context(), "", query)
		if err != nil {
			return err
		}
		table := p.table(e, i)
		if arg == Adapts && table == "" {
			table = p.tables[p.byOID[d.ParamOIDs[0]]]
		}
		if table == "" {
			return fmt.Errorf("there are no poisonous values of the type of %s's operand %d", e.what, i)
		}
		for _, v := range p.texts(t, table) {
			if r := p.PgConn().ExecParams(t.Context(), query, [][]byte{[]byte(v)}, d.ParamOIDs, nil, nil).Read(); r.Err != nil {
				return fmt.Errorf("with the parameter %.60q: %w", v, r.Err)
			}
		}
	}
	return nil
}

// allBut makes rows of all operands but one, which is written as it is told, with a cast where it has a type.
func (p *poisoned) allBut(e entry, one int, as string) (operands []any, rows []int, ok bool) {
	for i, arg := range e.args {
		switch {
		case i == one && arg == Adapts:
			operands = append(operands, as)
		case i == one:
			operands = append(operands, "CAST("+as+" AS "+sqlType(arg)+")")
		case arg == Adapts:
			return nil, nil, false
		default:
			operands, rows = append(operands, fmt.Sprintf("a%d.v", i)), append(rows, i)
		}
	}
	return operands, rows, true
}

// asLiterals is asParameters with the shorter values as literals.
func (p *poisoned) asLiterals(t testing.TB, e entry) error {
	for i, arg := range e.args {
		_, _, ok := p.allBut(e, i, "$1")
		table := p.table(e, i)
		if arg == Adapts && ok {
			operands, rows, _ := p.allBut(e, i, "$1")
			d, err := p.Prepare(t.Context(), "", p.query(e, operands, rows))
			if err != nil {
				return err
			}
			table = p.tables[p.byOID[d.ParamOIDs[0]]]
			if e.tables[i] != "" {
				table = e.tables[i]
			}
		}
		if !ok || table == "" {
			continue
		}
		var queries []string
		for _, v := range p.texts(t, table) {
			if len(v) <= 300 {
				operands, rows, _ := p.allBut(e, i, "'"+strings.ReplaceAll(v, "'", "''")+"'")
				queries = append(queries, "("+p.query(e, operands, rows)+")")
			}
		}
		if len(queries) == 0 {
			continue
		}
		if r, err := p.PgConn().Exec(t.Context(), "SELECT "+strings.Join(queries, ", ")).ReadAll(); err != nil || len(r) != 1 {
			return fmt.Errorf("with literals: %w", err)
		}
	}
	return nil
}
