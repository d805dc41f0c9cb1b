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
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestResealWhileOthersWork: two tenants read and write while one's keys are rotated and its values re-sealed by a process
// that is killed at random points and started again. What was acknowledged is there at every moment, under the keys of its
// tenant, found by its blind index, and in the end nothing is left under an older key.
func TestResealWhileOthersWork(t *testing.T) {
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			dir := t.TempDir()
			e := newEnvOn(t, d, nil, newRingIn(t, dir, quick(), tenantA, tenantB, tenantC))
			const rows, writers = 60, 1
			e.admit(t, tenantA, 0, rows)
			e.admit(t, tenantB, 0, rows)
			ctx, done := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var written atomic.Int64
			var people []*worker
			for _, id := range []tenant.ID{tenantA, tenantB} {
				for n := range writers {
					w := &worker{env: e, id: id, first: n * rows / writers, rows: rows / writers, said: map[int]string{}}
					people = append(people, w)
					wg.Go(func() {
						for ctx.Err() == nil && !t.Failed() {
							w.work(t)
							written.Add(1)
						}
					})
				}
			}
			killed := 0
			for round := range 8 {
				switch round {
				case 0, 4:
					e.rotate(t, tenantA, keys.PurposeData, keys.PurposeIndex)
				}
				if e.resealInProcess(t, dir, time.Duration(rand.IntN(100))*time.Millisecond) {
					killed++
				}
			}
			for e.resealInProcess(t, dir, time.Minute) {
				t.Fatal("it does not end in a minute")
			}
			done()
			wg.Wait()
			if t.Failed() {
				return
			}
			if killed < 3 || written.Load() < 50 {
				t.Fatalf("killed %d times, %d writes: the test says nothing", killed, written.Load())
			}
			t.Logf("killed %d times, beside %d writes", killed, written.Load())
			report, err := sqldb.Reseal(as(tenantA), e.db, nil)
			if err != nil || len(report.Left) != 0 {
				t.Fatalf("%+v, %v", report, err)
			}
			if n := under(e.raws(t, tenantA)); len(n) != 1 {
				t.Errorf("values by key: %v", n)
			}
			for _, w := range people {
				w.check(t)
			}
		})
	}
}

// worker writes some rows of a tenant, which nobody else writes, and reads them.
type worker struct {
	*env
	id          tenant.ID
	first, rows int
	said        map[int]string // the number that was acknowledged last
	turn        int
}

func (w *worker) work(t *testing.T) {
	w.turn++
	i := w.first + rand.IntN(w.rows)
	text := fmt.Sprintf("%s-%d-%d", w.id, i, w.turn)
	ctx := as(w.id)
	err := againWhileKeysAreAway(func() error {
		if w.turn%4 != 0 {
			_, err := w.db.ExecContext(ctx, `UPDATE patients SET ssn = $1, name = $2 WHERE id = $3`, text, text, i)
			return err
		}
		tx, err := w.db.BeginTx(ctx, nil) // that is open for a while
		if err != nil {
			return err
		}
		if _, err = tx.ExecContext(ctx, `UPDATE patients SET ssn = $1, name = $2 WHERE id = $3`, text, text, i); err != nil {
			tx.Rollback()
			return err
		}
		return tx.Commit()
	})
	if err != nil {
		t.Errorf("a write failed: %v", err)
		return
	}
	w.said[i] = text
	w.read(t, i)
}

// againWhileKeysAreAway does what is refused while the key store does not answer, which on a busy machine it may not within the
// bounds of these tests, until it does. Nothing was sent then.
func againWhileKeysAreAway(do func() error) error {
	for {
		if err := do(); !errors.Is(err, keys.ErrUnavailable) {
			return err
		}
	}
}

func (w *worker) read(t *testing.T, i int) {
	var rows [][]any
	err := againWhileKeysAreAway(func() (err error) {
		rows, err = w.tryRows(as(w.id), `SELECT id, ssn, name FROM patients WHERE ssn = $1`, w.said[i])
		return err
	})
	if err != nil || len(rows) != 1 || rows[0][0] != int64(i) || rows[0][1] != w.said[i] || rows[0][2] != w.said[i] {
		t.Errorf("patient %d of %s, %q: %v, %v", i, w.id, w.said[i], rows, err)
	}
}

func (w *worker) check(t *testing.T) {
	for i := range w.said {
		w.read(t, i)
	}
	for i := w.first; i < w.first+w.rows; i++ {
		if _, changed := w.said[i]; !changed {
			w.findsAll(t, w.id, i, i+1)
		}
	}
}

// resealInProcess has another process re-seal tenant A's values, and kills it that long after it began, if it is not over. It
// reports whether it was killed.
func (e *env) resealInProcess(t *testing.T, dir string, after time.Duration) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestResealProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), "STRONGROOM_TEST_RESEAL="+dir, "STRONGROOM_TEST_DSN="+e.dsn)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	said.Scan()
	if said.Text() != resealing {
		t.Errorf("the process said %q", said.Text())
	}
	kill := time.AfterFunc(after, func() { cmd.Process.Kill() })
	defer kill.Stop()
	var rest strings.Builder
	for said.Scan() {
		fmt.Fprintln(&rest, said.Text())
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

// resealing is what the process says when it begins.
const resealing = "re-sealing"

// TestResealProcess is no test: it is the process that TestResealWhileOthersWork kills.
func TestResealProcess(t *testing.T) {
	dir := os.Getenv("STRONGROOM_TEST_RESEAL")
	if dir == "" {
		t.Skip("for a process of TestResealWhileOthersWork")
	}
	if _, err := os.Stat(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	guard := storage.Guard{Keys: newRingIn(t, dir, quick()), Audit: &recorder{}}
	var db *sql.DB
	db, err := sqldb.Open(t.Context(), os.Getenv("STRONGROOM_TEST_DSN"), clinicSchema, guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fmt.Println(resealing)
	report, err := sqldb.Reseal(as(tenantA), db, &sqldb.ResealOptions{BatchSize: 5})
	if err != nil || len(report.Duplicates) > 0 {
		t.Fatal(strings.TrimSpace(fmt.Sprintf("%+v, %v", report, err)))
	}
}
