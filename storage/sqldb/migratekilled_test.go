//go:build unix

package sqldb_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

var migrateRows = flag.Int("rows", 2000, "about how many rows TestMigrateWhileOthersWork moves in, in three tables")

// TestMigrateWhileOthersWork: an application that knows of no guard reads and writes while its database moves in, in a
// process that is killed in every stage, and started again. Then every tenant reads through the guard exactly what was
// acknowledged to the application. After that the way back is killed as often, and the application's tables are what
// they were, with what was written since. With -rows=1000000 and -v it says what each stage took, and how long the
// application's slowest statement did.
func TestMigrateWhileOthersWork(t *testing.T) {
	dir := t.TempDir()
	m := newMoving(t, *migrateRows/4, newRingIn(t, dir, unhurried(), tenantA, tenantB, tenantC))
	// Or the application's own deletes and new numbers would read these tables from end to end for their foreign keys.
	mustExec(t, m.raw, `CREATE INDEX ON patients (mother); CREATE INDEX ON "drug ""s" ("the visit"); ANALYZE`)
	w := newMover(t, m)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() { w.work(ctx, t, n) })
		wg.Go(func() { w.look(ctx, t, n) })
	}
	killed := map[string]int{}
	for _, stage := range []sqldb.MigrateStage{sqldb.MigrateExpand, sqldb.MigrateBackfill, sqldb.MigrateKeys, sqldb.MigrateVerify} {
		began := time.Now()
		for round := range 2 { // at its first step, and somewhere
			var wait func(context.Context) bool
			if round > 0 {
				wait = somewhile
			}
			if m.inProcess(t, dir, stage, wait, func(line string) bool { return strings.HasPrefix(line, string(stage)+" ") }) {
				killed[string(stage)]++
			}
		}
		last := time.Now()
		for m.inProcess(t, dir, stage, nil, nil) {
		}
		w.tell(t, stage, began, last)
	}
	began := time.Now()
	m.killedInside(t, dir, sqldb.MigrateSwitch, killed)
	m.killedAtRandom(t, dir, sqldb.MigrateSwitch, killed)
	w.tell(t, sqldb.MigrateSwitch, began, began)
	stop() // writes that came after the switch were refused
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, stage := range []string{"expand", "backfill", "keys", "verify"} {
		if killed[stage] == 0 {
			t.Errorf("it was not killed in stage %s: %v", stage, killed)
		}
	}
	if w.count() < 100 {
		t.Errorf("%d writes: the test says nothing", w.count())
	}
	w.check(t, m.open(t))
	began = time.Now()
	m.backInProcess(t, dir, killed)
	w.tell(t, "back", began, began)
	w.checkPlain(t, m)
	m.to(t, sqldb.MigrateVerify)
	began = time.Now()
	m.killedInside(t, dir, sqldb.MigrateDrop, killed)
	m.killedAtRandom(t, dir, sqldb.MigrateDrop, killed)
	w.tell(t, sqldb.MigrateDrop, began, began)
	t.Logf("killed %v; %d patients and %d visits", killed, len(w.patients), len(w.visits))
	w.check(t, m.open(t))
}

// TestMigrateManyRows measures, with -rows=1000000 for one, how long each stage takes without anybody else.
func TestMigrateManyRows(t *testing.T) {
	if *migrateRows < 100_000 {
		t.Skip("for -rows of 100,000 and more")
	}
	m := newMoving(t, *migrateRows/4, newRing(t, tenantA, tenantB, tenantC))
	m.plan.BatchSize = 1000
	for _, stage := range []sqldb.MigrateStage{sqldb.MigrateExpand, sqldb.MigrateBackfill, sqldb.MigrateKeys, sqldb.MigrateVerify, sqldb.MigrateSwitch, "back", sqldb.MigrateSwitch, sqldb.MigrateDrop} {
		began := time.Now()
		report := &sqldb.MigrateReport{}
		if stage == "back" {
			var err error
			if report, err = sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
				t.Fatal(err)
			}
		} else {
			report = m.to(t, stage)
		}
		t.Logf("%s: %v; %d rows got a tenant, %d values sealed, %d compared; locked for %v", stage, time.Since(began).Round(time.Millisecond), report.Tenanted, report.Sealed, report.Verified, report.Locked.Round(time.Millisecond))
		if stage == "back" {
			sameDump(t, m.before, m.dump(t))
		}
	}
}

// killedAtRandom has a stage done by processes that are killed at random moments, until one is not.
func (m *moving) killedAtRandom(t *testing.T, dir string, stage sqldb.MigrateStage, killed map[string]int) {
	t.Helper()
	for range 3 {
		if !m.inProcess(t, dir, stage, somewhile, begun) {
			return
		}
		killed[string(stage)]++
	}
	if m.inProcess(t, dir, stage, nil, nil) {
		t.Fatal("nobody killed it, and it was")
	}
}

// killedInside kills a process in the middle of the stage's transaction, once it has the tables for itself: that cannot end, since
// it writes how far it has come last.
func (m *moving) killedInside(t *testing.T, dir string, stage sqldb.MigrateStage, killed map[string]int) {
	t.Helper()
	tx, err := m.raw.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`LOCK TABLE public.strongroom_migration IN EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	locked := func(ctx context.Context) bool {
		for ctx.Err() == nil {
			locked := false
			if err := tx.QueryRow(`SELECT EXISTS (SELECT FROM pg_locks WHERE relation = to_regclass('public.patients') AND mode = 'AccessExclusiveLock' AND granted)`).Scan(&locked); err != nil {
				t.Error(err)
				return true
			}
			if locked {
				return true
			}
			time.Sleep(time.Millisecond)
		}
		return false
	}
	if !m.inProcess(t, dir, stage, locked, begun) {
		t.Fatal("it ended, and could not")
	}
	killed[string(stage)]++
}

func begun(line string) bool { return line == migrating }

// backInProcess does the same on the way back.
func (m *moving) backInProcess(t *testing.T, dir string, killed map[string]int) {
	m.killedAtRandom(t, dir, "back", killed)
}

// unhurried are the options of a keyring that a machine may keep waiting, for which a migration would end.
func unhurried() *keys.Options {
	return &keys.Options{SuspendWithin: time.Minute, Timeout: time.Minute, InsecureWithoutAudit: true}
}

// somewhile waits for a moment.
func somewhile(ctx context.Context) bool {
	select {
	case <-time.After(time.Duration(rand.IntN(200+*migrateRows/100)) * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// inProcess has another process migrate up to a stage, and kills it once it says what at takes, and wait, if there is one, has
// waited and says so. It reports whether it was killed.
func (m *moving) inProcess(t *testing.T, dir string, stage sqldb.MigrateStage, wait func(context.Context) bool, at func(line string) bool) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMigrateProcess$", "-test.count=1", fmt.Sprintf("-rows=%d", *migrateRows))
	cmd.Env = append(os.Environ(), "STRONGROOM_TEST_MIGRATE="+dir, "STRONGROOM_TEST_STAGE="+string(stage), "STRONGROOM_TEST_DSN="+m.plan.DSN)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last []string // lines
	asked := false
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var waiting sync.WaitGroup
	for said := bufio.NewScanner(out); said.Scan(); {
		last = append(last[max(0, len(last)-30):], said.Text())
		if at == nil || asked || !at(said.Text()) {
			continue
		}
		asked = true
		if wait == nil {
			cmd.Process.Kill()
			continue
		}
		waiting.Go(func() {
			if wait(ctx) {
				cmd.Process.Kill()
			}
		})
	}
	err = cmd.Wait()
	stop()
	if waiting.Wait(); err == nil {
		return false
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		m.unlocked(t)
		return true
	}
	t.Fatalf("%v\n%s", err, strings.Join(last, "\n"))
	return false
}

// unlocked returns once the server has noticed that the process is gone: until then its lock keeps the next one out.
func (m *moving) unlocked(t *testing.T) {
	for {
		n := 0
		if err := m.super.QueryRow(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// migrating is what the process says when it begins.
const migrating = "migrating"

// TestMigrateProcess is no test: it is the process that TestMigrateWhileOthersWork kills.
func TestMigrateProcess(t *testing.T) {
	dir, stage := os.Getenv("STRONGROOM_TEST_MIGRATE"), os.Getenv("STRONGROOM_TEST_STAGE")
	if dir == "" {
		t.Skip("for a process of TestMigrateWhileOthersWork")
	}
	m := movingMigration(os.Getenv("STRONGROOM_TEST_DSN"), storage.Guard{Keys: newRingIn(t, dir, unhurried()), Audit: &recorder{}})
	m.BatchSize = max(50, *migrateRows/1000)
	m.Progress = func(p sqldb.MigrateProgress) { fmt.Println(p.Stage, p.Table, p.What, p.Rows, p.Total) }
	fmt.Println(migrating)
	var err error
	if stage == "back" {
		_, err = sqldb.RollbackMigration(t.Context(), m)
	} else {
		_, err = sqldb.Migrate(t.Context(), m, sqldb.MigrateStage(stage))
	}
	if err != nil {
		t.Fatal(err)
	}
}
