package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestOffboardDeletesAllOfATenantAndNothingElse(t *testing.T) {
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		dry, err := sqldb.Offboard(as(leaving), l.db, leaving, &sqldb.OffboardOptions{DryRun: true})
		if err != nil || dry.Rows() != 8*offboardRows+1 {
			t.Fatalf("dry run: %+v, %v", dry, err)
		}
		at := func(table string) int {
			return slices.IndexFunc(dry.Tables, func(t sqldb.OffboardedTable) bool { return t.Table == table })
		}
		if !(at("visits") < at("patients") && at("patients") < at("tenants") && at("rooms") < at("wards")) {
			t.Errorf("the order is %+v", dry.Tables)
		}
		l.others(t, l.counts(t))
		l.shred(t)
		l.log.take()
		for _, dryRun := range []bool{true, false} {
			seen := map[string]int64{}
			r, err := sqldb.Offboard(as(leaving), l.db, leaving, &sqldb.OffboardOptions{DryRun: dryRun, BatchRows: 7, Progress: func(p sqldb.OffboardProgress) {
				if p.Rows <= seen[p.Table] {
					t.Errorf("%+v after %d", p, seen[p.Table])
				}
				seen[p.Table] = p.Rows
			}})
			if err != nil {
				t.Fatal(err)
			}
			if r.Engine != l.dialect || r.Database == "" || !slices.Equal(r.Tables, dry.Tables) {
				t.Errorf("%+v, where the dry run said %+v", r, dry.Tables)
			}
			for _, table := range r.Tables {
				if seen[table.Table] != table.Rows {
					t.Errorf("%+v, and the last that was heard is %d", table, seen[table.Table])
				}
			}
			if dryRun && l.counts(t)[leaving.String()]["visits"] != offboardRows {
				t.Fatal("a dry run deleted")
			}
		}
		l.gone(t)
		l.trail(t)
		// Once more finds nothing, and is no error.
		r, err := sqldb.Offboard(as(leaving), l.db, leaving, nil)
		if err != nil || r.Rows() != 0 {
			t.Errorf("again: %+v, %v", r, err)
		}
	})
}

// trail checks the events of a dry run and of an offboarding.
func (l *leaver) trail(t *testing.T) {
	t.Helper()
	events := slices.DeleteFunc(l.log.take(), func(e audit.Event) bool { return e.Code != audit.CodeOffboard })
	var deleted int64
	dry := events[0].Correlation
	for i, e := range events {
		if e.Tenant != leaving || e.Actor != "dr.adams" || e.Status != audit.Success || e.Sealer != nil || len(e.Details) > 0 {
			t.Fatalf("event %d: %+v", i, e)
		}
		if e.Phase == audit.Single {
			deleted += e.Rows
			if len(e.Tables) != 1 || e.Rows > 7 && e.Tables[0] != "ring" && e.Tables[0] != "ping" && e.Tables[0] != "pong" {
				t.Errorf("%d rows of %v", e.Rows, e.Tables)
			}
		}
	}
	if events[0].Phase != audit.Intent || events[1].Phase != audit.Outcome || events[0].Statement != "OFFBOARD DRY RUN" || events[1].Rows != 8*offboardRows+1 {
		t.Errorf("the dry run: %+v", events[:2])
	}
	first, last := events[2], events[len(events)-1]
	if first.Phase != audit.Intent || len(first.Tables) != 9 || first.Statement != "OFFBOARD" || first.Correlation == dry {
		t.Errorf("intent %+v", first)
	}
	if last.Phase != audit.Outcome || last.Rows != 8*offboardRows+1 || deleted != last.Rows || last.Correlation != first.Correlation {
		t.Errorf("outcome %+v, and %d rows in events", last, deleted)
	}
}

func TestOffboardRefuses(t *testing.T) {
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		refused := func(name string, ctx context.Context, id tenant.ID, o *sqldb.OffboardOptions, want error) {
			t.Helper()
			l.log.take()
			if _, err := sqldb.Offboard(ctx, l.db, id, o); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			if e := l.log.take(); len(e) != 1 || e[0].Status != audit.Denied || e[0].Code != audit.CodeOffboard || e[0].Reason == "error" {
				t.Errorf("%s: the trail has %+v", name, e)
			}
		}
		refused("active", as(leaving), leaving, nil, keys.ErrNotShredded)
		refused("active, although Suspended", as(leaving), leaving, &sqldb.OffboardOptions{Suspended: true}, keys.ErrNotShredded)
		refused("nobody", t.Context(), leaving, nil, tenant.ErrMissing)
		refused("somebody else", as(lookalike[0]), leaving, nil, tenant.ErrInvalidAccess)
		nobody := tenant.MustParse("nobody")
		refused("not provisioned", as(nobody), nobody, nil, keys.ErrNotProvisioned)
		// Another process suspends it, and this one's cache does not know yet.
		if err := l.openRing(t).Suspend(t.Context(), leaving, ""); err != nil {
			t.Fatal(err)
		}
		refused("suspended", as(leaving), leaving, nil, keys.ErrNotShredded)
		if err := l.openRing(t).Resume(t.Context(), leaving, ""); err != nil {
			t.Fatal(err)
		}
		refused("resumed", as(leaving), leaving, &sqldb.OffboardOptions{Suspended: true}, keys.ErrNotShredded)

		l.shred(t)
		guard := l.guard
		guard.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
			if a.Verb == tenant.Offboard && a.Store == string(l.dialect) && slices.Contains(a.Tables, "visits") && !slices.Contains(a.Tables, "countries") {
				return errors.New("no")
			}
			return nil
		})
		db, err := sqldb.Open(t.Context(), l.dsn, offboardSchema, guard, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		before := l.db
		l.db = db
		refused("by the authorizer", as(leaving), leaving, nil, tenant.ErrDenied)
		refused("a dry run by the authorizer", as(leaving), leaving, &sqldb.OffboardOptions{DryRun: true}, tenant.ErrDenied)
		l.db = before

		l.log.failing(func(e *audit.Event) bool { return e.Phase == audit.Intent })
		if _, err := sqldb.Offboard(as(leaving), l.db, leaving, nil); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("what cannot be recorded: %v", err)
		}
		l.log.failing(nil)
		if _, err := sqldb.Offboard(as(leaving), l.raw, leaving, nil); err == nil {
			t.Error("a database without a guard")
		}
		if _, err := sqldb.Offboard(as(leaving), l.db, leaving, &sqldb.OffboardOptions{BatchRows: -1}); err == nil {
			t.Error("batches of less than nothing")
		}
		if n := l.counts(t)[leaving.String()]["visits"]; n != offboardRows {
			t.Errorf("refused, and %d visits are left", n)
		}
	})
}

// A tenant that is suspended goes with an option that says so, and what is recorded is sealed, as its keys are there.
func TestOffboardOfASuspendedTenant(t *testing.T) {
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		if err := l.ring.Suspend(t.Context(), leaving, ""); err != nil {
			t.Fatal(err)
		}
		l.log.take()
		r, err := sqldb.Offboard(as(leaving), l.db, leaving, &sqldb.OffboardOptions{Suspended: true})
		if err != nil || r.Rows() != 8*offboardRows+1 {
			t.Fatalf("%+v, %v", r, err)
		}
		if e := l.log.take(); e[0].Sealer == nil {
			t.Error("the events are not sealed")
		}
		l.gone(t)
		if err := l.ring.Resume(t.Context(), leaving, ""); err != nil {
			t.Fatal(err)
		}
		if rows := l.rows(t, leaving, `SELECT id FROM patients`); len(rows) != 0 {
			t.Errorf("resumed, it reads %v", rows)
		}
	})
}

// A tenant that is resumed while its rows are being deleted keeps what is left.
func TestOffboardStopsWhereATenantIsResumed(t *testing.T) {
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		other := l.openRing(t)
		if err := other.Suspend(t.Context(), leaving, ""); err != nil {
			t.Fatal(err)
		}
		r, err := sqldb.Offboard(as(leaving), l.db, leaving, &sqldb.OffboardOptions{Suspended: true, BatchRows: 5, Progress: func(p sqldb.OffboardProgress) {
			if err := other.Resume(t.Context(), leaving, ""); err != nil {
				t.Error(err)
			}
		}})
		if !errors.Is(err, keys.ErrNotShredded) || r == nil || r.Rows() != 5 {
			t.Errorf("%+v, %v", r, err)
		}
		var left int
		for _, n := range l.counts(t)[leaving.String()] {
			left += n
		}
		if left != 8*offboardRows+1-5 {
			t.Errorf("%d rows are left", left)
		}
		l.others(t, l.counts(t))
	})
}

// What another process writes with keys that it still has is deleted too.
func TestOffboardWaitsForWhoStillHasKeys(t *testing.T) {
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		l.shred(t)
		late := false
		r, err := sqldb.Offboard(as(leaving), l.db, leaving, &sqldb.OffboardOptions{Progress: func(p sqldb.OffboardProgress) {
			if p.Table == "tenants" && !late { // the last one
				late = true
				l.fillLate(t)
			}
		}})
		if err != nil || !late || r.Rows() != 8*offboardRows+1+2 {
			t.Errorf("%+v, %v", r, err)
		}
		l.gone(t)
	})
}

func (l *leaver) fillLate(t *testing.T) {
	mustExec(t, l.super, `INSERT INTO tenants (id) VALUES ('a')`)
	mustExec(t, l.super, `INSERT INTO patients (tenant_id, id) VALUES ('a', 1)`)
}

// When it is over, no process has keys any more that it got before.
func TestOffboardOutlastsKeys(t *testing.T) {
	l := newLeaver(t, dialect.SQLite)
	l.shred(t)
	if err := l.ring.Close(); err != nil {
		t.Fatal(err)
	}
	l.kek, l.store = newKeys(t, t.TempDir())
	open := func(log *recorder) (*keys.Keyring, *sql.DB) {
		ring, err := keys.Open(t.Context(), l.kek, l.store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: 500 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ring.Close() })
		db, err := sqldb.Open(t.Context(), l.dsn, offboardSchema, storage.Guard{Keys: ring, Audit: log}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return ring, db
	}
	l.log = &recorder{}
	ring, db := open(l.log)
	_, other := open(&recorder{})
	if err := ring.Provision(t.Context(), leaving); err != nil {
		t.Fatal(err)
	}
	write := func() error {
		_, err := other.ExecContext(as(leaving), `INSERT INTO staff (id) VALUES (1000)`)
		return err
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	if err := ring.Shred(t.Context(), leaving, ""); err != nil {
		t.Fatal(err)
	}
	l.log.failing(func(e *audit.Event) bool {
		if e.Code == audit.CodeOffboard && e.Phase == audit.Outcome {
			if err := write(); !errors.Is(err, keys.ErrShredded) {
				t.Errorf("when it is over somebody writes: %v", err)
			}
		}
		return false
	})
	if _, err := sqldb.Offboard(as(leaving), db, leaving, nil); err != nil {
		t.Fatal(err)
	}
}

// A row cannot refer to another tenant's, so nobody's goes with the tenant's, and nobody's keeps it.
func TestOffboardMeetsNoRowThatRefersToAnotherTenants(t *testing.T) {
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		mustExec(t, l.super, `INSERT INTO patients (tenant_id, id) VALUES ('a', 1000)`)
		if _, err := l.super.ExecContext(t.Context(), `INSERT INTO visits (tenant_id, id, patient_id) VALUES ('ab', 1000, 1000)`); err == nil {
			t.Fatal("a visit refers to another tenant's patient")
		}
		mustExec(t, l.super, `DELETE FROM patients WHERE id = 1000`)
		l.shred(t)
		// A key that ties rows of several tenants, which came after the database was opened, refuses before anything is deleted.
		table := `CREATE TABLE bills (tenant_id text NOT NULL, id integer NOT NULL PRIMARY KEY, owner text REFERENCES tenants (id) ON DELETE CASCADE)`
		mustExec(t, l.raw, table)
		mustExec(t, l.super, `INSERT INTO bills VALUES ('ab', 1, 'a')`)
		r, err := sqldb.Offboard(as(leaving), l.db, leaving, nil)
		var problems *sqldb.SchemaError
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), "bills") || r.Rows() != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if n := l.counts(t)[leaving.String()]["visits"]; n != offboardRows {
			t.Errorf("%d visits are left", n)
		}
		mustExec(t, l.raw, `DROP TABLE bills`)
		if _, err := sqldb.Offboard(as(leaving), l.db, leaving, nil); err != nil {
			t.Error(err)
		}
		l.gone(t)
	})
}

// A table outside the schema that refers to rows, and has none of its actions, keeps them; the error says so. On SQLite nothing
// can be deleted then, whatever is in it.
func TestOffboardAndATableThatIsNotDeclared(t *testing.T) {
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		mustExec(t, l.raw, `CREATE TABLE bills (tenant_id text NOT NULL, id integer NOT NULL PRIMARY KEY, FOREIGN KEY (tenant_id) REFERENCES tenants (id))`)
		mustExec(t, l.super, `INSERT INTO bills VALUES ('a', 1)`)
		l.shred(t)
		r, err := sqldb.Offboard(as(leaving), l.db, leaving, nil)
		if l.dialect == dialect.SQLite {
			var problems *sqldb.SchemaError
			if !errors.As(err, &problems) || len(problems.Problems) != 1 || !strings.Contains(err.Error(), "bills") || r.Rows() != 0 {
				t.Errorf("%+v, %v", r, err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), "referred to") || !strings.Contains(err.Error(), "table tenants") || r.Rows() != 8*offboardRows {
			t.Errorf("%+v, %v", r, err)
		}
		mustExec(t, l.super, `DELETE FROM bills`)
		if r, err = sqldb.Offboard(as(leaving), l.db, leaving, nil); err != nil || r.Rows() != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		l.gone(t)
	})
}

// An event that cannot be recorded stops it; what was deleted until then is in the report, and the rest is left.
func TestOffboardStopsWhereItCannotRecord(t *testing.T) {
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		l.shred(t)
		n := 0
		l.log.failing(func(e *audit.Event) bool { n++; return n > 3 })
		r, err := sqldb.Offboard(as(leaving), l.db, leaving, &sqldb.OffboardOptions{BatchRows: 5})
		if !errors.Is(err, audit.ErrUnavailable) || r.Rows() != 15 {
			t.Errorf("%+v, %v", r, err)
		}
		l.log.failing(nil)
		r, err = sqldb.Offboard(as(leaving), l.db, leaving, &sqldb.OffboardOptions{BatchRows: 5})
		if err != nil || r.Rows() != 8*offboardRows+1-15 {
			t.Errorf("%+v, %v", r, err)
		}
		l.gone(t)
	})
}
