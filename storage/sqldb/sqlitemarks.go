package sqldb

import (
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/storage/dialect"
)

// readMarks finds the constraints of sealed columns in CREATE TABLE, which is all that SQLite keeps of them.
func (r *sqliteReader) readMarks() error {
	found := make(map[string]mark)
	body := sqliteBody(r.ddl)
	for i, t := range body.tokens {
		if body.depth[i] != 1 || !t.is("constraint") || i+3 >= len(body.tokens) {
			continue
		}
		name := body.tokens[i+1]
		if name.kind != 'n' || !isMark(name.text) {
			continue
		}
		m := mark{column: strings.TrimPrefix(strings.TrimPrefix(name.text, sealedMark), indexMark), validated: true, intact: func(sealCheck) bool { return false }}
		if body.tokens[i+2].is("check") && body.tokens[i+3].is("(") {
			condition := body.inside(i + 3)
			m.intact = func(w sealCheck) bool { return sameTokens(condition, sqlTokens(w.condition(dialect.SQLite), true)) }
		}
		found[r.markNamed(name.text)] = m
	}
	// One rebuilding of the table brings all that it lacks.
	indexes, err := r.strings(`SELECT sql FROM main.sqlite_schema WHERE type = 'index' AND tbl_name = ?1 COLLATE NOCASE AND sql IS NOT NULL ORDER BY name`, r.table.Name)
	if err != nil {
		return err
	}
	pending := len(r.problems) > 0
	r.check().marks(found, func(sealCheck) string {
		if pending { // what is printed copies the columns that there are now, and would lose those that other fixes add
			return "mend what else is named of this table and open the database again: the statement is printed then"
		}
		return r.rebuildWithMarks(body, indexes, found)
	})
	return nil
}

// markNamed is the wanted mark of a name that SQLite compares without regard to case, or the name itself.
func (r *sqliteReader) markNamed(folded string) string {
	for _, w := range r.decl.checks() {
		if asciiLower(w.name) == folded {
			return w.name
		}
	}
	return folded
}

// tableBody is the tokens of CREATE TABLE, and how deep in parentheses each stands; those of the list itself are at 1.
type tableBody struct {
	ddl    string
	tokens []sqlToken
	depth  []int
	first  int // the opening parenthesis of the list, or -1
	last   int // its closing one
}

func sqliteBody(ddl string) tableBody {
	b := tableBody{ddl: ddl, tokens: sqlTokens(ddl, true), first: -1, last: -1}
	depth := 0
	for i, t := range b.tokens {
		if t.kind == 'o' && t.text == ")" {
			if depth--; depth == 0 && b.last < 0 {
				b.last = i
			}
		}
		b.depth = append(b.depth, depth)
		if t.kind == 'o' && t.text == "(" {
			if b.first < 0 {
				b.first = i
			}
			depth++
		}
	}
	return b
}

// inside returns the tokens between the parenthesis at open and the one that closes it.
func (b tableBody) inside(open int) []sqlToken {
	for i := open + 1; i < len(b.tokens); i++ {
		if b.tokens[i].is(")") && b.depth[i] == b.depth[open] {
			return b.tokens[open+1 : i]
		}
	}
	return nil
}

// rebuildWithMarks is how the owner of a SQLite table gives it the constraints. The copy fails while a row holds what is not
// sealed.
func (r *sqliteReader) rebuildWithMarks(b tableBody, indexes []string, found map[string]mark) string {
	var with []string
	for _, w := range r.decl.checks() {
		switch m, present := found[w.name]; {
		case present && m.intact(w):
		case present:
			return r.check().rebuild(w.definition(dialect.SQLite) + " in the place of the one of that name")
		case r.check().has(w.column):
			with = append(with, w.definition(dialect.SQLite))
		}
	}
	var columns []string
	for _, c := range r.table.Columns {
		if !c.Generated {
			columns = append(columns, c.Name)
		}
	}
	if b.first < 0 || b.last < b.first {
		return r.check().rebuild(strings.Join(with, ", "))
	}
	table, made := quote(r.table.Name), quote(r.table.Name+"_new")
	open, end := b.tokens[b.first].start, b.tokens[b.last].start
	var s strings.Builder
	fmt.Fprintf(&s, "PRAGMA foreign_keys = OFF; BEGIN; CREATE TABLE %s %s\n, %s%s; ", made, b.ddl[open:end], strings.Join(with, ", "), b.ddl[end:])
	fmt.Fprintf(&s, "INSERT INTO %[1]s (%[3]s) SELECT %[3]s FROM %[2]s; DROP TABLE %[2]s; ALTER TABLE %[1]s RENAME TO %[2]s; ", made, table, quoteAll(columns))
	for _, index := range indexes {
		s.WriteString(index + "; ")
	}
	s.WriteString("COMMIT; PRAGMA foreign_keys = ON")
	return s.String()
}
