package sqldb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/tenant"
)

// A batch's rows are locked, so that nobody changes them between their plaintexts being read and their sealed copies
// written; those that somebody else has locked are left to the next pass, so that nobody waits for a lock while holding
// others. Once a blind index column is in a unique index, a change of it is one of a key.
const (
	lockForBackfill = "FOR NO KEY UPDATE OF r SKIP LOCKED"
	lockForKeys     = "FOR UPDATE OF r SKIP LOCKED"
)

// How often rows are tried that others hold, and the pause between.
const (
	fillTries = 200
	fillPause = 50 * time.Millisecond
)

// chunk is how many rows' places are read at a time.
const chunk = 50_000

// stateDDL makes the state table. Whoever could write it would have what he writes run by the owner.
func (g *migrator) stateDDL() []string {
	table := g.stateTable()
	revoke := fmt.Sprintf("DECLARE who text; BEGIN FOR who IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END "+
		"FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = %s::regclass AND a.grantee <> c.relowner LOOP EXECUTE 'REVOKE ALL ON TABLE ' || %[1]s || ' FROM ' || who; END LOOP; END", literal(table))
	return []string{
		fmt.Sprintf("CREATE TABLE %s (one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL, stage text NOT NULL, plan jsonb NOT NULL, began timestamptz NOT NULL DEFAULT now(), changed timestamptz NOT NULL DEFAULT now())", table),
		doBlock(revoke + ";"),
	}
}

// expand surveys the tables, and adds the new columns.
func (g *migrator) expand(ctx context.Context) error {
	if g.plan == nil {
		plan, problems, _, err := g.survey(ctx)
		if err == nil {
			err = newSchemaError(problems)
		}
		if err != nil {
			return err
		}
		encoded, err := encodePlan(plan)
		if err != nil {
			return err
		}
		err = g.alter(ctx, "", g.stateDDL(), func() error {
			return g.exec(ctx, `INSERT INTO `+g.stateTable()+` (version, stage, plan) VALUES ($1, '', $2::text::jsonb)`, migrateVersion, encoded)
		})
		if err != nil {
			return err
		}
		g.plan = plan
	}
	for _, of := range []func(*migrateTable) []string{(*migrateTable).expanding, (*migrateTable).watching} {
		for _, t := range g.plan.Tables {
			if err := g.alter(ctx, t.Name, of(t), nil); err != nil {
				return err
			}
		}
	}
	return g.reach(ctx, MigrateExpand)
}

// backfill fills the new columns.
func (g *migrator) backfill(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		if err := g.fillTenants(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range g.plan.Tables {
		if len(t.Columns) == 0 {
			continue
		}
		if err := g.build(ctx, t, t.buildStale()); err != nil {
			return err
		}
		if err := g.seal(ctx, t, lockForBackfill); err != nil {
			return err
		}
	}
	return g.reach(ctx, MigrateBackfill)
}

// fillTenants goes through a table's pages until no row is without its tenant.
func (g *migrator) fillTenants(ctx context.Context, t *migrateTable) error {
	if !t.Tenant.Add {
		return nil
	}
	for try := 1; ; try++ {
		var left, lost int64
		err := g.row(ctx, fmt.Sprintf("SELECT count(*), count(*) FILTER (WHERE (%s) IS NULL) FROM %s r WHERE %s IS NULL", t.Tenant.of("r"), t.Table, quote(t.Tenant.Column))).Scan(&left, &lost)
		switch {
		case err != nil:
			return migrateErr("counting rows without a tenant", err)
		case left == 0:
			return nil
		case lost > 0:
			return fmt.Errorf("sqldb: Migrate: the tenant of %d rows of %s cannot be told; give them one, or delete them: SELECT * FROM %s r WHERE (%s) IS NULL", lost, t.Name, t.Table, t.Tenant.of("r"))
		case try > fillTries:
			return fmt.Errorf("sqldb: Migrate: %d rows of %s are locked by others all the time; look for a transaction that stays open, and call it again", left, t.Name)
		case try > 1:
			if err := pause(ctx, fillPause); err != nil {
				return err
			}
		}
		if err := g.fillPass(ctx, t, left); err != nil {
			return err
		}
	}
}

func (g *migrator) fillPass(ctx context.Context, t *migrateTable, total int64) error {
	var pages int64
	if err := g.row(ctx, `SELECT pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint`, t.Table).Scan(&pages); err != nil {
		return migrateErr("reading the size of "+t.Name, err)
	}
	step := max(1, pages*int64(g.BatchSize)/max(1, max(t.Rows, total)))
	var done int64
	for page := int64(0); page < pages; page += step {
		if err := g.allow(ctx); err != nil {
			return err
		}
		tag, err := g.conn.Exec(ctx, t.tenanting(), fmt.Sprintf("(%d,0)", page), fmt.Sprintf("(%d,0)", page+step))
		if err != nil {
			return migrateErr("giving rows of "+t.Name+" their tenant", err)
		}
		if n := tag.RowsAffected(); n > 0 {
			done += n
			g.report.Tenanted += n
			g.progress(t.Name, "tenants", done, total)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// staleTenants counts a table's rows that are to be sealed, by tenant.
func (g *migrator) staleTenants(ctx context.Context, t *migrateTable) (map[tenant.ID]int64, int64, error) {
	rows, err := g.conn.Query(ctx, fmt.Sprintf("SELECT %s::text, count(*) FROM %s WHERE %s GROUP BY 1", quote(t.Tenant.Column), t.Table, t.stale()))
	if err != nil {
		return nil, 0, migrateErr("counting what is to be sealed", err)
	}
	defer rows.Close()
	counts, total := map[tenant.ID]int64{}, int64(0)
	for rows.Next() {
		var text *string
		var n int64
		if err := rows.Scan(&text, &n); err != nil {
			return nil, 0, migrateErr("counting what is to be sealed", err)
		}
		var id tenant.ID
		if text != nil {
			id, err = tenant.Parse(*text)
		}
		if text == nil || err != nil {
			return nil, 0, fmt.Errorf("sqldb: Migrate: %d rows of %s have no tenant, or what is no tenant's id, in %s; give them one, or delete them", n, t.Name, t.Tenant.Column)
		}
		counts[id] += n
		total += n
	}
	return counts, total, migrateErr("counting what is to be sealed", rows.Err())
}

// seal seals a table's plaintexts until what is left is what others write at this moment.
func (g *migrator) seal(ctx context.Context, t *migrateTable, lock string) error {
	idle := 0
	for pass := 1; ; pass++ {
		if err := g.fillTenants(ctx, t); err != nil {
			return err
		}
		counts, total, err := g.staleTenants(ctx, t)
		if err != nil {
			return err
		}
		if total == 0 || pass > 1 && idle == 0 && total <= int64(g.BatchSize) {
			return nil
		}
		var done int64
		for id := range counts {
			n, err := g.sealTenant(ctx, t, id, lock, done, total)
			if err != nil {
				return err
			}
			done += n
		}
		if done > 0 {
			idle = 0
			continue
		}
		if idle++; idle > fillTries {
			return fmt.Errorf("sqldb: Migrate: %d rows of %s are locked by others all the time; look for a transaction that stays open, and call it again", total, t.Name)
		}
		if err := pause(ctx, fillPause); err != nil {
			return err
		}
	}
}

// sealTenant seals one tenant's plaintexts of a table, as they are found at the beginning.
func (g *migrator) sealTenant(ctx context.Context, t *migrateTable, id tenant.ID, lock string, before, total int64) (done int64, err error) {
	bound, err := g.bound(t, id)
	if err != nil {
		return 0, err
	}
	for {
		places, err := g.places(ctx, fmt.Sprintf("SELECT ctid::text FROM %s WHERE %s = $1 AND %s LIMIT %d", t.Table, quote(t.Tenant.Column), t.stale(), chunk), bound)
		if err != nil {
			return done, err
		}
		sealed := int64(0)
		for at := 0; at < len(places); at += g.BatchSize {
			if err := g.allow(ctx); err != nil {
				return done, err
			}
			n, err := g.sealBatch(ctx, t, id, places[at:min(at+g.BatchSize, len(places))], lock, true)
			if err != nil {
				return done, err
			}
			sealed += n
			g.progress(t.Name, "sealed", before+done+sealed, max(total, before+done+sealed))
		}
		if done += sealed; len(places) < chunk || sealed == 0 {
			return done, nil
		}
	}
}

func (g *migrator) places(ctx context.Context, sql string, args ...any) ([]string, error) {
	rows, err := g.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, migrateErr("finding what is to be sealed", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return out, migrateErr("finding what is to be sealed", err)
}

// bound is a tenant's id as a parameter for a table's tenant column.
func (g *migrator) bound(t *migrateTable, id tenant.ID) (any, error) {
	kind := sqlplan.TenantText
	switch t.Tenant.Type {
	case "uuid":
		kind = sqlplan.TenantUUID
	case "bigint", "integer":
		kind = sqlplan.TenantInteger
	}
	v, err := canonicalTenant(id.String(), kind)
	if err != nil {
		return nil, fmt.Errorf("sqldb: Migrate: %s: %w", t.Name, err)
	}
	return v, nil
}

// sealBatch seals the rows of a tenant at some places, in a transaction of its own or in the one that is open.
func (g *migrator) sealBatch(ctx context.Context, t *migrateTable, id tenant.ID, places []string, lock string, own bool) (changed int64, err error) {
	as := g.as(ctx, id)
	pass, err := g.gate.Enter(as, g.op(t, tenant.Write))
	if err != nil {
		return 0, fmt.Errorf("sqldb: Migrate: sealing %s: %w", t.Name, err)
	}
	defer func() {
		err = errors.Join(err, pass.Leave(as, gate.Result{Rows: changed, Bytes: -1, Err: err, Unknown: err != nil && unanswered(err)}))
	}()
	if own {
		if err := g.exec(ctx, "BEGIN"); err != nil {
			return 0, err
		}
		defer func() {
			if err != nil {
				g.conn.Exec(context.WithoutCancel(ctx), "ROLLBACK")
			}
		}()
	}
	at, columns, values, err := g.sealed(ctx, t, pass, places, lock)
	if err != nil || len(at) == 0 {
		if own && err == nil {
			err = g.exec(ctx, "COMMIT")
		}
		return 0, err
	}
	args := []any{at}
	for _, c := range columns {
		args = append(args, c)
	}
	tag, err := g.conn.Exec(ctx, t.sealing(), args...)
	if isUniqueViolation(err) {
		return 0, fmt.Errorf("%w: two rows of one tenant in %s hold what a blind index takes for the same value, and a unique key is over it; change or delete one, or declare the column without FoldCase and TrimSpace", ErrDuplicate, t.Name)
	}
	if err != nil {
		return 0, migrateErr("writing sealed values to "+t.Name, err)
	}
	if own {
		if err := g.exec(ctx, "COMMIT"); err != nil {
			return 0, err
		}
	}
	g.report.Sealed += values
	return tag.RowsAffected(), nil
}

// sealed reads rows and seals what is not sealed yet: one slice for each of the table's shadow columns.
func (g *migrator) sealed(ctx context.Context, t *migrateTable, pass *gate.Pass, places []string, lock string) (at []string, columns [][][]byte, n int64, err error) {
	bound, err := g.bound(t, pass.Tenant())
	if err != nil {
		return nil, nil, 0, err
	}
	rows, err := g.conn.Query(ctx, t.selecting(lock), places, bound)
	if err != nil {
		return nil, nil, 0, migrateErr("reading "+t.Name, err)
	}
	defer rows.Close()
	columns = make([][][]byte, len(t.shadows()))
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, nil, 0, migrateErr("reading "+t.Name, err)
		}
		place := values[0].(string)
		at = append(at, place)
		i := 0
		for k, c := range t.Columns {
			v := values[k+1]
			sealed, index, err := g.sealValue(pass, t, c, v)
			if err != nil {
				return nil, nil, 0, fmt.Errorf("sqldb: Migrate: the value of %s.%s in the row at %s (ctid) of tenant %s: %w", t.Name, c.Name, place, pass.Tenant(), err)
			}
			columns[i] = append(columns[i], sealed)
			if i++; c.Index != "" {
				columns[i] = append(columns[i], index)
				i++
			}
			if v != nil {
				n++
			}
		}
	}
	return at, columns, n, migrateErr("reading "+t.Name, rows.Err())
}
