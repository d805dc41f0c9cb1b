package sqldb

import (
	"errors"
	"strings"
)

// sqliteTable is a CREATE TABLE statement taken apart, as far as a table has to be made again with other keys. The grammar is
// https://www.sqlite.org/lang_createtable.html's.
type sqliteTable struct {
	columns     []sqliteColumn
	constraints []sqliteConstraint
	list        int    // where the list begins
	options     string // what follows it: STRICT
	withoutRow  bool
}

type sqliteColumn struct {
	name        string
	typ         string
	constraints []sqliteConstraint
}

// sqliteConstraint is a constraint of a column or of the table.
type sqliteConstraint struct {
	kind   string // "primary key", "unique", "check", "foreign key", "not null", "null", "default", "collate" or "as"
	name   string // what CONSTRAINT calls it, if anything
	text   string // as it stands there, without the name
	tokens []sqlToken
	// Of keys: their columns, each as it stands there, and what follows them.
	columns, parts []string
	conflict       string
	numbers        bool // AUTOINCREMENT
	// Of foreign keys.
	parent, actions    string
	parentColumns      []string
	onDelete, onUpdate string
	wait               string // DEFERRABLE …
	deferrable         bool
}

// mentioned tells whether a name stands among the tokens.
func mentioned(tokens []sqlToken, name string) bool {
	name = asciiLower(name)
	for _, t := range tokens {
		if t.kind == 'n' && t.text == name {
			return true
		}
	}
	return false
}

// inString tells whether a string among the tokens is a name, as which SQLite takes it where it expects one.
func inString(tokens []sqlToken, name string) bool {
	for _, t := range tokens {
		if t.kind == 's' && strings.EqualFold(unquoted(t.text), name) {
			return true
		}
	}
	return false
}

// named is the constraint with its name.
func (c sqliteConstraint) named(text string) string {
	if c.name == "" {
		return text
	}
	return "CONSTRAINT " + quote(c.name) + " " + text
}

var errSQLiteTable = errors.New("its definition cannot be read")

// parseSQLiteTable takes apart what sqlite_schema has of a table. What it does not know is an error.
func parseSQLiteTable(ddl string) (t *sqliteTable, err error) {
	p := &sqliteParser{ddl: ddl, tokens: sqlTokens(ddl, true)}
	defer func() {
		if p.failed {
			t, err = nil, errSQLiteTable
		}
	}()
	t = &sqliteTable{}
	p.want("create")
	p.take("temp")
	p.want("table")
	if p.take("if") {
		p.want("not")
		p.want("exists")
	}
	p.ident()
	if p.take(".") {
		p.ident()
	}
	t.list = p.peek().start
	p.want("(")
	for !p.failed {
		if p.tableConstraint() {
			break
		}
		t.columns = append(t.columns, p.column())
		if !p.take(",") {
			break
		}
	}
	for !p.failed && p.tableConstraint() {
		t.constraints = append(t.constraints, p.constraint(true))
		p.take(",") // SQLite does without
	}
	p.want(")")
	begin := p.i
	for !p.failed && p.i < len(p.tokens) {
		switch {
		case p.take(","):
		case p.take("without"):
			p.want("rowid")
			t.withoutRow = true
		default:
			p.want("strict")
		}
	}
	t.options = p.text(begin)
	return t, nil
}

type sqliteParser struct {
	ddl    string
	tokens []sqlToken
	i      int
	failed bool
}

func (p *sqliteParser) peek() sqlToken {
	if p.i < len(p.tokens) {
		return p.tokens[p.i]
	}
	p.failed = true
	return sqlToken{kind: 'o'}
}

// at tells whether one of some words or signs comes next.
func (p *sqliteParser) at(words ...string) bool {
	if p.i >= len(p.tokens) {
		return false
	}
	t := p.tokens[p.i]
	for _, w := range words {
		// A word in quotes is a name.
		if t.is(w) && p.ddl[t.start:t.start+1] != `"` && p.ddl[t.start:t.start+1] != "`" && p.ddl[t.start:t.start+1] != "[" {
			return true
		}
	}
	return false
}

func (p *sqliteParser) take(word string) bool {
	if p.at(word) {
		p.i++
		return true
	}
	return false
}

func (p *sqliteParser) want(word string) {
	if !p.take(word) {
		p.failed = true
	}
}

// text is what was read since a token, as it stands there.
func (p *sqliteParser) text(begin int) string {
	if p.failed || begin >= p.i {
		return ""
	}
	return p.ddl[p.tokens[begin].start:p.tokens[p.i-1].end]
}

func (p *sqliteParser) ident() string {
	t := p.peek()
	if t.kind != 'n' && t.kind != 's' {
		p.failed = true
		return ""
	}
	p.i++
	return sqliteName(p.ddl[t.start:t.end])
}

// sqliteName is a name as its owner spells it.
func sqliteName(token string) string {
	if strings.IndexByte("\"'`[", token[0]) >= 0 {
		return unquoted(token)
	}
	return token
}

// balanced reads what is in parentheses, if that comes next.
func (p *sqliteParser) balanced() {
	p.want("(")
	for depth := 1; depth > 0 && !p.failed; p.i++ {
		switch t := p.peek(); {
		case t.kind == 'o' && t.text == "(":
			depth++
		case t.kind == 'o' && t.text == ")":
			depth--
		}
	}
}

func (p *sqliteParser) tableConstraint() bool {
	return p.at("constraint", "primary", "unique", "check", "foreign")
}

func (p *sqliteParser) column() sqliteColumn {
	c := sqliteColumn{name: p.ident()}
	begin := p.i
	for !p.failed && !p.columnConstraint() && !p.at(",", ")", "(") {
		p.ident()
	}
	if p.i > begin && p.at("(") {
		p.balanced()
	}
	c.typ = p.text(begin)
	for !p.failed && p.columnConstraint() {
		c.constraints = append(c.constraints, p.constraint(false))
	}
	return c
}

func (p *sqliteParser) columnConstraint() bool {
	return p.at("constraint", "primary", "not", "null", "unique", "check", "default", "collate", "references", "generated", "as")
}

func (p *sqliteParser) constraint(ofTable bool) (c sqliteConstraint) {
	if p.take("constraint") {
		c.name = p.ident()
	}
	begin := p.i
	switch {
	case p.take("primary"):
		p.want("key")
		c.kind = "primary key"
		if ofTable {
			p.keyColumns(&c)
		} else if !p.take("asc") {
			p.take("desc")
		}
		c.conflict = p.onConflict()
		c.numbers = p.take("autoincrement")
	case p.take("unique"):
		if c.kind = "unique"; ofTable {
			p.keyColumns(&c)
		}
		c.conflict = p.onConflict()
	case p.take("check"):
		c.kind = "check"
		p.balanced()
		p.onConflict()
	case ofTable:
		p.want("foreign")
		p.want("key")
		c.kind = "foreign key"
		c.columns = p.names()
		p.references(&c)
	case p.at("references"):
		c.kind = "foreign key"
		p.references(&c)
	case p.take("not"):
		p.want("null")
		c.kind = "not null"
		p.onConflict()
	case p.take("null"):
		c.kind = "null"
		p.onConflict()
	case p.take("default"):
		c.kind = "default"
		p.value()
	case p.take("collate"):
		c.kind = "collate"
		p.ident()
	default:
		if p.take("generated") {
			p.want("always")
		}
		p.want("as")
		c.kind = "as"
		p.balanced()
		if !p.take("stored") {
			p.take("virtual")
		}
	}
	if !p.failed {
		c.text, c.tokens = p.text(begin), p.tokens[begin:p.i]
	}
	return c
}

func (p *sqliteParser) onConflict() string {
	begin := p.i
	if p.take("on") {
		p.want("conflict")
		p.ident()
	}
	return p.text(begin)
}

// keyColumns reads the columns of a key, with their collations and directions.
func (p *sqliteParser) keyColumns(c *sqliteConstraint) {
	p.want("(")
	for !p.failed {
		begin := p.i
		c.columns = append(c.columns, p.ident())
		if p.take("collate") {
			p.ident()
		}
		if !p.take("asc") {
			p.take("desc")
		}
		c.parts = append(c.parts, p.text(begin))
		if !p.take(",") {
			break
		}
	}
	p.want(")")
}

func (p *sqliteParser) names() (out []string) {
	p.want("(")
	for !p.failed {
		out = append(out, p.ident())
		if !p.take(",") {
			break
		}
	}
	p.want(")")
	return out
}

func (p *sqliteParser) references(c *sqliteConstraint) {
	p.want("references")
	c.parent = p.ident()
	if p.at("(") {
		c.parentColumns = p.names()
	}
	begin := p.i
	for !p.failed {
		if p.take("match") {
			p.ident()
			continue
		}
		if !p.take("on") {
			break
		}
		event := &c.onDelete
		if !p.take("delete") {
			p.want("update")
			event = &c.onUpdate
		}
		*event = asciiLower(p.ident())
		if *event == "set" || *event == "no" {
			*event += " " + asciiLower(p.ident())
		}
	}
	c.actions = p.text(begin)
	begin = p.i
	not := p.at("not") && p.i+1 < len(p.tokens) && p.tokens[p.i+1].is("deferrable")
	if not {
		p.i++
	}
	if p.take("deferrable") {
		c.deferrable = !not
		if p.take("initially") {
			p.ident()
		}
	}
	c.wait = p.text(begin)
}

// value reads the value of DEFAULT: a number may have a sign, a point and an exponent.
func (p *sqliteParser) value() {
	if p.at("(") {
		p.balanced()
		return
	}
	if !p.take("+") {
		p.take("-")
	}
	first := p.peek()
	p.i++
	number := first.text == "." || first.kind == 'n' && first.text != "" && '0' <= first.text[0] && first.text[0] <= '9'
	for number && p.i < len(p.tokens) && p.tokens[p.i].start == p.tokens[p.i-1].end && !p.at(",", ")") {
		p.i++
	}
}
