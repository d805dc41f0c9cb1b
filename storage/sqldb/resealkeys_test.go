package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// remaining counts tenant A's values for the keyring.
func (e *env) remaining(p keys.Purpose) keys.Remaining {
	return func(context.Context) (int64, error) {
		report, err := sqldb.Reseal(as(tenantA), e.db, &sqldb.ResealOptions{DryRun: true})
		return report.Remaining(p), err
	}
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
		if !errors.Is(err, keys.ErrKeyDisabled) || !strings.Contains(err.Error(), fmt.Sprint(data)) || report.Remaining(keys.PurposeData) != 1 || e.log.has(isAlert) {
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
func literal(dialect sqldb.Dialect, b []byte) string {
	if dialect == sqldb.SQLite {
		return fmt.Sprintf("x'%x'", b)
	}
	return fmt.Sprintf(`'\x%x'::bytea`, b)
}
