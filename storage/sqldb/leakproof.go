package sqldb

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// leakproofDDL prints what a superuser may mark, and as comments what else indexes need and why it is not to be marked unseen.
func leakproofDDL(b *strings.Builder) {
	b.WriteString("-- by a superuser, for this database: functions that tell nothing but what they return\n")
	for _, function := range builtin.Leakproof() {
		fmt.Fprintf(b, "ALTER FUNCTION %s LEAKPROOF;\n", function)
	}
	for _, kept := range builtin.KeptOut() {
		fmt.Fprintf(b, "-- not these, each of which %s:\n", kept.Why)
		for _, function := range kept.Functions {
			fmt.Fprintf(b, "-- ALTER FUNCTION %s LEAKPROOF;\n", function)
		}
	}
}

// readUnusable says in one line which indexes of the declared tables row-level security keeps statements from: those none of
// whose operators PostgreSQL may evaluate before the policy, and those of expressions that it may not. Nothing is unsafe about them.
func (r *pgReader) readUnusable() error {
	if r.options.InsecureWithoutRLS || len(r.problems) > 0 {
		return nil
	}
	var indexes []string
	err := r.each(`
		, leaky(kind, oid) AS (
			SELECT 'funcid', oid FROM pg_catalog.pg_proc WHERE NOT proleakproof
			UNION ALL SELECT 'opno', o.oid FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode WHERE NOT p.proleakproof)
		SELECT d.name, pg_catalog.format('%s.%s (%s)', d.name, x.relname, pg_catalog.pg_get_indexdef(i.indexrelid, k.ord::int, true))
		FROM pg_catalog.pg_index i
		JOIN declared d ON d.oid = i.indrelid
		JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
		CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS k(attnum, class, ord)
		WHERE i.indisvalid AND k.ord <= i.indnkeyatts
		AND (NOT EXISTS (SELECT FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_amop a ON a.amopfamily = o.opcfamily AND a.amoplefttype = o.opcintype
		                 JOIN pg_catalog.pg_operator s ON s.oid = a.amopopr JOIN pg_catalog.pg_proc p ON p.oid = s.oprcode
		                 WHERE o.oid = k.class AND a.amoppurpose = 's' AND p.proleakproof)
		     -- A column's key has no function of its own; that of an expression is in the tree as it is stored.
		     OR k.attnum = 0 AND (i.indexprs::text LIKE '%{COERCEVIAIO %' OR EXISTS (
		         SELECT FROM pg_catalog.regexp_matches(i.indexprs::text, ':(funcid|opno) (\d+)', 'g') AS m
		         JOIN leaky l ON l.kind = m[1] AND l.oid = m[2]::oid)))
		ORDER BY d.name, x.relname, k.ord`,
		func(rows pgx.Rows) error {
			var table, index string
			if err := rows.Scan(&table, &index); err != nil {
				return err
			}
			if !r.tables[table].plan.Shared {
				indexes = append(indexes, index)
			}
			return nil
		})
	if err != nil || len(indexes) == 0 {
		return err
	}
	logger := r.options.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.WarnContext(r.ctx, "sqldb: row-level security keeps statements from indexes whose functions are not LEAKPROOF; see Options.Leakproof",
		"indexes", strings.Join(indexes, ", "))
	return nil
}
