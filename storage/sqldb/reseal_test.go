package sqldb_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// quick are the options of a keyring whose rotations do not take long. A question to its store has nearly as much time as SuspendWithin: on a
// machine that does much else a file is not always read in 300 ms. Where the clock stands still it takes no time.
func quick() *keys.Options {
	return &keys.Options{SuspendWithin: time.Second, InsecureWithoutAudit: true}
}

// onBothQuickly is onBoth with such a keyring. On SQLite, which is in this process, the clock stands still while anybody is at work.
func onBothQuickly(t *testing.T, test func(*testing.T, *env)) {
	on := func(t *testing.T, d dialect.Dialect) {
		test(t, newEnvOn(t, d, nil, newRingIn(t, t.TempDir(), quick(), tenantA, tenantB, tenantC)))
	}
	t.Run(string(dialect.SQLite), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { on(t, dialect.SQLite) })
	})
	t.Run(string(dialect.PostgreSQL), func(t *testing.T) { on(t, dialect.PostgreSQL) })
}

func (e *env) rotate(t *testing.T, id tenant.ID, purposes ...keys.Purpose) {
	t.Helper()
	for _, p := range purposes {
		if err := e.ring.Rotate(t.Context(), id, p, "yearly"); err != nil {
			t.Fatal(err)
		}
	}
}

// key returns the id of the oldest key of a purpose.
func (e *env) oldest(t *testing.T, id tenant.ID, p keys.Purpose) uint32 {
	t.Helper()
	all, err := e.ring.Versions(t.Context(), id, p)
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	return all[0].ID
}

// admit inserts patients from one number to another. Every third has no name, and every fifth no birthday.
func (e *env) admit(t *testing.T, id tenant.ID, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		var name, born any = fmt.Sprintf(" Patient %d", i), "1912-06-23"
		if i%3 == 0 {
			name = nil
		}
		if i%5 == 0 {
			born = nil
		}
		e.exec(t, id, `INSERT INTO patients (id, name, ssn, born, ward) VALUES ($1, $2, $3, $4, 'A')`, i, name, ssn(i), born)
	}
}

func ssn(i int) string { return fmt.Sprintf("%03d-00-0001", i) }

// raws are the stored bytes of a tenant's patients.
func (e *env) raws(t *testing.T, id tenant.ID) [][]any {
	t.Helper()
	db := e.raw
	if e.dialect == dialect.PostgreSQL { // whose owner is behind row-level security too
		db = openBare(t, e.super)
	}
	rows, err := db.Query(`SELECT id, name, name_index, ssn, ssn_index, born, ward FROM patients WHERE tenant_id = $1 ORDER BY id`, id.String())
	if err != nil {
		t.Fatal(err)
	}
	out, err := collect(rows)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rawExec changes rows behind the guard's back.
func (e *env) rawExec(t *testing.T, query string) {
	t.Helper()
	db := e.raw
	if e.dialect == dialect.PostgreSQL {
		db = openBare(t, e.super)
	}
	mustExec(t, db, query)
}

// under counts a tenant's sealed values by key.
func under(rows [][]any) map[uint32]int64 {
	counts := map[uint32]int64{}
	for _, row := range rows {
		for _, column := range []int{1, 3, 5} {
			if ciphertext, ok := row[column].([]byte); ok {
				counts[binary.BigEndian.Uint32(ciphertext[1:])]++
			}
		}
	}
	return counts
}

// findsAll tells that patients are found by their blind indexes, with their values.
func (e *env) findsAll(t *testing.T, id tenant.ID, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		rows := e.rows(t, id, `SELECT id, name, born FROM patients WHERE ssn = $1`, ssn(i))
		if len(rows) != 1 || rows[0][0] != int64(i) {
			t.Fatalf("patient %d of %s: %v", i, id, rows)
		}
		if want := fmt.Sprintf(" Patient %d", i); i%3 != 0 && rows[0][1] != want {
			t.Errorf("patient %d of %s is called %v", i, id, rows[0][1])
		}
		if n := e.rows(t, id, `SELECT count(*) FROM patients WHERE name = $1`, fmt.Sprintf("PATIENT %d", i))[0][0]; i%3 != 0 && n != int64(1) {
			t.Errorf("patient %d of %s is found %v times by name", i, id, n)
		}
	}
}

func TestReseal(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 40)
		e.admit(t, tenantB, 0, 40)
		data, index := e.oldest(t, tenantA, keys.PurposeData), e.oldest(t, tenantA, keys.PurposeIndex)
		e.rotate(t, tenantA, keys.PurposeData, keys.PurposeIndex)
		e.admit(t, tenantA, 40, 50)
		before, others := e.raws(t, tenantA), e.raws(t, tenantB)
		stale := under(before)[data]
		e.findsAll(t, tenantA, 0, 50)

		dry, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{DryRun: true})
		if err != nil || dry.Resealed+dry.Reindexed != 0 {
			t.Fatalf("%+v, %v", dry, err)
		}
		indexed := int64(26 + 40) // names that are there, and numbers
		if n := remaining(t, dry, keys.PurposeData); n != stale || n == 0 {
			t.Errorf("%d sealed values are left, and the rows hold %d", n, stale)
		}
		if n := remaining(t, dry, keys.PurposeIndex); n != indexed {
			t.Errorf("%d index values are left, want %d", n, indexed)
		}
		for _, l := range dry.Left {
			if want := map[keys.Purpose]uint32{keys.PurposeData: data, keys.PurposeIndex: index}[l.Purpose]; l.Key != want || l.Table != "patients" {
				t.Errorf("%+v, want key %d", l, want)
			}
		}
		if fmt.Sprint(e.raws(t, tenantA)) != fmt.Sprint(before) {
			t.Fatal("a dry run changed something")
		}

		e.log.take()
		var last sqldb.ResealProgress
		report, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{BatchSize: 7, Progress: func(p sqldb.ResealProgress) {
			if p.Table == "patients" && !p.Counting {
				last = p
			}
		}})
		if err != nil || report.Resealed != stale || report.Reindexed != indexed || len(report.Left) != 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		if last.Rows != 50 || last.Total != 50 || last.Resealed != stale {
			t.Errorf("progress %+v", last)
		}
		checkResealTrail(t, e.log.take())
		after := e.raws(t, tenantA)
		if n := under(after); len(n) != 1 || n[data] != 0 {
			t.Errorf("values by key: %v", n)
		}
		if fmt.Sprint(e.raws(t, tenantB)) != fmt.Sprint(others) {
			t.Error("another tenant's rows were changed")
		}
		e.findsAll(t, tenantA, 0, 50)
		e.findsAll(t, tenantB, 0, 40)

		again, err := sqldb.Reseal(as(tenantA), e.db, nil)
		if err != nil || again.Resealed+again.Reindexed != 0 || fmt.Sprint(e.raws(t, tenantA)) != fmt.Sprint(after) {
			t.Errorf("again: %+v, %v", again, err)
		}
	})
}

// checkResealTrail: each batch is recorded before it, as what it is, and no value is.
func checkResealTrail(t *testing.T, events []audit.Event) {
	t.Helper()
	intents := map[string]bool{}
	batches, rows := 0, int64(0)
	for _, ev := range events {
		if ev.Tenant != tenantA || ev.Actor != "dr.adams" || ev.Purpose != "treatment" {
			t.Errorf("%+v", ev)
		}
		if strings.Contains(fmt.Sprintf("%+v", ev), "Patient 1") {
			t.Errorf("a value is in the trail: %+v", ev)
		}
		switch {
		case ev.Phase == audit.Intent:
			intents[ev.Correlation] = true
		case !intents[ev.Correlation]:
			t.Errorf("an outcome without its intent: %+v", ev)
		case ev.Code == audit.CodeReseal && slices.Equal(ev.Tables, []string{"patients"}):
			if batches++; !slices.Contains(ev.SealedColumns, "patients.ssn") {
				t.Errorf("%+v", ev)
			}
			rows += ev.Rows
		}
	}
	if batches != 8 || rows != 40 {
		t.Errorf("%d batches changed %d rows", batches, rows)
	}
}

// A pool of one connection serves others between batches.
func TestResealSharesThePool(t *testing.T) {
	e := newEnvOn(t, dialect.SQLite, nil, newRingIn(t, t.TempDir(), quick(), tenantA, tenantB, tenantC))
	e.admit(t, tenantA, 0, 30)
	e.rotate(t, tenantA, keys.PurposeData)
	e.db.SetMaxOpenConns(1)
	read := 0
	report, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{BatchSize: 7, Progress: func(sqldb.ResealProgress) {
		read += len(e.rows(t, tenantA, `SELECT id FROM patients WHERE ssn = $1`, ssn(3)))
	}})
	if err != nil || len(report.Left) != 0 || read < 5 {
		t.Errorf("%+v, %v, %d read", report, err, read)
	}
}

// With one purpose the other's values stay as they are.
func TestResealOnePurpose(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 20)
		e.exec(t, tenantA, `INSERT INTO visits (id, patient_id, note) VALUES (1, 1, 'well')`)
		e.rotate(t, tenantA, keys.PurposeData, keys.PurposeIndex)
		before := e.raws(t, tenantA)
		stale := under(before)[e.oldest(t, tenantA, keys.PurposeData)]
		report, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{Purposes: []keys.Purpose{keys.PurposeData}, Tables: []string{"patients"}, BatchSize: 3, RowsPerSecond: 100_000})
		if err != nil || report.Resealed != stale || report.Reindexed != 0 || len(report.Left) != 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		after := e.raws(t, tenantA)
		for i := range after {
			if !bytes.Equal(after[i][4].([]byte), before[i][4].([]byte)) || bytes.Equal(after[i][3].([]byte), before[i][3].([]byte)) {
				t.Fatalf("row %d", i)
			}
		}
		report, err = sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{Purposes: []keys.Purpose{keys.PurposeIndex}})
		if err != nil || report.Resealed != 0 || report.Reindexed != 13+20 {
			t.Fatalf("%+v, %v", report, err)
		}
		if left, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{DryRun: true}); err != nil || remaining(t, left, keys.PurposeData) != 1 || remaining(t, left, keys.PurposeIndex) != 0 {
			t.Errorf("%+v, %v", left, err)
		}
		e.findsAll(t, tenantA, 0, 20)
	})
}

// What somebody stored between the read and the write of a batch stands.
func TestResealKeepsWhatWasWrittenMeanwhile(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 10)
		e.rotate(t, tenantA, keys.PurposeData, keys.PurposeIndex)
		// On PostgreSQL a transaction holds a row for as long as it is open; SQLite has one writer at a time.
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ssn = 'changed' WHERE id = 4`); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		var report sqldb.ResealReport
		passed := make(chan struct{}, 100)
		go func() {
			var err error
			report, err = sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{BatchSize: 4, Progress: func(p sqldb.ResealProgress) {
				if p.Table == "patients" && p.Counting {
					passed <- struct{}{}
				}
			}})
			done <- err
		}()
		if e.dialect == dialect.PostgreSQL {
			<-passed // over all others, and it waits for none
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || len(report.Left) != 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		if rows := e.rows(t, tenantA, `SELECT id FROM patients WHERE ssn = 'changed'`); len(rows) != 1 || rows[0][0] != int64(4) {
			t.Errorf("the write was lost: %v", rows)
		}
	})
}

// A value that does not open is left, is an alert, and keeps nothing else from being moved.
func TestResealLeavesWhatDoesNotOpen(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 10)
		e.admit(t, tenantB, 0, 10)
		e.rawExec(t, `UPDATE patients SET ssn = (SELECT ssn FROM patients p WHERE p.tenant_id = 'Clinic' AND p.id = 3) WHERE tenant_id = 'clinic' AND id = 2`)
		planted := e.raws(t, tenantA)[2]
		e.rotate(t, tenantA, keys.PurposeData)
		e.log.take()
		report, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{BatchSize: 4})
		if !errors.Is(err, storage.ErrIsolation) || !strings.Contains(err.Error(), "patients.ssn") {
			t.Errorf("%+v, %v", report, err)
		}
		alerts := 0
		for _, ev := range e.log.take() {
			if ev.Code == audit.CodeIsolation {
				alerts++
			}
		}
		if alerts != 1 {
			t.Errorf("%d alerts", alerts)
		}
		if got := e.raws(t, tenantA)[2]; !bytes.Equal(got[3].([]byte), planted[3].([]byte)) || bytes.Equal(got[1].([]byte), planted[1].([]byte)) {
			t.Error("the planted value was touched, or another one of its row was not")
		}
		if n := remaining(t, report, keys.PurposeData); n != 1 {
			t.Errorf("%d are left: %+v", n, report.Left)
		}
	})
}

func TestResealIsRefused(t *testing.T) {
	e := newEnvOn(t, dialect.SQLite, nil, newRingIn(t, t.TempDir(), quick(), tenantA, tenantB, tenantC))
	e.admit(t, tenantA, 0, 5)
	e.rotate(t, tenantA, keys.PurposeData, keys.PurposeIndex)
	before := fmt.Sprint(e.raws(t, tenantA))
	var asked []tenant.Action
	guard := e.guard
	guard.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
		asked = append(asked, a)
		if a.Verb == tenant.Write {
			return errors.New("only readers")
		}
		return nil
	})
	reading, err := sqldb.Open(t.Context(), e.dsn, clinicSchema, guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	stranger := as(tenant.MustParse("stranger"))
	cases := []struct {
		name string
		ctx  context.Context
		db   *sql.DB
		opts *sqldb.ResealOptions
		want error
	}{
		{"no access", context.Background(), e.db, nil, tenant.ErrMissing},
		{"no keys", stranger, e.db, nil, keys.ErrNotProvisioned},
		{"the authorizer", as(tenantA), reading, nil, tenant.ErrDenied},
		{"a raw handle", as(tenantA), e.raw, nil, nil},
		{"an unknown table", as(tenantA), e.db, &sqldb.ResealOptions{Tables: []string{"secrets"}}, nil},
		{"another purpose", as(tenantA), e.db, &sqldb.ResealOptions{Purposes: []keys.Purpose{keys.PurposeBlobs}}, nil},
		{"a batch of everything", as(tenantA), e.db, &sqldb.ResealOptions{BatchSize: 1 << 20}, nil},
		{"a negative rate", as(tenantA), e.db, &sqldb.ResealOptions{RowsPerSecond: -1}, nil},
	}
	for _, c := range cases {
		if _, err := sqldb.Reseal(c.ctx, c.db, c.opts); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if i := slices.IndexFunc(asked, func(a tenant.Action) bool { return a.Verb == tenant.Write }); i < 0 || !slices.Contains(asked[i].Columns, "patients.ssn") {
		t.Errorf("the authorizer was asked about %+v", asked)
	}
	if _, err := sqldb.Reseal(as(tenantA), reading, &sqldb.ResealOptions{DryRun: true}); err != nil {
		t.Errorf("a dry run only reads: %v", err)
	}
	e.log.failing(func(ev *audit.Event) bool { return ev.Phase == audit.Intent })
	if _, err := sqldb.Reseal(as(tenantA), e.db, nil); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("without a trail: %v", err)
	}
	e.log.failing(nil)
	if err := e.ring.Suspend(t.Context(), tenantA, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := sqldb.Reseal(as(tenantA), e.db, nil); !errors.Is(err, keys.ErrSuspended) {
		t.Errorf("suspended: %v", err)
	}
	if fmt.Sprint(e.raws(t, tenantA)) != before {
		t.Error("rows were changed all the same")
	}
}

// What a process stored under an older key beside the same value under the newest one, Reseal finds.
func TestResealFindsDuplicates(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 10)
		e.rotate(t, tenantA, keys.PurposeData, keys.PurposeIndex)
		older := e.raws(t, tenantA)[4]
		e.exec(t, tenantA, `UPDATE patients SET ssn = $1 WHERE id = 4`, ssn(4))
		newer := e.raws(t, tenantA)[4]
		e.exec(t, tenantA, `DELETE FROM patients WHERE id = 4`)
		for id, row := range map[int][]any{4: older, 77: newer} {
			e.rawExec(t, fmt.Sprintf(`INSERT INTO patients (tenant_id, id, ssn, ssn_index) VALUES ('clinic', %d, %s, %s)`, id, literal(e.dialect, row[3].([]byte)), literal(e.dialect, row[4].([]byte))))
		}
		report, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{BatchSize: 4})
		if !errors.Is(err, sqldb.ErrDuplicate) || len(report.Duplicates) != 1 || report.Duplicates[0].Table != "patients" || fmt.Sprint(report.Duplicates[0].Key) != "[4]" {
			t.Fatalf("%+v, %v", report, err)
		}
		if strings.Contains(err.Error(), ssn(4)) {
			t.Errorf("the value is in the error: %v", err)
		}
		// The rest is done, and the row's sealed values too.
		if n := remaining(t, report, keys.PurposeIndex); n != 1 || remaining(t, report, keys.PurposeData) != 0 {
			t.Errorf("%+v", report.Left)
		}
		if rows := e.rows(t, tenantA, `SELECT id FROM patients WHERE ssn = $1 ORDER BY id`, ssn(4)); len(rows) != 2 {
			t.Errorf("found %v", rows)
		}
		e.exec(t, tenantA, `DELETE FROM patients WHERE id = 77`)
		if report, err = sqldb.Reseal(as(tenantA), e.db, nil); err != nil || len(report.Left) != 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		if rows := e.rows(t, tenantA, `SELECT id FROM patients WHERE ssn = $1`, ssn(4)); len(rows) != 1 {
			t.Errorf("found %v", rows)
		}
	})
}

// An index value that no key made of the value is made anew.
func TestResealMendsIndexes(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 9)
		e.rawExec(t, `UPDATE patients SET ssn_index = NULL WHERE id = 1`)
		e.rawExec(t, `UPDATE patients SET name_index = (SELECT name_index FROM patients p WHERE p.id = 4) WHERE id IN (2, 3)`)
		report, err := sqldb.Reseal(as(tenantA), e.db, nil)
		if err != nil || report.Resealed != 0 || report.Reindexed != 3 || len(report.Left) != 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		e.findsAll(t, tenantA, 0, 9)
	})
}

// A row whose primary key somebody changes while values are counted is counted all the same: upon the count a key is destroyed.
func TestResealCountsRowsThatMove(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 10)
		data := e.oldest(t, tenantA, keys.PurposeData)
		e.rotate(t, tenantA, keys.PurposeData)
		stale := under(e.raws(t, tenantA))[data]
		moved := false
		report, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{DryRun: true, BatchSize: 4, Progress: func(p sqldb.ResealProgress) {
			if p.Table == "patients" && !moved {
				moved = true
				e.exec(t, tenantA, `UPDATE patients SET id = -1 WHERE id = 9`)
			}
		}})
		if err != nil || !moved || remaining(t, report, keys.PurposeData) != stale {
			t.Errorf("%d values are left and %d are under the older key, %v", remaining(t, report, keys.PurposeData), stale, err)
		}
	})
}

// That an outcome could not be recorded is said, also where the batch is tried again.
func TestResealSaysWhatIsNotRecorded(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 10)
		e.rotate(t, tenantA, keys.PurposeIndex)
		older := e.raws(t, tenantA)[4]
		e.exec(t, tenantA, `UPDATE patients SET ssn = $1 WHERE id = 4`, ssn(4))
		e.rawExec(t, fmt.Sprintf(`INSERT INTO patients (tenant_id, id, ssn, ssn_index) VALUES ('clinic', 77, %s, %s)`, literal(e.dialect, older[3].([]byte)), literal(e.dialect, older[4].([]byte))))
		e.log.failing(func(ev *audit.Event) bool {
			return ev.Code == audit.CodeReseal && ev.Phase == audit.Outcome && ev.Status == audit.Failure
		})
		if report, err := sqldb.Reseal(as(tenantA), e.db, nil); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("%+v, %v", report, err)
		}
	})
}
