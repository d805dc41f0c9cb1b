package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

const (
	poolByHand  = "pgxpool, predicate by hand"
	poolInClear = "pgxpool, in the clear, predicate by hand"
)

// pgxRows measure a Pool beside pgx's own.
func pgxRows(end *ending) []Row {
	postgres := once(end, newPostgres)
	row := func(id, peer string, s shape, measured func(*pools, shape) (ours, peer func() error)) Row {
		return Row{id, peer, func() (*Pair, error) {
			b, err := postgres()
			if err != nil {
				return nil, err
			}
			p, err := b.pools(s)
			if err != nil {
				return nil, err
			}
			ours, other := measured(p, s)
			pair := &Pair{Ours: parallel(1, ours), Peer: parallel(1, other), Cleanup: p.close}
			for _, side := range []func(int) error{pair.Ours, pair.Peer} { // connect, prepare, plan
				if err := side(2); err != nil {
					p.close()
					return nil, err
				}
			}
			return pair, nil
		}}
	}
	return []Row{
		row("pgx.point.plain", poolByHand, point, (*pools).query),
		row("pgx.point.sealed", poolInClear, sealedPoint, (*pools).query),
		row("pgx.point.full", poolInClear+", no RLS", behindRLS(sealedPoint), (*pools).query),
		row("pgx.join.plain", poolByHand, join, (*pools).query),
		row("pgx.join3.full", poolInClear+", no RLS", behindRLS(join3("patients")), (*pools).query),
		row("pgx.page.50.plain", poolByHand, page, (*pools).query),
		row("pgx.page.50.sealed", poolInClear, sealedPage, (*pools).query),
		row("pgx.batch.20.plain", poolByHand, point, (*pools).batch),
		row("pgx.batch.20.full", poolInClear+", no RLS", behindRLS(sealedPoint), (*pools).batch),
		row("pgx.copy.10k.plain", "pgxpool, COPY", copied("visits", "person_id", "ward", "cost"), (*pools).copy),
		row("pgx.copy.100k.plain", "pgxpool, COPY", atSize(100_000, copied("visits", "person_id", "ward", "cost")), (*pools).copy),
		row("pgx.copy.100k.sealed", "pgxpool, COPY in the clear", atSize(100_000, copied("patients", "name", "ssn", "ward")), (*pools).copy),
	}
}

// pools are the two sides.
type pools struct {
	*sqlBench
	guarded *sqldb.Pool
	raw     *pgxpool.Pool
}

func (b *sqlBench) pools(s shape) (*pools, error) {
	opts := &sqldb.PoolOptions{}
	if s.opts != nil {
		opts.Options = *s.opts
	}
	guarded, err := sqldb.OpenPool(context.Background(), b.dsn, s.schema, storage.Guard{Keys: b.ring, Audit: silence{}}, opts)
	if err != nil {
		return nil, err
	}
	raw, err := pgxpool.New(context.Background(), b.dsn)
	if err != nil {
		guarded.Close()
		return nil, err
	}
	return &pools{b, guarded, raw}, nil
}

func (p *pools) close() {
	p.guarded.Close()
	p.raw.Close()
}

type poolQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// fetch reads a result as pgx chooses its types.
func fetchPgx(ctx context.Context, db poolQuerier, query string, args []any) error {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	return readPgx(rows)
}

func readPgx(rows pgx.Rows) error {
	n := 0
	for rows.Next() {
		if _, err := rows.Values(); err != nil {
			return err
		}
		n++
	}
	if rows.Err() == nil && n == 0 {
		return fmt.Errorf("no row was found")
	}
	return rows.Err()
}

// as returns a tenant's context, and the arguments of the alternative.
func (p *pools) as(s shape, args []any) (context.Context, []any) {
	who := 0
	if s.anyTenant {
		who = int(turnOf.Add(1) % sqlTenants)
	}
	return p.ctxs[who], append([]any{p.keys.ids[who].String()}, args...)
}

var turnOf atomic.Int64

func (p *pools) query(s shape) (ours, peer func() error) {
	return func() error {
			args := s.args()
			ctx, _ := p.as(s, args)
			return fetchPgx(ctx, p.guarded, s.ours, args)
		}, func() error {
			_, args := p.as(s, s.args())
			return fetchPgx(context.Background(), p.raw, s.peer, args)
		}
}

type batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// batch sends twenty of the statement in one round trip.
func (p *pools) batch(s shape) (ours, peer func() error) {
	const n = 20
	send := func(ctx context.Context, db batcher, b *pgx.Batch) error {
		results := db.SendBatch(ctx, b)
		for range n {
			rows, err := results.Query()
			if err == nil {
				err = readPgx(rows)
			}
			if err != nil {
				results.Close()
				return err
			}
		}
		return results.Close()
	}
	return func() error {
			b := &pgx.Batch{}
			ctx, _ := p.as(s, nil)
			for range n {
				b.Queue(s.ours, s.args()...)
			}
			return send(ctx, p.guarded, b)
		}, func() error {
			b := &pgx.Batch{}
			for range n {
				_, args := p.as(s, s.args())
				b.Queue(s.peer, args...)
			}
			return send(context.Background(), p.raw, b)
		}
}

// copied stores 10,000 rows with ids that nobody had before.
func copied(table string, columns ...string) shape {
	s := insertion(1)
	s.ours, s.peer, s.columns, s.copied = table, table, 10_000, append([]string{"id"}, columns...)
	if table == "patients" {
		s.peer = "patients_plain"
	}
	return s
}

func atSize(rows int, s shape) shape {
	s.columns = rows
	return s
}

type copier interface {
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error)
}

func (p *pools) copy(s shape) (ours, peer func() error) {
	rows := s.columns
	values := func(lead ...any) pgx.CopyFromSource {
		return pgx.CopyFromSlice(rows, func(int) ([]any, error) {
			args := s.args()
			for i, name := range s.copied {
				switch name {
				case "name", "ssn":
					args[i] = fmt.Sprint(name, " of ", args[0])
				case "ward":
					args[i] = "ward"
				}
			}
			return append(append([]any{}, lead...), args...), nil
		})
	}
	store := func(ctx context.Context, db copier, table string, columns []string, source pgx.CopyFromSource) error {
		n, err := db.CopyFrom(ctx, pgx.Identifier{table}, columns, source)
		if err == nil && n != int64(rows) {
			err = fmt.Errorf("%d rows were stored", n)
		}
		return err
	}
	return func() error { return store(p.ctxs[0], p.guarded, s.ours, s.copied, values()) },
		func() error {
			return store(context.Background(), p.raw, s.peer, append([]string{"tenant_id"}, s.copied...), values(p.keys.ids[0].String()))
		}
}
