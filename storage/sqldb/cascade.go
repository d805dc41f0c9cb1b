package sqldb

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// A foreign key's action deletes or changes rows of another table than the statement's. The plan names that table too, so
// that the authorizer is asked about it and the trail has it. A table that is not declared cannot be named.

// actions are the words of a foreign key's actions, by PostgreSQL's letters.
var actions = map[string]sqlplan.Action{"c": sqlplan.Cascades, "n": sqlplan.SetsColumns, "d": sqlplan.SetsColumns}

func undeclaredCascade(parent, child string) Problem {
	return Problem{Table: parent, What: fmt.Sprintf("a foreign key of the table %s, which is not declared, has an action that deletes or changes its rows unseen", child),
		Fix: "declare " + child + ", or make the foreign key's actions NO ACTION or RESTRICT"}
}

// readCascades reads the foreign keys that refer to declared tables, of whatever table.
func (r *pgReader) readCascades() error {
	return r.each(`
		SELECT DISTINCT f.declared, coalesce(child.declared, n.nspname || '.' || c.relname), child.declared IS NOT NULL,
		       k.confdeltype::text, k.confupdtype::text,
		       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) AS u(num) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num)
		FROM family f
		JOIN pg_catalog.pg_constraint k ON k.confrelid = f.oid AND k.contype = 'f'
		JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN family child ON child.oid = k.conrelid
		WHERE k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')`,
		func(rows pgx.Rows) error {
			var (
				parent, child, onDelete, onUpdate string
				declared                          bool
				columns                           []string
			)
			if err := rows.Scan(&parent, &child, &declared, &onDelete, &onUpdate, &columns); err != nil {
				return err
			}
			if !declared {
				r.problems = append(r.problems, undeclaredCascade(parent, child))
				return nil
			}
			t := r.tables[parent].plan
			t.Cascades = append(t.Cascades, sqlplan.Cascade{Table: child, OnDelete: actions[onDelete], OnUpdate: actions[onUpdate], Columns: columns})
			return nil
		})
}

// readEnums tells which of the declared types are enumerations.
func (r *pgReader) readEnums() error {
	for _, name := range r.options.Types {
		var isEnum bool
		err := r.conn.QueryRow(r.ctx, `SELECT coalesce((SELECT typtype = 'e' FROM pg_catalog.pg_type WHERE oid = pg_catalog.to_regtype($1)), false)`, quoteQualified(name)).Scan(&isEnum)
		if err != nil {
			return err
		}
		if isEnum {
			r.enums = append(r.enums, name)
		}
	}
	return nil
}

// quoteQualified quotes the parts of a name as it stands in a parse tree.
func quoteQualified(name string) string {
	parts := strings.Split(name, ".")
	for i, part := range parts {
		parts[i] = quote(part)
	}
	return strings.Join(parts, ".")
}

// readSQLiteCascades does the same for a SQLite file.
func readSQLiteCascades(ctx context.Context, db sqliteQueries, s Schema, cat *sqlplan.Catalog) ([]Problem, error) {
	words := map[string]sqlplan.Action{"CASCADE": sqlplan.Cascades, "SET NULL": sqlplan.SetsColumns, "SET DEFAULT": sqlplan.SetsColumns}
	byName := map[string]string{}
	for name := range s {
		byName[strings.ToLower(name)] = name
	}
	rows, err := db.QueryContext(ctx, `SELECT m.name, f.id, f."table", coalesce(f."to", p.name, ''), f.on_delete, f.on_update
		FROM main.sqlite_schema m, pragma_foreign_key_list(m.name) f LEFT JOIN pragma_table_info(f."table") p ON f."to" IS NULL AND p.pk = f.seq + 1
		WHERE m.type = 'table' ORDER BY m.name, f.id, f.seq`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var problems []Problem
	made := map[string]int{} // where the foreign key is among its parent's
	for rows.Next() {
		var (
			child, parent, column, onDelete, onUpdate string
			id                                        int
		)
		if err := rows.Scan(&child, &id, &parent, &column, &onDelete, &onUpdate); err != nil {
			return nil, err
		}
		name, declared := byName[strings.ToLower(parent)]
		c := sqlplan.Cascade{Table: byName[strings.ToLower(child)], OnDelete: words[strings.ToUpper(onDelete)], OnUpdate: words[strings.ToUpper(onUpdate)]}
		if !declared || c.OnDelete == 0 && c.OnUpdate == 0 {
			continue
		}
		key := fmt.Sprint(child, "/", id)
		at, again := made[key]
		if c.Table == "" {
			if !again {
				problems = append(problems, undeclaredCascade(name, child))
			}
			made[key] = -1
			continue
		}
		t := cat.Tables[name]
		if !again {
			made[key], at = len(t.Cascades), len(t.Cascades)
			t.Cascades = append(t.Cascades, c)
		}
		t.Cascades[at].Columns = append(t.Cascades[at].Columns, column)
	}
	return problems, rows.Err()
}
