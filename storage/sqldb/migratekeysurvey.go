package sqldb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// surveyIndex is a unique index as the catalog has it.
type surveyIndex struct {
	table, name, constraint, def, constraintDef string
	primary, deferrable, deferred               bool
	columns, included, used                     []string
}

// keysOf finds the unique keys that lack the tenant column, or are over plaintexts.
func (s *surveyor) keysOf() error {
	return s.each(`SELECT d.name, x.relname, i.indisprimary, coalesce(k.conname, ''), coalesce(pg_get_constraintdef(k.oid), ''), pg_get_indexdef(i.indexrelid),
			coalesce(k.condeferrable, false), coalesce(k.condeferred, false),
			ARRAY(SELECT coalesce(a.attname::text, '') FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u(num, ord)
			      LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.num AND u.num > 0 WHERE u.ord <= i.indnkeyatts ORDER BY u.ord),
			ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u(num, ord)
			      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.num WHERE u.ord > i.indnkeyatts ORDER BY u.ord),
			ARRAY(SELECT a.attname::text FROM pg_depend p JOIN pg_attribute a ON a.attrelid = p.refobjid AND a.attnum = p.refobjsubid
			      WHERE p.classid = 'pg_class'::regclass AND p.objid = i.indexrelid AND p.refclassid = 'pg_class'::regclass AND p.refobjid = i.indrelid AND p.refobjsubid > 0)
		FROM declared d JOIN pg_index i ON i.indrelid = d.oid AND i.indisunique JOIN pg_class x ON x.oid = i.indexrelid
		LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')
		ORDER BY d.name, x.relname`, func(rows pgx.Rows) error {
		var i surveyIndex
		if err := rows.Scan(&i.table, &i.name, &i.primary, &i.constraint, &i.constraintDef, &i.def, &i.deferrable, &i.deferred, &i.columns, &i.included, &i.used); err != nil {
			return err
		}
		if t := s.tables[i.table]; t != nil {
			s.key(t, i)
		}
		return nil
	})
}

// key decides what becomes of a unique index.
func (s *surveyor) key(t *migrateTable, i surveyIndex) {
	sealed := map[string]migrateColumn{}
	for _, c := range t.Columns {
		sealed[c.Name] = c
	}
	ties, over := slices.Contains(i.columns, t.Tenant.Column), false
	elements := map[int]string{}
	for n, name := range i.columns {
		c, is := sealed[name]
		switch {
		case !is:
		case i.primary:
			s.problem(t.Name, name, "the column is in the primary key, and sealed values cannot tell rows apart", "give the table a primary key of other columns")
			return
		case c.Index == "":
			s.problem(t.Name, name, "the column is in the unique key "+i.name+", and equal values have different ciphertexts", "declare it Searchable: its blind index takes its place in the key; or drop the key")
			return
		default:
			over, elements[n] = true, quote(c.Index)
		}
	}
	for _, name := range append(i.used, i.included...) {
		if _, is := sealed[name]; is && (slices.Contains(i.included, name) || !slices.Contains(i.columns, name)) {
			s.problem(t.Name, name, "the unique key "+i.name+" has the column in an expression, a condition or INCLUDE, and it will be sealed", "drop the key, or make it of columns alone")
			return
		}
	}
	if ties && !over {
		return
	}
	k := migrateKey{Name: i.name, Constraint: i.constraint, Primary: i.primary, Over: over, Def: i.constraintDef, IndexDef: i.def, New: own("key", t.Relation, i.name), Back: own("back", t.Relation, i.name)}
	if i.deferrable {
		if k.Deferrable = " DEFERRABLE"; i.deferred {
			k.Deferrable += " INITIALLY DEFERRED"
		}
	}
	tenantColumn := quote(t.Tenant.Column)
	if ties {
		tenantColumn = ""
	}
	var ok bool
	if k.SQL, ok = remakeIndex(i.def, k.New, tenantColumn, elements); ok && !over {
		k.BackSQL, ok = remakeIndex(i.def, k.Back, "", nil)
	}
	if !ok {
		s.problem(t.Name, "", "the definition of the unique index "+i.name+" cannot be read", "drop it, and make it by hand with the tenant column")
		return
	}
	t.Keys = append(t.Keys, k)
}

// remakeIndex is an index's definition under another name, with a column in front and others in the place of some.
func remakeIndex(def, name, front string, elements map[int]string) (string, bool) {
	tokens := sqlTokens(def, false)
	at := slices.IndexFunc(tokens, func(t sqlToken) bool { return t.kind == 'o' && t.text == "(" })
	using := slices.IndexFunc(tokens, func(t sqlToken) bool { return t.is("using") })
	on := slices.IndexFunc(tokens, func(t sqlToken) bool { return t.is("on") })
	if len(tokens) < 5 || on != 4 || using < on || at < using || !tokens[1].is("unique") {
		return "", false
	}
	var parts []string
	if front != "" {
		parts = append(parts, front)
	}
	depth, begin, n, end := 0, tokens[at].end, 0, -1
	part := func(to int) {
		text := def[begin:to]
		if other, is := elements[n]; is {
			text = other
		}
		parts, n = append(parts, strings.TrimSpace(text)), n+1
	}
	for _, t := range tokens[at:] {
		if t.kind != 'o' {
			continue
		}
		switch t.text {
		case "(":
			depth++
		case ",":
			if depth == 1 {
				part(t.start)
				begin = t.end
			}
		case ")":
			if depth--; depth == 0 {
				part(t.start)
				end = t.end
			}
		}
		if end >= 0 {
			break
		}
	}
	if end < 0 {
		return "", false
	}
	return "CREATE UNIQUE INDEX CONCURRENTLY " + quote(name) + " " + def[tokens[on].start:tokens[at].end] + strings.Join(parts, ", ") + ")" + def[end:], true
}

// foreignOf finds the foreign keys that do not tie a row to one of the same tenant, and resolves where tenants come from.
func (s *surveyor) foreignOf() error {
	all, err := s.foreignKeys()
	if err != nil {
		return err
	}
	for _, k := range all {
		s.foreign(k)
	}
	for _, name := range sortedKeys(s.tables) {
		if s.tables[name].Tenant.Add {
			s.tables[name].Tenant.Of = s.tenantOf(name, all, nil)
		}
	}
	return s.noteSlowHanding()
}

// noteSlowHanding notes tables that are read whole each time a row which they take their tenant from goes to another one:
// PostgreSQL makes no index for a foreign key by itself.
func (s *surveyor) noteSlowHanding() error {
	leading := map[string][]string{} // what indexes begin with, by the table
	err := s.each(`SELECT d.name, a.attname::text FROM declared d JOIN pg_index i ON i.indrelid = d.oid AND i.indisvalid AND i.indpred IS NULL
		JOIN pg_attribute a ON a.attrelid = d.oid AND a.attnum = i.indkey[0]`, func(rows pgx.Rows) error {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return err
		}
		leading[table] = append(leading[table], column)
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(s.tables) {
		for _, c := range s.tables[name].Children {
			child := ""
			for _, other := range sortedKeys(s.tables) {
				if s.tables[other].Table == c.Table {
					child = other
				}
			}
			if slices.ContainsFunc(c.Columns, func(column string) bool { return slices.Contains(leading[child], column) }) {
				continue
			}
			s.notes = append(s.notes, fmt.Sprintf("no index of %s begins with (%s): where the application moves a row of %s to another tenant meanwhile, all of %s is read for it; CREATE INDEX CONCURRENTLY ON %s (%s)",
				child, strings.Join(c.Columns, ", "), name, child, c.Table, quoteAll(c.Columns)))
		}
	}
	return nil
}

func (s *surveyor) sealedIn(table string, columns []string) bool {
	t := s.tables[table]
	return t != nil && slices.ContainsFunc(t.Columns, func(c migrateColumn) bool { return slices.Contains(columns, c.Name) })
}

func (s *surveyor) foreign(k surveyKey) {
	t, parent := s.tables[k.table], s.declared[k.parent]
	refuse := func(what, fix string) { s.problem(k.table, "", "foreign key "+k.name+" "+what, fix) }
	switch {
	case !k.declared:
		refuse("refers to table "+k.parent+", which is not declared", "declare it, or drop the foreign key")
		return
	case parent.Shared && t == nil:
		return
	case t == nil:
		refuse("refers from a shared table to the tenants' table "+k.parent, "drop the foreign key")
		return
	case s.sealedIn(k.table, k.columns) || s.sealedIn(k.parent, k.parentColumns):
		refuse("is over a column that will be sealed", "drop the foreign key, or do not seal the column")
		return
	case parent.Shared:
		return
	}
	parentTenant := s.parentTenant(k.parent)
	columns, parentColumns := []string{t.Tenant.Column}, []string{parentTenant}
	for i, name := range k.columns {
		if name == t.Tenant.Column && k.parentColumns[i] == parentTenant {
			return // it ties the row already
		}
	}
	source := s.Tenants[k.table]
	for i, name := range k.columns {
		refers := k.parentColumns[i] == parentTenant
		switch {
		case name == t.Tenant.Column:
			refuse("refers by the tenant column "+name+" to "+k.parentColumns[i]+", which is not the tenant of "+k.parent, "ALTER TABLE "+t.Table+" DROP CONSTRAINT "+quote(k.name))
			return
		case !refers:
			columns, parentColumns = append(columns, name), append(parentColumns, k.parentColumns[i])
		case name != source.column && !sameColumns(k.columns, source.parent):
			// Its values may be other tenants, which the tenant column in its place would not be.
			refuse("refers by "+name+", which the row's tenant does not come from, to the tenant of "+k.parent, "ALTER TABLE "+t.Table+" DROP CONSTRAINT "+quote(k.name))
			return
		}
	}
	if k.full {
		refuse("is MATCH FULL, and a tenant column that is never NULL would make its other columns so too", "make it MATCH SIMPLE")
		return
	}
	words := map[string]string{"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
	if k.onUpdate == "n" || k.onUpdate == "d" {
		refuse("sets its columns when its parent's key changes, the tenant column among them", "make it ON UPDATE CASCADE or NO ACTION")
		return
	}
	onDelete := words[k.onDelete]
	if k.onDelete == "n" || k.onDelete == "d" {
		list := slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == t.Tenant.Column || len(k.sets) > 0 && !slices.Contains(k.sets, c) })
		if len(list) == 0 {
			refuse("sets the tenant column when its parent goes", "make it ON DELETE CASCADE or RESTRICT")
			return
		}
		onDelete += " (" + quoteAll(list) + ")"
	}
	schema, relation := s.options.place(k.parent)
	f := migrateForeign{Name: k.name, Def: k.def, New: own("ref", t.Relation, k.name)}
	f.SQL = fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s FOREIGN KEY (%s) REFERENCES %s.%s (%s) ON DELETE %s ON UPDATE %s",
		t.Table, quote(f.New), quoteAll(columns), quote(schema), quote(relation), quoteAll(parentColumns), onDelete, words[k.onUpdate])
	if k.defer_ {
		if f.SQL += " DEFERRABLE"; k.wait {
			f.SQL += " INITIALLY DEFERRED"
		}
	}
	f.SQL += " NOT VALID"
	t.Foreign = append(t.Foreign, f)
}

// sameColumns tells whether a foreign key is over the columns that were named, in whatever order.
func sameColumns(key, named []string) bool {
	return len(key) == len(named) && !slices.ContainsFunc(key, func(c string) bool { return !slices.Contains(named, c) })
}

// tenantOf is the tenant of a row of a table, as an expression of its other columns.
func (s *surveyor) tenantOf(name string, all []surveyKey, from []string) string {
	t, source := s.tables[name], s.Tenants[name]
	typ := "text"
	if castsTenant(t.Tenant.Type) {
		typ = t.Tenant.Type
	}
	refuse := func(what, fix string) string {
		if p := (Problem{Table: name, Column: t.Tenant.Column, What: what, Fix: fix}); !slices.Contains(s.problems, p) { // as where another table's tenant comes from this one
			s.problem(p.Table, p.Column, p.What, p.Fix)
		}
		return "NULL::" + typ
	}
	switch {
	case !t.Tenant.Add:
		return rowAlias + "." + quote(t.Tenant.Column)
	case !source.constant.IsZero():
		of := map[string]sqlplan.TenantType{"uuid": sqlplan.TenantUUID, "bigint": sqlplan.TenantInteger, "integer": sqlplan.TenantInteger}
		kind, casts := of[typ]
		if !casts {
			kind = sqlplan.TenantText
		}
		if _, err := canonicalTenant(source.constant.String(), kind); err != nil {
			return refuse(err.Error(), "name another tenant")
		}
		return strings.TrimSpace(literal(source.constant.String())) + "::" + typ
	case source.column != "":
		c := s.column(name, source.column)
		switch {
		case c == nil:
			return refuse("the column "+source.column+", which its tenant is to come from, is not there", "name one that is")
		case s.sealedIn(name, []string{source.column}):
			return refuse("the column "+source.column+", which its tenant is to come from, is declared as sealed", "name another")
		case typ != "text" && c.typ != typ:
			return refuse(fmt.Sprintf("the column %s has type %s, and the tenant column %s", source.column, c.typ, typ), "declare the TenantType that it has")
		case c.generated:
			return refuse("the column "+source.column+" is generated, and triggers do not see it", "name one that it is computed from")
		}
		return rowAlias + "." + quote(source.column) + "::" + typ
	case len(source.parent) == 0:
		return "NULL::" + typ // it was named
	}
	at := slices.IndexFunc(all, func(k surveyKey) bool {
		return k.table == name && sameColumns(k.columns, source.parent)
	})
	switch {
	case at < 0 || s.tables[all[at].parent] == nil:
		return refuse("there is no foreign key over ("+strings.Join(source.parent, ", ")+") to a declared table of tenants", "name the columns of one")
	case all[at].wait:
		return refuse("the foreign key "+all[at].name+" is INITIALLY DEFERRED: a row can be there before the one that its tenant comes from",
			"ALTER TABLE "+t.Table+" ALTER CONSTRAINT "+quote(all[at].name)+" DEFERRABLE INITIALLY IMMEDIATE /* or NOT DEFERRABLE */")
	case slices.Contains(from, all[at].parent) || all[at].parent == name:
		return refuse("its tenant is to come from a row of its own table", "name another source")
	}
	k := all[at]
	if k.defer_ && len(from) == 0 {
		s.notes = append(s.notes, fmt.Sprintf("the foreign key %s of %s is deferrable: a row of %[2]s that the application writes before the one of %[3]s that its tenant comes from, with SET CONSTRAINTS … DEFERRED, is refused from the stage keys on",
			k.name, name, k.parent))
	}
	parent := s.tables[k.parent]
	alias := fmt.Sprintf("p%d", len(from)+1)
	var on []string
	for i := range k.columns {
		on = append(on, fmt.Sprintf("%s.%s OPERATOR(pg_catalog.=) %s.%s", alias, quote(k.parentColumns[i]), rowAlias, quote(k.columns[i])))
	}
	if len(from) == 0 {
		parent.Children = append(parent.Children, migrateChild{Table: t.Table, Tenant: t.Tenant.Column, Columns: k.columns, Parent: k.parentColumns})
	}
	of := strings.ReplaceAll(s.tenantOf(k.parent, all, append(slices.Clone(from), name)), rowAlias, alias)
	if parent.Tenant.Type != t.Tenant.Type && (castsTenant(parent.Tenant.Type) || castsTenant(t.Tenant.Type)) {
		return refuse("the table "+k.parent+", which its tenant is to come from, has a tenant column of another type", "declare the same TenantType")
	}
	return fmt.Sprintf("(SELECT %s FROM %s %s WHERE %s)", of, parent.Table, alias, strings.Join(on, " AND "))
}
