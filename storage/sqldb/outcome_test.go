package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// interrupted is SQLite, whose answers are kept from the guard at a chosen point: the database does what it was asked, and
// what the guard hears is that the context ended, as the driver has it.
type interrupted struct {
	*sqliteEngine
	at     string       // where: exec, query, next, close, commit, savepoint
	before bool         // the database has not done it
	end    func() error // ends the context, and is what the driver says then
}

func (e *interrupted) connect(ctx context.Context, cat *sqlplan.Catalog) (session, error) {
	s, err := e.sqliteEngine.connect(ctx, cat)
	return &interruptedSession{s, e}, err
}

// cut has the engine's answer replaced, where it is at the chosen point.
func (e *interrupted) cut(at string, err *error) {
	if e.at == at && (*err == nil || *err == io.EOF) {
		*err = e.end()
	}
}

type interruptedSession struct {
	session
	e *interrupted
}

func (s *interruptedSession) exec(_ context.Context, id tenant.ID, sql string, args []driver.Value) (n int64, err error) {
	at := "exec"
	if args == nil {
		at = "savepoint"
	}
	defer s.e.cut(at, &err)
	if s.e.before && s.e.at == at {
		return 0, nil
	}
	return s.session.exec(context.Background(), id, sql, args)
}

func (s *interruptedSession) query(_ context.Context, id tenant.ID, sql string, args []driver.Value) (cur cursor, err error) {
	if cur, err = s.session.query(context.Background(), id, sql, args); err != nil {
		return nil, err
	}
	if s.e.at == "query" {
		err = errors.Join(s.e.end(), cur.close())
	}
	return &interruptedCursor{cur, s.e}, err
}

func (s *interruptedSession) commit(context.Context) (err error) {
	defer s.e.cut("commit", &err)
	return s.session.commit(context.Background())
}

type interruptedCursor struct {
	cursor
	e *interrupted
}

func (c *interruptedCursor) next(dest []driver.Value) (err error) {
	defer c.e.cut("next", &err)
	return c.cursor.next(dest)
}

func (c *interruptedCursor) close() (err error) {
	defer c.e.cut("close", &err)
	return c.cursor.close()
}

// events keeps what was recorded.
type events struct {
	mu   sync.Mutex
	list []audit.Event
}

func (e *events) Record(_ context.Context, ev *audit.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, *ev)
	return nil
}

// ends returns the statuses of the outcomes since it was last called, by code.
func (e *events) ends() map[audit.Code]audit.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[audit.Code]audit.Status)
	for _, ev := range e.list {
		if ev.Phase != audit.Intent {
			out[ev.Code] = ev.Status
		}
	}
	e.list = nil
	return out
}

var testTenant = tenant.MustParse("clinic")

func testAccess() context.Context {
	return tenant.NewContext(context.Background(), tenant.Access{Tenant: testTenant, Actor: "dr.adams", Purpose: "treatment"})
}

// openInterrupted opens a SQLite database with one table through the double.
func openInterrupted(t *testing.T) (*sql.DB, *interrupted, *events) {
	t.Helper()
	dir := t.TempDir()
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	if err := ring.Provision(t.Context(), testTenant); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "app.db")
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec(`CREATE TABLE t (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (tenant_id, id))`); err != nil {
		t.Fatal(err)
	}
	lite, err := openSQLite("sqlite:" + path)
	if err != nil {
		t.Fatal(err)
	}
	log := &events{}
	g, err := gate.New(ring, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &interrupted{sqliteEngine: lite}
	d, err := newDatabase(t.Context(), e, g, Schema{"t": {}}, (*Options)(nil).withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(d)
	t.Cleanup(func() { db.Close() })
	return db, e, log
}

type interruptError struct{}

func (interruptError) Error() string { return "interrupted (9)" }
func (interruptError) Code() int     { return 9 }

// TestWritesWhoseAnswerIsCutOff: whatever came in the place of the engine's answer, and wherever it came, the write may
// stand, and neither the caller nor the trail is told that it failed.
func TestWritesWhoseAnswerIsCutOff(t *testing.T) {
	const insert, returning = `INSERT INTO t (id) VALUES ($1)`, `INSERT INTO t (id) VALUES ($1), ($1 + 1000) RETURNING id`
	exec := func(ctx context.Context, db *sql.DB, id int) error {
		_, err := db.ExecContext(ctx, insert, id)
		return err
	}
	execReturning := func(ctx context.Context, db *sql.DB, id int) error {
		_, err := db.ExecContext(ctx, returning, id)
		return err
	}
	query := func(ctx context.Context, db *sql.DB, id int) error {
		rows, err := db.QueryContext(ctx, returning, id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		return errors.Join(rows.Err(), rows.Close())
	}
	row := func(ctx context.Context, db *sql.DB, id int) error {
		return db.QueryRowContext(ctx, returning, id).Scan(new(int))
	}
	inTx := func(ctx context.Context, db *sql.DB, id int) error {
		tx, err := db.BeginTx(testAccess(), nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(testAccess(), insert, id); err != nil {
			return err
		}
		return tx.Commit()
	}
	for _, c := range []struct {
		what  string
		at    string
		write func(context.Context, *sql.DB, int) error
		code  audit.Code
	}{
		{"exec", "exec", exec, audit.CodeExec},
		{"exec of a returning statement", "query", execReturning, audit.CodeExec},
		{"exec of a returning statement, its rows", "next", execReturning, audit.CodeExec},
		{"exec of a returning statement, its end", "close", execReturning, audit.CodeExec},
		{"query", "query", query, audit.CodeExec},
		{"query, its rows", "next", query, audit.CodeExec},
		{"query, its end", "close", query, audit.CodeExec},
		{"one row", "next", row, audit.CodeExec},
		{"one row, its end", "close", row, audit.CodeExec},
		{"commit", "commit", inTx, audit.CodeCommit},
	} {
		for _, why := range []error{context.Canceled, context.DeadlineExceeded, cutShort(interruptError{})} {
			t.Run(c.what+": "+why.Error(), func(t *testing.T) {
				db, e, log := openInterrupted(t)
				ctx, cancel := context.WithCancel(testAccess())
				defer cancel()
				e.at, e.end = c.at, func() error { cancel(); return why }
				if c.at == "commit" {
					e.end = func() error { return why }
				}
				err := c.write(ctx, db, 7)
				if !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, why) {
					t.Errorf("the caller is told: %v", err)
				}
				if got := log.ends()[c.code]; got != audit.Unknown {
					t.Errorf("the trail says %v", got)
				}
				e.at = ""
				var n int
				if err := db.QueryRowContext(testAccess(), `SELECT count(*) FROM t WHERE id = 7`).Scan(&n); err != nil || n != 1 {
					t.Errorf("%d rows stand, %v: the test proves nothing", n, err)
				}
			})
		}
	}
}

// TestWritesKnownNotToTakePlace: where nothing was sent the outcome is no secret.
func TestWritesKnownNotToTakePlace(t *testing.T) {
	db, e, log := openInterrupted(t)
	ended, cancel := context.WithCancel(testAccess())
	e.at, e.end = "", func() error { return context.Canceled }
	tx, err := db.BeginTx(testAccess(), nil)
	if err != nil {
		t.Fatal(err)
	}
	log.ends()
	cancel()
	if _, err := tx.ExecContext(ended, `INSERT INTO t (id) VALUES (1)`); !errors.Is(err, context.Canceled) || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("in an ended context: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	// The connection itself, to which database/sql would not go with such a context.
	c, err := db.Conn(testAccess())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Raw(func(dc any) error {
		guarded := dc.(*conn)
		for _, q := range []string{`INSERT INTO t (id) VALUES (1)`, `INSERT INTO t (id) VALUES (1) RETURNING id`} {
			_, pass, err := guarded.enter(testAccess(), q, nil)
			if err != nil {
				return err
			}
			if err = guarded.send(ended, pass); err == nil {
				t.Error("it was sent in an ended context")
			}
			if err := guarded.failed(ended, pass, err); errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("in an ended context: %v", err)
			}
			if got := log.ends()[audit.CodeExec]; got != audit.Failure {
				t.Errorf("the trail says %v", got)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// What SQLite answers is an answer.
	if _, err := db.ExecContext(testAccess(), `INSERT INTO t (id) VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	log.ends()
	if _, err := db.ExecContext(testAccess(), `INSERT INTO t (id) VALUES (1)`); err == nil || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("a unique violation: %v", err)
	}
	if got := log.ends()[audit.CodeExec]; got != audit.Failure {
		t.Errorf("the trail says %v", got)
	}
}

// TestAnEndedContextAfterTheAnswerChangesNothing: what is known is said.
func TestAnEndedContextAfterTheAnswerChangesNothing(t *testing.T) {
	db, e, log := openInterrupted(t)
	ctx, cancel := context.WithCancel(testAccess())
	e.at, e.end = "exec", func() error { cancel(); return nil }
	if _, err := db.ExecContext(ctx, `INSERT INTO t (id) VALUES (1)`); err != nil {
		t.Error(err)
	}
	if got := log.ends()[audit.CodeExec]; got != audit.Success {
		t.Errorf("the trail says %v", got)
	}
}

// TestATransactionInDoubtIsNotCommitted: a statement whose answer was cut off may stand in the transaction, and a savepoint
// that may be gone could lead back to another of its name.
func TestATransactionInDoubtIsNotCommitted(t *testing.T) {
	for at, doubtful := range map[string]string{
		"exec": `INSERT INTO t (id) VALUES (2)`, "query": `INSERT INTO t (id) VALUES (2) RETURNING id`, "next": `INSERT INTO t (id) VALUES (2) RETURNING id`,
		"close": `INSERT INTO t (id) VALUES (2) RETURNING id`, "savepoint": `RELEASE SAVEPOINT a`,
	} {
		for _, asQuery := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, asked for rows %v", at, asQuery), func(t *testing.T) {
				db, e, log := openInterrupted(t)
				tx, err := db.BeginTx(testAccess(), nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, q := range []string{`SAVEPOINT a`, `INSERT INTO t (id) VALUES (1)`, `SAVEPOINT a`} {
					if _, err := tx.ExecContext(testAccess(), q); err != nil {
						t.Fatal(err)
					}
				}
				e.at, e.end = at, func() error { return context.Canceled }
				if asQuery {
					var rows *sql.Rows
					if rows, err = tx.QueryContext(testAccess(), doubtful); err == nil {
						for rows.Next() {
						}
						err = errors.Join(rows.Err(), rows.Close())
					}
				} else {
					_, err = tx.ExecContext(testAccess(), doubtful)
				}
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("the statement: %v", err)
				}
				e.at = ""
				if _, err := tx.ExecContext(testAccess(), `ROLLBACK TO SAVEPOINT a`); !errors.Is(err, errTxUnknown) {
					t.Errorf("what follows: %v", err)
				}
				log.ends()
				if err := tx.Commit(); !errors.Is(err, errCommitRolledBack) || errors.Is(err, ErrOutcomeUnknown) {
					t.Errorf("the commit: %v", err)
				}
				if got := log.ends()[audit.CodeCommit]; got != audit.Failure {
					t.Errorf("the trail says %v of the commit", got)
				}
				var n int
				if err := db.QueryRowContext(testAccess(), `SELECT count(*) FROM t`).Scan(&n); err != nil || n != 0 {
					t.Errorf("%d rows stand, %v", n, err)
				}
			})
		}
	}
}
