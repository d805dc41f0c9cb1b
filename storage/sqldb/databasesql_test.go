package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestCancelledWhileWaiting cancels a statement that waits for a lock. The connection's next user is another tenant.
func TestCancelledWhileWaiting(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	e.db.SetMaxOpenConns(2)
	tx, err := e.db.BeginTx(as(tenantA), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = 'locked' WHERE id = 1`); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ctx, cancel := context.WithCancel(as(tenantA))
		done := make(chan error, 1)
		go func() {
			_, err := e.db.ExecContext(ctx, `UPDATE patients SET ward = 'late' WHERE id = 1`)
			done <- err
		}()
		// The statement is known to wait once the server shows it waiting.
		for waiting := false; !waiting; {
			err := e.raw.QueryRow(`SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)`).Scan(&waiting)
			if err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled statement: %v", err)
		}
		if got := e.rows(t, tenantB, `SELECT name, ward FROM patients WHERE id = 1`); len(got) != 1 || got[0][0] != "Þóra 1 of Clinic" || got[0][1] != "west" {
			t.Errorf("the next tenant reads %v", got)
		}
	}
}

// TestResultsAreStreamed reads a result much larger than the memory it may take.
func TestResultsAreStreamed(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	rows, err := e.db.QueryContext(as(tenantA), `SELECT g, repeat('x', 1000) FROM generate_series(1, 200000) g`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	var text sql.RawBytes
	for rows.Next() {
		var g int
		if err := rows.Scan(&g, &text); err != nil {
			t.Fatal(err)
		}
		if n++; n%50000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&during)
			if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
				t.Fatalf("after %d rows the heap has grown by %d bytes", n, grown)
			}
		}
	}
	if err := rows.Err(); err != nil || n != 200000 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// TestSchemaChangedUnderneath exchanges the names of two sealed columns, and drops another, while the database is open.
func TestSchemaChangedUnderneath(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	e.db.SetMaxOpenConns(1)
	const query = `SELECT name, ward FROM patients WHERE id = 1`
	e.rows(t, tenantA, query)
	mustExec(t, e.raw, `ALTER TABLE patients RENAME COLUMN name TO tmp; ALTER TABLE patients RENAME COLUMN ssn TO name; ALTER TABLE patients RENAME COLUMN tmp TO ssn`)
	for i := range 3 {
		got, err := e.tryRows(as(tenantA), query)
		if err == nil || len(got) > 0 {
			t.Errorf("time %d, with exchanged columns: %v, %v", i, got, err)
		}
	}
	// A connection made since finds the names right, and values that were sealed for another column.
	e.db.SetMaxIdleConns(0)
	e.db.SetMaxIdleConns(1)
	if got, err := e.tryRows(as(tenantA), query); !errors.Is(err, storage.ErrIsolation) || len(got) > 0 {
		t.Errorf("a new connection: %v, %v", got, err)
	}
	mustExec(t, e.raw, `ALTER TABLE patients DROP COLUMN ward`)
	if got, err := e.tryRows(as(tenantA), `SELECT id, ward FROM patients`); err == nil {
		t.Errorf("a dropped column: %v", got)
	}
}

func TestUnusableStatements(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.db.SetMaxOpenConns(1)
		many := make([]string, 65536)
		for i := range many {
			many[i] = fmt.Sprintf("$%d", i+1)
		}
		for what, query := range map[string]string{
			"empty":              "",
			"a comment":          "-- nothing",
			"does not parse":     "SELECT FROM WHERE",
			"1 MiB":              "SELECT id FROM patients WHERE ward = '" + strings.Repeat("x", 1<<20) + "'",
			"10,000 parentheses": "SELECT " + strings.Repeat("(", 10000) + "1" + strings.Repeat(")", 10000),
			"nested subqueries":  strings.Repeat("SELECT * FROM (", 5000) + "SELECT 1 a" + strings.Repeat(") x", 5000),
			"a long chain":       "SELECT id FROM patients WHERE 1=1" + strings.Repeat(" AND (1=1", 5000) + strings.Repeat(")", 5000),
			"unary operators":    "SELECT " + strings.Repeat("- ", 20000) + "1",
			"65,536 parameters":  "SELECT id FROM patients WHERE id IN (" + strings.Join(many, ",") + ")",
			"a gap":              "SELECT id FROM patients WHERE id = $3",
			"parameter 0":        "SELECT id FROM patients WHERE id = $0",
			"a huge parameter":   "SELECT id FROM patients WHERE id = $99999999999999999999",
			"NUL":                "SELECT id FROM patients WHERE ward = 'a\x00b'",
			"invalid UTF-8":      "SELECT id FROM patients WHERE ward = 'a\xff'",
			"two statements":     "SELECT 1; SELECT 2",
			"BEGIN":              "BEGIN",
			"COMMIT":             "COMMIT",
			"SET":                "SET strongroom.tenant = 'Clinic'",
			"set_config":         "SELECT set_config('strongroom.tenant', 'Clinic', false)",
			"RESET":              "RESET ALL",
			"DISCARD":            "DISCARD ALL",
			"PRAGMA":             "PRAGMA table_info(patients)",
			"COPY":               "COPY patients TO STDOUT",
			"catalog":            "SELECT rolname FROM pg_catalog.pg_roles",
			"undeclared":         "SELECT what FROM secrets",
		} {
			got, err := e.tryRows(as(tenantA), query)
			var refused *sqldb.RefusedError
			if !errors.As(err, &refused) {
				t.Errorf("%s: %v, %v; want a refusal", what, got, err)
				continue
			}
			if len(err.Error()) > 2000 {
				t.Errorf("%s: the error has %d bytes", what, len(err.Error()))
			}
		}
		for what, args := range map[string][]any{"too few": {}, "too many": {1, 2}, "of a wrong type": {struct{}{}}, "a channel": {make(chan int)}} {
			if got, err := e.tryRows(as(tenantA), `SELECT id FROM patients WHERE id = $1`, args...); err == nil {
				t.Errorf("arguments %s: %v", what, got)
			}
		}
		for _, text := range []string{"a\x00b", "a\xff"} {
			_, err := e.db.ExecContext(as(tenantA), `UPDATE patients SET ward = $1 WHERE id = 1`, text)
			if e.dialect == dialect.PostgreSQL && err == nil {
				t.Errorf("PostgreSQL stored %q", text)
			}
		}
		if _, err := e.db.ExecContext(as(tenantA), `UPDATE patients SET name = $1 WHERE id = 1`, "a\xff"); err == nil {
			t.Error("invalid UTF-8 was sealed as text")
		}
		// The connection is as good as before.
		if got := e.rows(t, tenantA, `SELECT name FROM patients WHERE id = 2`); len(got) != 1 {
			t.Errorf("afterwards: %v", got)
		}
	})
}

// TestFiftyTenants puts 50 tenants' requests on a pool of 8 connections: reads, writes and transactions of all kinds.
// For a minute of it: go test -race -run TestFiftyTenants ./storage/sqldb -load 1m
func TestFiftyTenants(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		e.db.SetMaxOpenConns(8)
		var wg sync.WaitGroup
		for i := range 50 {
			id := tenant.MustParse(fmt.Sprintf("tenant-%d", i))
			if err := e.ring.Provision(context.Background(), id); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				err := live(e, id)
				for start := time.Now(); err == nil && time.Since(start) < *load; {
					if _, err = e.db.ExecContext(as(id), `DELETE FROM patients`); err == nil {
						err = live(e, id)
					}
				}
				if err != nil {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		wg.Wait()
	})
}

// live does one tenant's work and sees to it that it is alone.
func live(e *env, id tenant.ID) error {
	ctx := as(id)
	for i := range 10 {
		tx, err := e.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err = tx.ExecContext(ctx, insertPatient, i, fmt.Sprintf("%d of %s", i, id), fmt.Sprint("ssn-", i), nil, "w"); err == nil && i%3 != 0 {
			err = tx.Commit()
		} else if rerr := tx.Rollback(); err == nil {
			err = rerr
		}
		if err != nil {
			return err
		}
		rows, err := e.db.QueryContext(ctx, `SELECT id, name FROM patients`)
		if err != nil {
			return err
		}
		got, err := collect(rows)
		if err != nil {
			return err
		}
		if want := i + 1 - (i/3 + 1); len(got) != want {
			return fmt.Errorf("%d rows after %d, want %d", len(got), i, want)
		}
		for _, row := range got {
			if row[1] != fmt.Sprintf("%v of %s", row[0], id) {
				return fmt.Errorf("reads %v", row)
			}
		}
	}
	return nil
}
