package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

func migrateCommand() command {
	return command{
		name: "migrate", args: "plan|run|status|rollback [DATABASE]", most: 2, usage: "move an existing application's database in",
		about: `Takes a database of PostgreSQL or SQLite from plaintexts and keys of single columns to guarded tables, in the stages
expand, backfill, keys, verify, switch and drop. The configuration says as whom, and whose the rows of each table are:

  "databases": [{"name": "clinics", "postgresql": {...}, "schema": {...}, "migration": {
      "url": "postgres://owner@db:5432/clinics?sslmode=verify-full", "password": SECRET,
      "tenants": {"patients": {"column": "clinic"}, "visits": {"parent": ["patient_id"]}, "settings": {"tenant": "acme"}}}}]

Url is the tables' owner's; with SQLite there is none. A table has its tenant from a column, from the row that a foreign key
over its columns refers to, or from a constant; one that is not named has its tenant column already. Every tenant has to be
provisioned.

plan says what would be done, statement by statement, with rows and locks, and what stands in the way; then the exit status is
1. It changes nothing. run prints the plan of what is left and does it, up to and including the stage -until, by default verify:
so far the application goes on and needs to know nothing. The switch wants it stopped, and started with the guard after it;
drop destroys the plaintexts and is the only stage without a way back. Both are asked for on a terminal, where the database's
name has to be typed; elsewhere -yes and -confirm have to be given. What was interrupted is run again and goes on. status
tells the stage, and whether the services' role can open the database. rollback undoes what was done, from any stage but the
last; where that is the switch the application has to be stopped, what is sealed becomes plaintexts again, and it is asked for
too.`,
		examples: []string{`migrate plan clinics`, `migrate run -rows-per-second 2000 clinics`, `migrate run -until switch clinics`, `migrate run -until drop clinics`, `migrate rollback clinics`},
		flags: []cli.Flag{
			&cli.StringFlag{Name: "until", Usage: "the last `STAGE` of run; default: verify", OnlyOnce: true},
			&cli.IntFlag{Name: "batch", Usage: "seal `ROWS` at a time, which are locked meanwhile", OnlyOnce: true},
			&cli.IntFlag{Name: "rows-per-second", Usage: "write no more than `ROWS` in a second before the switch", OnlyOnce: true},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask; needs -confirm"},
			&cli.StringFlag{Name: "confirm", Usage: "the database's `NAME` once more, where nobody can be asked to type it", OnlyOnce: true},
		},
		run: runMigrate,
	}
}

// migrateStages are the stages in their order.
var migrateStages = []sqldb.MigrateStage{sqldb.MigrateExpand, sqldb.MigrateBackfill, sqldb.MigrateKeys, sqldb.MigrateVerify, sqldb.MigrateSwitch, sqldb.MigrateDrop}

// migrating is what migrate does.
type migrating struct {
	*call
	action    string
	at        int // the database's place in the configuration
	name      string
	migration sqldb.Migration
}

func runMigrate(ctx context.Context, c *call) error {
	m := &migrating{call: c, action: c.Args().First()}
	do, ok := map[string]func(context.Context) error{"plan": m.plan, "run": m.run, "status": m.status, "rollback": m.rollback}[m.action]
	if !ok {
		return usagef(`migrate takes plan, run, status or rollback, and not %q; "keyctl migrate -h" shows how`, m.action)
	}
	if m.action != "run" && c.String("until") != "" {
		return usagef("-until is for migrate run")
	}
	what := changing
	if m.action == "plan" || m.action == "status" {
		what = looking
	}
	s, err := c.open(ctx, what)
	if err != nil {
		return err
	}
	if err := m.prepare(s); err != nil {
		return err
	}
	return do(ctx)
}

// prepare makes the migration of what the configuration says of the database.
func (m *migrating) prepare(s *session) error {
	m.at = -1
	only := m.Args().Get(1)
	for i, d := range s.config.Databases {
		switch {
		case d.Migration == nil || only != "" && d.Name != only:
		case m.at >= 0:
			return usagef("several databases of the configuration have a migration; name one")
		default:
			m.at = i
		}
	}
	if m.at < 0 && only != "" {
		return usagef("the configuration names no database %q with a migration", only)
	}
	if m.at < 0 {
		return configf(`no database has a migration; "keyctl migrate -h" shows what is in one`)
	}
	d := &s.config.Databases[m.at]
	dsn := ""
	if d.SQLite != nil {
		dsn = "sqlite:" + s.config.in(d.SQLite.File)
	} else {
		var err error
		if dsn, err = m.postgresURL(s.config, fmt.Sprintf("databases[%d].migration", m.at), d.Migration.URL, d.Migration.Password); err != nil {
			return err
		}
	}
	actor, err := m.operator()
	if err != nil {
		return err
	}
	m.name = d.Name
	m.migration = sqldb.Migration{
		DSN: dsn, Schema: d.schema, Options: d.options(slog.New(slog.DiscardHandler)), Guard: s.guard, Tenants: d.Migration.sources,
		Actor: actor, Purpose: operations, Request: m.String("request"), BatchSize: m.Int("batch"), RowsPerSecond: m.Int("rows-per-second"),
	}
	return nil
}

// look prints what is to be done, up to and including a stage, and what keeps it from that.
func (m *migrating) look(ctx context.Context, until sqldb.MigrateStage) (*sqldb.MigrationPlan, error) {
	plan, err := sqldb.PlanMigration(ctx, m.migration)
	if err != nil {
		return nil, err
	}
	reached, last := slices.Index(migrateStages, plan.Stage), slices.Index(migrateStages, until)
	left := plan.Steps
	plan.Steps = nil
	for _, step := range left {
		if at := slices.Index(migrateStages, step.Stage); at > reached && at <= last {
			plan.Steps = append(plan.Steps, step)
		}
	}
	if err := m.print(planShapeOf(m, plan), "%s", plan); err != nil {
		return nil, err
	}
	if n := len(plan.Problems); n > 0 {
		return nil, &failure{"findings", fmt.Errorf("%d problems keep the migration from beginning: see above for what to fix", n)}
	}
	return plan, nil
}

func (m *migrating) plan(ctx context.Context) error {
	_, err := m.look(ctx, sqldb.MigrateDrop)
	return err
}

func (m *migrating) run(ctx context.Context) error {
	until := sqldb.MigrateVerify
	if given := m.String("until"); given != "" {
		until = sqldb.MigrateStage(given)
	}
	last := slices.Index(migrateStages, until)
	if last < 0 {
		return usagef("-until is one of %v", migrateStages)
	}
	plan, err := m.look(ctx, until)
	if err != nil {
		return err
	}
	what := ""
	if until == sqldb.MigrateSwitch || until == sqldb.MigrateDrop && plan.Stage != sqldb.MigrateSwitch {
		what = "This switches the tables over: the application has to be stopped before, and started with the guard after it.\n"
	}
	if until == sqldb.MigrateDrop {
		what += "This destroys the plaintexts. There is no way back from it.\n"
	}
	if what != "" && slices.Index(migrateStages, plan.Stage) < last {
		if err := m.confirmDatabase(ctx, what); err != nil {
			return err
		}
	}
	m.resume = "repeat it: it goes on where it was"
	return m.work(ctx, func(ctx context.Context) (*sqldb.MigrateReport, error) { return sqldb.Migrate(ctx, m.migration, until) })
}

func (m *migrating) rollback(ctx context.Context) error {
	plan, err := sqldb.PlanMigration(ctx, m.migration)
	if err != nil {
		return err
	}
	if plan.Stage == sqldb.MigrateSwitch {
		what := "This puts everything that is sealed back as plaintexts, and takes row-level security away: the application has to be stopped.\n"
		if err := m.confirmDatabase(ctx, what); err != nil {
			return err
		}
	}
	m.resume = "repeat it: it goes on where it was"
	return m.work(ctx, func(ctx context.Context) (*sqldb.MigrateReport, error) {
		return sqldb.RollbackMigration(ctx, m.migration)
	})
}

// work runs a migration, or its way back, and reports what it did, also where it did not come to its end.
func (m *migrating) work(ctx context.Context, do func(context.Context) (*sqldb.MigrateReport, error)) error {
	bar := m.progress("migrate "+m.name, -1)
	defer bar.done()
	doing := ""
	m.migration.Progress = func(p sqldb.MigrateProgress) {
		if place := fmt.Sprintf("%s, %s %s", p.Stage, p.Table, p.What); p.Total > 0 && place != doing {
			doing = place
			bar.begin(p.Total)
		}
		bar.at(p.Rows, fmt.Sprintf("%s, %s", p.Stage, word(p.Table)))
	}
	report, err := do(ctx)
	if report == nil {
		return err
	}
	shape := migratedShapeOf(m, report)
	return errors.Join(err, m.print(shape, "%s", shape))
}

// status tells the stage, and whether the services' role can open the database.
func (m *migrating) status(ctx context.Context) error {
	plan, err := sqldb.PlanMigration(ctx, m.migration)
	if err != nil {
		return err
	}
	shape := migrationShape{Command: m.Name, Action: m.action, Database: m.name, Stage: string(plan.Stage), Problems: []problemShape{}}
	db, err := m.openDatabase(ctx, m.session, m.at, slog.New(slog.DiscardHandler))
	var problems *sqldb.SchemaError
	switch {
	case err == nil:
		shape.Opens = true
		err = db.Close()
	case errors.As(err, &problems):
		shape.Problems, err = problemShapes(problems.Problems), nil
	}
	if err != nil {
		return err
	}
	return m.print(shape, "%s", shape)
}

// confirmDatabase makes sure that what cannot simply be undone is meant for this database.
func (m *migrating) confirmDatabase(ctx context.Context, what string) error {
	given := m.String("confirm")
	switch {
	case given != "" && given != m.name:
		return notConfirmed("%+q is not the database %s", given, m.name)
	case m.Bool("yes") && given == m.name:
		return nil
	case !isTerminal(m.stdin) || !isTerminal(m.stderr.w):
		return notConfirmed("there is no terminal to ask on: give -yes and -confirm %s", m.name)
	}
	fmt.Fprintf(m.stderr, "%sThe database is %s. Type the name to go on: ", what, m.name)
	typed, err := readLine(ctx, m.stdin)
	if err == nil && typed != m.name {
		err = notConfirmed("%+q is not the database %s", typed, m.name)
	}
	return err
}
