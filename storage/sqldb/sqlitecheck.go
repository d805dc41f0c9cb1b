package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// introspect reads the declared tables of a SQLite file.
func (e *sqliteEngine) introspect(ctx context.Context, s Schema, o *Options) (*sqlplan.Catalog, []Problem, error) {
	db := sql.OpenDB(rawSQLite{e})
	defer db.Close()
	return introspectSQLite(ctx, db, s, o)
}

// sqliteQueries is a handle, a connection or a transaction.
type sqliteQueries interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func introspectSQLite(ctx context.Context, db sqliteQueries, s Schema, o *Options) (*sqlplan.Catalog, []Problem, error) {
	s = s.withDefaults(o)
	cat := &sqlplan.Catalog{Dialect: sqlplan.SQLite, Tables: make(map[string]*sqlplan.Table), Functions: o.Functions}
	var problems []Problem
	for _, name := range sortedKeys(s) {
		r := &sqliteReader{ctx: ctx, db: db, declared: s, decl: s[name], table: &sqlplan.Table{Name: name, Shared: s[name].Shared}}
		if err := r.read(); err != nil {
			return nil, nil, fmt.Errorf("sqldb: reading the schema of SQLite table %q failed: %w", name, err)
		}
		problems = append(problems, r.problems...)
		cat.Tables[name] = r.table
	}
	cascades, err := readSQLiteCascades(ctx, db, s, cat)
	if err != nil {
		return nil, nil, fmt.Errorf("sqldb: reading the foreign keys of the SQLite file failed: %w", err)
	}
	return cat, append(problems, cascades...), nil
}

// rawSQLite connects without a guard, for introspection alone.
type rawSQLite struct{ e *sqliteEngine }

func (r rawSQLite) Connect(context.Context) (driver.Conn, error) { return r.e.open() }
func (r rawSQLite) Driver() driver.Driver                        { return guardedDriver{} }

// sqliteReader reads one table.
type sqliteReader struct {
	ctx      context.Context
	db       sqliteQueries
	declared Schema
	decl     Table
	table    *sqlplan.Table
	ddl      string // its CREATE TABLE
	problems []Problem
}

func (r *sqliteReader) problem(column, what, fix string) {
	r.problems = append(r.problems, Problem{Table: r.table.Name, Column: column, What: what, Fix: fix})
}

func (r *sqliteReader) check() *tableCheck {
	return &tableCheck{decl: r.decl, table: r.table, dialect: dialect.SQLite, problem: r.problem}
}

func (r *sqliteReader) read() error {
	if strings.Contains(r.table.Name, ".") {
		r.problem("", "the table is declared in a schema, which SQLite has not", "declare it by its name alone")
		return nil
	}
	var kind string
	err := r.db.QueryRowContext(r.ctx, `SELECT type, coalesce(sql, '') FROM main.sqlite_schema WHERE name = ?1 AND type IN ('table', 'view')`, r.table.Name).Scan(&kind, &r.ddl)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		r.problem("", "the table is not in the database", "create it, or take it out of the schema; names are case-sensitive here")
		return nil
	case err != nil:
		return err
	case kind != "table":
		r.problem("", "it is a view, which would read its tables unscoped", "declare the tables behind it instead")
		return nil
	case strings.HasPrefix(strings.ToUpper(strings.TrimSpace(r.ddl)), "CREATE VIRTUAL"):
		r.problem("", "it is a virtual table, whose storage the guard does not know", "use an ordinary table")
		return nil
	}
	for _, step := range []func() error{r.readColumns, r.readKeys, r.readForeignKeys, r.readTriggers, r.readMarks} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *sqliteReader) readColumns() error {
	rows, err := r.db.QueryContext(r.ctx, `SELECT name, type, "notnull", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid`, r.table.Name)
	if err != nil {
		return err
	}
	defer rows.Close()
	primary := map[int]string{}
	for rows.Next() {
		var (
			c          sqlplan.Column
			pk, hidden int
		)
		if err := rows.Scan(&c.Name, &c.Type, &c.NotNull, &c.HasDefault, &pk, &hidden); err != nil {
			return err
		}
		if hidden == 1 {
			continue // a virtual table's hidden column
		}
		c.Generated = hidden == 2 || hidden == 3
		r.table.Columns = append(r.table.Columns, c)
		if pk > 0 {
			primary[pk] = c.Name
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for i := 1; i <= len(primary); i++ {
		r.table.PrimaryKey = append(r.table.PrimaryKey, primary[i])
	}
	if err := r.db.QueryRowContext(r.ctx, `SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1`, r.table.Name).Scan(&r.table.WithoutRowID); err != nil {
		return err
	}
	r.check().columns()
	if r.table.Shared || r.table.TenantColumn == "" {
		return nil
	}
	return r.checkTenantColumn()
}

// checkTenantColumn makes sure that the database compares tenant ids byte by byte: a type with numeric affinity makes
// '01' equal 1, and a collation such as NOCASE makes 'A' equal 'a'.
func (r *sqliteReader) checkTenantColumn() error {
	i := slices.IndexFunc(r.table.Columns, func(c sqlplan.Column) bool { return c.Name == r.table.TenantColumn })
	c := r.table.Columns[i]
	// Text affinity, by the rules of https://www.sqlite.org/datatype3.html#determination_of_column_affinity.
	upper := strings.ToUpper(c.Type)
	text := strings.Contains(upper, "CHAR") || strings.Contains(upper, "CLOB") || strings.Contains(upper, "TEXT")
	if !text || strings.Contains(upper, "INT") {
		r.problem(c.Name, fmt.Sprintf("the tenant column has type %q, which compares some different ids as equal", c.Type), r.check().retypeTenantColumn())
	}
	// A column keeps its collation through a compound select, so this compares under it whatever rows there are.
	var folds bool
	query := fmt.Sprintf(`SELECT t = 'A' OR t = 'a ' FROM (SELECT %s AS t FROM main.%s WHERE 0 UNION ALL SELECT 'a')`, quote(c.Name), quote(r.table.Name))
	if err := r.db.QueryRowContext(r.ctx, query).Scan(&folds); err != nil {
		return err
	}
	if folds {
		r.problem(c.Name, "the tenant column's collation compares different ids as equal", r.check().retypeTenantColumn())
	}
	return nil
}

func (r *sqliteReader) readKeys() error {
	// The primary key is known from its columns; it has no index where it is the rowid.
	names, err := r.strings(`SELECT name FROM pragma_index_list(?1) WHERE "unique" AND origin <> 'pk' AND NOT partial ORDER BY name`, r.table.Name)
	if err != nil {
		return err
	}
	partial, err := r.strings(`SELECT name FROM pragma_index_list(?1) WHERE "unique" AND partial ORDER BY name`, r.table.Name)
	if err != nil {
		return err
	}
	checks := r.check()
	if len(r.table.PrimaryKey) > 0 {
		checks.uniqueKey(uniqueKey{what: "the primary key", columns: r.table.PrimaryKey, primary: true})
		primary, err := r.strings(`SELECT name FROM pragma_index_list(?1) WHERE origin = 'pk'`, r.table.Name)
		if err != nil {
			return err
		}
		for _, index := range primary {
			if err := r.checkKeyCollation(index); err != nil {
				return err
			}
			if err := r.readOnce(index, r.table.PrimaryKey, false); err != nil {
				return err
			}
		}
	}
	for _, index := range append(names, partial...) {
		columns, err := r.strings(`SELECT coalesce(name, '') FROM pragma_index_info(?1) ORDER BY seqno`, index)
		if err == nil {
			err = r.checkKeyCollation(index)
		}
		if err != nil {
			return err
		}
		k := uniqueKey{what: "unique index " + index, columns: columns, index: index, partial: slices.Contains(partial, index)}
		if strings.HasPrefix(index, "sqlite_autoindex_") {
			k.constraint = index
		}
		if checks.uniqueKey(k) && !slices.Contains(columns, "") && !slices.Contains(partial, index) {
			r.table.UniqueKeys = append(r.table.UniqueKeys, columns)
		}
		if err := r.readOnce(index, columns, k.partial); err != nil {
			return err
		}
	}
	return nil
}

// readOnce notes how a key compares its columns. SQLite does not tell an expression's text: such a key is left out.
func (r *sqliteReader) readOnce(index string, columns []string, partial bool) error {
	if slices.Contains(columns, "") {
		return nil
	}
	collations, err := r.strings(`SELECT coll FROM pragma_index_xinfo(?1) WHERE "key" ORDER BY seqno`, index)
	if err != nil {
		return err
	}
	key := sqlplan.UniqueKey{Columns: columns}
	for i, name := range columns {
		key.SQL = append(key.SQL, quote(name)+" COLLATE "+quote(collations[i]))
	}
	if partial {
		var text string
		if err := r.db.QueryRowContext(r.ctx, `SELECT sql FROM main.sqlite_schema WHERE type = 'index' AND name = ?1`, index).Scan(&text); err != nil {
			return err
		}
		key.Where = indexCondition(text)
	}
	r.table.Once = append(r.table.Once, key)
	return nil
}

// indexCondition is what follows WHERE in CREATE INDEX. It ends before a comment that follows it.
func indexCondition(text string) string {
	depth, tokens := 0, sqlTokens(text, true)
	for _, t := range tokens {
		switch {
		case t.kind == 'o' && t.text == "(":
			depth++
		case t.kind == 'o' && t.text == ")":
			depth--
		case depth == 0 && t.kind == 'n' && asciiLower(text[t.start:t.end]) == "where":
			return text[t.end:tokens[len(tokens)-1].end]
		}
	}
	return ""
}

// checkKeyCollation reports a key in which ids that differ are the same tenant, whatever the column's own collation: one
// tenant's row would be in conflict with another's.
func (r *sqliteReader) checkKeyCollation(index string) error {
	collations, err := r.strings(`SELECT coll FROM pragma_index_xinfo(?1) WHERE "key" AND name = ?2`, index, r.table.TenantColumn)
	for _, collation := range collations {
		if collation != "BINARY" && !r.table.Shared {
			r.problem(r.table.TenantColumn, fmt.Sprintf("the key %s compares the tenant column with the collation %s, under which different ids are equal", index, collation), "declare the key without COLLATE")
		}
	}
	return err
}

func (r *sqliteReader) readForeignKeys() error {
	rows, err := r.db.QueryContext(r.ctx, `SELECT f.id, f."table", f."from", coalesce(f."to", p.name, ''), f.on_delete LIKE 'SET %' OR f.on_update LIKE 'SET %'
		FROM pragma_foreign_key_list(?1) f LEFT JOIN pragma_table_info(f."table") p ON f."to" IS NULL AND p.pk = f.seq + 1 ORDER BY f.id, f.seq`, r.table.Name)
	if err != nil {
		return err
	}
	defer rows.Close()
	keys := map[int]*foreignKey{}
	var order []int
	for rows.Next() {
		var (
			id               int
			table, from, ref string
			sets             bool
		)
		if err := rows.Scan(&id, &table, &from, &ref, &sets); err != nil {
			return err
		}
		if keys[id] == nil {
			keys[id] = &foreignKey{name: fmt.Sprintf("foreign key to %s", table), parent: table, parentRelation: table}
			order = append(order, id)
		}
		keys[id].setsTenant = keys[id].setsTenant || sets && from == r.decl.TenantColumn
		keys[id].columns, keys[id].parentColumns = append(keys[id].columns, from), append(keys[id].parentColumns, ref)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	checks := r.check()
	for _, id := range order {
		checks.foreignKey(r.declared, *keys[id])
	}
	return nil
}

func (r *sqliteReader) readTriggers() error {
	names, err := r.strings(`SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE ORDER BY name`, r.table.Name)
	for _, name := range names {
		r.problem("", "the trigger "+name+" runs statements that the guard does not see", "drop it, and do in the application what it did")
	}
	return err
}

func (r *sqliteReader) strings(query string, args ...any) ([]string, error) {
	rows, err := r.db.QueryContext(r.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}
