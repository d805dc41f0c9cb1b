package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// sqliteSurvey reads what is there and makes the plan.
type sqliteSurvey struct {
	*sqliteMigrator
	ctx      context.Context
	plan     *sqliteMigration
	tables   map[string]*sqliteMove
	problems []Problem
	notes    []string
}

func (s *sqliteSurvey) problem(table, column, what, fix string) {
	s.problems = append(s.problems, Problem{Table: table, Column: column, What: what, Fix: fix})
}

func (s *sqliteSurvey) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// survey reads the tables as they are and makes the plan.
func (g *sqliteMigrator) survey(ctx context.Context) (*sqliteMigration, []Problem, []string, error) {
	s := &sqliteSurvey{sqliteMigrator: g, ctx: ctx, plan: &sqliteMigration{Declared: g.declaration()}, tables: map[string]*sqliteMove{}}
	for _, step := range []func() error{s.find, s.strangers, s.columns, s.tenants, s.define, s.indexes, s.rehearse, s.values, s.count} {
		if err := step(); err != nil {
			return nil, nil, nil, migrateErr("reading the SQLite file", err)
		}
		if len(s.problems) > 0 {
			break
		}
	}
	return s.plan, s.problems, s.notes, nil
}

// find reads the declared tables' definitions.
func (s *sqliteSurvey) find() error {
	for _, name := range sortedKeys(s.Schema) {
		var kind, ddl string
		err := s.conn.QueryRowContext(s.ctx, `SELECT type, coalesce(sql, '') FROM main.sqlite_schema WHERE name = ?1 AND type IN ('table', 'view')`, name).Scan(&kind, &ddl)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			s.problem(name, "", "the table is not in the database", "create it, or take it out of the schema; names are case-sensitive here")
			continue
		case err != nil:
			return err
		case s.Schema[name].Shared:
			continue
		}
		t := &sqliteMove{migrateTable: migrateTable{Name: name, Table: quote(name)}}
		if t.parsed, err = parseSQLiteTable(ddl); err != nil || kind != "table" {
			s.problem(name, "", "it is a view or a virtual table, or "+errSQLiteTable.Error(), "declare an ordinary table")
			continue
		}
		if t.parsed.withoutRow {
			s.problem(name, "", "it is WITHOUT ROWID, and rows are told from each other by their rowid while they move in", "make it an ordinary table first")
		}
		for _, row := range []string{"rowid", "_rowid_", "oid"} {
			if t.Row == "" && t.column(row) == nil {
				t.Row = row
			}
		}
		if t.Row == "" {
			s.problem(name, "", "its columns have all the names that SQLite has for a rowid", "rename one")
		}
		t.Create = "CREATE TABLE " + nameMark + " " + ddl[t.parsed.list:]
		s.tables[name], s.plan.Tables = t, append(s.plan.Tables, t)
	}
	return nil
}

func (t *sqliteMove) column(name string) *sqliteColumn {
	i := slices.IndexFunc(t.parsed.columns, func(c sqliteColumn) bool { return strings.EqualFold(c.name, name) })
	if i < 0 {
		return nil
	}
	return &t.parsed.columns[i]
}

// strangers finds what else in the file rests on the tables.
func (s *sqliteSurvey) strangers() error { return s.strangersBut(nil) }

func (s *sqliteSurvey) strangersBut(own []string) error {
	rows, err := s.conn.QueryContext(s.ctx, `SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND type IN ('view', 'trigger', 'table') ORDER BY name`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var kind, name, of, text string
		if err := rows.Scan(&kind, &name, &of, &text); err != nil {
			return err
		}
		if slices.Contains(own, name) {
			continue
		}
		if kind != "table" {
			s.dependent(kind, name, of, text)
			continue
		}
		if own == nil && strings.HasPrefix(name, migrateMark) || strings.HasPrefix(name, asideMark) {
			s.problem(name, "", "the table's name is one of a migration's own", "rename or drop it")
		}
		if _, declared := s.Schema[name]; declared && !s.Schema[name].Shared {
			continue
		}
		parsed, err := parseSQLiteTable(text)
		if err != nil {
			s.dependent("virtual table", name, "", text) // which has no foreign keys, and may be an index of another's values
			continue
		}
		for _, k := range parsed.foreignKeys() {
			for _, t := range s.plan.Tables {
				if strings.EqualFold(k.parent, t.Name) {
					s.problem(t.Name, "", "a foreign key of "+name+", which is not declared as a table of tenants, refers to it", "declare "+name+", or make it again without the foreign key")
				}
			}
		}
	}
	return rows.Err()
}

// dependent refuses views, triggers and virtual tables that name a table: they would go on to read the plaintexts that are kept
// aside, and to write there.
func (s *sqliteSurvey) dependent(kind, name, of, text string) {
	tokens := sqlTokens(text, true)
	for _, t := range s.plan.Tables {
		if strings.EqualFold(of, t.Name) || mentioned(tokens, t.Name) || inString(tokens, t.Name) {
			s.problem(t.Name, "", "the "+kind+" "+name+" names it, and would go on to read the plaintexts", "DROP "+strings.ToUpper(strings.TrimPrefix(kind, "virtual "))+" "+quote(name)+" /* and do in the application what it did */")
		}
	}
}

func (t *sqliteTable) foreignKeys() (out []sqliteConstraint) {
	for _, c := range t.columns {
		for _, k := range c.constraints {
			if k.kind == "foreign key" {
				k.columns = []string{c.name}
				out = append(out, k)
			}
		}
	}
	for _, k := range t.constraints {
		if k.kind == "foreign key" {
			out = append(out, k)
		}
	}
	return out
}

// columns decides what becomes of each declared column.
func (s *sqliteSurvey) columns() error {
	for _, t := range s.plan.Tables {
		decl := s.Schema[t.Name]
		for _, name := range sortedKeys(decl.Sealed) {
			d, c := decl.Sealed[name], t.column(name)
			m := migrateColumn{Name: name}
			if d.searchable {
				m.Index = d.index
				t.Blind = append(t.Blind, migrateIndex{Column: d.index, Name: indexName(t.Name, d.index)})
				if t.column(d.index) != nil {
					s.problem(t.Name, d.index, "there is a column of the name that the blind index is to have", "declare the index under another name, or drop the column")
				}
			}
			if c == nil {
				t.Added = append(t.Added, name)
				continue
			}
			m.Type = c.typ
			for _, k := range c.constraints {
				switch k.kind {
				case "as":
					s.problem(t.Name, name, "the column is generated, and the guard is to write it", "make it an ordinary column")
				case "primary key":
					s.problem(t.Name, name, "the column is in the primary key, and sealed values cannot tell rows apart", "give the table a primary key of other columns")
				case "foreign key":
					s.problem(t.Name, name, "the column is in a foreign key, and will be sealed", "drop the foreign key, or do not seal the column")
				case "not null":
					m.NotNull = true
				case "default":
					s.note("%s.%s has a default, which a sealed column cannot have: the application must give the value after the switch", t.Name, name)
				case "check":
					if isMark(k.name) {
						s.problem(t.Name, name, "the column is sealed already, and SQLite's tables are moved in as a whole", "read its values through the guard, and write them as plaintexts to another column")
					} else {
						s.gone(t, k)
					}
				}
			}
			t.Columns = append(t.Columns, m)
		}
		for _, c := range t.parsed.columns {
			generated := slices.ContainsFunc(c.constraints, func(k sqliteConstraint) bool { return k.kind == "as" })
			if t.moved(c.name) != nil {
				continue
			}
			for _, k := range c.constraints {
				if k.kind == "as" && t.mentionsMoved(k.tokens) {
					s.problem(t.Name, c.name, "the generated column is computed of one that is to be sealed, and would keep what it holds in the clear", "drop the generated column")
				}
			}
			if !generated {
				t.Copied = append(t.Copied, c.name)
			}
		}
	}
	return nil
}

func (s *sqliteSurvey) gone(t *sqliteMove, k sqliteConstraint) {
	s.note("%s: %s is over values that will be sealed, and goes with the switch: the application has to check that itself", t.Name, oneLine(k.text))
}

func (t *sqliteMove) mentionsMoved(tokens []sqlToken) bool {
	return slices.ContainsFunc(t.Columns, func(c migrateColumn) bool { return mentioned(tokens, c.Name) })
}

// tenants finds out how each table's tenant column is filled.
func (s *sqliteSurvey) tenants() error {
	for _, t := range s.plan.Tables {
		column, source := s.Schema[t.Name].TenantColumn, s.Tenants[t.Name]
		c := t.column(column)
		named := source.column != "" && !strings.EqualFold(source.column, column) || len(source.parent) > 0 || !source.constant.IsZero()
		t.Tenant = migrateTenant{Column: column, Type: "TEXT", Add: c == nil}
		switch {
		case c != nil && named:
			s.problem(t.Name, column, "the table has the tenant column, and another source is named for it", "name none, or another TenantColumn")
		case c == nil && !named:
			s.problem(t.Name, column, "the table has no tenant column, and nothing says whose its rows are", "name it in Migration.Tenants")
		}
	}
	if len(s.problems) > 0 {
		return nil
	}
	for _, t := range s.plan.Tables {
		t.Tenant.Of = s.tenantOf(t, nil)
	}
	for _, t := range s.plan.Tables {
		s.heirs(t)
	}
	return nil
}

// tenantOf is the tenant of a row of a table, as an expression of its other columns.
func (s *sqliteSurvey) tenantOf(t *sqliteMove, from []string) string {
	source := s.Tenants[t.Name]
	refuse := func(what, fix string) string {
		s.problem(t.Name, t.Tenant.Column, what, fix)
		return "NULL"
	}
	switch {
	case !t.Tenant.Add:
		return rowAlias + "." + quote(t.Tenant.Column)
	case !source.constant.IsZero():
		return literalSQLite(source.constant.String())
	case source.column != "":
		switch c := t.column(source.column); {
		case c == nil:
			return refuse("the column "+source.column+", which its tenant is to come from, is not there", "name one that is")
		case t.moved(source.column) != nil:
			return refuse("the column "+source.column+", which its tenant is to come from, is declared as sealed", "name another")
		}
		return "CAST(" + rowAlias + "." + quote(source.column) + " AS TEXT)"
	}
	k, parent := s.source(t)
	switch {
	case parent == nil:
		return refuse("there is no foreign key over ("+strings.Join(source.parent, ", ")+") to a declared table of tenants", "name the columns of one")
	case parent == t || slices.Contains(from, parent.Name):
		return refuse("its tenant is to come from a row of its own table", "name another source")
	}
	alias := fmt.Sprintf("p%d", len(from)+1)
	of := strings.ReplaceAll(s.tenantOf(parent, append(slices.Clone(from), t.Name)), rowAlias, alias)
	return fmt.Sprintf("(SELECT %s FROM %s %s WHERE %s)", of, tableMark+parent.Name+tableMark, alias, on(k, parent, alias, rowAlias))
}

// source is the foreign key that a table's rows have their tenant by, and where it leads.
func (s *sqliteSurvey) source(t *sqliteMove) (sqliteConstraint, *sqliteMove) {
	columns := s.Tenants[t.Name].parent
	for _, k := range t.parsed.foreignKeys() {
		if len(columns) > 0 && sameColumns(k.columns, columns) {
			return s.resolved(k), s.moveOf(k.parent)
		}
	}
	return sqliteConstraint{}, nil
}

func (s *sqliteSurvey) moveOf(name string) *sqliteMove {
	for _, t := range s.plan.Tables {
		if strings.EqualFold(t.Name, name) {
			return t
		}
	}
	return nil
}

// resolved is a foreign key with its parent's columns named.
func (s *sqliteSurvey) resolved(k sqliteConstraint) sqliteConstraint {
	if parent := s.moveOf(k.parent); parent != nil && len(k.parentColumns) == 0 {
		k.parentColumns = parent.primary().columns
	}
	return k
}

// on ties a row to the one that it refers to.
func on(k sqliteConstraint, parent *sqliteMove, alias, row string) string {
	var and []string
	for i := range k.columns {
		if i < len(k.parentColumns) {
			and = append(and, fmt.Sprintf("%s.%s = %s.%s", alias, quote(k.parentColumns[i]), row, quote(k.columns[i])))
		}
	}
	return strings.Join(and, " AND ")
}

// heirs finds the tables whose rows have their tenant by way of a table's, and what in a row decides on it.
func (s *sqliteSurvey) heirs(t *sqliteMove) {
	decide := func(columns ...string) {
		for _, c := range columns {
			if c != "" && !slices.Contains(t.Deciding, c) {
				t.Deciding = append(t.Deciding, c)
			}
		}
	}
	if !t.Tenant.Add {
		decide(t.Tenant.Column)
	}
	decide(append([]string{s.Tenants[t.Name].column}, s.Tenants[t.Name].parent...)...)
	var below func(of *sqliteMove, rest string, n int)
	below = func(of *sqliteMove, rest string, n int) {
		for _, child := range s.plan.Tables {
			k, parent := s.source(child)
			if parent != of || !child.Tenant.Add || n > len(s.plan.Tables) {
				continue
			}
			alias, tail := fmt.Sprintf("c%d", n), " WHERE "+on(k, parent, rowAlias, fmt.Sprintf("c%d", n))
			if n == 1 {
				decide(k.parentColumns...)
			} else {
				before := fmt.Sprintf("c%d", n-1)
				tail = fmt.Sprintf(" JOIN %s %s ON %s", quote(of.Name), before, on(k, parent, before, alias)) + rest
			}
			t.Heirs = append(t.Heirs, sqliteHeir{child.Name, fmt.Sprintf("SELECT %s.%s FROM %s %s", alias, child.Row, quote(child.Name), alias) + tail})
			below(child, tail, n+1)
		}
	}
	below(t, "", 1)
}

// rehearse does the migration in a database in memory that has the file's definitions and no row, and looks at what comes out
// as Open does.
func (s *sqliteSurvey) rehearse() error {
	db := sql.OpenDB(memorySQLite{})
	defer db.Close()
	conn, err := db.Conn(s.ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	rows, err := s.conn.QueryContext(s.ctx, `SELECT sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND type IN ('table', 'index') AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY type DESC, rowid`)
	if err != nil {
		return err
	}
	defer rows.Close()
	statements := []string{"PRAGMA foreign_keys = OFF"}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		statements = append(statements, text)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	statements = append(statements, sqliteStateDDL...)
	for _, of := range []func(*sqliteMove) []string{s.plan.expanding, s.plan.watching, (*sqliteMove).building} {
		for _, t := range s.plan.Tables {
			statements = append(statements, of(t)...)
		}
	}
	for _, t := range s.plan.Tables {
		statements = append(statements, t.copying(), t.ghosts(), "PRAGMA foreign_key_check("+quote(t.made())+")")
	}
	for _, text := range append(statements, s.plan.switching()...) {
		if strings.Contains(text, "?1") {
			_, err = conn.ExecContext(s.ctx, text, make([]any, 2+strings.Count(text, "?"))...)
		} else {
			_, err = conn.ExecContext(s.ctx, text)
		}
		if err != nil && s.ctx.Err() == nil {
			s.problem("", "", fmt.Sprintf("what the migration would do does not fit what is there: %s: %v", first(text), redact(err)), "change that definition, or move the table in by hand")
			return nil
		}
	}
	problems, err := s.fits(s.ctx, conn)
	s.problems = append(s.problems, problems...)
	return err
}

// values finds what cannot be sealed as its column is declared.
func (s *sqliteSurvey) values() error {
	for _, t := range s.plan.Tables {
		for _, c := range t.Columns {
			kinds := storageOf[s.logicalOf(&t.migrateTable, c.Name)]
			var n int64
			err := s.value(s.ctx, &n, fmt.Sprintf("SELECT count(*) FROM %s WHERE typeof(%s) NOT IN ('null', %s)", quote(t.Name), quote(c.Name), kinds))
			if err != nil {
				return err
			}
			if n > 0 {
				s.problem(t.Name, c.Name, fmt.Sprintf("%d values are stored as what the declared type is not made of, which is %s", n, kinds), fmt.Sprintf("declare it with the type that it has, or change them: SELECT * FROM %s WHERE typeof(%s) NOT IN ('null', %s)", quote(t.Name), quote(c.Name), kinds))
			}
		}
	}
	return nil
}

// count counts the rows of each tenant, and finds those that are nobody's.
func (s *sqliteSurvey) count() error {
	status := map[tenant.ID]keys.Status{}
	for listed, err := range s.Guard.Keys.Tenants(s.ctx) {
		if err != nil && listed.ID.IsZero() {
			return err
		}
		status[listed.ID] = listed.Status
	}
	for _, t := range s.plan.Tables {
		of := s.plan.tenantOf(t, "r", (*sqliteMove).itself)
		rows, err := s.conn.QueryContext(s.ctx, fmt.Sprintf("SELECT CASE WHEN typeof(%[1]s) = 'text' THEN %[1]s END, count(*) FROM %[2]s r GROUP BY 1", of, quote(t.Name)))
		if err != nil {
			return err
		}
		var unknown, strange, idle int64
		var named []string
		for rows.Next() {
			var text *string
			var n int64
			if err := rows.Scan(&text, &n); err != nil {
				rows.Close()
				return err
			}
			if t.Rows += n; text == nil {
				unknown += n
				continue
			}
			id, err := tenant.Parse(*text)
			if err == nil {
				_, err = canonicalTenant(id.String(), sqlplan.TenantText)
			}
			switch {
			case err != nil:
				strange += n
			case status[id] != keys.StatusActive:
				if idle += n; len(named) < 10 {
					named = append(named, id.String())
				}
			}
		}
		if err := cmp.Or(rows.Err(), rows.Close()); err != nil {
			return err
		}
		look := fmt.Sprintf("look at them: SELECT * FROM %s r WHERE %s", quote(t.Name), of)
		if unknown > 0 {
			s.problem(t.Name, t.Tenant.Column, fmt.Sprintf("the tenant of %d rows cannot be told", unknown), look+" IS NULL; give them one, or delete them")
		}
		if strange > 0 {
			s.problem(t.Name, t.Tenant.Column, fmt.Sprintf("what %d rows give for their tenant is no tenant's id (see tenant.Parse)", strange), "name another source")
		}
		if idle > 0 {
			s.problem(t.Name, t.Tenant.Column, fmt.Sprintf("%d rows belong to tenants that are not provisioned, or not active: %s", idle, strings.Join(named, ", ")), "provision them with Keyring.Provision, or delete their rows")
		}
	}
	return nil
}

// memorySQLite connects to a database in memory of its own.
type memorySQLite struct{}

func (memorySQLite) Connect(context.Context) (driver.Conn, error) {
	return (&sqlite.Driver{}).Open(":memory:")
}
func (memorySQLite) Driver() driver.Driver { return guardedDriver{} }
