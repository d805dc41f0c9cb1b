package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/recording"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

const (
	sqlTenants = 100
	sqlRowsPer = 200 // rows of each tenant in each table
)

// silence is a trail that takes no time: rows that are not about the audit log record nothing.
type silence struct{}

func (silence) Record(context.Context, *audit.Event) error { return nil }

// CallsByRecording has it called as a log is, without a goroutine of its own: see [recording.Own].
func (silence) CallsByRecording() {}

var _ recording.Own = silence{}

// tables are what both engines hold: people and visits in the clear, patients sealed and, for the alternative, in the
// clear, and what the guard uses once more, on PostgreSQL behind row-level security.
var tables = []string{
	`CREATE TABLE people (tenant_id TENANT NOT NULL, id bigint NOT NULL, ward text NOT NULL, PRIMARY KEY (tenant_id, id))`,
	`CREATE TABLE visits (tenant_id TENANT NOT NULL, id bigint NOT NULL, person_id bigint NOT NULL, ward text NOT NULL, cost bigint NOT NULL, PRIMARY KEY (tenant_id, id))`,
	`CREATE TABLE visits_rls (tenant_id TENANT NOT NULL, id bigint NOT NULL, person_id bigint NOT NULL, ward text NOT NULL, cost bigint NOT NULL, PRIMARY KEY (tenant_id, id))`,
	`CREATE TABLE people_rls (tenant_id TENANT NOT NULL, id bigint NOT NULL, ward text NOT NULL, PRIMARY KEY (tenant_id, id))`,
	`CREATE TABLE patients (tenant_id TENANT NOT NULL, id bigint NOT NULL, name BLOB, ssn BLOB, ssn_index BLOB, ward text, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, ssn_index), CHECKS)`,
	`CREATE TABLE patients_rls (tenant_id TENANT NOT NULL, id bigint NOT NULL, name BLOB, ssn BLOB, ssn_index BLOB, ward text, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, ssn_index), CHECKS)`,
	`CREATE TABLE patients_plain (tenant_id TENANT NOT NULL, id bigint NOT NULL, name text, ssn text, ward text, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, ssn))`,
}

var (
	sealedTable = sqldb.Table{Sealed: sqldb.Columns{"name": sqldb.Text(), "ssn": sqldb.Text().Searchable("ssn_index")}}
	sqlSchema   = sqldb.Schema{"people": {}, "visits": {}, "patients": sealedTable, "patients_plain": {}}
	rlsSchema   = sqldb.Schema{"people_rls": {}, "visits_rls": {}, "patients_rls": sealedTable}
	fillSchema  = sqldb.Schema{"patients": sealedTable, "patients_rls": sealedTable}
)

// sqlBench is a filled database: the handle of somebody who writes the predicates by hand, and how to open guarded ones.
type sqlBench struct {
	keys *fixture
	ring *keys.Keyring
	raw  *sql.DB
	dsn  string
	ctxs []context.Context // one for each tenant
}

func newSQLBench() (*sqlBench, error) {
	f, err := newFixture(sqlTenants)
	if err != nil {
		return nil, err
	}
	kek, err := f.shared()
	if err != nil {
		return nil, err
	}
	b := &sqlBench{keys: f}
	if b.ring, err = f.ring(kek, nil); err != nil {
		return nil, err
	}
	for _, id := range f.ids {
		b.ctxs = append(b.ctxs, tenant.NewContext(context.Background(), tenant.Access{Tenant: id, Actor: "dr.adams", Purpose: "treatment", Request: "req-01a204e8"}))
	}
	return b, nil
}

func (b *sqlBench) close() {
	b.raw.Close()
	b.keys.cleanup()
}

// open opens the database through the guard.
func (b *sqlBench) open(schema sqldb.Schema, log audit.Recorder, opts *sqldb.Options) (*sql.DB, error) {
	return sqldb.Open(context.Background(), b.dsn, schema, storage.Guard{Keys: b.ring, Audit: log}, opts)
}

// fill makes and fills the tables: as their owner, and the sealed one through the guard.
func (b *sqlBench) fill(owner *sql.DB, tenantType, blob string, opts *sqldb.Options) error {
	ctx := context.Background()
	d := dialect.PostgreSQL
	if blob == "blob" {
		d = dialect.SQLite
	}
	types := strings.NewReplacer("TENANT", tenantType, "BLOB", blob, "CHECKS", strings.Join(sealedTable.Checks(d), ", "))
	for _, t := range tables {
		if _, err := owner.ExecContext(ctx, types.Replace(t)); err != nil {
			return err
		}
	}
	for t, id := range b.keys.ids {
		var people, visits, plain []string
		for i := range sqlRowsPer {
			people = append(people, fmt.Sprintf("('%s', %d, 'ward %d')", id, i, i%10))
			visits = append(visits, fmt.Sprintf("('%s', %d, %d, 'ward %d', %d)", id, i, i, i%10, t*i))
			plain = append(plain, fmt.Sprintf("('%s', %d, 'Patient number %d', '%s', 'ward %d')", id, i, i, ssn(i), i%10))
		}
		for table, values := range map[string][]string{"people": people, "people_rls": people, "visits": visits, "visits_rls": visits, "patients_plain": plain} {
			if _, err := owner.ExecContext(ctx, "INSERT INTO "+table+" VALUES "+strings.Join(values, ", ")); err != nil {
				return err
			}
		}
	}
	db, err := b.open(fillSchema, silence{}, opts)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, ctx := range b.ctxs {
		var rows []string
		var args []any
		for i := range sqlRowsPer {
			n := len(args)
			rows = append(rows, fmt.Sprintf("($%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4))
			args = append(args, i, fmt.Sprintf("Patient number %d", i), ssn(i), fmt.Sprintf("ward %d", i%10))
		}
		for table := range fillSchema {
			if _, err := db.ExecContext(ctx, "INSERT INTO "+table+" (id, name, ssn, ward) VALUES "+strings.Join(rows, ", "), args...); err != nil {
				return err
			}
		}
	}
	_, err = owner.ExecContext(ctx, "ANALYZE")
	return err
}

func ssn(i int) string { return fmt.Sprintf("%03d-%02d-%04d", i%900, i%90, i) }

// withoutRLS is for the rows that are not about row-level security; the alternative has none either.
var withoutRLS = &sqldb.Options{InsecureWithoutRLS: true}

func newPostgres() (b *sqlBench, err error) {
	t := &bare{}
	defer func() {
		if f, ok := recover().(failure); ok {
			err = errors.New(string(f))
		}
	}()
	database := testenv.Postgres(t).NewDatabase(t)
	if b, err = newSQLBench(); err != nil {
		return nil, err
	}
	b.dsn = database.AppURL
	owner, err := sql.Open("pgx", database.OwnerURL)
	if err != nil {
		return nil, err
	}
	defer owner.Close()
	if err := b.fill(owner, `text COLLATE "C"`, "bytea", withoutRLS); err != nil {
		return nil, err
	}
	ddl, err := rlsSchema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		return nil, err
	}
	if _, err := owner.Exec(ddl); err != nil {
		return nil, err
	}
	b.raw, err = sql.Open("pgx", database.AppURL)
	return b, err
}

func newSQLite() (*sqlBench, error) {
	b, err := newSQLBench()
	if err != nil {
		return nil, err
	}
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "bench.db")
	clean := b.keys.cleanup
	b.keys.cleanup = func() { clean(); os.RemoveAll(dir) }
	b.dsn = "sqlite:" + path
	if b.raw, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)"); err != nil {
		return nil, err
	}
	return b, b.fill(b.raw, "text", "blob", nil)
}

// once makes a database when the first row that needs it is measured, and closes it at the end.
func once[B interface{ close() }](end *ending, open func() (B, error)) func() (B, error) {
	return sync.OnceValues(func() (B, error) {
		b, err := open()
		if err == nil {
			end.then(b.close)
		}
		return b, err
	})
}

// bare stands in for a test: testenv starts servers for nobody else. What would end a test panics with a failure. What
// a test would clean up goes with the server, which testenv.Run removes.
type bare struct{ testing.TB }

type failure string

func (*bare) Helper()                   {}
func (*bare) Cleanup(func())            {}
func (*bare) Context() context.Context  { return context.Background() }
func (*bare) Errorf(f string, a ...any) { panic(failure(fmt.Sprintf(f, a...))) }
func (*bare) Fatalf(f string, a ...any) { panic(failure(fmt.Sprintf(f, a...))) }
func (*bare) Skipf(f string, a ...any)  { panic(failure(fmt.Sprintf(f, a...))) }
func (*bare) Fatal(a ...any)            { panic(failure(fmt.Sprint(a...))) }
