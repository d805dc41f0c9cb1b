package sqldb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/storage/dialect"
)

// primary is the primary key, of a column or of the table; nothing where there is none.
func (t *sqliteMove) primary() sqliteConstraint {
	for _, k := range t.parsed.keys() {
		if k.kind == "primary key" {
			return k
		}
	}
	return sqliteConstraint{}
}

// keys are the primary key and the unique constraints, with their columns.
func (t *sqliteTable) keys() (out []sqliteConstraint) {
	for _, c := range t.columns {
		for _, k := range c.constraints {
			if k.kind == "primary key" || k.kind == "unique" {
				k.columns, k.parts = []string{c.name}, []string{quote(c.name)}
				out = append(out, k)
			}
		}
	}
	for _, k := range t.constraints {
		if k.kind == "primary key" || k.kind == "unique" {
			out = append(out, k)
		}
	}
	return out
}

// define makes the statement for each new table.
func (s *sqliteSurvey) define() error {
	for _, t := range s.plan.Tables {
		var list []string
		for _, c := range t.parsed.columns {
			list = append(list, s.defineColumn(t, c))
		}
		if t.Tenant.Add {
			list = append(list, quote(t.Tenant.Column)+" TEXT NOT NULL")
		}
		for _, name := range t.Added {
			list = append(list, quote(name)+" BLOB")
		}
		for _, i := range t.Blind {
			list = append(list, quote(i.Column)+" BLOB")
		}
		for _, k := range t.parsed.keys() {
			if text := s.defineKey(t, k); text != "" {
				list = append(list, text)
			}
		}
		for _, k := range t.parsed.foreignKeys() {
			if text := s.defineForeign(t, s.resolved(k)); text != "" {
				list = append(list, text)
			}
		}
		for _, k := range t.parsed.constraints {
			switch {
			case k.kind != "check":
			case t.mentionsMoved(k.tokens):
				s.gone(t, k)
			default:
				list = append(list, k.named(k.text))
			}
		}
		list = append(list, s.Schema[t.Name].Checks(dialect.SQLite)...)
		t.New = strings.TrimSpace("CREATE TABLE " + nameMark + " (" + strings.Join(list, ", ") + ") " + t.parsed.options)
		t.Primary = t.primary().columns
		if p := t.primary(); p.numbers || len(p.columns) == 1 && strings.EqualFold(t.column(p.columns[0]).typ, "integer") && !slices.Contains(p.columns, t.Tenant.Column) {
			t.Numbered = p.numbers
			s.note("%s.%s numbers rows by itself no more, since the primary key has the tenant in front: the application gives it", t.Name, p.columns[0])
		}
	}
	return nil
}

// defineColumn is a column of the new table, without its keys.
func (s *sqliteSurvey) defineColumn(t *sqliteMove, c sqliteColumn) string {
	if m := t.moved(c.name); m != nil {
		if m.NotNull {
			return quote(c.name) + " BLOB NOT NULL"
		}
		return quote(c.name) + " BLOB"
	}
	out := strings.TrimSpace(quote(c.name) + " " + c.typ)
	required := false
	for _, k := range c.constraints {
		switch {
		case k.kind == "primary key" || k.kind == "unique" || k.kind == "foreign key":
			required = required || k.kind == "primary key" && strings.EqualFold(c.typ, "integer")
		case k.kind == "check" && t.mentionsMoved(k.tokens):
			s.gone(t, k)
		case k.kind == "null" && strings.EqualFold(c.name, t.Tenant.Column):
		default:
			out += " " + k.named(k.text)
		}
	}
	p := t.primary()
	alone := len(p.columns) == 1 && strings.EqualFold(p.columns[0], c.name) && strings.EqualFold(c.typ, "integer")
	if (required || alone || strings.EqualFold(c.name, t.Tenant.Column)) && !slices.ContainsFunc(c.constraints, func(k sqliteConstraint) bool { return k.kind == "not null" }) {
		out += " NOT NULL"
	}
	return out
}

// defineKey is a key of the new table: the tenant in front, and blind indexes in the place of what is sealed.
func (s *sqliteSurvey) defineKey(t *sqliteMove, k sqliteConstraint) string {
	parts := slices.Clone(k.parts)
	ties := false
	for i, name := range k.columns {
		ties = ties || strings.EqualFold(name, t.Tenant.Column)
		m := t.moved(name)
		switch {
		case m == nil:
		case k.kind == "primary key":
			s.problem(t.Name, name, "the column is in the primary key, and sealed values cannot tell rows apart", "give the table a primary key of other columns")
			return ""
		case m.Index == "":
			s.problem(t.Name, name, "the column is in the unique key ("+strings.Join(k.columns, ", ")+"), and equal values have different ciphertexts", "declare it Searchable: its blind index takes its place in the key; or drop the key")
			return ""
		default:
			parts[i] = quote(m.Index)
		}
	}
	if !ties {
		parts = append([]string{quote(t.Tenant.Column)}, parts...)
	}
	return k.named(strings.TrimSpace(strings.ToUpper(k.kind) + " (" + strings.Join(parts, ", ") + ") " + k.conflict))
}

// defineForeign is a foreign key of the new table, which ties a row to one of its own tenant's.
func (s *sqliteSurvey) defineForeign(t *sqliteMove, k sqliteConstraint) string {
	refuse := func(what, fix string) string {
		s.problem(t.Name, "", "the foreign key ("+strings.Join(k.columns, ", ")+") to "+k.parent+" "+what, fix)
		return ""
	}
	if slices.ContainsFunc(k.columns, func(c string) bool { return t.moved(c) != nil }) {
		return refuse("is over a column that will be sealed", "drop the foreign key, or do not seal the column")
	}
	parent := s.moveOf(k.parent)
	columns, parentColumns, to := k.columns, k.parentColumns, quote(k.parent)
	if parent == nil {
		if decl, ok := s.Schema[k.parent]; !ok || !decl.Shared {
			return refuse("refers to a table that is not declared by that name", "declare it, or drop the foreign key")
		}
	} else {
		if slices.ContainsFunc(k.parentColumns, func(c string) bool { return parent.moved(c) != nil }) {
			return refuse("is over a column that will be sealed", "drop the foreign key, or do not seal the column")
		}
		for _, action := range []string{k.onDelete, k.onUpdate} {
			if strings.HasPrefix(action, "set ") {
				return refuse("sets its columns when its parent goes or changes, and in SQLite all of them, the tenant column among them", "make it CASCADE, RESTRICT or NO ACTION, and let the application set what it set")
			}
		}
		var what string
		if columns, parentColumns, what = s.tie(t, parent, k); what != "" {
			return refuse(what, "drop the foreign key")
		}
		to = tableMark + parent.Name + tableMark
	}
	text := fmt.Sprintf("FOREIGN KEY (%s) REFERENCES %s", quoteAll(columns), to)
	if len(parentColumns) > 0 {
		text += " (" + quoteAll(parentColumns) + ")"
	}
	return k.named(strings.Join(strings.Fields(text+" "+k.actions+" "+k.wait), " "))
}

// tie are a foreign key's columns with the tenant's in front, or why it cannot have that.
func (s *sqliteSurvey) tie(t, parent *sqliteMove, k sqliteConstraint) (columns, parentColumns []string, what string) {
	if len(k.columns) != len(k.parentColumns) {
		return nil, nil, "has another number of columns than the key that it refers to"
	}
	source := s.Tenants[t.Name]
	columns, parentColumns = []string{t.Tenant.Column}, []string{parent.Tenant.Column}
	for i, name := range k.columns {
		own, refers := strings.EqualFold(name, t.Tenant.Column), strings.EqualFold(k.parentColumns[i], parent.Tenant.Column)
		switch {
		case own && refers:
		case own:
			return nil, nil, "refers by the tenant column to " + k.parentColumns[i] + ", which is not the tenant of " + parent.Name
		case !refers:
			columns, parentColumns = append(columns, name), append(parentColumns, k.parentColumns[i])
		case !strings.EqualFold(name, source.column) && !sameColumns(k.columns, source.parent):
			return nil, nil, "refers by " + name + ", which the row's tenant does not come from, to the tenant of " + parent.Name
		}
	}
	return columns, parentColumns, ""
}

// indexes decides what becomes of the indexes that are no key's.
func (s *sqliteSurvey) indexes() error {
	for _, t := range s.plan.Tables {
		rows, err := s.conn.QueryContext(s.ctx, `SELECT name, sql FROM main.sqlite_schema WHERE type = 'index' AND tbl_name = ?1 COLLATE NOCASE AND sql IS NOT NULL ORDER BY rowid`, t.Name)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name, text string
			if err := rows.Scan(&name, &text); err != nil {
				return err
			}
			t.Before = append(t.Before, text)
			s.index(t, name, text)
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteSurvey) index(t *sqliteMove, name, text string) {
	unreadable := func() {
		s.problem(t.Name, "", "the definition of the index "+name+" cannot be read", "drop it, and make it after the migration")
	}
	p := &sqliteParser{ddl: text, tokens: sqlTokens(text, true)}
	p.want("create")
	i := sqliteIndex{Name: name, New: own("index", t.Name, name), Unique: p.take("unique")}
	p.want("index")
	if p.take("if") {
		p.want("not")
		p.want("exists")
	}
	p.ident()
	if p.take(".") {
		p.ident()
	}
	p.want("on")
	p.ident()
	if p.failed || p.i >= len(p.tokens) {
		unreadable()
		return
	}
	rest := p.tokens[p.i:]
	i.Rest = text[rest[0].start:]
	if !i.Unique {
		if t.mentionsMoved(rest) {
			s.note("%s: the index %s is over values that will be sealed, and goes with the switch", t.Name, name)
			return
		}
		t.Indexes = append(t.Indexes, i)
		return
	}
	k := sqliteConstraint{kind: "unique"}
	p.keyColumns(&k) // which refuses expressions
	where := ""
	if !p.failed && p.i < len(p.tokens) {
		if where = " " + text[p.tokens[p.i].start:]; t.mentionsMoved(p.tokens[p.i:]) {
			p.failed = true
		}
	}
	if p.failed {
		s.problem(t.Name, "", "the unique index "+name+" is over an expression, or its condition is over what will be sealed", "drop it, or make it of columns alone")
		return
	}
	if parts := s.defineKey(t, k); parts != "" {
		i.Rest = strings.TrimPrefix(parts, "UNIQUE ") + where
		t.Indexes = append(t.Indexes, i)
	}
}
