package sqldb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// A SQLite file is moved in by copying. Beside each table a new one is made as the guard needs it, and triggers write down
// which rows the application changes while its rows are copied and sealed. The switch copies what is left and swaps the names.
// SQLite has one writer at a time: each step is a transaction of its own, which holds the state too, so that whatever ends the
// process leaves the file between two steps. Rows and their copies have one rowid.

// sqliteMigrator is one run.
type sqliteMigrator struct {
	migrateRun
	e    *sqliteEngine
	conn *sql.Conn
	plan *sqliteMigration
}

// sqliteMigration is what was found when a migration began: what it goes by, and what a rollback restores.
type sqliteMigration struct {
	Declared   string
	Tables     []*sqliteMove
	Statistics []string `json:"-"` // tables of ANALYZE that there are when the plaintexts are dropped
}

// sqliteMigrateVersion is that of the state's form.
const sqliteMigrateVersion = 1

const (
	sqliteState = "strongroom_migration"
	sqliteScan  = "strongroom_migration_scan" // how far each table was gone through
)

// withSQLite opens the file, keeps other runs out and reads the state.
func (run migrateRun) withSQLite(ctx context.Context, do func(moving) error) error {
	e, err := openSQLite(run.DSN)
	if err != nil {
		return err
	}
	if err := run.of(e.name()); err != nil {
		return err
	}
	db := sql.OpenDB(rawSQLite{e})
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	path, err := filepath.EvalSymlinks(e.path) // one file, one lock
	if err != nil {
		return fmt.Errorf("sqldb: Migrate: the SQLite file: %w", err)
	}
	// The file stays: who removed it could remove one that another process has locked meanwhile.
	lock := flock.New(path+".migrate-lock", flock.SetPermissions(0o600))
	got, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("sqldb: Migrate: locking %s failed: %w", lock.Path(), err)
	}
	if !got {
		return ErrMigrating
	}
	defer lock.Unlock()
	g := &sqliteMigrator{migrateRun: run, e: e, conn: conn}
	// Foreign keys are checked as a whole before the switch. While they are on, dropping a table deletes its rows one by one.
	for _, set := range []string{"PRAGMA foreign_keys = OFF", "PRAGMA cache_size = -65536", "PRAGMA legacy_alter_table = OFF"} {
		if err := g.exec(ctx, set); err != nil {
			return err
		}
	}
	if err := g.load(ctx); err != nil {
		return err
	}
	return do(g)
}

func (g *sqliteMigrator) exec(ctx context.Context, text string, args ...any) error {
	_, err := g.changed(ctx, text, args...)
	return err
}

func (g *sqliteMigrator) changed(ctx context.Context, text string, args ...any) (int64, error) {
	res, err := g.conn.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, migrateErr(first(text), err)
	}
	n, err := res.RowsAffected()
	return n, migrateErr(first(text), err)
}

// value reads one value.
func (g *sqliteMigrator) value(ctx context.Context, into any, text string, args ...any) error {
	return migrateErr(first(text), g.conn.QueryRowContext(ctx, text, args...).Scan(into))
}

func (g *sqliteMigrator) load(ctx context.Context) error {
	var there int
	if err := g.value(ctx, &there, `SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?1`, sqliteState); err != nil || there == 0 {
		return err
	}
	var version int
	var stage, plan string
	err := g.conn.QueryRowContext(ctx, `SELECT version, stage, plan FROM `+sqliteState).Scan(&version, &stage, &plan)
	if err != nil {
		return migrateErr("reading the migration's state", err)
	}
	if version != sqliteMigrateVersion {
		return fmt.Errorf("sqldb: Migrate: the migration was begun by another version of this library, whose state has form %d and not %d; finish it with that one", version, sqliteMigrateVersion)
	}
	g.plan = &sqliteMigration{}
	if err := json.Unmarshal([]byte(plan), g.plan); err != nil {
		return errors.New("sqldb: Migrate: the migration's state is damaged")
	}
	g.stage, g.report.Stage = MigrateStage(stage), MigrateStage(stage)
	if g.plan.Declared != g.declaration() {
		return errors.New("sqldb: Migrate: a migration is under way that was begun with another Schema, Options or Tenants; finish it, or roll it back, with those")
	}
	return nil
}

// errAnew means that the copies cannot be told from each other any more: VACUUM may give rows other rowids, and cannot be told
// from a change of a definition by another connection.
var errAnew = errors.New("sqldb: Migrate: definitions of the file are changed, or it is vacuumed, again and again; call it again when that has ended")

// write runs a transaction that writes, and then leaves the file to others for as long as it took: SQLite serves who waits in no
// order, and one that begins again at once would keep them all out.
func (g *sqliteMigrator) write(ctx context.Context, do func() error) error {
	began, err := g.transact(ctx, func() error {
		if err := g.unchanged(ctx); err != nil {
			return err
		}
		return do()
	})
	if errors.Is(err, errAnew) && g.stage != MigrateSwitch {
		return errors.Join(err, g.anew(ctx))
	}
	if err != nil {
		return err
	}
	return pause(ctx, time.Since(began))
}

// transact runs a transaction that writes, and tells when it had the lock.
func (g *sqliteMigrator) transact(ctx context.Context, do func() error) (began time.Time, err error) {
	for try := 1; ; try++ {
		if err = g.exec(ctx, "BEGIN IMMEDIATE"); err == nil || !isBusy(err) || try == lockTries/10 {
			break
		}
	}
	if err != nil {
		return began, err
	}
	began = time.Now()
	if err = do(); err == nil {
		err = g.exec(ctx, "COMMIT")
	}
	if err != nil {
		g.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	}
	return began, err
}

// read runs a transaction that sees one state of the file.
func (g *sqliteMigrator) read(ctx context.Context, do func() error) error {
	if err := g.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	err := do()
	_, end := g.conn.ExecContext(context.WithoutCancel(ctx), "COMMIT")
	return errors.Join(err, migrateErr("COMMIT", end))
}

// unchanged fails unless the migration is where this run left it, and the definitions are too.
func (g *sqliteMigrator) unchanged(ctx context.Context) error {
	if g.plan == nil {
		return nil
	}
	var stage string
	var same bool
	err := g.conn.QueryRowContext(ctx, `SELECT stage, version_of_schema = (SELECT schema_version FROM pragma_schema_version) FROM `+sqliteState).Scan(&stage, &same)
	switch {
	case err != nil:
		return migrateErr("reading the migration's state", err)
	case stage != string(g.stage):
		return errors.New("sqldb: Migrate: the migration's state is not what this run left; call it again")
	case !same && g.stage != MigrateSwitch:
		return errAnew
	}
	return nil
}

// anew begins with the copies once more, unless a table is another than the one that the plan is for.
func (g *sqliteMigrator) anew(ctx context.Context) error {
	_, err := g.transact(ctx, func() error {
		var shape string
		if err := g.value(ctx, &shape, `SELECT shape FROM `+sqliteState); err != nil {
			return err
		}
		now, err := g.shape(ctx)
		if err != nil {
			return err
		}
		if now != shape {
			return errors.New("sqldb: Migrate: the definition of a declared table, or what the migration made, was changed since it began; roll it back, and begin anew")
		}
		for _, t := range g.plan.Tables {
			for _, text := range append([]string{"DELETE FROM " + quote(t.made()), "DELETE FROM " + quote(t.todo()), "DELETE FROM " + quote(t.work())}, t.scanning()...) {
				if err := g.exec(ctx, text); err != nil {
					return err
				}
			}
		}
		return g.reach(ctx, MigrateExpand)
	})
	return err
}

// shape tells the definitions of the declared tables, and what the migration made, from others.
func (g *sqliteMigrator) shape(ctx context.Context) (string, error) {
	var names []string
	for _, t := range g.plan.Tables {
		names = append(names, t.Name)
	}
	encoded, err := json.Marshal(names)
	if err != nil {
		return "", err
	}
	rows, err := g.conn.QueryContext(ctx, `SELECT type, name, coalesce(sql, '') FROM main.sqlite_schema
		WHERE tbl_name LIKE 'strongroom\_migrat%' ESCAPE '\' OR tbl_name COLLATE NOCASE IN (SELECT value FROM json_each(?1)) ORDER BY 1, 2`, string(encoded))
	if err != nil {
		return "", migrateErr("reading definitions", err)
	}
	defer rows.Close()
	sum := sha256.New()
	for rows.Next() {
		var kind, name, text string
		if err := rows.Scan(&kind, &name, &text); err != nil {
			return "", migrateErr("reading definitions", err)
		}
		fmt.Fprintf(sum, "%q %q %q\n", kind, name, text)
	}
	return hex.EncodeToString(sum.Sum(nil)), migrateErr("reading definitions", rows.Err())
}

// reach records a stage and the definitions that there are by now, in the transaction that is open.
func (g *sqliteMigrator) reach(ctx context.Context, stage MigrateStage) error {
	shape, err := g.shape(ctx)
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(g.plan)
	if err != nil {
		return err
	}
	err = g.exec(ctx, `UPDATE `+sqliteState+` SET stage = ?1, plan = ?2, shape = ?3, version_of_schema = (SELECT schema_version FROM pragma_schema_version)`, string(stage), string(encoded), shape)
	if err == nil {
		g.stage, g.report.Stage = stage, stage
	}
	return err
}

// forward does what is left of the stages up to one, from the copies on as often as it has to.
func (g *sqliteMigrator) forward(ctx context.Context, until int) error {
	run := map[MigrateStage]func(context.Context) error{
		MigrateExpand: g.expand, MigrateBackfill: g.backfill, MigrateKeys: g.keys, MigrateVerify: g.verify, MigrateSwitch: g.swap, MigrateDrop: g.drop,
	}
	if g.plan == nil {
		problems, err := g.fits(ctx, g.conn)
		if err != nil {
			return err
		}
		if len(problems) == 0 { // it is over
			g.report.Stage = MigrateDrop
			return nil
		}
	}
	for try := 1; ; try++ {
		reached := slices.Index(migrateStages, g.stage)
		if reached >= until {
			return nil
		}
		err := run[migrateStages[reached+1]](ctx)
		if errors.Is(err, errAnew) && try < 5 && (g.stage == "" || g.stage == MigrateExpand) {
			continue
		}
		if err != nil {
			return err
		}
		if migrateStages[reached+1] == MigrateDrop {
			return nil
		}
	}
}

// fits holds a database's tables against the schema as Open does.
func (g *sqliteMigrator) fits(ctx context.Context, on sqliteQueries) ([]Problem, error) {
	_, problems, err := introspectSQLite(ctx, on, g.Schema, g.Options)
	return problems, err
}

// literalSQLite is a text as a constant.
func literalSQLite(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
