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
	// Of partitions and children the declared table's declaration says what a trigger does. So one name is one function.
	type action struct{ function, args string }
	first := make(map[[2]string]action)
	return r.each(`
		SELECT f.declared, t.tgname, pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.format('%I.%I', q.nspname, p.proname), pg_catalog.encode(t.tgargs, 'hex'), p.prosecdef
		FROM family f
		JOIN pg_catalog.pg_class c ON c.oid = f.oid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_trigger t ON t.tgrelid = f.oid
		JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
		JOIN pg_catalog.pg_namespace q ON q.oid = p.pronamespace
		WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
		-- A partition has a copy of each trigger of its table, which can be turned on and off by itself.
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger o WHERE o.oid = t.tgparentid AND o.tgenabled <> 'D')
		ORDER BY f.declared, t.tgname, EXISTS (SELECT FROM declared d WHERE d.oid = f.oid AND d.name = f.declared) DESC, c.relname`,
		func(rows pgx.Rows) error {
			var table, trigger, relation string
			var does action
			var definer bool
			if err := rows.Scan(&table, &trigger, &relation, &does.function, &does.args, &definer); err != nil {
				return err
			}
			name := [2]string{table, trigger}
			known, again := first[name]
			if !again {
				first[name], known = does, does
			}
			drop := "DROP TRIGGER " + quote(trigger) + " ON " + relation
			declaration, declared := r.declared[table].Triggers[trigger]
			switch {
			case definer:
				r.problem(table, "", fmt.Sprintf("the trigger %s runs %s with its owner's rights, past row-level security", trigger, does.function), "ALTER FUNCTION "+does.function+"() SECURITY INVOKER")
			case r.options.InsecureWithoutRLS && len(declaration.Writes)+len(declaration.Deletes) > 0:
				r.problem(table, "", fmt.Sprintf("the trigger %s changes other tables, and without row-level security nothing scopes what it does there", trigger),
					"open the database with row-level security; or "+drop)
			case !declared:
				r.problem(table, "", fmt.Sprintf("the trigger %s, which is not declared, may change rows of other tables unseen", trigger),
					"name it in the table's Triggers, with the tables that it changes; or "+drop)
			case does != known:
				r.problem(table, "", fmt.Sprintf("the trigger %s of %s runs %s, and the declaration of its name is of one that runs %s, or with other arguments", trigger, relation, does.function, known.function),
					fmt.Sprintf("ALTER TRIGGER %s ON %s RENAME TO a name of its own, and name that in the table's Triggers; or %s", quote(trigger), relation, drop))
			}
			return nil
		})
}
