package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// While a tenant's index key is rotated, the database does not see that a value which it is given under the newest key is in
// a row from before under an older one. So a statement that writes such a value is followed by a look for it under all keys, in
// the same transaction, and is taken back where the value is there twice.

// ErrDuplicate means that a unique key which includes a column's blind index admits a value once, and that another row holds it
// under an older index key. A statement that wrote it has been taken back, or its transaction can only be rolled back. See
// also [Reseal].
var ErrDuplicate = errors.New("sqldb: another row holds the value, which a unique key admits once")

// alone runs a write and looks for what it stored: in a transaction of its own where none is open.
func (c *conn) alone(ctx context.Context, a *access, write func() error) error {
	if a.tx != nil {
		if err := write(); err != nil {
			return err
		}
		err := c.onlyOnce(ctx, a)
		if err != nil {
			c.doubt(a) // the write stands in the transaction, which nobody may commit
		}
		return err
	}
	if err := c.session.begin(ctx, a.id, driver.TxOptions{}); err != nil {
		return &unsentError{err}
	}
	err := write()
	if err == nil {
		err = c.onlyOnce(ctx, a)
	}
	if err != nil {
		if rerr := c.session.rollback(context.WithoutCancel(ctx)); rerr != nil {
			return errors.Join(err, rerr)
		}
		return &unsentError{err} // whatever was sent is taken back
	}
	return c.session.commit(ctx)
}

// maxOnce is how many index values one look asks for.
const maxOnce = 1000

// onlyOnce looks for what a write stored under every index key. All index values of one value are in one look.
func (c *conn) onlyOnce(ctx context.Context, a *access) error {
	if s, ok := c.session.(*pgSession); ok {
		tag := s.tag
		defer func() { s.tag = tag }() // it stays that of the write
	}
	for at := 0; at < len(a.once); {
		from := at
		for at < len(a.once) && a.once[at].table == a.once[from].table && a.once[at].column == a.once[from].column &&
			(at-from < maxOnce || a.once[at].of == a.once[at-1].of) {
			at++
		}
		if err := c.onlyOnceIn(ctx, a, a.once[from:at]); err != nil {
			return err
		}
	}
	return nil
}

// once is an index value that a write stores, or would have under an older key.
type once struct {
	table, column string
	value         []byte
	of            int // the same for all index values of one value
}

// onceOf makes the index values of what a statement writes, under every key, ordered by their columns.
func (d *database) onceOf(a *access, args []driver.NamedValue) ([]once, error) {
	var out []once
	for of, p := range a.plan.Unique {
		for p.IndexVersion = range a.pass.Keys().IndexKeyIDs() {
			v, err := d.param(a.pass, p, args)
			if err != nil {
				return nil, fmt.Errorf("sqldb: parameter %s: %w", describe(p), err)
			}
			if value, ok := v.([]byte); ok {
				out = append(out, once{p.Table, p.Column, value, of})
			}
		}
	}
	inLooks(out)
	return out, nil
}

// inLooks orders values by their columns, so that those of one are looked for together.
func inLooks(values []once) {
	slices.SortStableFunc(values, func(a, b once) int {
		return strings.Compare(a.table+"."+a.column, b.table+"."+b.column)
	})
}

// onlyOnceIn looks for values of one column, for each unique key that includes it.
func (c *conn) onlyOnceIn(ctx context.Context, a *access, values []once) error {
	table := c.db.catalogs[0].Tables[values[0].table]
	index := c.db.schema[table.Name].Sealed[values[0].column].index
	typ, ok := c.db.catalogs[0].TenantType(table)
	if !ok {
		return errors.New("sqldb: a table has no tenant column to look by")
	}
	id, err := canonicalTenant(a.id.String(), typ)
	if err != nil {
		return err
	}
	args := []driver.Value{id}
	for _, v := range values {
		args = append(args, v.value)
	}
	for _, key := range table.Once {
		if !slices.Contains(key.Columns, index) {
			continue
		}
		cur, err := c.session.query(ctx, a.id, onceQuery(table, key, index, values, c.db.engine.dialect() == dialect.SQLite), args)
		if err != nil {
			return err
		}
		_, found, _, err := exhaust(cur, false)
		if err != nil {
			return err
		}
		if found > 0 {
			return fmt.Errorf("%w: a value for %s.%s", ErrDuplicate, table.Name, values[0].column)
		}
	}
	return nil
}

// onceQuery returns a row where several rows hold one of the values, and what the database calls the same in the key's other
// columns: under their types and collations.
func onceQuery(table *sqlplan.Table, key sqlplan.UniqueKey, index string, values []once, lite bool) string {
	schema, param, binary := table.Schema, "$", ""
	if lite {
		schema, param, binary = "main", "?", " COLLATE BINARY"
	}
	params, of := make([]string, len(values)), "CASE "+quote(index)
	for i, v := range values {
		params[i] = fmt.Sprintf("%s%d", param, i+2)
		of += fmt.Sprintf(" WHEN %s THEN %d", params[i], v.of)
	}
	text := fmt.Sprintf("SELECT 1 FROM %s.%s WHERE %s = %s1%s AND %s IN (%s)", quote(schema), quote(table.Relation()),
		quote(table.TenantColumn), param, binary, quote(index), strings.Join(params, ", "))
	if key.Where != "" {
		text += " AND (" + key.Where + ")"
	}
	group := of + " END"
	for i, name := range key.Columns {
		if name == index || name == table.TenantColumn {
			continue
		}
		if group += ", (" + key.SQL[i] + ")"; !key.Nulls {
			text += " AND (" + key.SQL[i] + ") IS NOT NULL"
		}
	}
	return text + " GROUP BY " + group + " HAVING count(*) > 1 LIMIT 1"
}
