package main

import (
	"fmt"
	mrand "math/rand/v2"
	"time"
)

// What scale is: the tenant that is measured has a tenth of the rows.
const (
	scaleTenants = 10
	scaleRows    = 1_000_000
	scaleSmall   = 10_000
)

// scaleRowsOf returns the rows about tables of a size: statements whose result is as large whatever the tables' size is, so
// that what they cost may grow by an index's depth alone.
func scaleRowsOf(end *ending) []Row {
	var rows []Row
	large := once(end, func() (*scaleBench, error) { return newScale(scaleRows) })
	small := once(end, func() (*scaleBench, error) { return newScale(scaleSmall) })
	for _, set := range []struct {
		suffix, peer string
		open         func() (*scaleBench, error)
		rls          bool
	}{
		{"", byHand, large, false},
		{".10k", byHand, small, false},
		{".rls", "pgx stdlib, RLS by hand", large, true},
	} {
		for _, s := range scaleShapes {
			rows = append(rows, Row{"sql.scale." + s.name + set.suffix, set.peer, func() (*Pair, error) {
				b, err := set.open()
				if err != nil {
					return nil, err
				}
				return b.pair(s, set.rls)
			}})
		}
	}
	return rows
}

// scaleShape is a statement in both forms, as shape has them. What args returns depends on how many rows a tenant has.
type scaleShape struct {
	name, ours, peer string
	args             func(rows int) []any
	columns          int
}

var scaleShapes = []scaleShape{
	{"recent", "SELECT id, at FROM visits WHERE at > now() - interval '1 hour'",
		"SELECT id, at FROM visits WHERE tenant_id = $1 AND at > now() - interval '1 hour'", none, 2},
	{"page", "SELECT id, ward, created FROM patients WHERE created > now() - interval '2 years' AND (created, id) < ($1, $2) ORDER BY created DESC, id DESC LIMIT 50",
		"SELECT id, ward, created FROM patients WHERE tenant_id = $1 AND created > now() - interval '2 years' AND (created, id) < ($2, $3) ORDER BY created DESC, id DESC LIMIT 50",
		func(rows int) []any {
			back := time.Duration(mrand.IntN(rows/2)) * 6 * time.Minute
			return []any{time.Now().Add(-back), rows}
		}, 3},
	{"fulltext", "SELECT id, at FROM visits WHERE doc @@ websearch_to_tsquery('english', $1)",
		"SELECT id, at FROM visits WHERE tenant_id = $1 AND doc @@ websearch_to_tsquery('english', $2)", some("word%d"), 2},
	{"json", "SELECT id, ward FROM patients WHERE meta @> $1",
		"SELECT id, ward FROM patients WHERE tenant_id = $1 AND meta @> $2", some(`{"code": %d}`), 2},
	{"array", "SELECT id, ward FROM patients WHERE tags @> ARRAY[$1]",
		"SELECT id, ward FROM patients WHERE tenant_id = $1 AND tags @> ARRAY[$2]", some("t%d"), 2},
	{"subquery", "SELECT id, ward FROM patients WHERE id = (SELECT patient_id FROM visits WHERE id = $1)",
		"SELECT id, ward FROM patients WHERE tenant_id = $1 AND id = (SELECT patient_id FROM visits WHERE tenant_id = $1 AND id = $2)",
		func(rows int) []any { return []any{mrand.IntN(rows)} }, 2},
	{"unnest", "SELECT p.id, p.ward FROM unnest($1::bigint[]) AS u (id) JOIN patients p ON p.id = u.id",
		"SELECT p.id, p.ward FROM unnest($2::bigint[]) AS u (id) JOIN patients p ON p.id = u.id WHERE p.tenant_id = $1",
		func(rows int) []any {
			ids := make([]int64, 20)
			for i := range ids {
				ids[i] = mrand.Int64N(int64(rows))
			}
			return []any{ids}
		}, 2},
	{"arith", "SELECT id, ward FROM patients WHERE ward = $1 AND n + 1 > $2",
		"SELECT id, ward FROM patients WHERE tenant_id = $1 AND ward = $2 AND n + 1 > $3",
		func(rows int) []any { return []any{some("ward %d")(rows)[0], 5} }, 2},
	{"join", "SELECT p.id, v.id, v.at FROM patients p JOIN visits v ON v.patient_id = p.id WHERE v.at > now() - interval '1 hour'",
		"SELECT p.id, v.id, v.at FROM patients p JOIN visits v ON v.tenant_id = p.tenant_id AND v.patient_id = p.id WHERE p.tenant_id = $1 AND v.at > now() - interval '1 hour'", none, 3},
	{"delete", "DELETE FROM visits WHERE at < now() - $1::interval", "DELETE FROM visits WHERE tenant_id = $1 AND at < now() - $2::interval",
		// All but the last ten rows are younger, or some more once the measurement has taken a while.
		func(rows int) []any { return []any{fmt.Sprintf("%d minutes", 6*(rows-10))} }, 0},
}

func none(int) []any { return nil }

// some returns arguments of which each finds ten rows of a tenant, or nine.
func some(format string) func(int) []any {
	return func(rows int) []any { return []any{fmt.Sprintf(format, 1+mrand.IntN(rows/10-1))} }
}
