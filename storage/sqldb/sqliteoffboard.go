package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// mayDelete reports the tables outside the schema that refer to tables in it: before SQLite deletes a row it reads them, which
// the guard's connection may not.
func (e *sqliteEngine) mayDelete(ctx context.Context, cat *sqlplan.Catalog, _ []offboardStep) (problems []Problem, err error) {
	db := sql.OpenDB(rawSQLite{e})
	defer db.Close()
	declared := map[string]string{}
	for name := range cat.Tables {
		declared[strings.ToLower(name)] = name
	}
	rows, err := db.QueryContext(ctx, `SELECT DISTINCT m.name, f."table" FROM main.sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table' ORDER BY 1, 2`)
	if err != nil {
		return nil, fmt.Errorf("sqldb: reading the foreign keys of the SQLite file failed: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var child, parent string
		if err := rows.Scan(&child, &parent); err != nil {
			return nil, err
		}
		table, scoped := declared[strings.ToLower(parent)]
		if _, known := declared[strings.ToLower(child)]; scoped && !known && !cat.Tables[table].Shared {
			problems = append(problems, Problem{Table: table, What: fmt.Sprintf("the table %s, which is not declared, refers to it", child), Fix: "declare " + child + ", or drop its foreign key"})
		}
	}
	return problems, rows.Err()
}
