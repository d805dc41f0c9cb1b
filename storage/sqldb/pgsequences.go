package sqldb

import (
	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// readSequences reads the sequences that belong to a column of a declared table, of serial and identity columns: those that
// nextval may name.
func (r *pgReader) readSequences() error {
	return r.each(`
		SELECT t.oid, n.nspname, s.relname
		FROM declared t
		JOIN pg_catalog.pg_depend d ON d.refobjid = t.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
			AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
		JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
		JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
		ORDER BY 2, 3`,
		func(rows pgx.Rows) error {
			var oid uint32
			var s sqlplan.Sequence
			if err := rows.Scan(&oid, &s.Schema, &s.Name); err != nil {
				return err
			}
			for _, t := range r.tables {
				if t.oid == oid {
					t.plan.Sequences = append(t.plan.Sequences, s)
				}
			}
			return nil
		})
}
