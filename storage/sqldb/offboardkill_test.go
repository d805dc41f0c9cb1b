//go:build unix

package sqldb_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// killer kills the process at a step: an event before it is recorded, or after a batch was deleted and recorded.
type killer struct{ at int }

func (k *killer) step() {
	if k.at--; k.at == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (k *killer) Record(context.Context, *audit.Event) error {
	k.step()
	return nil
}

// killedOffboarding is the child's side of TestOffboardKilled.
func killedOffboarding(t *testing.T, dsn, dir string, at int) {
	l := &leaver{env: &env{}}
	l.kek, l.store = newKeys(t, dir)
	k := &killer{at}
	db, err := sqldb.Open(t.Context(), dsn, offboardSchema, storage.Guard{Keys: l.openRing(t), Audit: k}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := sqldb.Offboard(as(leaving), db, leaving, &sqldb.OffboardOptions{BatchRows: 10, Progress: func(sqldb.OffboardProgress) { k.step() }}); err != nil {
		t.Fatal(err)
	}
}

// A process that is killed in the middle leaves a database in order, and the next one goes on.
func TestOffboardKilled(t *testing.T) {
	if dir := os.Getenv("STRONGROOM_TEST_OFFBOARD"); dir != "" {
		at, err := strconv.Atoi(os.Getenv("STRONGROOM_TEST_KILL_AT"))
		if err != nil {
			t.Fatal(err)
		}
		killedOffboarding(t, os.Getenv("STRONGROOM_TEST_DSN"), dir, at)
		return
	}
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		l.shred(t)
		kills := 0
		for at := 2; ; at++ {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOffboardKilled$", "-test.count=1")
			child.Env = append(os.Environ(), "STRONGROOM_TEST_OFFBOARD="+l.dir, "STRONGROOM_TEST_DSN="+l.dsn, "STRONGROOM_TEST_KILL_AT="+strconv.Itoa(at))
			output, err := child.CombinedOutput()
			if err == nil {
				break
			}
			if child.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%v\n%s", err, output)
			}
			kills++
			l.others(t, l.counts(t))
			if l.dialect == dialect.SQLite {
				rows, err := l.raw.Query(`PRAGMA foreign_key_check`)
				if err != nil {
					t.Fatal(err)
				}
				if broken, err := collect(rows); err != nil || len(broken) > 0 {
					t.Fatalf("rows that refer to nothing: %v, %v", broken, err)
				}
			}
		}
		if kills < 5 {
			t.Errorf("killed %d times only", kills)
		}
		l.gone(t)
	})
}

// A backup of the database that is restored after the tenant left does not bring its data back: neither with the key store as
// it is, nor with that one's backup. What there is of columns that are not sealed has to be offboarded again.
func TestARestoredBackupBringsNothingBack(t *testing.T) {
	onBothLeaving(t, func(t *testing.T, l *leaver) {
		if rows := l.rows(t, leaving, `SELECT name FROM patients`); len(rows) != offboardRows || rows[0][0] != "name in a" {
			t.Fatalf("before it left: %v", rows)
		}
		record, err := l.store.Get(t.Context(), leaving)
		if err != nil {
			t.Fatal(err)
		}
		restore := l.backup(t)
		l.shred(t)
		if _, err := sqldb.Offboard(as(leaving), l.db, leaving, nil); err != nil {
			t.Fatal(err)
		}
		l.gone(t)
		restore()
		if n := l.counts(t)[leaving.String()]["patients"]; n != offboardRows {
			t.Fatalf("the backup has %d patients", n)
		}
		refused := func(what string, want error) {
			t.Helper()
			for _, query := range []string{`SELECT name FROM patients`, `SELECT id FROM visits`, `DELETE FROM visits`} {
				if rows, err := l.tryRows(as(leaving), query); !errors.Is(err, want) || len(rows) > 0 {
					t.Errorf("%s: %s has %v, %v", what, query, rows, err)
				}
			}
			l.others(t, l.counts(t))
		}
		refused("the key store as it is", keys.ErrShredded)
		l.ring = l.openRing(t)
		l.guard.Keys = l.ring
		l.open(t)
		refused("another process", keys.ErrShredded)

		// The key store is restored too, and says that the tenant is active.
		tombstone, err := l.store.Get(t.Context(), leaving)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.store.Put(t.Context(), leaving, record.Data, tombstone.Version); err != nil {
			t.Fatal(err)
		}
		l.ring = l.openRing(t)
		l.guard.Keys = l.ring
		l.open(t)
		refused("the record of before", keys.ErrNotFound) // there is no KEK
		if _, err := sqldb.Offboard(as(leaving), l.db, leaving, nil); err == nil {
			t.Error("a tenant that is said to be active was offboarded")
		}
		l.shred(t)
		if _, err := sqldb.Offboard(as(leaving), l.db, leaving, nil); err != nil {
			t.Error(err)
		}
		l.gone(t)
	})
}

// backup copies the database, and returns what puts it in the place of the one there is.
func (l *leaver) backup(t *testing.T) (restore func()) {
	t.Helper()
	if l.dialect == dialect.SQLite {
		path := strings.TrimPrefix(l.dsn, "sqlite:")
		copied := filepath.Join(t.TempDir(), "backup.db")
		mustExec(t, l.raw, `VACUUM INTO '`+copied+`'`)
		return func() {
			l.db.Close()
			l.raw.Close()
			data, err := os.ReadFile(copied)
			if err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			l.raw = openSQLiteFile(t, path)
			l.super = l.raw
			l.open(t)
		}
	}
	var name string
	if err := l.super.QueryRow(`SELECT current_database()`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	in := func(database string) string {
		return strings.Replace(l.env.super, "/"+name+"?", "/"+database+"?", 1)
	}
	server := openBare(t, in("postgres"))
	exchange := func(statements ...string) {
		t.Helper()
		l.db.Close()
		l.raw.Close()
		l.super.Close()
		for _, s := range statements {
			mustExec(t, server, strings.ReplaceAll(s, "$", name))
		}
		l.super = openBare(t, l.env.super)
		l.open(t)
	}
	exchange(`CREATE DATABASE "$_backup" TEMPLATE "$"`)
	t.Cleanup(func() { server.Exec(`DROP DATABASE IF EXISTS "` + name + `_backup" WITH (FORCE)`) })
	return func() {
		exchange(`ALTER DATABASE "$" RENAME TO "$_gone"`, `CREATE DATABASE "$" TEMPLATE "$_backup"`, `DROP DATABASE "$_gone" WITH (FORCE)`,
			`GRANT CONNECT ON DATABASE "$" TO PUBLIC`)
	}
}
