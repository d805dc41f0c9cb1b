package sqldb

import (
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// Trigger says what a trigger of a table on PostgreSQL does to the rows of other declared tables. What it does there runs as
// the role that the guard connects with, under row-level security, and is put to the authorizer and recorded with the
// statement that makes it fire. What it does to the row itself needs no mention. With [Options].InsecureWithoutRLS one that
// changes other tables is a problem: nothing would scope it.
type Trigger struct {
	Writes  []string // tables whose rows it inserts or updates
	Deletes []string // tables whose rows it deletes
}

func (t Trigger) clone() Trigger {
	return Trigger{Writes: slices.Clone(t.Writes), Deletes: slices.Clone(t.Deletes)}
}

// validateTriggers reports tables that a trigger cannot be said to change.
func (s Schema) validateTriggers(name string) (problems []Problem) {
	for _, trigger := range sortedKeys(s[name].Triggers) {
		t := s[name].Triggers[trigger]
		for _, other := range slices.Concat(t.Writes, t.Deletes) {
			switch table, declared := s[other]; {
			case !declared:
				problems = append(problems, Problem{Table: name, What: fmt.Sprintf("the trigger %s changes the table %s, which is not declared", trigger, other), Fix: "declare " + other})
			case table.Shared:
				problems = append(problems, Problem{Table: name, What: fmt.Sprintf("the trigger %s changes the table %s, which is shared", trigger, other), Fix: "give " + other + " a tenant column, or drop the trigger"})
			}
		}
	}
	return problems
}

// readTriggers finds the triggers that the schema does not declare, and those that run with their owner's rights.
func (r *pgReader) readTriggers() error {
	for name, t := range r.tables {
		for _, trigger := range sortedKeys(r.declared[name].Triggers) {
			t.plan.Triggers = append(t.plan.Triggers, sqlplan.Trigger(r.declared[name].Triggers[trigger]))
		}
	}
	return r.each(`
		SELECT DISTINCT f.declared, t.tgname, p.proname, p.prosecdef
		FROM family f
		JOIN pg_catalog.pg_trigger t ON t.tgrelid = f.oid
		JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
		WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'`,
		func(rows pgx.Rows) error {
			var table, trigger, function string
			var definer bool
			if err := rows.Scan(&table, &trigger, &function, &definer); err != nil {
				return err
			}
			declaration, declared := r.declared[table].Triggers[trigger]
			switch {
			case definer:
				r.problem(table, "", fmt.Sprintf("the trigger %s runs %s with its owner's rights, past row-level security", trigger, function), "ALTER FUNCTION "+function+" SECURITY INVOKER")
			case r.options.InsecureWithoutRLS && len(declaration.Writes)+len(declaration.Deletes) > 0:
				r.problem(table, "", fmt.Sprintf("the trigger %s changes other tables, and without row-level security nothing scopes what it does there", trigger),
					"open the database with row-level security; or DROP TRIGGER "+quote(trigger)+" ON "+r.check(table).qualified())
			case !declared:
				r.problem(table, "", fmt.Sprintf("the trigger %s, which is not declared, may change rows of other tables unseen", trigger),
					"name it in the table's Triggers, with the tables that it changes; or DROP TRIGGER "+quote(trigger)+" ON "+r.check(table).qualified())
			}
			return nil
		})
}
