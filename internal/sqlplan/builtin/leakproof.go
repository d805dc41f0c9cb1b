package builtin

import "strings"

// Leakproof are the functions, as qualified signatures, behind the operators of PostgreSQL that are total or so within a
// bound ([Requires]), but not marked LEAKPROOF, which keeps them from the indexes of tables with row-level security.
// Those of LIKE are not among them, since any session may send a malformed pattern, and row-level security is there for
// sessions that bypass the planner.
func Leakproof() []string {
	var all []string
	for line := range strings.SplitSeq(strings.TrimSpace(leakproof), "\n") {
		all = append(all, "pg_catalog."+line)
	}
	return all
}

const leakproof = `
jsonb_contains(jsonb, jsonb)
`
