package sqltable_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/internal/sinktest"
	"github.com/strongroom-go/strongroom/audit/sink/sqltable"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newLog(t *testing.T) (dir string, list []audit.Entry) {
	t.Helper()
	return sinktest.NewLog(t, 130, func(i int, e *audit.Event) {
		e.Phase, e.Purpose, e.Rows = audit.Outcome, fmt.Sprintf("'; DROP TABLE x -- %d \x00 é", i), int64(i)-1
	})
}

// delivered delivers a log twice, as after a crash between a commit and the cursor, and looks at
// what the table has then.
func delivered(t *testing.T, db, reader *sql.DB, d dialect.Dialect, table string) {
	dir, want := newLog(t)
	for i := range 2 {
		s, err := sqltable.New(db, d, table)
		must(t, err)
		sh, err := sink.Open(dir, filepath.Join(t.TempDir(), fmt.Sprint("cursor", i)), s, &sink.Options{Batch: 120})
		must(t, err)
		for n := 1; n > 0; {
			n, err = sh.Round(t.Context())
			must(t, err)
		}
		must(t, sh.Close())
	}
	rows, err := reader.QueryContext(t.Context(), `SELECT uid, "index", time, code, tenant, actor, purpose, "rows", line FROM `+table+` ORDER BY "index"`)
	must(t, err)
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var uid, code, tenant, actor, purpose, line string
		var index int64
		var when any
		var count sql.NullInt64
		must(t, rows.Scan(&uid, &index, &when, &code, &tenant, &actor, &purpose, &count, &line))
		e := want[n]
		if at, ok := when.(time.Time); ok && !at.Equal(e.Time) || !ok && when != e.Time.Format("2006-01-02T15:04:05.000Z") {
			t.Errorf("the time is %v, want %v", when, e.Time)
		}
		if uid != e.UID || index != e.Index || code != string(e.Code) || tenant != e.Tenant || actor != e.Actor || purpose != strings.ReplaceAll(e.Purpose, "\x00", "\uFFFD") ||
			line != string(e.Raw) || count.Valid != (e.Rows >= 0) || count.Valid && count.Int64 != e.Rows {
			t.Errorf("row %d is %s %d %s %s %s %q %v", n, uid, index, code, tenant, actor, purpose, count)
		}
	}
	must(t, rows.Err())
	if n != len(want) {
		t.Errorf("%d rows of %d events", n, len(want))
	}
}

func TestSQLite(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "db"))
	must(t, err)
	defer db.Close()
	ddl, err := sqltable.DDL(dialect.SQLite, "")
	must(t, err)
	_, err = db.ExecContext(t.Context(), ddl)
	must(t, err)
	delivered(t, db, db, dialect.SQLite, sqltable.DefaultTable)
}

// TestPostgreSQL delivers as a role with the rights that DDL's documentation names, and commits
// that are set to be asynchronous.
func TestPostgreSQL(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	ddl, err := sqltable.DDL(dialect.PostgreSQL, "public.events")
	must(t, err)
	owner, err := sql.Open("pgx", database.OwnerURL)
	must(t, err)
	defer owner.Close()
	for _, s := range []string{ddl, `GRANT INSERT, SELECT (uid) ON public.events TO ` + database.App, `ALTER ROLE ` + database.App + ` SET synchronous_commit = off`} {
		on := owner
		if strings.HasPrefix(s, "ALTER") {
			if on, err = sql.Open("pgx", database.SuperURL); err == nil {
				defer on.Close()
			}
			must(t, err)
		}
		_, err = on.ExecContext(context.Background(), s)
		must(t, err)
	}
	db, err := sql.Open("pgx", database.AppURL)
	must(t, err)
	defer db.Close()
	delivered(t, db, owner, dialect.PostgreSQL, "public.events")
}

// TestRefused: names that would be SQL, and a table that is not there.
func TestRefused(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "db"))
	must(t, err)
	defer db.Close()
	for _, name := range []string{`a"b`, "a.b.c", "a.", "\x00", strings.Repeat("a", 64)} {
		if _, err := sqltable.New(db, dialect.SQLite, name); err == nil {
			t.Errorf("the name %q is accepted", name)
		}
	}
	if _, err := sqltable.New(db, "mysql", ""); err == nil {
		t.Error("an unknown dialect is accepted")
	}
	s, err := sqltable.New(db, dialect.SQLite, "absent")
	must(t, err)
	_, want := newLog(t)
	if n, err := s.Deliver(t.Context(), want); n != 0 || err == nil || strings.Contains(err.Error(), want[3].Purpose) {
		t.Errorf("%d events, %v", n, err)
	}
}
