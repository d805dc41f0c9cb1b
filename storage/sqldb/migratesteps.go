package sqldb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/storage/dialect"
)

// ciphertext columns have their names of before the switch in what prepares it, and those of after it in what it does.

// adding is a constraint that holds for new rows at once, and is validated by itself.
type adding struct{ table, name, add string }

func (a adding) validate() string {
	return fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", a.table, quote(a.name))
}

// constraints are what a table is given before the switch but its foreign keys.
func (t *migrateTable) constraints(decl Table) (out []adding) {
	if !t.Tenant.NotNull {
		out = append(out, adding{t.Table, tenantKnown, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID", t.Table, quote(tenantKnown), quote(t.Tenant.Column))})
	}
	for _, c := range t.marks(decl) {
		if t.has(c.column) {
			out = append(out, adding{t.Table, c.name, fmt.Sprintf("ALTER TABLE %s ADD %s NOT VALID", t.Table, c.definition(dialect.PostgreSQL))})
		}
	}
	return out
}

// has tells whether the migration made a column of ciphertexts.
func (t *migrateTable) has(column string) bool {
	for _, c := range t.Columns {
		if c.New == column {
			return true
		}
	}
	for _, name := range t.Added {
		if name == column {
			return true
		}
	}
	for _, i := range t.Indexes {
		if i.Column == column {
			return true
		}
	}
	return false
}

func (t *migrateTable) foreign() (out []adding) {
	for _, f := range t.Foreign {
		out = append(out, adding{t.Table, f.New, f.SQL})
	}
	return out
}

// building are the indexes that are built before the switch, by name.
func (t *migrateTable) building() (out [][2]string) {
	for _, k := range t.Keys {
		out = append(out, [2]string{k.New, k.SQL})
	}
	for _, i := range t.Indexes {
		out = append(out, [2]string{i.Name, fmt.Sprintf("CREATE INDEX CONCURRENTLY %s ON %s (%s, %s)", quote(i.Name), t.Table, quote(t.Tenant.Column), quote(i.Column))})
	}
	return out
}

func (t *migrateTable) buildStale() [2]string {
	return [2]string{t.staleIndex(), fmt.Sprintf("CREATE INDEX CONCURRENTLY %s ON %s (%s) WHERE %s", quote(t.staleIndex()), t.Table, quote(t.Tenant.Column), t.stale())}
}

// index is the qualified name of an index of the table's schema.
func (t *migrateTable) index(name string) string { return quote(t.Schema) + "." + quote(name) }

// required is the constraint of a column of ciphertexts whose plaintexts could not be NULL.
func required(c migrateColumn) string { return markName(migrateMark+"required_", c.Name) }

// detaching is the first part of a switch: what rests on keys that go, goes before them.
func (t *migrateTable) detaching() []string {
	out := t.untrigger()
	if len(t.Columns) > 0 {
		out = append(out, "DROP INDEX IF EXISTS "+t.index(t.staleIndex()))
	}
	for _, f := range t.Foreign {
		out = append(out, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", t.Table, quote(f.Name)))
	}
	return out
}

// switching is the second part: names, keys and the fence.
func (t *migrateTable) switching(o *Options) []string {
	var out []string
	alter := func(format string, args ...any) {
		out = append(out, "ALTER TABLE "+t.Table+" "+fmt.Sprintf(format, args...))
	}
	if !t.Tenant.NotNull {
		alter("ALTER COLUMN %s SET NOT NULL", quote(t.Tenant.Column))
		alter("DROP CONSTRAINT %s", quote(tenantKnown))
	}
	for _, c := range t.Checks {
		alter("DROP CONSTRAINT %s", quote(c.Name))
	}
	for _, k := range t.Keys {
		switch {
		case k.Constraint == "":
			out = append(out, "DROP INDEX "+t.index(k.Name), fmt.Sprintf("ALTER INDEX %s RENAME TO %s", t.index(k.New), quote(k.Name)))
		case k.Primary:
			alter("DROP CONSTRAINT %[1]s, ADD CONSTRAINT %[1]s PRIMARY KEY USING INDEX %[2]s%[3]s", quote(k.Constraint), quote(k.New), k.Deferrable)
		default:
			alter("DROP CONSTRAINT %[1]s, ADD CONSTRAINT %[1]s UNIQUE USING INDEX %[2]s%[3]s", quote(k.Constraint), quote(k.New), k.Deferrable)
		}
	}
	for _, c := range t.Columns {
		alter("RENAME COLUMN %s TO %s", quote(c.Name), quote(c.Old))
		alter("RENAME COLUMN %s TO %s", quote(c.New), quote(c.Name))
		alter("ALTER COLUMN %[1]s DROP NOT NULL, ALTER COLUMN %[1]s DROP DEFAULT", quote(c.Old))
		if c.NotNull {
			alter("ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID", quote(required(c)), quote(c.Name))
		}
	}
	for _, f := range t.Foreign {
		alter("RENAME CONSTRAINT %s TO %s", quote(f.New), quote(f.Name))
	}
	out = append(out, t.closing()...)
	if !o.InsecureWithoutRLS {
		alter("ENABLE ROW LEVEL SECURITY")
		alter("FORCE ROW LEVEL SECURITY")
		out = append(out, fmt.Sprintf("DROP POLICY IF EXISTS %s ON %s", PolicyName, t.Table), createPolicy(t.Table, t.Tenant.Column, t.Tenant.Type))
	}
	return out
}

// excessive tells whether a privilege is one that a switch takes from everybody but the owner: what row-level security does not
// bind, for which [Open] refuses a role, and TRIGGER while plaintexts are kept aside, since a trigger sees whole rows.
func (g migrateGrant) excessive() bool {
	return !slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE"}, g.Privilege)
}

// closing takes the plaintexts out of what others than the owner may read and write: privileges on the table become
// such on its other columns, or go.
func (t *migrateTable) closing() (out []string) {
	for _, g := range t.Grants {
		out = append(out, fmt.Sprintf("REVOKE %s ON %s FROM %s CASCADE", g.Privilege, t.Table, g.Grantee))
		if !g.excessive() {
			out = append(out, fmt.Sprintf("GRANT %s (%s) ON %s TO %s%s", g.Privilege, quoteAll(t.shown()), t.Table, g.Grantee, g.option()))
		}
	}
	return out
}

// shown are all columns but the plaintexts.
func (t *migrateTable) shown() []string {
	columns := slices.Clone(t.Plain)
	add := func(name string) {
		if !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	add(t.Tenant.Column)
	for _, c := range t.Columns {
		add(c.Name)
	}
	for _, i := range t.Indexes {
		add(i.Column)
	}
	for _, name := range t.Added {
		add(name)
	}
	return columns
}

// opening gives the privileges on the table back; revoking them there takes those on its columns too. Once there is no way back,
// those that row-level security does not bind stay away.
func (t *migrateTable) opening(back, rls bool) (out []string) {
	for _, g := range t.Grants {
		if g.excessive() && rls && !back {
			continue
		}
		out = append(out, fmt.Sprintf("REVOKE %s ON %s FROM %s CASCADE", g.Privilege, t.Table, g.Grantee), fmt.Sprintf("GRANT %s ON %s TO %s%s", g.Privilege, t.Table, g.Grantee, g.option()))
	}
	return out
}

func (g migrateGrant) option() string {
	if g.Grantable {
		return " WITH GRANT OPTION"
	}
	return ""
}

// finishing is what follows a switch without keeping anybody away, for a column of ciphertexts that is to be NOT NULL.
func (t *migrateTable) finishing(c migrateColumn) []string {
	return []string{fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", t.Table, quote(required(c))),
		fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL, DROP CONSTRAINT %s", t.Table, quote(c.Name), quote(required(c)))}
}

// dropping drops the plaintexts.
func (t *migrateTable) dropping() []string {
	if len(t.Columns) == 0 {
		return nil
	}
	var drop []string
	for _, c := range t.Columns {
		drop = append(drop, "DROP COLUMN IF EXISTS "+quote(c.Old))
	}
	return []string{"ALTER TABLE " + t.Table + " " + strings.Join(drop, ", ")}
}

// selecting is the statement that reads a batch to be sealed; sealing is the one that writes it. Both go to the rows by their
// places. Conditions on the tenant and on what is stale beside a list of places are ones that an index serves as well, and the
// planner, which believes that index to be nearly empty, then goes through all of the tenant's rows for each batch, and through
// the list for each row. The OFFSET keeps the subquery one, without a lock too.
func (t *migrateTable) selecting(lock string) string {
	selected := []string{"r.ctid::text"}
	for _, c := range t.Columns {
		selected = append(selected, fmt.Sprintf("CASE WHEN r.%s IS NULL THEN %s END", quote(c.New), strings.ReplaceAll(c.Value, rowAlias, "r")))
	}
	return strings.TrimSpace(fmt.Sprintf("SELECT s.* FROM unnest($1::text[]::tid[]) p(place) CROSS JOIN LATERAL (SELECT %s FROM %s r WHERE r.ctid = p.place AND r.%s = $2 AND %s OFFSET 0 %s) s",
		strings.Join(selected, ", "), t.Table, quote(t.Tenant.Column), t.stale(), lock))
}

func (t *migrateTable) sealing() string {
	var set, from, names []string
	n := 1
	for _, name := range t.shadows() {
		n++
		set = append(set, fmt.Sprintf("%s = coalesce(v.c%d, r.%[1]s)", quote(name), n))
		from, names = append(from, fmt.Sprintf("$%d::bytea[]", n)), append(names, fmt.Sprintf("c%d", n))
	}
	return fmt.Sprintf("UPDATE %s r SET %s FROM unnest($1::text[]::tid[], %s) v(at, %s) WHERE r.ctid = v.at", t.Table, strings.Join(set, ", "), strings.Join(from, ", "), strings.Join(names, ", "))
}

// tenanting gives the rows of some pages their tenant: the trigger does.
func (t *migrateTable) tenanting() string {
	return fmt.Sprintf("UPDATE %[1]s SET %[2]s = NULL WHERE ctid = ANY (ARRAY(SELECT ctid FROM %[1]s WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND %[2]s IS NULL FOR NO KEY UPDATE SKIP LOCKED))", t.Table, quote(t.Tenant.Column))
}

// steps are all statements, for a plan.
func (g *migrator) steps() (out []MigrationStep) {
	const instant, none = "ACCESS EXCLUSIVE for an instant, waited for less than half a second at a time", "SHARE UPDATE EXCLUSIVE: nobody who reads or writes waits"
	add := func(stage MigrateStage, t *migrateTable, lock string, rows int64, sql ...string) {
		name := ""
		if t != nil {
			name = t.Name
		}
		for _, s := range sql {
			out = append(out, MigrationStep{Stage: stage, Table: name, SQL: s, Lock: lock, Rows: rows})
		}
	}
	all := g.plan.Tables
	add(MigrateExpand, nil, "", 0, g.stateDDL()...)
	for _, t := range all {
		add(MigrateExpand, t, instant, 0, t.expanding()...)
	}
	for _, t := range all {
		add(MigrateExpand, t, "SHARE ROW EXCLUSIVE for an instant, waited for less than half a second at a time", 0, t.watching()...)
	}
	for _, t := range all {
		if t.Tenant.Add {
			add(MigrateBackfill, t, "a batch's rows", t.Rows, t.tenanting())
		}
	}
	for _, t := range all {
		if len(t.Columns) > 0 {
			add(MigrateBackfill, t, none, t.Rows, t.buildStale()[1])
			add(MigrateBackfill, t, "a batch's rows", t.Rows, t.selecting(lockForBackfill), t.sealing())
		}
	}
	for _, t := range all {
		for _, i := range t.building() {
			add(MigrateKeys, t, none, t.Rows, i[1])
		}
		for _, a := range t.constraints(g.Schema[t.Name]) {
			add(MigrateKeys, t, instant, 0, a.add)
			add(MigrateKeys, t, none, t.Rows, a.validate())
		}
	}
	for _, t := range all {
		for _, a := range t.foreign() {
			add(MigrateKeys, t, "SHARE ROW EXCLUSIVE on both tables for an instant", 0, a.add)
			add(MigrateKeys, t, none, t.Rows, a.validate())
		}
	}
	for _, t := range all {
		if len(t.Columns) > 0 {
			add(MigrateVerify, t, "none", t.Rows, t.verifying())
		}
	}
	add(MigrateSwitch, nil, "ACCESS EXCLUSIVE on all tables until the switch is committed", 0, g.locking("ACCESS EXCLUSIVE")...)
	for _, t := range all {
		add(MigrateSwitch, t, "", 0, t.detaching()...)
	}
	for _, t := range all {
		add(MigrateSwitch, t, "", 0, t.switching(g.Options)...)
	}
	for _, t := range all {
		for _, c := range t.Columns {
			if c.NotNull {
				add(MigrateSwitch, t, "after the switch; nobody waits for long", t.Rows, t.finishing(c)...)
			}
		}
	}
	for _, t := range all {
		add(MigrateDrop, t, instant, 0, append(t.dropping(), t.opening(false, !g.Options.InsecureWithoutRLS)...)...)
	}
	add(MigrateDrop, nil, "", 0, "DROP TABLE "+g.stateTable())
	return out
}

// locking are the statements that lock all tables, one by one: see lockWithin. Before there is a plan there are none.
func (g *migrator) locking(mode string) (out []string) {
	if g.plan == nil {
		return nil
	}
	for _, t := range g.plan.Tables {
		out = append(out, "LOCK TABLE "+t.Table+" IN "+mode+" MODE")
	}
	return out
}
