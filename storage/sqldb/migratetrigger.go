package sqldb

import (
	"fmt"
	"slices"
	"strings"
)

// The functions run with the owner's rights, for the application's role may not read what a tenant is looked up in.
// They name everything with its schema, look operators up in pg_catalog alone, and nobody may call them. The triggers
// fire ALWAYS, for a role that can turn ordinary ones off as well.

func (t *migrateTable) function(kind string) string {
	return quote(t.Schema) + "." + quote(own(kind, t.Relation, ""))
}

// shadows are the columns that the migration fills.
func (t *migrateTable) shadows() (out []string) {
	for _, c := range t.Columns {
		if out = append(out, c.New); c.Index != "" {
			out = append(out, c.Index)
		}
	}
	return out
}

// watched tells whether the table needs the trigger on its own rows.
func (t *migrateTable) watched() bool { return t.Tenant.Add || len(t.Columns) > 0 }

// keeping is the trigger that keeps the new columns right: the tenant column is what the row says, and a sealed copy
// whose plaintext or tenant changes is NULL until it is made anew. Plaintexts are compared byte by byte: what a
// collation or type takes for equal is not the same. Only who owns the table may write a sealed copy.
func (t *migrateTable) keeping() []string {
	var body strings.Builder
	tenant := quote(t.Tenant.Column)
	if t.Tenant.Add {
		fmt.Fprintf(&body, "NEW.%s := %s; ", tenant, t.Tenant.of("NEW"))
	}
	if len(t.Columns) > 0 {
		var clear, keep, old, made []string
		for _, name := range t.shadows() {
			clear = append(clear, fmt.Sprintf("NEW.%s := NULL;", quote(name)))
			keep = append(keep, fmt.Sprintf("NEW.%[1]s := OLD.%[1]s;", quote(name)))
		}
		for _, c := range t.Columns {
			old, made = append(old, "OLD."+quote(c.Name)), append(made, "NEW."+quote(c.Name))
		}
		fmt.Fprintf(&body, "IF TG_OP = 'INSERT' THEN %s ", strings.Join(clear, " "))
		fmt.Fprintf(&body, "ELSIF NEW.%[1]s IS DISTINCT FROM OLD.%[1]s OR ROW(%[2]s)::record OPERATOR(pg_catalog.*<>) ROW(%[3]s)::record THEN %[4]s ", tenant, strings.Join(made, ", "), strings.Join(old, ", "), strings.Join(clear, " "))
		fmt.Fprintf(&body, "ELSIF NOT pg_catalog.pg_has_role(session_user, current_user, 'MEMBER') THEN %s END IF; ", strings.Join(keep, " "))
	}
	return trigger(t, "keep", lastTrigger, "BEFORE INSERT OR UPDATE", "", body.String()+"RETURN NEW;")
}

// handing is the trigger that gives the rows of other tables their new tenant when that of a row which they refer to
// changes. The condition is the trigger's, so that a batch of the backfill, whose rows get a tenant for the first time or keep
// theirs, calls no function for them.
func (t *migrateTable) handing() []string {
	var body strings.Builder
	for _, c := range t.Children {
		var on []string
		for i := range c.Columns {
			on = append(on, fmt.Sprintf("c.%s OPERATOR(pg_catalog.=) NEW.%s", quote(c.Columns[i]), quote(c.Parent[i])))
		}
		fmt.Fprintf(&body, "UPDATE %s c SET %[2]s = c.%[2]s WHERE %[3]s; ", c.Table, quote(c.Tenant), strings.Join(on, " AND "))
	}
	when := fmt.Sprintf("WHEN (OLD.%[1]s IS NOT NULL AND NEW.%[1]s IS DISTINCT FROM OLD.%[1]s)", quote(t.Tenant.Column))
	return trigger(t, "hand", firstTrigger, "AFTER UPDATE", when, body.String()+"RETURN NULL;")
}

func trigger(t *migrateTable, kind, name, event, when, body string) []string {
	tag := "$strongroom$"
	for n := 0; strings.Contains(body, tag); n++ {
		tag = fmt.Sprintf("$strongroom%d$", n)
	}
	function := t.function(kind)
	return []string{
		fmt.Sprintf("CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %[2]s BEGIN %[3]s END %[2]s", function, tag, body),
		fmt.Sprintf("REVOKE ALL ON FUNCTION %s() FROM PUBLIC", function),
		fmt.Sprintf("CREATE OR REPLACE TRIGGER %s %s ON %s FOR EACH ROW %s EXECUTE FUNCTION %s()", quote(name), event, t.Table, when, function),
		fmt.Sprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", t.Table, quote(name)),
	}
}

// untrigger drops what triggers made.
func (t *migrateTable) untrigger() []string {
	return []string{
		fmt.Sprintf("DROP TRIGGER IF EXISTS %s ON %s", quote(lastTrigger), t.Table),
		fmt.Sprintf("DROP TRIGGER IF EXISTS %s ON %s", quote(firstTrigger), t.Table),
		"DROP FUNCTION IF EXISTS " + t.function("keep") + "()",
		"DROP FUNCTION IF EXISTS " + t.function("hand") + "()",
	}
}

// expanding is what adds the new columns. The triggers come once all tables have theirs: they write other tables' too.
func (t *migrateTable) expanding() []string {
	var add []string
	column := func(name, typ string) {
		add = append(add, fmt.Sprintf("ADD COLUMN IF NOT EXISTS %s %s", quote(name), typ))
	}
	if t.Tenant.Add {
		column(t.Tenant.Column, t.Tenant.Type)
	}
	for _, c := range t.Columns {
		column(c.New, "bytea")
	}
	for _, name := range t.Added {
		column(name, "bytea")
	}
	for _, i := range t.Indexes {
		column(i.Column, "bytea")
	}
	if len(add) == 0 {
		return nil
	}
	return []string{"ALTER TABLE " + t.Table + " " + strings.Join(add, ", ")}
}

// watching makes the triggers.
func (t *migrateTable) watching() (out []string) {
	if t.watched() {
		out = append(out, t.keeping()...)
	}
	if len(t.Children) > 0 {
		out = append(out, t.handing()...)
	}
	return out
}

// stale is the condition of rows with plaintexts that no sealed copy stands beside.
func (t *migrateTable) stale() string {
	var or []string
	for _, c := range t.Columns {
		or = append(or, fmt.Sprintf("%s IS NOT NULL AND %s IS NULL", quote(c.Name), quote(c.New)))
	}
	return "(" + strings.Join(or, " OR ") + ")"
}

// staleIndex finds those rows, so that the switch does not have to look for them.
func (t *migrateTable) staleIndex() string { return own("stale", t.Relation, "") }

// marks are the constraints that keep out what is not sealed, over the columns' names of now.
func (t *migrateTable) marks(decl Table) []sealCheck {
	checks := decl.checks()
	for i, c := range checks {
		if at := slices.IndexFunc(t.Columns, func(m migrateColumn) bool { return m.Name == c.column }); at >= 0 {
			checks[i].column = t.Columns[at].New
		}
	}
	return checks
}
