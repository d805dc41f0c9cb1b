package storagetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// contents are all rows of a table as somebody sees them.
type contents struct {
	columns []string
	rows    [][]any
}

func readAll(ctx context.Context, db querier, table string) (*contents, error) {
	rows, err := db.QueryContext(ctx, "SELECT * FROM "+quoted(table))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := &contents{}
	if all.columns, err = rows.Columns(); err != nil {
		return nil, err
	}
	for rows.Next() {
		values, dest := make([]any, len(all.columns)), make([]any, len(all.columns))
		for i := range dest {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		all.rows = append(all.rows, values)
	}
	return all, rows.Err()
}

// column are a column's values, NULL among them.
func (c *contents) column(name string) (values []any) {
	i := slices.Index(c.columns, name)
	if i < 0 {
		return nil
	}
	for _, row := range c.rows {
		values = append(values, row[i])
	}
	return values
}

// textOf is how a value would be written in the clear.
func textOf(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	case time.Time:
		return v.Format(time.DateOnly)
	default:
		return fmt.Sprint(v)
	}
}

// stored looks without the guard at what is in sealed columns, and in those beside them that the guard does not show.
func (c *check) stored() {
	if c.Raw == nil {
		return
	}
	for name, table := range c.Schema {
		if table.Shared {
			continue
		}
		all, err := readAll(c.ctx, c.Raw, name)
		if err != nil {
			c.problem("read all of %s without a guard: %v", name, err)
			continue
		}
		sees := 0
		for _, id := range []tenant.ID{c.a, c.b} {
			seen, err := readAll(access(c.ctx, id), c.DB, name)
			if err != nil {
				c.problem("read all of %s: %v", name, err)
				return
			}
			sees += len(seen.rows)
			c.inTheClear(name, table, seen, all)
		}
		if len(all.rows) < sees {
			c.problem("Raw sees %d rows of %s, and two tenants %d: it is no handle that sees all", len(all.rows), name, sees)
		}
	}
}

// inTheClear tells of columns in which a tenant's sealed values can be read, and of those in which two tenants have the same.
func (c *check) inTheClear(name string, table sqldb.Table, seen, all *contents) {
	owner := ""
	for _, column := range all.columns {
		of := all.column(column)
		if slices.ContainsFunc(of, func(v any) bool { return textOf(v) == c.a.String() }) && slices.ContainsFunc(of, func(v any) bool { return textOf(v) == c.b.String() }) {
			owner = column
			break
		}
	}
	for _, column := range all.columns {
		_, sealed := table.Sealed[column]
		if !sealed && (slices.Contains(seen.columns, column) || column == owner) {
			continue
		}
		for of := range table.Sealed {
			if (sealed && of != column) || !slices.ContainsFunc(seen.column(of), func(plain any) bool { return c.shows(all.column(column), plain) }) {
				continue
			}
			if column == of {
				c.problem("%s.%s is stored in the clear", name, of)
			} else {
				c.problem("%s.%s is stored in the clear in the column %s", name, of, column)
			}
		}
		mine := map[string]bool{}
		for i, value := range all.column(column) {
			if bytes, ok := value.([]byte); ok && owner != "" && textOf(all.column(owner)[i]) == c.a.String() {
				mine[string(bytes)] = true
			}
		}
		for i, value := range all.column(column) {
			if bytes, ok := value.([]byte); ok && owner != "" && textOf(all.column(owner)[i]) == c.b.String() && mine[string(bytes)] {
				c.problem("%s.%s has the same value for two tenants: it is not sealed with keys of their own", name, column)
			}
		}
	}
}

// shows tells whether a value can be read in what is stored.
func (c *check) shows(stored []any, value any) bool {
	plain := textOf(value)
	return plain != "" && slices.ContainsFunc(stored, func(s any) bool {
		text := textOf(s)
		return text == plain || len(plain) > 3 && strings.Contains(text, plain)
	})
}
