//go:build unix

package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// patientRow is what the application was told that it wrote.
type patientRow struct {
	clinic, name string
	ssn          sql.NullString
}

type visitRow struct {
	patient int64
	note    sql.NullString
}

// mover is the application: it writes without a guard, and remembers what was acknowledged.
type mover struct {
	sync.Mutex
	db       *sql.DB
	patients map[int64]patientRow
	visits   map[int64]visitRow
	of       map[int64][]int64 // the visits of the patients whom workers admitted
	own      [2][]int64        // patients that a worker admitted, with nobody's mother among them
	old      [2][]int64        // patients of before, each of which is one worker's
	turns    [2]int            // that a worker has ended
	writes   int
	reads    int
	slowest  time.Duration // of the application's writes since somebody asked
}

func newMover(t *testing.T, m *moving) *mover {
	w := &mover{db: m.app, patients: map[int64]patientRow{}, visits: map[int64]visitRow{}, of: map[int64][]int64{}}
	w.load(t, m.super, w.patients, w.visits)
	for id := range w.patients {
		w.old[id%2] = append(w.old[id%2], id)
	}
	return w
}

func (w *mover) load(t *testing.T, db *sql.DB, patients map[int64]patientRow, visits map[int64]visitRow) {
	t.Helper()
	rows, err := db.Query(`SELECT id, clinic, name, ssn FROM patients`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var p patientRow
		if err := rows.Scan(&id, &p.clinic, &p.name, &p.ssn); err != nil {
			t.Fatal(err)
		}
		patients[id] = p
	}
	more, err := db.Query(`SELECT id, patient, note FROM visits`)
	if err != nil {
		t.Fatal(err)
	}
	defer more.Close()
	for more.Next() {
		var id int64
		var v visitRow
		if err := more.Scan(&id, &v.patient, &v.note); err != nil {
			t.Fatal(err)
		}
		visits[id] = v
	}
}

func (w *mover) count() int {
	w.Lock()
	defer w.Unlock()
	return w.writes
}

// work writes until the database is no longer the application's.
func (w *mover) work(ctx context.Context, t *testing.T, n int) {
	for turn := 0; ctx.Err() == nil && !t.Failed(); turn++ {
		text := fmt.Sprintf("written %d by %d", turn, n)
		began := time.Now()
		err := w.turn(turn%7, n, text)
		w.Lock()
		if w.turns[n]++; err == nil {
			w.slowest = max(w.slowest, time.Since(began))
		}
		w.Unlock()
		if err != nil {
			if w.switched() {
				<-ctx.Done()
				return
			}
			t.Errorf("the application's write %d failed: %v", turn%7, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// look reads what a worker wrote, which nobody else changes, until the database is no longer the application's.
func (w *mover) look(ctx context.Context, t *testing.T, n int) {
	for ctx.Err() == nil && !t.Failed() {
		id := w.mine(n)
		w.Lock()
		before, there := w.patients[id]
		w.Unlock()
		var got patientRow
		err := w.db.QueryRow(`SELECT p.clinic, p.name, p.ssn FROM patients p WHERE p.id = $1 AND EXISTS (SELECT FROM visits v WHERE v.patient = p.id)`, id).Scan(&got.clinic, &got.name, &got.ssn)
		if there && (err != nil || got != before) && !w.changed(ctx, n, id, before) {
			if ctx.Err() == nil && !w.switched() {
				t.Errorf("the application reads the patient %d as %+v, %v, and wrote %+v", id, got, err, before)
			}
			<-ctx.Done()
			return
		}
		w.Lock()
		w.reads++
		w.Unlock()
		time.Sleep(time.Millisecond)
	}
}

// changed tells whether a patient is another than before once what the worker does at this moment is done.
func (w *mover) changed(ctx context.Context, n int, id int64, before patientRow) bool {
	turn := -1
	for ctx.Err() == nil {
		w.Lock()
		now, there := w.patients[id]
		turns := w.turns[n]
		w.Unlock()
		switch {
		case !there || now != before:
			return true
		case turn >= 0 && turns > turn || w.switched():
			return false
		case turn < 0:
			turn = turns
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// tell says what a stage took since it began and its last process did, and what the application did meanwhile.
func (w *mover) tell(t *testing.T, stage sqldb.MigrateStage, began, last time.Time) {
	w.Lock()
	defer w.Unlock()
	t.Logf("%s: %v, the last process %v; the application has written %d times and read %d, its slowest write was %v",
		stage, time.Since(began).Round(time.Millisecond), time.Since(last).Round(time.Millisecond), w.writes, w.reads, w.slowest.Round(time.Millisecond))
	w.slowest = 0
}

// switched tells whether the tables are the guard's.
func (w *mover) switched() (yes bool) {
	err := w.db.QueryRow(`SELECT relrowsecurity FROM pg_class WHERE oid = 'patients'::regclass`).Scan(&yes)
	return err == nil && yes
}

// mine is one of the patients that a worker admitted itself, or nothing.
func (w *mover) mine(n int) int64 {
	w.Lock()
	defer w.Unlock()
	if len(w.own[n]) == 0 {
		return 0
	}
	return w.own[n][rand.IntN(len(w.own[n]))]
}

func (w *mover) said(do func()) {
	w.Lock()
	defer w.Unlock()
	do()
	w.writes++
}

// one runs a statement that changes one row. Behind row-level security it finds none.
func (w *mover) one(query string, args ...any) error {
	res, err := w.db.Exec(query, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("%d rows were changed, %v", n, err)
	}
	return nil
}

func (w *mover) turn(what, n int, text string) error {
	clinic := []string{"clinic", "Clinic", "clinic-b"}[rand.IntN(3)]
	id := w.mine(n)
	switch {
	case what == 0 || id == 0: // a patient with a visit
		tx, err := w.db.Begin()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		var visit int64
		if err := tx.QueryRow(`INSERT INTO patients (clinic, name, ssn) VALUES ($1, $2, $3) RETURNING id`, clinic, text, text).Scan(&id); err != nil {
			return err
		}
		if err := tx.QueryRow(`INSERT INTO visits (patient, code, note) VALUES ($1, 'own', $2) RETURNING id`, id, text).Scan(&visit); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		w.said(func() {
			w.patients[id], w.visits[visit] = patientRow{clinic, text, sql.NullString{String: text, Valid: true}}, visitRow{id, sql.NullString{String: text, Valid: true}}
			w.own[n], w.of[id] = append(w.own[n], id), []int64{visit}
		})
	case what == 1: // one of the old rows
		old := w.old[n][rand.IntN(len(w.old[n]))]
		if err := w.one(`UPDATE patients SET name = $1 WHERE id = $2`, "old "+text, old); err != nil {
			return err
		}
		w.said(func() { p := w.patients[old]; p.name = "old " + text; w.patients[old] = p })
	case what == 2: // moves to another clinic, with its visits
		if err := w.one(`UPDATE patients SET clinic = $1 WHERE id = $2`, clinic, id); err != nil {
			return err
		}
		w.said(func() { p := w.patients[id]; p.clinic = clinic; w.patients[id] = p })
	case what == 3: // moves and is renamed at once
		if err := w.one(`UPDATE patients SET clinic = $1, name = $2, ssn = NULL WHERE id = $3`, clinic, text, id); err != nil {
			return err
		}
		w.said(func() { w.patients[id] = patientRow{clinic: clinic, name: text} })
	case what == 4: // gets another number, which its visits follow
		number := 10_000_000 + rand.Int64N(1<<40)
		if err := w.one(`UPDATE patients SET id = $1 WHERE id = $2`, number, id); err != nil {
			return err
		}
		w.said(func() {
			w.patients[number], w.of[number] = w.patients[id], w.of[id]
			for _, k := range w.of[id] {
				w.visits[k] = visitRow{number, w.visits[k].note}
			}
			delete(w.patients, id)
			delete(w.of, id)
			for i := range w.own[n] {
				if w.own[n][i] == id {
					w.own[n][i] = number
				}
			}
		})
	case what == 5: // goes, with its visits
		if err := w.one(`DELETE FROM patients WHERE id = $1`, id); err != nil {
			return err
		}
		w.said(func() {
			for _, k := range w.of[id] {
				delete(w.visits, k)
			}
			delete(w.patients, id)
			delete(w.of, id)
			for i := range w.own[n] {
				if w.own[n][i] == id {
					w.own[n] = append(w.own[n][:i], w.own[n][i+1:]...)
					break
				}
			}
		})
	default:
		var visit int64
		err := w.db.QueryRow(`INSERT INTO visits (patient, code, note) VALUES ($1, 'kept', $2) ON CONFLICT (patient, code) DO UPDATE SET note = excluded.note RETURNING id`, id, text).Scan(&visit)
		if err != nil {
			return err
		}
		w.said(func() {
			if _, again := w.visits[visit]; !again {
				w.of[id] = append(w.of[id], visit)
			}
			w.visits[visit] = visitRow{id, sql.NullString{String: text, Valid: true}}
		})
	}
	return nil
}

// check compares what each tenant reads through the guard with what was acknowledged.
func (w *mover) check(t *testing.T, e *env) {
	t.Helper()
	patients, visits := 0, 0
	for _, id := range []tenant.ID{tenantA, tenantB, tenantC} {
		for _, row := range e.rows(t, id, `SELECT id, clinic, name, ssn FROM patients`) {
			patients++
			want, ok := w.patients[row[0].(int64)]
			ssn, _ := row[3].(string)
			if !ok || want.clinic != id.String() || row[1] != want.clinic || row[2] != want.name || ssn != want.ssn.String || (row[3] != nil) != want.ssn.Valid {
				t.Errorf("%s reads the patient %v, and %+v was acknowledged", id, row, want)
			}
		}
		for _, row := range e.rows(t, id, `SELECT id, patient, note FROM visits`) {
			visits++
			want, ok := w.visits[row[0].(int64)]
			note, _ := row[2].(string)
			if !ok || w.patients[want.patient].clinic != id.String() || row[1] != want.patient || note != want.note.String || (row[2] != nil) != want.note.Valid {
				t.Errorf("%s reads the visit %v, and %+v was acknowledged", id, row, want)
			}
		}
	}
	if patients != len(w.patients) || visits != len(w.visits) {
		t.Errorf("%d patients and %d visits are read, and %d and %d were acknowledged", patients, visits, len(w.patients), len(w.visits))
	}
}

// checkPlain compares what is there without a guard.
func (w *mover) checkPlain(t *testing.T, m *moving) {
	t.Helper()
	patients, visits := map[int64]patientRow{}, map[int64]visitRow{}
	w.load(t, m.super, patients, visits)
	for id, want := range w.patients {
		if patients[id] != want {
			t.Errorf("the patient %d is %+v, and %+v was acknowledged", id, patients[id], want)
		}
	}
	for id, want := range w.visits {
		if visits[id] != want {
			t.Errorf("the visit %d is %+v, and %+v was acknowledged", id, visits[id], want)
		}
	}
	if len(patients) != len(w.patients) || len(visits) != len(w.visits) {
		t.Errorf("%d patients and %d visits are there, and %d and %d were acknowledged", len(patients), len(visits), len(w.patients), len(w.visits))
	}
}
