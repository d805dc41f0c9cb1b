package sqldb

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// sqliteMove is one table of tenants that is moved in.
type sqliteMove struct {
	migrateTable
	Row      string         // what its rowid is called
	Create   string         // what makes the table of before, but for its name: CREATE TABLE … with nameMark in the name's place
	New      string         // what makes the new one, likewise, with other tables' names between tableMarks
	Indexes  []sqliteIndex  // of the new table, but for those of keys
	Before   []string       // what makes the indexes that there were
	Blind    []migrateIndex // the blind index columns
	Primary  []string       // the primary key of before
	Copied   []string       // the columns that are copied as they are
	Numbered bool           // AUTOINCREMENT
	Heirs    []sqliteHeir   // tables whose rows have their tenant by way of this one's
	Deciding []string       // the columns that decide on that
	parsed   *sqliteTable   // as it is found
}

// sqliteIndex is an index of the new table. Until the table of before is gone its name may be taken.
type sqliteIndex struct {
	Name, New string
	Unique    bool
	Rest      string // what follows the table's name
}

// sqliteHeir finds the rows of another table that have their tenant by way of a row.
type sqliteHeir struct{ Table, Query string }

// Marks that stand for a name in a text. No name has them: SQLite's definitions hold none either.
const (
	nameMark  = "\x01name\x01"
	tableMark = "\x02"
)

func (t *sqliteMove) made() string  { return own("new", t.Name, "") }
func (t *sqliteMove) back() string  { return own("back", t.Name, "") }
func (t *sqliteMove) todo() string  { return own("todo", t.Name, "") }
func (t *sqliteMove) work() string  { return own("work", t.Name, "") }
func (t *sqliteMove) rows() string  { return own("rows", t.Name, "") } // an index by tenant and rowid
func (t *sqliteMove) aside() string { return markName(asideMark, t.Name) }

// named puts names into a text of the plan.
func (p *sqliteMigration) named(text, self string, of func(*sqliteMove) string) string {
	text = strings.ReplaceAll(text, nameMark, quote(self))
	for _, t := range p.Tables {
		text = strings.ReplaceAll(text, tableMark+t.Name+tableMark, quote(of(t)))
	}
	return text
}

func (t *sqliteMove) itself() string { return t.Name }

// tenantOf is the tenant of a row under an alias, or NULL.
func (p *sqliteMigration) tenantOf(t *sqliteMove, alias string, of func(*sqliteMove) string) string {
	return "(" + p.named(t.Tenant.of(alias), "", of) + ") COLLATE BINARY"
}

// scanning notes which rows there are to go through.
func (t *sqliteMove) scanning() []string {
	name := literalSQLite(t.Name)
	return []string{
		"DELETE FROM " + sqliteScan + " WHERE tbl = " + name,
		fmt.Sprintf("INSERT INTO %s (tbl, last, upto) SELECT %s, max(coalesce(min(%[3]s), 1), %[5]d) - 1, coalesce(max(%[3]s), 0) FROM %[4]s", sqliteScan, name, t.Row, quote(t.Name), int64(math.MinInt64+1)),
		// The smallest rowid has none before it to begin behind.
		fmt.Sprintf("INSERT INTO %s (row) SELECT %[2]s FROM %[3]s WHERE %[2]s = %[4]d", quote(t.todo()), t.Row, quote(t.Name), int64(math.MinInt64)),
	}
}

// expanding is what makes the new table and what watches the one of before.
func (p *sqliteMigration) expanding(t *sqliteMove) []string {
	out := []string{
		p.named(t.New, t.made(), (*sqliteMove).made),
		fmt.Sprintf("CREATE TABLE %s (seq INTEGER PRIMARY KEY, row INTEGER)", quote(t.todo())),
		fmt.Sprintf("CREATE TABLE %s (tenant TEXT NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (tenant, row)) WITHOUT ROWID", quote(t.work())),
	}
	return append(out, t.scanning()...)
}

// watching makes the triggers, which write down whose copy is to be made anew. They put up with being told twice: the conflict
// clause of the application's statement would take the place of one of theirs.
func (p *sqliteMigration) watching(t *sqliteMove) []string {
	note := func(row string) string {
		return fmt.Sprintf("INSERT INTO %s (row) SELECT %s; ", quote(t.todo()), row)
	}
	var update, remove strings.Builder
	update.WriteString(note("OLD."+t.Row) + note(fmt.Sprintf("NEW.%[1]s WHERE NEW.%[1]s <> OLD.%[1]s", t.Row)))
	remove.WriteString(note("OLD." + t.Row))
	var differ []string
	for _, c := range t.Deciding {
		differ = append(differ, fmt.Sprintf("OLD.%[1]s COLLATE BINARY IS NOT NEW.%[1]s COLLATE BINARY OR typeof(OLD.%[1]s) <> typeof(NEW.%[1]s)", quote(c)))
	}
	for _, h := range t.Heirs {
		todo := quote(own("todo", h.Table, ""))
		for _, alias := range []string{"OLD", "NEW"} {
			heirs := strings.ReplaceAll(h.Query, rowAlias, alias)
			fmt.Fprintf(&update, "INSERT INTO %s (row) %s AND (%s); ", todo, heirs, strings.Join(differ, " OR "))
		}
		fmt.Fprintf(&remove, "INSERT INTO %s (row) %s; ", todo, strings.ReplaceAll(h.Query, rowAlias, "OLD"))
	}
	var out []string
	for _, w := range []struct{ kind, event, body string }{{"insert", "INSERT", note("NEW." + t.Row)}, {"update", "UPDATE", update.String()}, {"delete", "DELETE", remove.String()}} {
		out = append(out, fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s BEGIN %sEND", quote(own(w.kind, t.Name, "")), w.event, quote(t.Name), w.body))
	}
	return out
}

// untrigger drops what watching made.
func (t *sqliteMove) untrigger() (out []string) {
	for _, kind := range []string{"insert", "update", "delete"} {
		out = append(out, "DROP TRIGGER IF EXISTS "+quote(own(kind, t.Name, "")))
	}
	return out
}

// building are the indexes of the new table. Rows are gone through by the last one, tenant by tenant.
func (t *sqliteMove) building() (out []string) {
	for _, i := range t.Indexes {
		out = append(out, i.create(i.New, t.made()))
	}
	for _, i := range t.Blind {
		out = append(out, fmt.Sprintf("CREATE INDEX %s ON %s (%s, %s)", quote(i.Name), quote(t.made()), quote(t.Tenant.Column), quote(i.Column)))
	}
	return append(out, t.byTenant(t.made()))
}

func (t *sqliteMove) byTenant(table string) string {
	return fmt.Sprintf("CREATE INDEX %s ON %s (%s)", quote(t.rows()), quote(table), quote(t.Tenant.Column))
}

func (i sqliteIndex) create(name, table string) string {
	unique := ""
	if i.Unique {
		unique = "UNIQUE "
	}
	return fmt.Sprintf("CREATE %sINDEX %s ON %s %s", unique, quote(name), quote(table), i.Rest)
}

// tidying drops what only the copying needed.
func (t *sqliteMove) tidying() []string {
	return append(t.untrigger(), "DROP TABLE IF EXISTS "+quote(t.todo()), "DROP TABLE IF EXISTS "+quote(t.work()), "DROP INDEX IF EXISTS "+quote(t.rows()))
}

// switching swaps the names. References of the other tables follow.
func (p *sqliteMigration) switching() (out []string) {
	for _, t := range p.Tables {
		out = append(out, t.tidying()...)
	}
	out = append(out, "DROP TABLE "+sqliteScan)
	for _, t := range p.Tables {
		out = append(out, rename(t.Name, t.aside()))
	}
	for _, t := range p.Tables {
		out = append(out, rename(t.made(), t.Name))
	}
	return out
}

func rename(from, to string) string { return "ALTER TABLE " + quote(from) + " RENAME TO " + quote(to) }

// dropping drops the plaintexts, and gives the indexes their names. What ANALYZE has kept of the plaintexts stands under the name
// that their table had then: renaming it does not change that.
func (p *sqliteMigration) dropping() (out []string) {
	for _, t := range p.Tables {
		out = append(out, "DROP TABLE "+quote(t.aside()))
	}
	for _, table := range p.Statistics {
		for _, t := range p.Tables {
			out = append(out, fmt.Sprintf("DELETE FROM %s WHERE tbl = %s COLLATE NOCASE", quote(table), literalSQLite(t.Name)))
		}
	}
	for _, t := range p.Tables {
		for _, i := range t.Indexes {
			out = append(out, i.create(i.Name, t.Name), "DROP INDEX "+quote(i.New))
		}
	}
	return append(out, "DROP TABLE "+sqliteState)
}

// restoring has the tables that were made anew of the sealed ones take their place.
func (p *sqliteMigration) restoring() (out []string) {
	for _, t := range p.Tables {
		out = append(out, "DROP TABLE "+quote(t.Name), "DROP TABLE "+quote(t.aside()))
	}
	for _, t := range p.Tables {
		out = append(append(out, rename(t.back(), t.Name)), t.Before...)
	}
	return append(out, "DROP TABLE "+sqliteState)
}

// undoing drops what there is before a switch.
func (p *sqliteMigration) undoing() (out []string) {
	for _, t := range p.Tables {
		out = append(append(out, t.tidying()...), "DROP TABLE "+quote(t.made()))
	}
	return append(out, "DROP TABLE "+sqliteScan, "DROP TABLE "+sqliteState)
}

// copying makes the copy of the row ?1. Its tenant is ?2, and what is sealed follows.
func (t *sqliteMove) copying() string {
	columns, values, n := []string{t.Row}, []string{"r." + t.Row}, 2
	for _, c := range t.Copied {
		columns, values = append(columns, quote(c)), append(values, "r."+quote(c))
	}
	if t.Tenant.Add {
		columns, values = append(columns, quote(t.Tenant.Column)), append(values, "?2")
	}
	for _, c := range t.shadowed() {
		n++
		columns, values = append(columns, quote(c)), append(values, fmt.Sprintf("?%d", n))
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s r WHERE r.%s = ?1 AND ?2 IS NOT NULL", quote(t.made()), strings.Join(columns, ", "), strings.Join(values, ", "), quote(t.Name), t.Row)
}

// shadowed are the columns that are filled with ciphertexts and index values, by their names after the switch.
func (t *sqliteMove) shadowed() (out []string) {
	for _, c := range t.Columns {
		if out = append(out, c.Name); c.Index != "" {
			out = append(out, c.Index)
		}
	}
	return out
}

// read is how a plaintext is read: + keeps the driver from guessing by the column's type.
func (t *sqliteMove) read(alias string) (out []string) {
	for _, c := range t.Columns {
		out = append(out, "+"+alias+"."+quote(c.Name))
	}
	return out
}

// same is the condition under which a row r and its copy n have the same in all columns that are copied.
func (t *sqliteMove) same() string {
	and := []string{"true"}
	for _, c := range t.Copied {
		and = append(and, fmt.Sprintf("r.%[1]s COLLATE BINARY IS n.%[1]s COLLATE BINARY", quote(c)))
	}
	return strings.Join(and, " AND ")
}

// own are the names of what the migration made.
func (p *sqliteMigration) own() (out []string) {
	for _, t := range p.Tables {
		out = append(out, t.made(), t.todo(), t.work(), own("insert", t.Name, ""), own("update", t.Name, ""), own("delete", t.Name, ""))
	}
	return out
}

// steps are all statements, for a plan.
func (p *sqliteMigration) steps() (out []MigrationStep) {
	const instant, index = "the file's write lock for an instant", "the file's write lock while it is built"
	add := func(stage MigrateStage, t *sqliteMove, lock string, sql ...string) {
		step := MigrationStep{Stage: stage, Lock: lock}
		if t != nil {
			step.Table = t.Name
		}
		if t != nil && lock != instant {
			step.Rows = t.Rows
		}
		for _, step.SQL = range sql {
			out = append(out, step)
		}
	}
	add(MigrateExpand, nil, instant, sqliteStateDDL...)
	for _, t := range p.Tables {
		add(MigrateExpand, t, instant, p.expanding(t)...)
	}
	for _, t := range p.Tables {
		add(MigrateExpand, t, instant, p.watching(t)...)
	}
	for _, t := range p.Tables {
		add(MigrateBackfill, t, "the file's write lock, batch by batch", p.classifying(t)...)
		add(MigrateBackfill, t, "the file's write lock, batch by batch", t.copying())
	}
	for _, t := range p.Tables {
		add(MigrateKeys, t, index, t.building()...)
		add(MigrateKeys, t, "the file's write lock while it is looked through", t.ghosts(), "PRAGMA foreign_key_check("+quote(t.made())+")")
	}
	for _, t := range p.Tables {
		add(MigrateVerify, t, "none but a reader's, batch by batch", p.verifying(t))
	}
	add(MigrateSwitch, nil, "the file's write lock until the switch is committed", p.switching()...)
	add(MigrateDrop, nil, "the file's write lock", p.dropping()...)
	return out
}

var sqliteStateDDL = []string{
	"CREATE TABLE " + sqliteState + " (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, stage TEXT NOT NULL, plan TEXT NOT NULL, shape TEXT NOT NULL, version_of_schema INTEGER NOT NULL)",
	"CREATE TABLE " + sqliteScan + " (tbl TEXT PRIMARY KEY, upto INTEGER NOT NULL, last INTEGER NOT NULL)",
}

// shadow tells whether a column of the table's declaration is sealed and there.
func (t *sqliteMove) moved(column string) *migrateColumn {
	i := slices.IndexFunc(t.Columns, func(c migrateColumn) bool { return strings.EqualFold(c.Name, column) })
	if i < 0 {
		return nil
	}
	return &t.Columns[i]
}
