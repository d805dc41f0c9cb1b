package sqldb

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// rollback goes back to where the migration began. From the first step on there is no way forward but to its end.
func (g *migrator) rollback(ctx context.Context) error {
	if g.plan == nil {
		if g.fits(ctx) == nil {
			return errors.New("sqldb: RollbackMigration: there is no migration under way; one that dropped the plaintexts cannot be rolled back")
		}
		return nil
	}
	switch g.stage {
	case migrateBack:
	case MigrateSwitch:
		if err := g.swapBack(ctx); err != nil {
			return err
		}
	default:
		if err := g.reach(ctx, migrateBack); err != nil {
			return err
		}
	}
	return g.tidy(ctx)
}

// tidy drops what the migration made, as far as it is there.
func (g *migrator) tidy(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		statements := t.untrigger()
		for _, f := range t.Foreign {
			statements = append(statements, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", t.Table, quote(f.New)))
		}
		if err := g.alter(ctx, t.Name, statements, nil); err != nil {
			return err
		}
	}
	for _, t := range g.plan.Tables {
		var statements []string
		for _, k := range t.Keys {
			statements = append(statements, "DROP INDEX IF EXISTS "+t.index(k.New), "DROP INDEX IF EXISTS "+t.index(k.Back))
		}
		statements = append(statements, "DROP INDEX IF EXISTS "+t.index(t.staleIndex()))
		var drop []string
		for _, c := range t.constraints(g.Schema[t.Name]) {
			drop = append(drop, "DROP CONSTRAINT IF EXISTS "+quote(c.name))
		}
		columns := slices.Concat(t.shadows(), t.Added)
		for _, i := range t.Indexes {
			if !slices.Contains(columns, i.Column) {
				columns = append(columns, i.Column)
			}
		}
		if t.Tenant.Add {
			columns = append(columns, t.Tenant.Column)
		}
		for _, name := range columns {
			drop = append(drop, "DROP COLUMN IF EXISTS "+quote(name))
		}
		if len(drop) > 0 {
			statements = append(statements, "ALTER TABLE "+t.Table+" "+strings.Join(drop, ", "))
		}
		if err := g.alter(ctx, t.Name, statements, nil); err != nil {
			return err
		}
		for _, f := range t.Foreign {
			if strings.HasSuffix(f.Def, "NOT VALID") { // it was before
				continue
			}
			if err := g.alter(ctx, t.Name, []string{fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", t.Table, quote(f.Name))}, nil); err != nil {
				return err
			}
		}
	}
	if err := g.alter(ctx, "", []string{"DROP TABLE " + g.stateTable()}, nil); err != nil {
		return err
	}
	g.plan, g.stage, g.report.Stage = nil, "", ""
	return nil
}

// swapBack undoes a switch in one transaction.
func (g *migrator) swapBack(ctx context.Context) error {
	if err := g.buildBack(ctx); err != nil {
		return err
	}
	var locked time.Time
	err := g.alter(ctx, "", g.locking("ACCESS EXCLUSIVE"), func() error {
		locked, g.report.Unsealed = time.Now(), 0
		return g.swapBackLocked(ctx)
	})
	if err != nil {
		return errors.Join(err, g.unbuildBack(ctx))
	}
	g.report.Locked = time.Since(locked)
	g.stage, g.report.Stage = migrateBack, migrateBack
	return nil
}

// buildBack builds the unique indexes that were there, as far as their columns are: rows of two tenants may be the same
// there.
func (g *migrator) buildBack(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		for _, k := range t.Keys {
			if k.Over {
				continue
			}
			if err := g.build(ctx, t, [2]string{k.Back, k.BackSQL}); err != nil {
				return errors.Join(fmt.Errorf("sqldb: RollbackMigration: nothing was rolled back: %w", err), g.unbuildBack(ctx))
			}
		}
	}
	return nil
}

func (g *migrator) unbuildBack(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, t := range g.plan.Tables {
		for _, k := range t.Keys {
			if !k.Over && !g.conn.IsClosed() {
				errs = append(errs, g.exec(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+t.index(k.Back)))
			}
		}
	}
	return errors.Join(errs...)
}

func (g *migrator) swapBackLocked(ctx context.Context) error {
	var statements []string
	for _, t := range g.plan.Tables {
		statements = append(statements, t.unfencing(g.Options)...)
		for _, f := range t.Foreign {
			statements = append(statements, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", t.Table, quote(f.Name)))
		}
	}
	for _, sql := range statements {
		if err := g.exec(ctx, sql); err != nil {
			return err
		}
	}
	for _, t := range g.plan.Tables {
		if err := g.keepsAll(ctx, t); err != nil {
			return err
		}
		if err := g.stillGranted(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range g.plan.Tables {
		if err := g.unseal(ctx, t); err != nil {
			return err
		}
	}
	statements = nil
	for _, t := range g.plan.Tables {
		statements = append(statements, t.switchingBack()...)
	}
	for _, t := range g.plan.Tables {
		for _, f := range t.Foreign {
			statements = append(statements, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s NOT VALID", t.Table, quote(f.Name), strings.TrimSuffix(f.Def, " NOT VALID")))
		}
	}
	for _, sql := range statements {
		if err := g.exec(ctx, sql); err != nil {
			return err
		}
	}
	return g.exec(ctx, `UPDATE `+g.stateTable()+` SET stage = $1, changed = now()`, string(migrateBack))
}

// unfencing takes row-level security away, in a transaction that has the table for itself.
func (t *migrateTable) unfencing(o *Options) []string {
	if o.InsecureWithoutRLS {
		return nil
	}
	out := []string{fmt.Sprintf("DROP POLICY IF EXISTS %s ON %s", PolicyName, t.Table), "ALTER TABLE " + t.Table + " DISABLE ROW LEVEL SECURITY"}
	if !t.Force {
		out = append(out, "ALTER TABLE "+t.Table+" NO FORCE ROW LEVEL SECURITY")
	}
	return out
}

// switchingBack gives the plaintexts their names again, and their keys and constraints.
func (t *migrateTable) switchingBack() (out []string) {
	alter := func(format string, args ...any) {
		out = append(out, "ALTER TABLE "+t.Table+" "+fmt.Sprintf(format, args...))
	}
	for _, k := range t.Keys { // before the renaming, which they would follow
		if k.Constraint == "" {
			out = append(out, "DROP INDEX "+t.index(k.Name))
		} else {
			alter("DROP CONSTRAINT %s", quote(k.Constraint))
		}
	}
	out = append(out, t.opening(true, true)...)
	for _, c := range t.Columns {
		alter("DROP CONSTRAINT IF EXISTS %s, ALTER COLUMN %s DROP NOT NULL", quote(required(c)), quote(c.Name))
		alter("RENAME COLUMN %s TO %s", quote(c.Name), quote(c.New))
		alter("RENAME COLUMN %s TO %s", quote(c.Old), quote(c.Name))
		if c.NotNull {
			alter("ALTER COLUMN %s SET NOT NULL", quote(c.Name))
		}
		if c.Default != "" {
			alter("ALTER COLUMN %s SET DEFAULT %s", quote(c.Name), c.Default)
		}
	}
	for _, k := range t.Keys {
		switch {
		case k.Over && k.Constraint == "":
			out = append(out, k.IndexDef)
		case k.Over:
			alter("ADD CONSTRAINT %s %s", quote(k.Constraint), k.Def)
		case k.Constraint == "":
			out = append(out, fmt.Sprintf("ALTER INDEX %s RENAME TO %s", t.index(k.Back), quote(k.Name)))
		case k.Primary:
			alter("ADD CONSTRAINT %s PRIMARY KEY USING INDEX %s%s", quote(k.Constraint), quote(k.Back), k.Deferrable)
		default:
			alter("ADD CONSTRAINT %s UNIQUE USING INDEX %s%s", quote(k.Constraint), quote(k.Back), k.Deferrable)
		}
	}
	for _, c := range t.Checks {
		alter("ADD CONSTRAINT %s %s", quote(c.Name), c.Def)
	}
	if !t.Tenant.Add && !t.Tenant.NotNull {
		alter("ALTER COLUMN %s DROP NOT NULL", quote(t.Tenant.Column))
	}
	return out
}

// unsealing is the query for a tenant's rows after a switch: each plaintext that was kept, and what is sealed now.
func (t *migrateTable) unsealing() string {
	selected := []string{"r.ctid::text"}
	for _, c := range t.Columns {
		selected = append(selected, t.kept(c), "r."+quote(c.Name))
	}
	return fmt.Sprintf("SELECT %s FROM %s r WHERE r.%s = $1", strings.Join(selected, ", "), t.Table, quote(t.Tenant.Column))
}

// kept is the value of a column of plaintexts after a switch.
func (t *migrateTable) kept(c migrateColumn) string {
	return strings.ReplaceAll(c.Value, rowAlias+"."+quote(c.Name), "r."+quote(c.Old))
}

// putting writes plaintexts where they are others than those that were kept, and returns what is there then.
func (t *migrateTable) putting() string {
	var set, from, names, returned []string
	for i, c := range t.Columns {
		set = append(set, fmt.Sprintf("%[1]s = CASE WHEN v.b%[2]d THEN v.c%[2]d::%[3]s ELSE r.%[1]s END", quote(c.Old), i, c.Type))
		from = append(from, fmt.Sprintf("$%d::boolean[], $%d::text[]", 2*i+2, 2*i+3))
		names = append(names, fmt.Sprintf("b%[1]d, c%[1]d", i))
		returned = append(returned, t.kept(c), "r."+quote(c.Name))
	}
	return fmt.Sprintf("UPDATE %s r SET %s FROM unnest($1::text[]::tid[], %s) v(at, %s) WHERE r.ctid = v.at RETURNING %s",
		t.Table, strings.Join(set, ", "), strings.Join(from, ", "), strings.Join(names, ", "), strings.Join(returned, ", "))
}

// unseal puts back as plaintexts what was written since the switch.
func (g *migrator) unseal(ctx context.Context, t *migrateTable) error {
	if len(t.Columns) == 0 {
		return nil
	}
	rows, err := g.conn.Query(ctx, fmt.Sprintf("SELECT %s::text, count(*) FROM %s GROUP BY 1", quote(t.Tenant.Column), t.Table))
	if err != nil {
		return migrateErr("counting the rows of "+t.Name, err)
	}
	counts := map[tenant.ID]int64{}
	for rows.Next() {
		var text string
		var n int64
		if err = rows.Scan(&text, &n); err == nil {
			var id tenant.ID
			id, err = tenant.Parse(text)
			counts[id] = n
		}
		if err != nil {
			rows.Close()
			return migrateErr("counting the rows of "+t.Name, err)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return migrateErr("counting the rows of "+t.Name, err)
	}
	for id, total := range counts {
		if err := g.unsealTenant(ctx, t, id, total); err != nil {
			return err
		}
	}
	return nil
}

func (g *migrator) unsealTenant(ctx context.Context, t *migrateTable, id tenant.ID, total int64) error {
	bound, err := g.bound(t, id)
	if err != nil {
		return err
	}
	cursor := own("rows", t.Relation, id.String()) // a name for each query: what it returns is kept by its text
	if err := g.exec(ctx, "DECLARE "+cursor+" NO SCROLL CURSOR FOR "+t.unsealing(), bound); err != nil {
		return err
	}
	for done := int64(0); ; {
		n, err := g.unsealBatch(ctx, t, id, cursor)
		if err != nil {
			return err
		}
		if n == 0 {
			return g.exec(ctx, "CLOSE "+cursor)
		}
		done += int64(n)
		g.progress(t.Name, "unsealed", done, total)
	}
}

// unsealBatch is one access: it opens what is sealed, and writes what is another than the plaintext that was kept.
func (g *migrator) unsealBatch(ctx context.Context, t *migrateTable, id tenant.ID, cursor string) (n int, err error) {
	as := g.as(ctx, id)
	pass, err := g.gate.Enter(as, g.op(t, tenant.Write))
	if err != nil {
		return 0, fmt.Errorf("sqldb: RollbackMigration: unsealing %s: %w", t.Name, err)
	}
	var changed int64
	defer func() {
		err = errors.Join(err, pass.Leave(as, gate.Result{Rows: changed, Bytes: -1, Err: err}))
	}()
	rows, err := g.conn.Query(ctx, fmt.Sprintf("FETCH %d FROM %s", g.BatchSize, cursor))
	if err != nil {
		return 0, migrateErr("reading "+t.Name, err)
	}
	defer rows.Close()
	var at []string
	differs, texts := make([][]bool, len(t.Columns)), make([][]*string, len(t.Columns))
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return 0, migrateErr("reading "+t.Name, err)
		}
		n++
		put, d, s := false, make([]bool, len(t.Columns)), make([]*string, len(t.Columns))
		for i, c := range t.Columns {
			if d[i], s[i], err = g.unsealed(pass, t, c, values[1+2*i], values[2+2*i]); err != nil {
				return 0, errors.Join(err, pass.Alert(as, t.Name+"."+c.Name))
			}
			put = put || d[i]
		}
		if put {
			at = append(at, values[0].(string))
			for i := range t.Columns {
				differs[i], texts[i] = append(differs[i], d[i]), append(texts[i], s[i])
			}
		}
	}
	if rows.Close(); rows.Err() != nil {
		return 0, migrateErr("reading "+t.Name, rows.Err())
	}
	if len(at) == 0 {
		return n, nil
	}
	changed = int64(len(at))
	return n, g.put(ctx, t, pass, at, differs, texts)
}

func (g *migrator) put(ctx context.Context, t *migrateTable, pass *gate.Pass, at []string, differs [][]bool, texts [][]*string) error {
	args := []any{at}
	for i := range t.Columns {
		args = append(args, differs[i], texts[i])
		for _, d := range differs[i] {
			if d {
				g.report.Unsealed++
			}
		}
	}
	rows, err := g.conn.Query(ctx, t.putting(), args...)
	if err != nil {
		return migrateErr("putting plaintexts back into "+t.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return migrateErr("putting plaintexts back into "+t.Name, err)
		}
		for i, c := range t.Columns {
			// A jsonb is written another way than it was given, as it was for the application before.
			if differ, _, err := g.unsealed(pass, t, c, values[2*i], values[2*i+1]); err != nil || differ && c.Type != "jsonb" {
				return errors.Join(err, fmt.Errorf("sqldb: RollbackMigration: nothing was rolled back: a value of %s.%s of tenant %s does not fit the type %s that the column had; change it through the guard", t.Name, c.Name, pass.Tenant(), c.Type))
			}
		}
	}
	return migrateErr("putting plaintexts back into "+t.Name, rows.Err())
}

// padded is the type of which trailing spaces are no part of a value, without a length.
const padded = "bpchar"

// unsealed opens a value and tells whether it is another than a plaintext, and its text.
func (g *migrator) unsealed(pass *gate.Pass, t *migrateTable, c migrateColumn, plain, sealed any) (bool, *string, error) {
	if sealed == nil {
		return plain != nil, nil, nil
	}
	logical := g.logicalOf(t, c.Name)
	v, err := envelope.OpenField(pass.Keys().Data(), pass.Tenant(), g.place(t), c.Name, logical, sealed.([]byte))
	if err != nil {
		return false, nil, fmt.Errorf("%w: RollbackMigration: nothing was rolled back: a value of %s.%s of tenant %s does not open", storage.ErrIsolation, t.Name, c.Name, pass.Tenant())
	}
	if plain != nil {
		a, aerr := envelope.AppendValue(nil, logical, plain)
		b, berr := envelope.AppendValue(nil, logical, v)
		if aerr == nil && berr == nil && string(a) == string(b) {
			return false, nil, nil
		}
		if p, ok := plain.(string); ok && c.Type == padded && strings.TrimRight(p, " ") == strings.TrimRight(fmt.Sprint(v), " ") {
			return false, nil, nil
		}
	}
	text := postgresText(logical, v)
	return true, &text, nil
}

// postgresText is a value as PostgreSQL's types read it.
func postgresText(l envelope.Logical, v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		if l == envelope.Bytes {
			return `\x` + hex.EncodeToString(v)
		}
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		if l == envelope.Date {
			return v.Format(time.DateOnly)
		}
		return v.UTC().Format("2006-01-02 15:04:05.999999999Z07:00")
	}
	return fmt.Sprint(v)
}
