package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// remaining counts tenant A's values for the keyring.
func (e *env) remaining(p keys.Purpose) keys.Remaining {
	return func(context.Context) (int64, error) {
		report, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{DryRun: true})
		if err != nil {
			return 0, err
		}
		return report.Remaining(p)
	}
}

// remaining is what a report must have counted.
func remaining(t testing.TB, r sqldb.ResealReport, p keys.Purpose) int64 {
	t.Helper()
	n, err := r.Remaining(p)
	if err != nil {
		t.Error(err)
	}
	return n
}

// TestOlderKeysGo: rotate, re-seal, disable, destroy; and whoever skips a step is stopped.
func TestOlderKeysGo(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		e.admit(t, tenantA, 0, 12)
		stale := e.raws(t, tenantA)[1]
		data, index := e.oldest(t, tenantA, keys.PurposeData), e.oldest(t, tenantA, keys.PurposeIndex)
		e.rotate(t, tenantA, keys.PurposeData, keys.PurposeIndex)
		old := map[keys.Purpose]uint32{keys.PurposeData: data, keys.PurposeIndex: index}
		for p, key := range old {
			if err := e.ring.DisableKey(ctx, tenantA, p, key, "", e.remaining(p)); !errors.Is(err, keys.ErrKeyNeeded) || !strings.Contains(err.Error(), fmt.Sprint(key)) {
				t.Fatalf("%s: disabled before it was re-sealed: %v", p, err)
			}
		}
		if _, err := sqldb.Reseal(as(tenantA), e.db, nil); err != nil {
			t.Fatal(err)
		}
		for p, key := range old {
			if err := e.ring.DisableKey(ctx, tenantA, p, key, "", e.remaining(p)); err != nil {
				t.Fatal(p, err)
			}
		}
		e.findsAll(t, tenantA, 0, 12)

		// A value from before, as out of a backup: the error names its key, and it is no attack.
		putBack := func() {
			e.rawExec(t, fmt.Sprintf(`UPDATE patients SET ssn = %s WHERE tenant_id = 'clinic' AND id = 1`, literal(e.dialect, stale[3].([]byte))))
		}
		putBack()
		e.log.take()
		_, err := e.tryRows(as(tenantA), `SELECT ssn FROM patients WHERE id = 1`)
		if !errors.Is(err, keys.ErrKeyDisabled) || !strings.Contains(err.Error(), fmt.Sprint(data)) || e.log.has(isAlert) {
			t.Errorf("under a disabled key: %v", err)
		}
		report, err := sqldb.Reseal(as(tenantA), e.db, nil)
		if !errors.Is(err, keys.ErrKeyDisabled) || !strings.Contains(err.Error(), fmt.Sprint(data)) || remaining(t, report, keys.PurposeData) != 1 || e.log.has(isAlert) {
			t.Errorf("under a disabled key: %+v, %v", report, err)
		}
		if err := e.ring.DestroyKey(ctx, tenantA, keys.PurposeData, data, "", e.remaining(keys.PurposeData)); err == nil {
			t.Fatal("a key was destroyed that a value needs")
		}
		if err := e.ring.EnableKey(ctx, tenantA, keys.PurposeData, data, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := sqldb.Reseal(as(tenantA), e.db, nil); err != nil {
			t.Fatal(err)
		}
		if err := e.ring.DisableKey(ctx, tenantA, keys.PurposeData, data, "", e.remaining(keys.PurposeData)); err != nil {
			t.Fatal(err)
		}
		for p, key := range old {
			if err := e.ring.DestroyKey(ctx, tenantA, p, key, "", e.remaining(p)); err != nil {
				t.Fatal(p, err)
			}
		}
		e.findsAll(t, tenantA, 0, 12)
		putBack()
		_, err = e.tryRows(as(tenantA), `SELECT ssn FROM patients WHERE id = 1`)
		if !errors.Is(err, storage.ErrIsolation) || !strings.Contains(err.Error(), fmt.Sprint(data)) || !e.log.has(isAlert) {
			t.Errorf("under a destroyed key: %v", err)
		}
	})
}

func isAlert(ev *audit.Event) bool { return ev.Code == audit.CodeIsolation }

// literal writes bytes into a statement.
func literal(d dialect.Dialect, b []byte) string {
	if d == dialect.SQLite {
		return fmt.Sprintf("x'%x'", b)
	}
	return fmt.Sprintf(`'\x%x'::bytea`, b)
}

// TestRemainingIsCounted: what was not counted, or not in all tables, is no zero for which a key could be destroyed.
func TestRemainingIsCounted(t *testing.T) {
	for p, want := range map[keys.Purpose]bool{keys.PurposeData: true, keys.PurposeIndex: false, keys.PurposeBlobs: false} {
		report := sqldb.ResealReport{Counted: []keys.Purpose{keys.PurposeData}}
		if n, err := report.Remaining(p); n != 0 || (err == nil) != want {
			t.Errorf("%s: %d, %v", p, n, err)
		}
	}
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 5)
		for _, c := range []struct {
			opts sqldb.ResealOptions
			want []keys.Purpose
		}{
			{sqldb.ResealOptions{DryRun: true}, []keys.Purpose{keys.PurposeData, keys.PurposeIndex}},
			{sqldb.ResealOptions{}, []keys.Purpose{keys.PurposeData, keys.PurposeIndex}},
			{sqldb.ResealOptions{DryRun: true, Purposes: []keys.Purpose{keys.PurposeIndex}}, []keys.Purpose{keys.PurposeIndex}},
			{sqldb.ResealOptions{DryRun: true, Tables: []string{"patients"}}, nil},
		} {
			report, err := sqldb.Reseal(as(tenantA), e.db, &c.opts)
			if err != nil || !slices.Equal(report.Counted, c.want) {
				t.Errorf("%+v: %v, %v", c.opts, report.Counted, err)
			}
		}
		ctx, cancel := context.WithCancel(as(tenantA))
		defer cancel()
		report, err := sqldb.Reseal(ctx, e.db, &sqldb.ResealOptions{DryRun: true, Progress: func(sqldb.ResealProgress) { cancel() }})
		if err == nil || report.Counted != nil {
			t.Errorf("ended before its end: %v, %v", report.Counted, err)
		}
	})
}
