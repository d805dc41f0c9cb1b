//go:build unix

package sqldb_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestMigrateSQLiteWhileOthersWork: another connection reads and writes, also with REPLACE, while the file is moved in by a
// process that is killed in every stage, and started again. Then every tenant reads through the guard what was acknowledged;
// and the way back, killed too, leads to that as plaintexts. With -rows=1000000 and -v it says what each stage took.
func TestMigrateSQLiteWhileOthersWork(t *testing.T) {
	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) { liteWhileOthersWork(t, mode) })
	}
}

func liteWhileOthersWork(t *testing.T, mode string) {
	dir := t.TempDir()
	m := newLite(t, *migrateRows/4, newRingIn(t, dir, unhurried(), tenantA, tenantB, tenantC))
	mustExec(t, m.raw, `PRAGMA journal_mode = `+mode)
	w := &liteWriter{db: m.raw, names: map[int64]string{}, clinics: map[int64]string{}}
	rows, err := m.raw.Query(`SELECT id, name, clinic FROM patients`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id int64
		var name, clinic string
		if err := rows.Scan(&id, &name, &clinic); err != nil {
			t.Fatal(err)
		}
		w.names[id], w.clinics[id] = name, clinic
		w.last = max(w.last, id)
	}
	rows.Close()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer func() {
		stop()
		wg.Wait()
	}()
	wg.Go(func() { w.work(ctx, t) })
	killed := map[string]int{}
	kill := func(stage sqldb.MigrateStage) {
		began := time.Now()
		for _, after := range []int{1, 2 + rand.IntN(40)} { // before its first step, and somewhere
			if m.liteInProcess(t, dir, stage, after) {
				killed[string(stage)]++
			}
		}
		last := time.Now()
		if m.liteInProcess(t, dir, stage, 0) {
			t.Fatal("nobody killed it, and it was")
		}
		w.Lock()
		defer w.Unlock()
		t.Logf("%s: %v, the last process %v; the application has written %d times, its slowest write was %v", stage, time.Since(began).Round(time.Millisecond), time.Since(last).Round(time.Millisecond), w.writes, w.slowest.Round(time.Millisecond))
		w.slowest = 0
	}
	for _, stage := range []sqldb.MigrateStage{sqldb.MigrateExpand, sqldb.MigrateBackfill, sqldb.MigrateKeys, sqldb.MigrateVerify} {
		kill(stage)
	}
	kill(sqldb.MigrateSwitch)
	stop() // what came after the switch was refused
	wg.Wait()
	if t.Failed() {
		return
	}
	if w.writes < 20 || len(killed) < 5 {
		t.Errorf("%d writes, killed %v: the test says nothing", w.writes, killed)
	}
	w.checkGuarded(t, m.openLite(t))
	kill("back")
	w.checkPlain(t)
	m.to(t, sqldb.MigrateVerify)
	kill(sqldb.MigrateDrop)
	w.checkGuarded(t, m.openLite(t))
	t.Logf("killed %v", killed)
}

// liteWriter is the application. What is nil has been deleted.
type liteWriter struct {
	sync.Mutex
	db      *sql.DB
	names   map[int64]string
	clinics map[int64]string
	last    int64
	writes  int
	slowest time.Duration
}

// errSwitched ends the application's work: nothing would keep it from rows that are the guard's.
var errSwitched = errors.New("the tables are the guard's")

// work writes until the file is no longer the application's.
func (w *liteWriter) work(ctx context.Context, t *testing.T) {
	for turn := 0; ctx.Err() == nil && !t.Failed(); turn++ {
		began := time.Now()
		err := w.turn(turn)
		if errors.Is(err, errSwitched) {
			return
		}
		if err != nil {
			t.Errorf("the application's write %d failed: %v", turn%7, err)
		}
		w.Lock()
		w.writes, w.slowest = w.writes+1, max(w.slowest, time.Since(began))
		w.Unlock()
		time.Sleep(5 * time.Millisecond) // where the journal is deleted there is no turn for others: they try again now and then
	}
}

// turn is a transaction that has the file's write lock from its beginning.
func (w *liteWriter) turn(turn int) error {
	tx, err := w.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var switched bool
	if err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM pragma_table_info('patients') WHERE name = 'tenant_id')`).Scan(&switched); err != nil {
		return err
	}
	if switched {
		return errSwitched
	}
	clinic := []string{"clinic", "Clinic", "clinic-b"}[rand.IntN(3)]
	name := fmt.Sprintf("written %d", turn)
	id := 1 + rand.Int64N(w.last)
	_, there := w.names[id]
	done := func() {}
	do := func(query string, args ...any) {
		if err == nil {
			_, err = tx.Exec(query, args...)
		}
	}
	switch what := turn % 7; {
	case what == 0 || !there: // a patient, and a visit that comes before it
		id = w.last + 1
		do(`INSERT INTO visits (patient, code, note) VALUES (?, 'own', ?)`, id, name)
		do(`INSERT INTO patients (id, clinic, name) VALUES (?, ?, ?)`, id, clinic, name)
		done = func() { w.last, w.names[id], w.clinics[id] = id, name, clinic }
	case what == 1: // renamed
		do(`UPDATE patients SET name = ? WHERE id = ?`, name, id)
		done = func() { w.names[id] = name }
	case what == 2 || what == 3: // moves to another clinic, with its visits and their drugs; the migration refuses mothers elsewhere
		do(`UPDATE patients SET clinic = ?, mother = NULL WHERE id = ?`, clinic, id)
		do(`UPDATE patients SET mother = NULL WHERE mother = ?`, id)
		done = func() { w.clinics[id] = clinic }
	case what == 4: // goes
		do(`UPDATE patients SET mother = NULL WHERE mother = ?`, id)
		do(`DELETE FROM patients WHERE id = ?`, id)
		done = func() {
			delete(w.names, id)
			delete(w.clinics, id)
		}
	case what == 5: // a visit takes another's place, of which no trigger is told
		do(`INSERT INTO visits (patient, code, note) VALUES (?, 'own', ?)`, id, name)
	default: // takes its own place
		do(`INSERT OR REPLACE INTO patients (id, clinic, name, ward) VALUES (?, ?, ?, ?)`, id, w.clinics[id], name, name)
		done = func() { w.names[id] = name }
	}
	if err == nil {
		err = tx.Commit()
	}
	if err == nil {
		done()
	}
	return err
}

func (w *liteWriter) checkGuarded(t *testing.T, e *env) {
	t.Helper()
	patients := 0
	for _, id := range []tenant.ID{tenantA, tenantB, tenantC} {
		for _, row := range e.rows(t, id, `SELECT id, clinic, name, (SELECT count(*) FROM visits v WHERE v.patient = patients.id) FROM patients`) {
			patients++
			n := row[0].(int64)
			if w.clinics[n] != id.String() || row[1] != id.String() || w.names[n] != row[2] {
				t.Errorf("%s reads %v, and %q in %q was acknowledged", id, row, w.names[n], w.clinics[n])
			}
		}
	}
	if patients != len(w.names) {
		t.Errorf("%d patients are read, and %d were acknowledged", patients, len(w.names))
	}
	e.db.Close()
}

func (w *liteWriter) checkPlain(t *testing.T) {
	t.Helper()
	patients := 0
	rows, err := w.db.Query(`SELECT id, clinic, name FROM patients`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var clinic, name string
		if err := rows.Scan(&id, &clinic, &name); err != nil {
			t.Fatal(err)
		}
		if patients++; w.clinics[id] != clinic || w.names[id] != name {
			t.Errorf("%d is %q in %q, and %q in %q was acknowledged", id, name, clinic, w.names[id], w.clinics[id])
		}
	}
	if patients != len(w.names) {
		t.Errorf("%d patients are there, and %d were acknowledged", patients, len(w.names))
	}
}

// liteInProcess has another process migrate up to a stage, and kills it at the step of some number, if there is one; it reports
// whether it was killed. A way back is one transaction, in which each batch counts.
func (m *moving) liteInProcess(t *testing.T, dir string, stage sqldb.MigrateStage, after int) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMigrateSQLiteProcess$", "-test.count=1", fmt.Sprintf("-rows=%d", *migrateRows))
	cmd.Env = append(os.Environ(), "STRONGROOM_TEST_MIGRATE="+dir, "STRONGROOM_TEST_STAGE="+string(stage), "STRONGROOM_TEST_DSN="+m.dsn)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var rest strings.Builder
	steps := 0
	for said := bufio.NewScanner(out); said.Scan(); {
		fmt.Fprintln(&rest, said.Text())
		if strings.HasPrefix(said.Text(), "step ") {
			if steps++; steps == after {
				cmd.Process.Kill()
			}
		}
	}
	if err = cmd.Wait(); err == nil {
		return false
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	t.Fatalf("%v\n%s", err, rest.String())
	return false
}

// TestMigrateSQLiteProcess is no test: it is the process that TestMigrateSQLiteWhileOthersWork kills.
func TestMigrateSQLiteProcess(t *testing.T) {
	dir, stage := os.Getenv("STRONGROOM_TEST_MIGRATE"), os.Getenv("STRONGROOM_TEST_STAGE")
	if dir == "" {
		t.Skip("for a process of TestMigrateSQLiteWhileOthersWork")
	}
	m := liteMigration(os.Getenv("STRONGROOM_TEST_DSN"), storage.Guard{Keys: newRingIn(t, dir, unhurried()), Audit: &recorder{}})
	m.BatchSize = max(50, *migrateRows/1000)
	m.Progress = func(p sqldb.MigrateProgress) { fmt.Println("step", p.Stage, p.Table, p.What, p.Rows, p.Total) }
	fmt.Println("step", migrating)
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
