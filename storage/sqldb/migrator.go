package sqldb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// migrator is one run. It does everything on one connection, which also holds the lock that keeps others out: when the
// connection goes, so does the run.
type migrator struct {
	migrateRun
	conn *pgx.Conn
	plan *migration // as it was when the migration began
}

// migrateLock is the key of the advisory lock: "strongrm" in ASCII.
const migrateLock = 0x7374726f6e67726d

// migrateVersion is that of the state's form.
const migrateVersion = 1

// withPostgres connects, takes the lock and reads the state.
func (run migrateRun) withPostgres(ctx context.Context, do func(moving) error) error {
	e, err := openPostgres(run.DSN, run.Options)
	if err != nil {
		return err
	}
	if err := run.of(e.name()); err != nil {
		return err
	}
	conn, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	r := &migrator{migrateRun: run, conn: conn}
	// With row_security off a policy that would hide rows is an error: one that is not seen is not sealed, and its
	// plaintexts are dropped.
	// A plan that does not depend on a batch's arrays goes to each row by its place; one that does may read the whole table for it.
	for _, set := range []string{"SET search_path = pg_catalog", "SET row_security = off", "SET statement_timeout = 0", "SET idle_in_transaction_session_timeout = 0", "SET TimeZone = 'UTC'",
		"SET DateStyle = 'ISO, YMD'", "SET bytea_output = 'hex'", "SET extra_float_digits = 3", "SET plan_cache_mode = force_generic_plan", "SET default_transaction_isolation = 'read committed'"} {
		if err := r.exec(ctx, set); err != nil {
			return err
		}
	}
	var got bool
	if err := r.row(ctx, `SELECT pg_try_advisory_lock($1)`, int64(migrateLock)).Scan(&got); err != nil {
		return migrateErr("taking the lock", err)
	}
	if !got {
		return ErrMigrating
	}
	defer r.release(ctx)
	if err := r.load(ctx); err != nil {
		return err
	}
	return do(r)
}

// releaseWithin bounds the wait for an answer that nothing depends on.
const releaseWithin = 2 * time.Second

// release gives the lock back before the connection goes. The server does that by itself, but only once it has noticed: whoever
// calls again at once would be told that another process migrates.
func (g *migrator) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	if !g.conn.IsClosed() {
		_, _ = g.conn.Exec(ctx, `SELECT pg_advisory_unlock($1)`, int64(migrateLock))
	}
}

func migrateErr(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqldb: Migrate: %s failed: %w", doing, redact(err))
}

func (g *migrator) exec(ctx context.Context, sql string, args ...any) error {
	_, err := g.conn.Exec(ctx, sql, args...)
	return migrateErr(first(sql), err)
}

// first is the beginning of a statement, which has names in it and no values.
func first(sql string) string {
	sql = strings.Join(strings.Fields(sql), " ")
	if len(sql) > 200 {
		sql = strings.ToValidUTF8(sql[:200], "") + "…"
	}
	return sql
}

func (g *migrator) row(ctx context.Context, sql string, args ...any) pgx.Row {
	return g.conn.QueryRow(ctx, sql, args...)
}

// stateTable is the migration's own table.
func (g *migrator) stateTable() string { return quote(g.Options.Schema) + ".strongroom_migration" }

// load reads how far a migration came. What the state says is run as the owner's SQL, so that nobody else may have had
// a hand in it.
func (g *migrator) load(ctx context.Context) error {
	var mine bool
	var strangers int
	err := g.row(ctx, `SELECT c.relowner = (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user) AND c.relkind = 'r',
		(SELECT count(*) FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner)
		FROM pg_class c WHERE c.oid = to_regclass($1)`, g.stateTable()).Scan(&mine, &strangers)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return migrateErr("looking for a migration under way", err)
	}
	if !mine || strangers > 0 {
		return fmt.Errorf("sqldb: Migrate: the table %s is not the connecting role's, or others may read or write it; it holds what is run with the owner's rights: connect as the role that began, or look who made it and drop it", g.stateTable())
	}
	var version int
	var stage string
	var plan []byte
	err = g.row(ctx, `SELECT version, stage, plan FROM `+g.stateTable()).Scan(&version, &stage, &plan)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return migrateErr("reading the migration's state", err)
	}
	if version != migrateVersion {
		return fmt.Errorf("sqldb: Migrate: the migration was begun by another version of this library, whose state has form %d and not %d; finish it with that one", version, migrateVersion)
	}
	g.plan = &migration{}
	if err := json.Unmarshal(plan, g.plan); err != nil {
		return errors.New("sqldb: Migrate: the migration's state is damaged")
	}
	g.stage, g.report.Stage = MigrateStage(stage), MigrateStage(stage)
	if g.plan.Declared != g.declaration() {
		return errors.New("sqldb: Migrate: a migration is under way that was begun with another Schema, Options or Tenants; finish it, or roll it back, with those")
	}
	return nil
}

// reach records a stage, in the transaction that is open, or in one of its own.
func (g *migrator) reach(ctx context.Context, stage MigrateStage) error {
	if err := g.exec(ctx, `UPDATE `+g.stateTable()+` SET stage = $1, changed = now()`, string(stage)); err != nil {
		return err
	}
	g.stage, g.report.Stage = stage, stage
	return nil
}

// lockTries is how often a transaction is tried that waits for locks, with a pause between in which those can go on that wait
// behind it.
const (
	lockTries = 120
	lockPause = 100 * time.Millisecond
	// lockWithin is how long one may wait for its locks, from when it asks for the first: who wants what it has, or has asked
	// for, waits behind it, and it must have given up before one of those looks for a deadlock (deadlock_timeout, by default a
	// second), or that one's statement fails. It is less than half, since one statement may lock two tables: that of a foreign key.
	lockWithin = 400 * time.Millisecond
	lockLeast  = 10 * time.Millisecond // what a statement waits at least, however long those before it took
	// Every so often it waits for longer than deadlock_timeout first, for a lock that lets others read and write: only then
	// does PostgreSQL end an autovacuum that is in the way.
	patientTry = 3
	patience   = 1500 * time.Millisecond
)

// alter runs statements that change definitions in one transaction, again where it did not get a lock in time. Do is
// called in it too, if set; what it does must be able to be done anew.
func (g *migrator) alter(ctx context.Context, table string, statements []string, do func() error) error {
	for try := 1; ; try++ {
		err := g.alterOnce(ctx, statements, do, try%patientTry == 0)
		if err == nil {
			if len(statements) > 0 {
				g.progress(table, first(statements[0]), 0, 0)
			}
			return nil
		}
		if !isLockTimeout(err) {
			return err
		}
		if try == lockTries {
			return fmt.Errorf("%w; others kept the table locked for too long: look for a transaction that stays open (pg_stat_activity), and call it again", err)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *migrator) alterOnce(ctx context.Context, statements []string, do func() error, patient bool) (err error) {
	if err := g.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			g.conn.Exec(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if patient {
		if err := g.waitAtMost(ctx, patience); err != nil {
			return err
		}
		for _, sql := range g.locking("SHARE UPDATE EXCLUSIVE") {
			if err := g.exec(ctx, sql); err != nil {
				return err
			}
		}
	}
	began := time.Now()
	for _, sql := range statements {
		if err := g.waitAtMost(ctx, max(lockWithin-time.Since(began), lockLeast)); err != nil {
			return err
		}
		if err := g.exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := g.waitAtMost(ctx, lockWithin); err != nil {
		return err
	}
	if do != nil {
		if err := do(); err != nil {
			return err
		}
	}
	return g.exec(ctx, "COMMIT")
}

// waitAtMost bounds each wait for a lock in the transaction that is open.
func (g *migrator) waitAtMost(ctx context.Context, d time.Duration) error {
	return g.exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", d.Milliseconds()))
}

func isLockTimeout(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "40P01")
}

// forward does what is left of the stages up to one.
func (g *migrator) forward(ctx context.Context, until int) error {
	if g.stage == migrateBack {
		return errors.New("sqldb: Migrate: the migration is being rolled back; call RollbackMigration to finish that first")
	}
	run := map[MigrateStage]func(context.Context) error{
		MigrateExpand: g.expand, MigrateBackfill: g.backfill, MigrateKeys: g.keys, MigrateVerify: g.verify, MigrateSwitch: g.swap, MigrateDrop: g.drop,
	}
	if g.plan == nil && g.fits(ctx) == nil { // it is over
		g.report.Stage = MigrateDrop
		return nil
	}
	reached := slices.Index(migrateStages, g.stage)
	if reached >= slices.Index(migrateStages, MigrateSwitch) { // it may have ended before it was tidied up
		if err := g.afterSwitch(ctx); err != nil {
			return err
		}
	}
	for _, stage := range migrateStages[reached+1 : max(reached, until)+1] {
		if err := run[stage](ctx); err != nil {
			return err
		}
	}
	return nil
}
