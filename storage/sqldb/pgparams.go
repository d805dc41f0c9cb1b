package sqldb

import (
	"fmt"
	"slices"
	"strings"
)

// runtimeParams returns the run-time parameters of a connection as they are sent: under lower-case names, since PostgreSQL
// compares them without regard to case, and with the guard's own. What is not known to be harmless is refused: a parameter
// can change whom the session acts as, what code it loads, and how a text that was checked is read.
func runtimeParams(given map[string]string) (map[string]string, error) {
	params := make(map[string]string, len(given)+3)
	for _, name := range sortedKeys(given) {
		lower := asciiLower(name)
		if _, twice := params[lower]; twice {
			return nil, fmt.Errorf("sqldb: the connection string sets %q twice, in different case; PostgreSQL takes both for one", lower)
		}
		if err := checkParam(lower, given[name]); err != nil {
			return nil, err
		}
		params[lower] = given[name]
	}
	// Canonical SQL is written for these, whatever the server's default.
	params["standard_conforming_strings"] = "on"
	params["client_encoding"] = "UTF8"
	if params["application_name"] == "" {
		params["application_name"] = "strongroom"
	}
	return params, nil
}

func checkParam(name, value string) error {
	switch {
	case slices.Contains(weakeningParams, name) || strings.HasPrefix(name, "strongroom."):
		return fmt.Errorf("sqldb: the connection string sets %q, which can weaken row-level security; leave it out", name)
	case name == "search_path" && hidesCatalog(value):
		return fmt.Errorf("sqldb: the connection string's search_path has pg_catalog behind another schema, whose functions and operators would take the place of PostgreSQL's own; leave pg_catalog out")
	case slices.Contains(harmlessParams, name) || strings.Contains(name, "."):
		return nil
	}
	for _, prefix := range harmlessPrefixes {
		if strings.HasPrefix(name, prefix) {
			return nil
		}
	}
	return fmt.Errorf("sqldb: the connection string sets %q, which is not among the parameters known to be harmless; leave it out, or have the role's administrator decide with ALTER ROLE … SET", name)
}

// hidesCatalog tells whether a search path names pg_catalog anywhere but first. Where it is not named it comes first.
func hidesCatalog(path string) bool {
	for i, schema := range strings.Split(path, ",") {
		if i > 0 && strings.EqualFold(strings.Trim(schema, " \t\r\n\f\v\""), "pg_catalog") {
			return true
		}
	}
	return false
}

// asciiLower folds case as PostgreSQL does for the names of parameters.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// weakeningParams change whom the session acts as, whether its fences stand, or what code it runs.
var weakeningParams = []string{
	"options", "replication", "role", "session_authorization", "row_security", "session_replication_role",
	"session_preload_libraries", "local_preload_libraries", "shared_preload_libraries", "dynamic_library_path", "jit_provider",
	"allow_system_table_mods", "ignore_system_indexes", "transform_null_equals", "array_nulls", "backslash_quote",
}

// harmlessParams decide about time, resources, plans and how values are written, and about nothing that the guard relies on:
// https://www.postgresql.org/docs/current/runtime-config-client.html and the chapters before it. A name with a dot is an
// extension's or the application's own. The first two are replaced by the guard's.
var harmlessParams = []string{
	"standard_conforming_strings", "client_encoding",
	"application_name", "search_path", "timezone", "timezone_abbreviations", "datestyle", "intervalstyle", "bytea_output",
	"extra_float_digits", "xmlbinary", "xmloption", "lc_messages", "lc_monetary", "lc_numeric", "lc_time",
	"default_text_search_config", "client_min_messages", "escape_string_warning", "quote_all_identifiers",
	"statement_timeout", "lock_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
	"client_connection_check_interval", "tcp_user_timeout", "deadlock_timeout",
	"default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable",
	"synchronous_commit", "commit_delay", "commit_siblings",
	"default_tablespace", "default_table_access_method", "default_toast_compression", "temp_tablespaces", "temp_buffers",
	"temp_file_limit", "work_mem", "maintenance_work_mem", "logical_decoding_work_mem", "hash_mem_multiplier",
	"max_stack_depth", "effective_cache_size", "effective_io_concurrency", "maintenance_io_concurrency",
	"plan_cache_mode", "constraint_exclusion", "cursor_tuple_fraction", "default_statistics_target", "seq_page_cost",
	"random_page_cost", "from_collapse_limit", "join_collapse_limit", "recursive_worktable_factor", "stats_fetch_consistency",
	"gin_fuzzy_search_limit", "gin_pending_list_limit", "exit_on_error", "jit",
}

var harmlessPrefixes = []string{
	"enable_", "cpu_", "geqo", "parallel_", "min_parallel_", "max_parallel_", "tcp_keepalives_", "track_", "log_", "vacuum_", "jit_",
}
