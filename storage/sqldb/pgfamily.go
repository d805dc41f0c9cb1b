package sqldb

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// readFamilies checks that a table which holds rows of another declared one, as a partition or a child, is scoped as that is.
func (r *pgReader) readFamilies() error {
	return r.each(`
		SELECT d.name, f.declared FROM family f JOIN declared d ON d.oid = f.oid WHERE d.name <> f.declared ORDER BY 1, 2`,
		func(rows pgx.Rows) error {
			var child, parent string
			if err := rows.Scan(&child, &parent); err != nil {
				return err
			}
			of, is := r.declared[parent], r.declared[child]
			switch {
			case of.Shared && is.Shared:
			case of.Shared:
				r.problem(parent, "", fmt.Sprintf("the table is declared shared and reading it reads the rows of %s: every tenant would read all of them", child), "drop Shared from the declaration")
			case is.Shared:
				r.problem(child, "", fmt.Sprintf("the table holds rows of %s and is declared shared: every tenant would read all of them", parent), "drop Shared from the declaration")
			case is.TenantColumn != of.TenantColumn:
				r.problem(child, is.TenantColumn, fmt.Sprintf("the table holds rows of %s, whose tenant column is %s, and has another", parent, of.TenantColumn),
					"declare it with TenantColumn: "+fmt.Sprintf("%q", of.TenantColumn))
			}
			return nil
		})
}
