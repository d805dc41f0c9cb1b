package sqldb_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestAdvisoryLocks are a tenant's own: whoever holds one keeps its own transactions out, and no other tenant's.
func TestAdvisoryLocks(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	number := func(id tenant.ID, keys ...any) int64 {
		text := id.String()
		for _, key := range keys {
			text += "/" + fmt.Sprint(key)
		}
		sum := sha256.Sum256([]byte(text))
		return int64(binary.BigEndian.Uint64(sum[:]))
	}
	for _, keys := range [][]any{{1}, {0}, {-1}, {int64(math.MaxInt64)}, {int64(math.MinInt64)}, {0, 1}, {-1, math.MinInt32}, {math.MaxInt32, 0}} {
		args := "$1"
		if len(keys) == 2 {
			args = "$1, $2"
		}
		try := func(id tenant.ID) bool {
			t.Helper()
			rows := e.rows(t, id, `SELECT pg_try_advisory_xact_lock(`+args+`)`, keys...)
			return rows[0][0].(bool)
		}
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(as(tenantA), `SELECT pg_advisory_xact_lock(`+args+`)`, keys...); err != nil {
			t.Fatal(err)
		}
		if try(tenantA) || !try(tenantB) {
			t.Errorf("%v: the lock is not the tenant's alone", keys)
		}
		var held int64
		if err := e.raw.QueryRow(`SELECT classid::bigint << 32 | objid::bigint FROM pg_locks WHERE locktype = 'advisory'`).Scan(&held); err != nil {
			t.Fatal(err)
		}
		if want := number(tenantA, keys...); held != want {
			t.Errorf("%v: the lock is on %d, want %d", keys, held, want)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if !try(tenantA) {
			t.Errorf("%v: the lock outlived its transaction", keys)
		}
	}
	if got := e.rows(t, tenantA, `SELECT pg_try_advisory_xact_lock($1)`, nil); got[0][0] != nil {
		t.Errorf("no key gives %v", got)
	}
}
