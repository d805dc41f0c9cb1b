package sqldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// resealTable is a table with sealed columns and the statements that [Reseal] sends for it. They are not planned, since no
// statement may name what they do: ciphertexts and index values. Each has the tenant predicate, and on PostgreSQL
// row-level security stands behind it.
type resealTable struct {
	name    string
	bound   string // what its values are bound to
	columns []resealColumn
	key     []string // the primary key without the tenant column: what orders the rows, and tells them apart
	tenant  sqlplan.TenantType
	indexes bool // index values are moved, so that every value is opened
	waits   int  // how many locks of others the update of a row may have to wait for: of unique values, and of what triggers change
	data    bool // sealed values are moved
	locks   bool // rows are locked when they are read
	op      gate.Op

	from, where string // the table, and its tenant predicate
	selected    string
	stale       string // the condition for rows with something to move; empty where the database cannot tell
	locking     string
	update      string
	lite        bool
}

// resealColumn is a sealed column.
type resealColumn struct {
	name  string
	index string // its index column, where that is to be moved
	decl  Column
}

// resealTable returns nil where a table has nothing to move.
func (d *database) resealTable(ctx context.Context, name string, purposes []keys.Purpose) (*resealTable, error) {
	t := d.catalogs[0].Tables[name]
	r := &resealTable{name: name, bound: d.bound[name], lite: d.engine.dialect() == dialect.SQLite, data: slices.Contains(purposes, keys.PurposeData)}
	r.locks = !r.lite
	for _, column := range sortedKeys(d.schema[name].Sealed) {
		c := resealColumn{name: column, decl: d.schema[name].Sealed[column]}
		if c.decl.searchable && slices.Contains(purposes, keys.PurposeIndex) {
			c.index, r.indexes = c.decl.index, true
			r.waits++
		}
		if r.data || c.index != "" {
			r.columns = append(r.columns, c)
		}
	}
	if len(r.columns) == 0 {
		return nil, nil
	}
	for _, trigger := range d.schema[name].Triggers {
		r.waits += max(1, len(trigger.Writes)+len(trigger.Deletes))
	}
	var err error
	if r.key, err = orderOf(t); err != nil {
		return nil, err
	}
	ok := false
	if r.tenant, ok = d.catalogs[0].TenantType(t); !ok {
		return nil, fmt.Errorf("sqldb: Reseal: the tenant column of %s is of an unsuitable type", name)
	}
	if r.op, err = d.resealOp(ctx, r); err != nil {
		return nil, err
	}
	r.statements(t)
	return r, nil
}

// orderOf returns the columns of a key by which rows are ordered: the primary key, or another that admits no NULL.
func orderOf(t *sqlplan.Table) ([]string, error) {
	for _, key := range append([][]string{t.PrimaryKey}, t.UniqueKeys...) {
		whole := len(key) > 0
		for _, name := range key {
			i := slices.IndexFunc(t.Columns, func(c sqlplan.Column) bool { return c.Name == name })
			whole = whole && i >= 0 && t.Columns[i].NotNull
		}
		if whole {
			return slices.DeleteFunc(slices.Clone(key), func(name string) bool { return name == t.TenantColumn }), nil
		}
	}
	return nil, fmt.Errorf("sqldb: Reseal: the table %s has no primary key whose columns are all NOT NULL, by which its rows could be told apart; give it one", t.Name)
}

// resealOp is what a batch is to the authorizer and in the trail: a write of the columns, with what triggers change.
func (d *database) resealOp(ctx context.Context, r *resealTable) (gate.Op, error) {
	var set []string
	for i, c := range r.columns {
		set = append(set, fmt.Sprintf("%s = $%d", quote(c.name), i+1))
	}
	table := quote(r.name)
	if schema, relation, ok := strings.Cut(r.name, "."); ok {
		table = quote(schema) + "." + quote(relation)
	}
	plan, err := d.plan(ctx, "UPDATE "+table+" SET "+strings.Join(set, ", "), 1)
	if err != nil {
		return gate.Op{}, fmt.Errorf("sqldb: Reseal: planning for %s failed: %w", r.name, err)
	}
	op := *d.op(plan, nil)
	op.Code = audit.CodeReseal
	return op, nil
}

// counting is the operation of a batch that changes nothing.
func (r *resealTable) counting() *gate.Op {
	op := r.op
	op.Code, op.Action.Verb, op.AlsoDeletes = audit.CodeQuery, tenant.Read, false
	op.Action.Tables = []string{r.name}
	op.Statement, op.Fingerprint = "", ""
	return &op
}

// statements writes the statements. The tenant is the first parameter of each.
func (r *resealTable) statements(t *sqlplan.Table) {
	schema, substr := t.Schema, "pg_catalog.substr"
	if r.lite {
		schema, substr = "main", "substr"
	}
	r.from = quote(schema) + "." + quote(t.Relation())
	r.where = quote(t.TenantColumn) + " = " + r.param(1)
	if r.lite {
		r.where += " COLLATE BINARY"
	}
	var selected, stale []string
	for _, name := range r.key {
		if r.lite {
			// As an expression it has no declared type, for which the driver would change what is stored.
			selected = append(selected, "+"+quote(name))
		} else {
			selected = append(selected, quote(name))
		}
	}
	for _, c := range r.columns {
		selected = append(selected, quote(c.name))
		if c.index != "" {
			selected = append(selected, quote(c.index))
		}
		stale = append(stale, fmt.Sprintf("%s(%s, 1, 5) <> %s", substr, quote(c.name), r.param(2)))
	}
	r.selected = strings.Join(selected, ", ")
	if !r.indexes {
		r.stale = "(" + strings.Join(stale, " OR ") + ")"
	}
	if r.locks {
		r.locking = " FOR NO KEY UPDATE SKIP LOCKED"
		if r.indexes { // an index column may be in a unique key, which a lock of that kind does not cover
			r.locking = " FOR UPDATE SKIP LOCKED"
		}
	}
	r.updateStatement()
}

// updateStatement takes the tenant, the key, and for each column its new and its old value.
func (r *resealTable) updateStatement() {
	n := 1
	next := func() string { n++; return r.param(n) }
	conditions := []string{r.where}
	for _, name := range r.key {
		conditions = append(conditions, quote(name)+" = "+next())
	}
	same := " IS NOT DISTINCT FROM "
	if r.lite {
		same = " IS "
	}
	var set []string
	for _, name := range r.stored() {
		set = append(set, quote(name)+" = "+next())
		conditions = append(conditions, quote(name)+same+next())
	}
	r.update = "UPDATE " + r.from + " SET " + strings.Join(set, ", ") + " WHERE " + strings.Join(conditions, " AND ")
}

// stored are the columns that are written.
func (r *resealTable) stored() []string {
	var out []string
	for _, c := range r.columns {
		out = append(out, c.name)
		if c.index != "" {
			out = append(out, c.index)
		}
	}
	return out
}

// batch reads the next rows behind a key. Its parameters are the tenant, the newest key's prefix where the database finds the
// rows, the key where there is one, and how many.
func (r *resealTable) batch(behind, lock bool) string {
	n := 1
	next := func() string { n++; return r.param(n) }
	text := "SELECT " + r.selected + " FROM " + r.from + " WHERE " + r.where
	if r.stale != "" {
		n++
		text += " AND " + r.stale
	}
	if behind {
		var params, names []string
		for _, name := range r.key {
			names, params = append(names, quote(name)), append(params, next())
		}
		text += " AND (" + strings.Join(names, ", ") + ") > (" + strings.Join(params, ", ") + ")"
	}
	if len(r.key) > 0 {
		text += " ORDER BY " + quoteAll(r.key)
	}
	text += " LIMIT " + next()
	if lock {
		text += r.locking
	}
	return text
}

// totals counts the rows that batches go through.
func (r *resealTable) totals() string {
	text := "SELECT count(*) FROM " + r.from + " WHERE " + r.where
	if r.stale != "" {
		text += " AND " + r.stale
	}
	return text
}

// counts counts a column's values by the key that they name.
func (r *resealTable) counts(column string) string {
	substr := "pg_catalog.substr"
	if r.lite {
		substr = "substr"
	}
	return fmt.Sprintf("SELECT %[1]s(%[2]s, 1, 5), count(*) FROM %[3]s WHERE %[4]s AND %[2]s IS NOT NULL GROUP BY 1", substr, quote(column), r.from, r.where)
}

func (r *resealTable) param(n int) string {
	if r.lite {
		return fmt.Sprintf("?%d", n)
	}
	return fmt.Sprintf("$%d", n)
}

func compareLeft(a, b ResealLeft) int {
	return cmp.Or(strings.Compare(a.Table, b.Table), strings.Compare(a.Column, b.Column),
		strings.Compare(string(a.Purpose), string(b.Purpose)), cmp.Compare(a.Key, b.Key))
}
