package sqldb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

func encodePlan(p *migration) (string, error) {
	b, err := json.Marshal(p)
	return string(b), err
}

// build builds an index, unless it is there. One that was interrupted is there and not valid. One of another table is no other
// than somebody else's.
func (g *migrator) build(ctx context.Context, t *migrateTable, index [2]string) error {
	var valid, mine bool
	var of string
	err := g.row(ctx, `SELECT i.indisvalid, i.indrelid = to_regclass($2), i.indrelid::regclass::text FROM pg_index i WHERE i.indexrelid = to_regclass($1)`, t.index(index[0]), t.Table).Scan(&valid, &mine, &of)
	switch {
	case err == nil && !mine:
		return fmt.Errorf("sqldb: Migrate: the table %s has an index of the name %s, which %s is to have; rename it: ALTER INDEX %[2]s RENAME TO …", of, t.index(index[0]), t.Name)
	case err == nil && valid:
		return nil
	case err == nil:
		if err := g.exec(ctx, "DROP INDEX CONCURRENTLY "+t.index(index[0])); err != nil {
			return err
		}
	case !errors.Is(err, pgx.ErrNoRows):
		return migrateErr("looking for an index", err)
	}
	err = g.exec(ctx, index[1])
	if isUniqueViolation(err) {
		return errors.Join(fmt.Errorf("%w: rows of %s hold the same values of one tenant under the key that %s makes; change or delete them and call it again, or roll back", ErrDuplicate, t.Name, first(index[1])),
			g.exec(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+t.index(index[0])))
	}
	if err == nil {
		g.progress(t.Name, first(index[1]), 0, 0)
	}
	return err
}

// constrain adds a constraint, unless it is there, and validates it.
func (g *migrator) constrain(ctx context.Context, t *migrateTable, a adding) error {
	there, err := g.constrained(ctx, t, a.name)
	if err != nil {
		return err
	}
	if !there {
		if err := g.alter(ctx, t.Name, []string{a.add}, nil); err != nil {
			return err
		}
	}
	if a.name == tenantKnown { // rows that were written before those which they get it from, since the others were filled; from now on there are none
		if err := g.fillTenants(ctx, t); err != nil {
			return err
		}
	}
	if err := g.alter(ctx, t.Name, []string{a.validate()}, nil); err != nil {
		return fmt.Errorf("%w; rows of %s are not as %s has it: a row that refers to another tenant's, for one; change them and call it again, or roll back", err, t.Name, first(a.add))
	}
	return nil
}

func (g *migrator) constrained(ctx context.Context, t *migrateTable, name string) (there bool, err error) {
	err = g.row(ctx, `SELECT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = to_regclass($1) AND k.conname = $2)`, t.Table, name).Scan(&there)
	return there, migrateErr("looking for a constraint", err)
}

// keys builds what the switch puts in place.
func (g *migrator) keys(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		for _, a := range t.constraints(g.Schema[t.Name]) {
			if err := g.constrain(ctx, t, a); err != nil {
				return err
			}
		}
		for _, index := range t.building() {
			if err := g.build(ctx, t, index); err != nil {
				return err
			}
		}
	}
	for _, t := range g.plan.parentsFirst() { // or the foreign keys would not take their rows
		if err := g.rightTenants(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range g.plan.Tables {
		for _, a := range t.foreign() {
			if err := g.constrain(ctx, t, a); err != nil {
				return err
			}
		}
	}
	return g.reach(ctx, MigrateKeys)
}

// verifying is the statement that reads a tenant's rows to be compared: the plaintext of each column, its sealed copy
// and its index value.
func (t *migrateTable) verifying() string {
	selected := []string{"r.ctid::text"}
	for _, c := range t.Columns {
		index := "NULL::bytea"
		if c.Index != "" {
			index = "r." + quote(c.Index)
		}
		selected = append(selected, strings.ReplaceAll(c.Value, rowAlias, "r"), "r."+quote(c.New), index)
	}
	return fmt.Sprintf("SELECT %s FROM %s r WHERE r.%s = $1", strings.Join(selected, ", "), t.Table, quote(t.Tenant.Column))
}

// verify compares everything: whose each row is with where that comes from, and each sealed value with its plaintext.
func (g *migrator) verify(ctx context.Context) error {
	g.report.Rows = map[string]map[tenant.ID]int64{}
	for _, t := range g.plan.parentsFirst() {
		if err := g.rightTenants(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range g.plan.Tables {
		if len(t.Columns) > 0 {
			if err := g.seal(ctx, t, lockForKeys); err != nil {
				return err
			}
		}
		if err := g.verifyTable(ctx, t); err != nil {
			return err
		}
	}
	return g.reach(ctx, MigrateVerify)
}

// rightTenants looks for rows whose tenant is another than it should be. A row that was written while the one its
// tenant comes from changed hands can be; the trigger sets it right when the row is written again.
func (g *migrator) rightTenants(ctx context.Context, t *migrateTable) error {
	if !t.Tenant.Add {
		return nil
	}
	wrong := fmt.Sprintf("%s r WHERE r.%s IS DISTINCT FROM (%s)", t.Table, quote(t.Tenant.Column), t.Tenant.of("r"))
	for try := 1; ; try++ {
		places, err := g.places(ctx, fmt.Sprintf("SELECT r.ctid::text FROM %s LIMIT %d", wrong, chunk))
		if err != nil || len(places) == 0 {
			return err
		}
		if try > fillTries {
			return fmt.Errorf("%w: rows of %s are of another tenant than they should be, and stay so: SELECT * FROM %s", storage.ErrIsolation, t.Name, wrong)
		}
		for at := 0; at < len(places); at += g.BatchSize {
			err := g.exec(ctx, fmt.Sprintf("UPDATE %[1]s SET %[2]s = %[2]s WHERE ctid = ANY (ARRAY(SELECT r.ctid FROM %[1]s r WHERE r.ctid = ANY ($1::text[]::tid[]) FOR UPDATE SKIP LOCKED))", t.Table, quote(t.Tenant.Column)),
				places[at:min(at+g.BatchSize, len(places))])
			if err != nil {
				return err
			}
		}
		if err := pause(ctx, fillPause); err != nil {
			return err
		}
	}
}

func (g *migrator) verifyTable(ctx context.Context, t *migrateTable) error {
	rows, err := g.conn.Query(ctx, fmt.Sprintf("SELECT %s::text, count(*) FROM %s GROUP BY 1", quote(t.Tenant.Column), t.Table))
	if err != nil {
		return migrateErr("counting the rows of "+t.Name, err)
	}
	counts := map[tenant.ID]int64{}
	var text string
	var n, done, total int64
	_, err = pgx.ForEachRow(rows, []any{&text, &n}, func() error {
		id, err := tenant.Parse(text)
		counts[id] = n
		total += n
		return err
	})
	if err != nil {
		return migrateErr("counting the rows of "+t.Name, err)
	}
	g.report.Rows[t.Name] = counts
	if len(t.Columns) == 0 {
		return nil
	}
	for id, n := range counts {
		if err := g.allow(ctx); err != nil {
			return err
		}
		if err := g.verifyTenant(ctx, t, id); err != nil {
			return err
		}
		done += n
		g.progress(t.Name, "verified", done, total)
	}
	return nil
}

// verifyTenant opens all of a tenant's sealed values of a table, in one access.
func (g *migrator) verifyTenant(ctx context.Context, t *migrateTable, id tenant.ID) (err error) {
	bound, err := g.bound(t, id)
	if err != nil {
		return err
	}
	as := g.as(ctx, id)
	pass, err := g.gate.Enter(as, g.op(t, tenant.Read))
	if err != nil {
		return fmt.Errorf("sqldb: Migrate: verifying %s: %w", t.Name, err)
	}
	seen := int64(0)
	defer func() {
		err = errors.Join(err, pass.Leave(as, gate.Result{Rows: seen, Bytes: -1, Err: err}))
	}()
	rows, err := g.conn.Query(ctx, t.verifying(), bound)
	if err != nil {
		return migrateErr("reading "+t.Name, err)
	}
	defer rows.Close()
	var bad int
	var where string
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return migrateErr("reading "+t.Name, err)
		}
		seen++
		for k, c := range t.Columns {
			plain, sealed, index := values[1+3*k], values[2+3*k], values[3+3*k]
			if plain != nil && sealed == nil {
				continue // written at this moment, and sealed before the switch
			}
			same, err := g.same(pass, t, c, plain, sealed, index)
			if err != nil {
				return err
			}
			if g.report.Verified++; !same {
				if bad++; bad == 1 {
					where = fmt.Sprintf("%s.%s in the row at %v (ctid) of tenant %s", t.Name, c.Name, values[0], id)
				}
			}
		}
	}
	if err := rows.Err(); err != nil {
		return migrateErr("reading "+t.Name, err)
	}
	if bad > 0 {
		return errors.Join(fmt.Errorf("%w: %d sealed values are not those of their plaintexts, the first %s; make them NULL as the owner, and they are sealed anew", storage.ErrIsolation, bad, where),
			pass.Alert(as, t.Name))
	}
	return nil
}
