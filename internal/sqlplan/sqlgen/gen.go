package sqlgen

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// Statement is a random statement.
type Statement struct {
	SQL string // with parameters $1, $2, …
	// Plain is what SQLite has to be told instead: that NULL is the greatest, as it is for PostgreSQL.
	Plain string
	Args  []any
	// Reads tells that it changes nothing.
	Reads bool
}

// gen writes one statement.
type gen struct {
	*rand.Rand
	s      *Schema
	args   []any
	params []param
	names  int
	ctes   []rel // those in reach, the last first to be found
	nested int   // how deep in subqueries
	// setting is the table whose columns an UPDATE of SQLite's is being given values: it updates row by row, and a query
	// that reads the table sees the rows that are changed already, in whatever order.
	setting *Table
	// joining tells that ON or RETURNING is written, where a name may be of what is joined later or otherwise too.
	joining bool
	// written are the tables that the statement writes, each once: what two writes of one row do is not defined.
	written []*Table
}

type param struct {
	kind Kind
	cast bool
}

// col is a column in reach.
type col struct {
	name   string
	kind   Kind
	sealed bool
	// searchable tells that it can be compared where it stands: in the query that reads its table.
	searchable bool
	origin     string // the table and column of a sealed one
}

// rel is a relation in reach; base is the table it is, if it is one.
type rel struct {
	alias string
	cols  []col
	base  *Table
	// unlocked tells a query of WITH or a function, which a lock that names no relation passes over.
	unlocked bool
}

// scope is the FROM of a query, and of the query around it.
type scope struct {
	rels   []rel
	parent *scope
	outer  bool // it has an outer join, one side of which nothing locks
}

// Random returns a statement for the schema's tables.
func (s *Schema) Random(r *rand.Rand) Statement {
	g := &gen{Rand: r, s: s}
	if g.chance(5, 10) {
		sql, _ := g.selectStmt(nil, options{top: true})
		return g.statement(sql, true)
	}
	sql := g.write()
	return g.statement(sql, len(g.written) == 0) // no table may have been left
}

// key writes a key of ORDER BY.
func (g *gen) key(sql, direction string) string {
	switch {
	case !g.s.Lite || strings.Contains(direction, "NULLS"):
		return sql + direction
	case direction == " DESC":
		return sql + direction + plainly(" NULLS FIRST")
	}
	return sql + direction + plainly(" NULLS LAST")
}

// keys writes an order by all outputs.
func (g *gen) keys(n int) string {
	var out []string
	for i := range n {
		out = append(out, g.key(fmt.Sprint(i+1), ""))
	}
	return strings.Join(out, ", ")
}

// plainly marks what is in Plain alone.
func plainly(sql string) string { return "\x00" + sql + "\x00" }

var onlyPlain = regexp.MustCompile("\x00([^\x00]*)\x00")

var parameters = regexp.MustCompile(`\$(\d+)`)

// statement numbers the parameters in the order in which they are met, for some were bound for text that was not used.
func (g *gen) statement(sql string, reads bool) Statement {
	st := Statement{Reads: reads}
	numbers := map[string]int{}
	st.SQL = parameters.ReplaceAllStringFunc(sql, func(ref string) string {
		if numbers[ref] == 0 {
			old, _ := strconv.Atoi(ref[1:])
			st.Args = append(st.Args, g.args[old-1])
			numbers[ref] = len(st.Args)
		}
		return fmt.Sprintf("$%d", numbers[ref])
	})
	st.Plain = onlyPlain.ReplaceAllString(st.SQL, "$1")
	st.SQL = onlyPlain.ReplaceAllString(st.SQL, "")
	return st
}

// chance is true n times out of m.
func (g *gen) chance(n, m int) bool { return g.IntN(m) < n }

// one returns one of some texts.
func (g *gen) one(texts ...string) string { return texts[g.IntN(len(texts))] }

// fresh returns a name: often one of its own, sometimes that of a table, which it then hides.
func (g *gen) fresh(taken func(string) bool) string {
	if g.chance(1, 4) {
		if name := g.s.Tables[g.IntN(len(g.s.Tables))].Name; !taken(name) {
			return name
		}
	}
	for {
		g.names++
		if name := fmt.Sprintf("%s%d", g.one("t", "x", "Q"), g.names); !taken(name) {
			return name
		}
	}
}

func (sc *scope) has(alias string) bool {
	for _, r := range sc.rels {
		if r.alias == alias {
			return true
		}
	}
	return false
}

// ref writes a reference to a column, without its relation where that is clear.
func (g *gen) ref(sc *scope, r rel, c col) string {
	n := 0
	for _, other := range sc.rels {
		for _, oc := range other.cols {
			if oc.name == c.name {
				n++
			}
		}
	}
	if n == 1 && g.chance(1, 3) && !g.joining {
		return Quote(c.name)
	}
	return Quote(r.alias) + "." + Quote(c.name)
}

// pick returns a column in reach that fits, from this query or, less often, from one around it.
func (g *gen) pick(sc *scope, fits func(col) bool) (string, col, bool) {
	inner := &scope{} // what hides relations further out
	for ; sc != nil; sc = sc.parent {
		hidden := inner
		inner = &scope{rels: append(inner.rels[:len(inner.rels):len(inner.rels)], sc.rels...)}
		if sc.parent != nil && g.chance(1, 4) {
			continue
		}
		type found struct {
			r rel
			c col
		}
		var all []found
		for _, r := range sc.rels {
			if hidden.has(r.alias) {
				continue
			}
			for _, c := range r.cols {
				if fits(c) {
					all = append(all, found{r, c})
				}
			}
		}
		if len(all) > 0 {
			f := all[g.IntN(len(all))]
			if len(hidden.rels) > 0 {
				return Quote(f.r.alias) + "." + Quote(f.c.name), f.c, true
			}
			return g.ref(sc, f.r, f.c), f.c, true
		}
	}
	return "", col{}, false
}

// param writes a parameter of a kind; cast gives it a type where its place does not.
func (g *gen) param(k Kind, cast bool) string {
	cast = cast && !g.s.Lite
	if g.s.Mixed {
		return g.mixed(k)
	}
	if g.chance(1, 4) {
		for i, p := range g.params {
			if p == (param{k, cast}) {
				return g.number(i, p)
			}
		}
	}
	return g.bind(g.random(k), param{k, cast})
}

func (g *gen) bind(v any, p param) string {
	g.args, g.params = append(g.args, v), append(g.params, p)
	return g.number(len(g.args)-1, p)
}

func (g *gen) number(i int, p param) string {
	if p.cast {
		return fmt.Sprintf("$%d::%s", i+1, g.s.typeOf(p.kind))
	}
	return fmt.Sprintf("$%d", i+1)
}

// literal writes a constant of a kind.
func (g *gen) literal(k Kind) string {
	switch v := g.random(k).(type) {
	case string:
		if k == Numeric {
			return v
		}
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case bool:
		return fmt.Sprint(v)
	case int64:
		return fmt.Sprint(v)
	default:
		return fmt.Sprintf("timestamptz '2024-01-0%d'", g.IntN(4)+1)
	}
}

func (g *gen) kind() Kind {
	if g.s.Lite {
		return Kind(g.IntN(2))
	}
	return Kind(g.IntN(5))
}
