package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pg "github.com/pganalyze/pg_query_go/v6"
	"golang.org/x/sys/unix"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

const (
	byHand  = "pgx stdlib, predicate by hand"
	inClear = "pgx stdlib, in the clear, predicate by hand"

	liteByHand  = "modernc SQLite, predicate by hand"
	liteInClear = "modernc SQLite, in the clear, predicate by hand"
)

func sqlRows(end *ending) []Row {
	postgres, sqlite := once(end, newPostgres), once(end, newSQLite)
	row := func(id, peer string, open func() (*sqlBench, error), s shape) Row {
		return Row{id, peer, func() (*Pair, error) {
			b, err := open()
			if err != nil {
				return nil, err
			}
			return b.pair(s)
		}}
	}
	const noRLS = inClear + ", no RLS"
	written, durable := point, point
	written.goroutines, durable.goroutines = 16, 16
	written.log, durable.log = &audit.Options{Durability: audit.Written}, &audit.Options{}
	alone, five := durable, durable
	alone.goroutines, five.committed = 1, "UPDATE visits SET cost = cost + 1 WHERE id = $1"
	five.peerCommitted = "UPDATE visits SET cost = cost + 1 WHERE tenant_id = $1 AND id = $2"
	return []Row{
		row("sql.point.plain", byHand, postgres, point),
		row("sql.point.sealed", inClear, postgres, sealedPoint),
		row("sql.point.rls", byHand+", no RLS", postgres, behindRLS(point)),
		row("sql.point.full", noRLS, postgres, behindRLS(sealedPoint)),
		row("sql.point.new", byHand+", a text never seen", postgres, unseen(point)),
		row("sql.join.plain", byHand, postgres, join),
		row("sql.join3.plain", byHand, postgres, join3("patients_plain")),
		row("sql.join3.sealed", inClear, postgres, join3("patients")),
		row("sql.join3.full", noRLS, postgres, behindRLS(join3("patients"))),
		row("sql.page.50", byHand, postgres, page),
		row("sql.page.50.sealed", inClear, postgres, sealedPage),
		row("sql.page.50.full", noRLS, postgres, behindRLS(sealedPage)),
		row("sql.point.written.16", byHand+", no trail", postgres, written),
		row("sql.point.durable.1", byHand+", no trail", postgres, alone),
		row("sql.point.durable.1.floor", byHand+", while 1 KiB takes the place of zeros and is synced", postgres, besideSync(alone)),
		row("sql.point.durable.16", byHand+", no trail", postgres, durable),
		row("sql.tx5.durable.16", byHand+", no trail", postgres, five),
		row("sql.insert.1", byHand, postgres, insertion(1)),
		row("sql.insert.1.sealed", inClear, postgres, sealedInsertion(1)),
		row("sql.insert.1.full", noRLS, postgres, behindRLS(sealedInsertion(1))),
		row("sql.insert.100", byHand, postgres, insertion(100)),
		row("sql.insert.100.sealed", inClear, postgres, sealedInsertion(100)),
		row("sql.insert.100.full", noRLS, postgres, behindRLS(sealedInsertion(100))),
		row("sqlite.point.plain", liteByHand, sqlite, point),
		row("sqlite.point.sealed", liteInClear, sqlite, sealedPoint),
		row("sqlite.join3.plain", liteByHand, sqlite, join3("patients_plain")),
		row("sqlite.join3.sealed", liteInClear, sqlite, join3("patients")),
		row("sqlite.page.50", liteByHand, sqlite, page),
		row("sqlite.page.50.sealed", liteInClear, sqlite, sealedPage),
		row("sqlite.insert.1", liteByHand, sqlite, insertion(1)),
		row("sqlite.insert.1.sealed", liteInClear, sqlite, sealedInsertion(1)),
		row("sqlite.insert.100", liteByHand, sqlite, insertion(100)),
		row("sqlite.insert.100.sealed", liteInClear, sqlite, sealedInsertion(100)),
		{"sql.plan.miss", "libpg_query: parse and deparse", planMiss},
	}
}

// shape is one statement in both forms. The alternative's has the tenant as $1 and the arguments behind it.
type shape struct {
	ours, peer string
	args       func() []any
	columns    int // of the result; 0 for a write
	schema     sqldb.Schema
	opts       *sqldb.Options
	log        *audit.Options // nil: nothing is recorded
	goroutines int            // 0 means 1
	anyTenant  bool           // a tenant chosen at random each time, or the first one always
	bySession  bool           // the alternative's tenant is its session's, and no argument
	rolledBack bool           // each time in a transaction of its own that is rolled back
	// Writes: each time two of the statement and three of these are a transaction that is committed.
	committed, peerCommitted string
	copied                   []string      // the columns of a copy, which are stored as often as columns says
	unseen                   *atomic.Int64 // counts texts that nobody sent before; nil: the text is the same each time
	beside                   func() error  // what the alternative does at the same time, each time
}

func anyID() []any { return []any{mrand.IntN(sqlRowsPer)} }

var (
	point = shape{
		ours: "SELECT id, person_id, ward, cost FROM visits WHERE id = $1",
		peer: "SELECT id, person_id, ward, cost FROM visits WHERE tenant_id = $1 AND id = $2",
		args: anyID, columns: 4, schema: sqlSchema, opts: withoutRLS,
	}
	join = shape{
		ours: "SELECT p.id, p.ward, v.id, v.cost FROM people p JOIN visits v ON v.person_id = p.id WHERE p.id = $1 AND v.id = $1",
		peer: "SELECT p.id, p.ward, v.id, v.cost FROM people p JOIN visits v ON v.tenant_id = p.tenant_id AND v.person_id = p.id WHERE p.tenant_id = $1 AND p.id = $2 AND v.id = $2",
		args: anyID, columns: 4, schema: sqlSchema, opts: withoutRLS,
	}
	page = shape{
		ours: "SELECT id, person_id, ward, cost FROM visits WHERE id > $1 ORDER BY id LIMIT 50",
		peer: "SELECT id, person_id, ward, cost FROM visits WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT 50",
		args: func() []any { return []any{mrand.IntN(sqlRowsPer - 50)} }, columns: 4, schema: sqlSchema, opts: withoutRLS,
	}
	sealedPoint = shape{
		ours: "SELECT id, name, ssn, ward FROM patients WHERE ssn = $1",
		peer: "SELECT id, name, ssn, ward FROM patients_plain WHERE tenant_id = $1 AND ssn = $2",
		args: func() []any { return []any{ssn(mrand.IntN(sqlRowsPer))} }, columns: 4, schema: sqlSchema, opts: withoutRLS,
	}
)

var sealedPage = shape{
	ours: "SELECT id, name, ssn, ward FROM patients WHERE id > $1 ORDER BY id LIMIT 50",
	peer: "SELECT id, name, ssn, ward FROM patients_plain WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT 50",
	args: page.args, columns: 4, schema: sqlSchema, opts: withoutRLS,
}

// join3 joins three tables, of which the last is sealed or in the clear.
func join3(patients string) shape {
	return shape{
		ours: "SELECT p.id, v.cost, t.name, t.ssn FROM people p JOIN visits v ON v.person_id = p.id JOIN " + patients + " t ON t.id = p.id WHERE p.id = $1 AND v.id = $1",
		peer: "SELECT p.id, v.cost, t.name, t.ssn FROM people p JOIN visits v ON v.tenant_id = p.tenant_id AND v.person_id = p.id" +
			" JOIN patients_plain t ON t.tenant_id = p.tenant_id AND t.id = p.id WHERE p.tenant_id = $1 AND p.id = $2 AND v.id = $2",
		args: anyID, columns: 4, schema: sqlSchema, opts: withoutRLS,
	}
}

// behindRLS is the same on tables with row-level security, for a tenant chosen at random each time, so that nearly every
// statement sets the session's tenant as well.
func behindRLS(s shape) shape {
	s.ours = strings.NewReplacer("people", "people_rls", "visits", "visits_rls", "patients", "patients_rls").Replace(s.ours)
	s.schema, s.opts, s.anyTenant = rlsSchema, nil, true
	return s
}

// unseen has a text that nobody sent before, each time: the guard plans it, and the alternative's driver prepares it.
func unseen(s shape) shape {
	s.unseen = new(atomic.Int64)
	return s
}

// besideSync has the alternative write over zeros in a file and sync that while it asks: the least that a trail in a file can cost
// on this disk which is written before an answer is released.
func besideSync(s shape) shape {
	const zeros = 16 << 20
	line := make([]byte, 1<<10)
	file := sync.OnceValues(func() (*os.File, error) {
		f, err := os.CreateTemp("", "strongroom-bench-")
		if err == nil {
			err = os.Remove(f.Name()) // it is gone when the process is
		}
		if err == nil {
			_, err = f.Write(make([]byte, zeros))
		}
		if err == nil {
			err = f.Sync()
		}
		return f, err
	})
	at := int64(0)
	s.beside = func() error {
		f, err := file()
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(line, at); err != nil {
			return err
		}
		at = (at + int64(len(line))) % zeros
		return unix.Fdatasync(int(f.Fd()))
	}
	return s
}

// sealedInsertion inserts rows with two sealed columns and a blind index.
func sealedInsertion(rows int) shape {
	s := insertion(rows)
	s.ours = strings.Replace(s.ours, "visits (id, person_id, ward, cost)", "patients (id, name, ssn, ward)", 1)
	s.peer = strings.Replace(s.peer, "visits (tenant_id, id, person_id, ward, cost)", "patients_plain (tenant_id, id, name, ssn, ward)", 1)
	ids := s.args
	s.args = func() []any {
		args := ids()
		for i := 0; i < len(args); i += 4 {
			args[i+1], args[i+2], args[i+3] = fmt.Sprint("Patient number ", args[i]), fmt.Sprint("ssn ", args[i]), "ward"
		}
		return args
	}
	return s
}

// insertions numbers the rows that are inserted: each has ids of its own.
var insertions atomic.Int64

// insertion inserts rows with ids that nobody had before.
func insertion(rows int) shape {
	var next atomic.Int64
	next.Store(insertions.Add(1) << 40)
	var ours, peer []string
	for i := range rows {
		n := 4 * i
		ours = append(ours, fmt.Sprintf("($%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4))
		peer = append(peer, fmt.Sprintf("($1, $%d, $%d, $%d, $%d)", n+2, n+3, n+4, n+5))
	}
	return shape{
		ours: "INSERT INTO visits (id, person_id, ward, cost) VALUES " + strings.Join(ours, ", "),
		peer: "INSERT INTO visits (tenant_id, id, person_id, ward, cost) VALUES " + strings.Join(peer, ", "),
		args: func() []any {
			var args []any
			for range rows {
				id := next.Add(1)
				args = append(args, id, id%sqlRowsPer, "ward", id)
			}
			return args
		},
		schema: sqlSchema, opts: withoutRLS,
	}
}

// pair makes the two sides of a row about one shape.
func (b *sqlBench) pair(s shape) (*Pair, error) {
	var log audit.Recorder = silence{}
	cleanup := func() {}
	if s.log != nil {
		opened, _, cleanLog, err := openTrail(s.log)
		if err != nil {
			return nil, err
		}
		log, cleanup = opened, cleanLog
	}
	db, err := b.open(s.schema, log, s.opts)
	if err != nil {
		return nil, err
	}
	n := max(s.goroutines, 1)
	for _, pool := range []*sql.DB{db, b.raw} {
		pool.SetMaxOpenConns(n)
		pool.SetMaxIdleConns(n) // second: the first lowers it
	}
	who := func() int {
		if s.anyTenant {
			return mrand.IntN(sqlTenants)
		}
		return 0
	}
	ours := func() error {
		if s.committed != "" {
			return s.five(b.ctxs[who()], db, s.ours, s.committed, s.args())
		}
		return s.run(b.ctxs[who()], db, s.ours, s.args())
	}
	peer := func() error {
		args := s.args()
		if !s.bySession {
			args = append([]any{b.keys.ids[who()].String()}, args...)
		}
		if s.committed != "" {
			return s.five(context.Background(), b.raw, s.peer, s.peerCommitted, args)
		}
		if s.beside == nil {
			return s.run(context.Background(), b.raw, s.peer, args)
		}
		beside := make(chan error, 1)
		go func() { beside <- s.beside() }()
		return errors.Join(s.run(context.Background(), b.raw, s.peer, args), <-beside)
	}
	p := &Pair{Ours: parallel(n, ours), Peer: parallel(n, peer), Cleanup: func() { db.Close(); cleanup() }}
	for _, side := range []func(int) error{p.Ours, p.Peer} { // connect, prepare, plan
		for i, start := 0, time.Now(); i < 20 && time.Since(start) < time.Second; i++ {
			if err := side(n); err != nil {
				p.Cleanup()
				return nil, err
			}
		}
	}
	return p, nil
}

func (s *shape) run(ctx context.Context, db *sql.DB, query string, args []any) error {
	if s.unseen != nil {
		query = fmt.Sprintf("%s /* %d */", query, s.unseen.Add(1))
	}
	if s.rolledBack {
		return s.tryOut(ctx, db, query, args)
	}
	if s.columns == 0 {
		_, err := db.ExecContext(ctx, query, args...)
		return err
	}
	return s.fetch(ctx, db, query, args)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (s *shape) fetch(ctx context.Context, db querier, query string, args []any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	values := make([]any, s.columns)
	dest := make([]any, s.columns)
	for i := range dest {
		dest[i] = &values[i]
	}
	count := 0
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		count++
	}
	if count == 0 && rows.Err() == nil {
		return fmt.Errorf("no row was found by %q", query)
	}
	return rows.Err()
}

// five runs a transaction of five statements: a read, three writes, a read.
func (s *shape) five(ctx context.Context, db *sql.DB, read, write string, args []any) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for i, query := range []string{read, write, write, write, read} {
		switch i {
		case 0, 4:
			err = s.fetch(ctx, tx, query, args)
		default:
			_, err = tx.ExecContext(ctx, query, args...)
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

// tryOut runs a write that must find rows, and leaves them as they were.
func (s *shape) tryOut(ctx context.Context, db *sql.DB, query string, args []any) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n == 0 || err != nil {
		return fmt.Errorf("no row was written by %q: %w", query, err)
	}
	return tx.Rollback()
}

// parallel shares operations out among goroutines.
func parallel(goroutines int, f func() error) func(int) error {
	if goroutines == 1 {
		return func(n int) error {
			for range n {
				if err := f(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return func(n int) error {
		var left atomic.Int64
		left.Store(int64(n))
		errs := make(chan error, goroutines)
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if err := f(); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		return <-errs
	}
}

// planMiss plans a statement that is in no cache.
func planMiss() (*Pair, error) {
	column := func(name string) sqlplan.Column { return sqlplan.Column{Name: name, Type: "bigint"} }
	tenantID := sqlplan.Column{Name: "tenant_id", Type: "text", NotNull: true}
	catalog := &sqlplan.Catalog{Dialect: sqlplan.PostgreSQL, IndexVersions: 1, Tables: map[string]*sqlplan.Table{
		"people": {Schema: "public", Name: "people", TenantColumn: "tenant_id", Columns: []sqlplan.Column{tenantID, column("id"), column("ward")}},
		"visits": {Schema: "public", Name: "visits", TenantColumn: "tenant_id", Columns: []sqlplan.Column{tenantID, column("id"), column("person_id"), column("cost")}},
	}}
	ours := func() error { _, err := sqlplan.New(join.ours, catalog); return err }
	peer := func() error {
		tree, err := pg.Parse(join.peer)
		if err != nil {
			return err
		}
		_, err = pg.Deparse(tree)
		return err
	}
	return &Pair{Ours: parallel(1, ours), Peer: parallel(1, peer)}, nil
}
