package builtin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// forbidden are functions that run a text as SQL, or read what a text names: tables, files, other servers, large objects,
// settings. The planner would not see what they read. Extensions' are among them, though statements cannot reach their schemas.
var forbidden = map[string]string{
	"ts_rewrite":                 "runs its second argument as a query",
	"ts_stat":                    "runs its argument as a query",
	"query_to_xml":               "runs its argument as a query",
	"query_to_xmlschema":         "runs its argument as a query",
	"query_to_xml_and_xmlschema": "runs its argument as a query",
	"cursor_to_xml":              "reads the cursor that it names",
	"cursor_to_xmlschema":        "reads the cursor that it names",
	"table_to_xml":               "reads the table that it names",
	"table_to_xmlschema":         "reads the table that it names",
	"table_to_xml_and_xmlschema": "reads the table that it names",
	"schema_to_xml":              "reads the schema's tables",
	"database_to_xml":            "reads the database's tables",
	"dblink":                     "runs its argument as a query elsewhere",
	"dblink_exec":                "runs its argument elsewhere",
	"crosstab":                   "runs its argument as a query",
	"connectby":                  "runs a query of its arguments",
	"xpath_table":                "runs a query of its arguments",
	"lo_get":                     "reads a large object",
	"lo_export":                  "writes a file",
	"lo_import":                  "reads a file",
	"pg_read_file":               "reads a file",
	"pg_read_binary_file":        "reads a file",
	"pg_ls_dir":                  "reads a directory",
	"pg_stat_file":               "reads a directory",
	"current_setting":            "reads the setting that it names",
	"set_config":                 "sets the tenant",
	"currtid2":                   "reads the table that it names",
	"nextval":                    "changes the sequence that it names",
	"pg_notify":                  "reaches every session",
	"pg_sequence_last_value":     "reads a sequence",
}

// TestNames holds the names of the catalogue against the server's functions: each is known, and each overload of it that is
// volatile is called so. None is forbidden.
func TestNames(t *testing.T) {
	conn := connect(t, testenv.Postgres(t).NewDatabase(t).SuperURL)
	for _, name := range Names(PostgreSQL) {
		for _, problem := range strangers(t, conn, name, functions[PostgreSQL][name].facts) {
			t.Errorf("%s: %s", name, problem)
		}
	}
	// One that is wrong in each way.
	for name, f := range map[string]Facts{"ts_rewrite": {Kind: Scalar}, "query_to_xml": {Kind: Scalar}, "clock_timestamp": {Kind: Scalar},
		"now": {Kind: Scalar, Volatile: true}, "no_such_function": {Kind: Scalar}} {
		if len(strangers(t, conn, name, f)) == 0 {
			t.Errorf("the test does not notice %s", name)
		}
	}
}

// perTransaction are stable to PostgreSQL, and volatile here because their first call gives the transaction its number.
const perTransaction = "txid_current pg_current_xact_id txid_current_if_assigned pg_current_xact_id_if_assigned"

// strangers are reasons why a function should not be in the catalogue with the facts that are given.
func strangers(t *testing.T, conn *pgx.Conn, name string, f Facts) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `
		SELECT p.oid::regprocedure::text, p.provolatile = 'v', coalesce(lower(p.proargnames::text), '') || ' ' || coalesce(lower(obj_description(p.oid, 'pg_proc')), ''),
		       current_setting('server_version_num')::int / 10000
		FROM pg_proc p WHERE p.proname = $1 AND p.pronamespace = 'pg_catalog'::regnamespace`, name)
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	var overload, words string
	var volatile bool
	version, found, changes := 0, 0, 0
	_, err = pgx.ForEachRow(rows, []any{&overload, &volatile, &words, &version}, func() error {
		found++
		if volatile {
			changes++
		}
		if volatile && !f.Volatile {
			problems = append(problems, overload+" is volatile")
		}
		if strings.Contains(strings.ReplaceAll(words, "sql regular expression", ""), "sql") {
			problems = append(problems, fmt.Sprintf("%s may have to do with SQL: %s", overload, words))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if why, ok := forbidden[name]; ok {
		problems = append(problems, why)
	}
	if found > 0 && f.Volatile && changes == 0 && !contains(perTransaction, name) {
		problems = append(problems, "no overload is volatile")
	}
	if found == 0 && !contains(since17, name) {
		problems = append(problems, "the server does not know it")
	}
	return problems
}

// What is forbidden is known to the server, or is an extension's: a name that is mistyped forbids nothing.
func TestForbidden(t *testing.T) {
	const extensions = "dblink dblink_exec crosstab connectby xpath_table"
	conn := connect(t, testenv.Postgres(t).NewDatabase(t).SuperURL)
	for _, name := range slices.Sorted(maps.Keys(forbidden)) {
		var known bool
		if err := conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = $1)", name).Scan(&known); err != nil {
			t.Fatal(err)
		}
		if !known && !contains(extensions, name) {
			t.Errorf("%s is unknown to the server", name)
		}
	}
}
