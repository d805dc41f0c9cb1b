package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/storage"
)

// Pool is a guarded pool of PostgreSQL connections with the methods of a [pgxpool.Pool]: what takes a pgx connection by an interface
// takes it, such as the code that sqlc makes for pgx/v5, [pgx.BeginFunc], [pgx.CollectRows] and scany. Every statement is planned, gated,
// bound and recorded as those of [Open] are; see there for what statements can say, and for the errors.
//
// Values are pgx's: results come in the wire format and are decoded by pgx's types and those that [PoolOptions] registers. A
// sealed column is shown as one of its logical type: text, bytea, int8, float8, bool, timestamptz (in a time.Time to the nanosecond), date, numeric,
// json or uuid. A parameter that is sealed or searched for, that is a tenant's id, a LIKE pattern, a number of rows or JSON to search
// by, is first converted as database/sql converts it; all others are encoded by pgx.
//
// There is no way to the connection underneath: Conn of a transaction or of a result is nil, large objects panic, and options of single
// queries ([pgx.QueryExecMode], [pgx.QueryResultFormats]) are refused. It is safe for concurrent use.
type Pool struct {
	pool *pgxpool.Pool
	db   *database
}

// PoolOptions are the optional settings of [OpenPool]; nil and the zero value are safe. How many connections there are, and how long they
// live, is said in the connection string, with pgxpool's parameters (pool_max_conns and so on).
type PoolOptions struct {
	Options
	// LoadTypes are the names of the application's own types, such as enumerations, composites, domains and arrays of them, with a
	// schema where the search path does not have it. They are registered on each new connection: see [pgx.Conn.LoadTypes]. Casts to
	// them want [Options].Types too.
	LoadTypes []string
	// RegisterTypes registers types of the application's on each new connection, such as a decimal library's for numeric. Their codecs
	// see the values of all tenants. Those of bytea and of the integers cannot be replaced.
	RegisterTypes func(*pgtype.Map)
}

// connKey is where a pooled connection has its guard.
const connKey = "strongroom"

// OpenPool opens a PostgreSQL database as [Open] does, for applications that speak pgx. It is the same guard with another face: schema,
// checks, problems and errors are those of Open. Close the pool at the end. opts may be nil.
func OpenPool(ctx context.Context, dsn string, schema Schema, guard storage.Guard, opts *PoolOptions) (*Pool, error) {
	var own PoolOptions
	if opts != nil {
		own = *opts
	}
	o := own.withDefaults()
	g, err := gate.New(guard.Keys, guard.Audit, guard.Authorizer)
	if err != nil {
		return nil, err
	}
	if err := schema.validate(o); err != nil {
		return nil, err
	}
	if scheme, _, _ := strings.Cut(dsn, ":"); scheme != "postgres" && scheme != "postgresql" {
		return nil, errors.New("sqldb: a pool is of PostgreSQL, whose connection strings begin with postgres://; use Open for others")
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errUnreadableDSN
	}
	e, err := newPostgres(config.ConnConfig, o)
	if err != nil {
		return nil, err
	}
	e.native = true
	d, err := newDatabase(ctx, e, g, schema, o)
	if err != nil {
		return nil, err
	}
	if err := d.observe(guard.Telemetry); err != nil {
		return nil, err
	}
	d.native = true
	config.AfterConnect = func(ctx context.Context, pc *pgx.Conn) error { return own.guardConn(ctx, d, e, pc) }
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("sqldb: the pool could not be made: %w", redact(err))
	}
	return &Pool{pool, d}, nil
}

// guardConn puts a guard around a new connection.
func (o *PoolOptions) guardConn(ctx context.Context, d *database, e *postgres, pc *pgx.Conn) error {
	if err := readsAsChecked(pc); err != nil {
		return err
	}
	s, err := e.session(ctx, pc, d.catalogs[0]) // which reads the catalog with pgx's own types
	if err != nil {
		return err
	}
	if len(o.LoadTypes) > 0 {
		types, err := pc.LoadTypes(ctx, o.LoadTypes)
		if err != nil {
			return fmt.Errorf("sqldb: PoolOptions.LoadTypes: %w", redact(err))
		}
		pc.TypeMap().RegisterTypes(types)
	}
	if o.RegisterTypes != nil {
		o.RegisterTypes(pc.TypeMap())
	}
	if err := sendsAsMade(pc.TypeMap()); err != nil {
		return err
	}
	pc.PgConn().CustomData()[connKey] = &conn{db: d, session: s}
	return nil
}

// sendsAsMade refuses types of the application's that would come between the library and the database: what they made of a ciphertext
// nobody could open, and of a tenant's number it might be another's.
func sendsAsMade(m *pgtype.Map) error {
	own := pgtype.NewMap()
	for _, oid := range []uint32{pgtype.ByteaOID, pgtype.ByteaArrayOID, pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID} {
		want, _ := own.TypeForOID(oid)
		if got, ok := m.TypeForOID(oid); !ok || !reflect.DeepEqual(got.Codec, want.Codec) {
			return fmt.Errorf("sqldb: PoolOptions.RegisterTypes replaces PostgreSQL's type %s, in which ciphertexts or tenants' ids are sent; leave it to pgx, and register the application's values with their own methods", want.Name)
		}
	}
	return nil
}

// held is a connection of the pool's in use.
type held struct {
	pooled   *pgxpool.Conn
	conn     *conn
	released bool
}

func (p *Pool) acquire(ctx context.Context) (*held, error) {
	pooled, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("sqldb: no connection to PostgreSQL database %q: %w", p.db.engine.name(), redact(err))
	}
	c, ok := pooled.Conn().PgConn().CustomData()[connKey].(*conn)
	if !ok {
		pooled.Conn().Close(ctx)
		pooled.Release()
		return nil, errors.New("sqldb: a connection of the pool has no guard")
	}
	return &held{pooled: pooled, conn: c}, nil
}

// release gives the connection back. One that may be in a transaction, or whose server is gone, is closed.
func (h *held) release(err error) {
	if h.released {
		return // it may be another one's by now
	}
	h.released = true
	if errors.Is(err, driver.ErrBadConn) || !h.conn.IsValid() {
		h.conn.Close()
	}
	h.pooled.Release()
}

// run runs a call on the connection. Where code of the application's panics in it, of a value's or of the Authorizer, the connection
// goes with whatever was being done on it.
func (h *held) run(call func(*held) error) error {
	returned := false
	defer func() {
		if !returned {
			h.release(driver.ErrBadConn)
		}
	}()
	err := call(h)
	returned = true
	return err
}

// maxBadConns is how many connections are tried that turn out to be gone before anything was sent, as database/sql does it.
const maxBadConns = 2

// on runs a call on a connection, and on another one where that turned out to be gone.
func (p *Pool) on(ctx context.Context, call func(*held) error) error {
	for tried := 0; ; tried++ {
		h, err := p.acquire(ctx)
		if err != nil {
			return err
		}
		if err = h.run(call); !errors.Is(err, driver.ErrBadConn) || tried == maxBadConns {
			return err
		}
	}
}

// Query runs a statement and returns its rows. Close them, or read them to their end; the connection is theirs until then. As in pgx
// they are never nil, and the error is theirs as well.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (rows pgx.Rows, err error) {
	rows = &failedRows{}
	err = p.on(ctx, func(h *held) error {
		rows, err = h.conn.queryNative(ctx, sql, args, h.release)
		return err
	})
	if failed, ok := rows.(*failedRows); ok && failed.err == nil {
		failed.err = err
	}
	return rows, err
}

// QueryRow runs a statement whose first row is asked for. Its error, or [pgx.ErrNoRows], comes from Scan, which has to be called.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := p.Query(ctx, sql, args...)
	return nativeRow{rows}
}

// Exec runs a statement without showing its rows.
func (p *Pool) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	err = p.on(ctx, func(h *held) error {
		tag, err = h.conn.execNative(ctx, sql, args)
		h.release(err)
		return err
	})
	return tag, err
}

// Begin begins a transaction. It belongs to the tenant in ctx.
func (p *Pool) Begin(ctx context.Context) (pgx.Tx, error) { return p.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx begins a transaction. It belongs to the tenant in ctx. Of the options the isolation level and the access mode are supported.
func (p *Pool) BeginTx(ctx context.Context, opts pgx.TxOptions) (tx pgx.Tx, err error) {
	options, err := txOptions(opts)
	if err != nil {
		return nil, err
	}
	err = p.on(ctx, func(h *held) error {
		tx, err = beginNative(ctx, h, options)
		if err != nil {
			h.release(err)
		}
		return err
	})
	if err != nil {
		return nil, err // and no typed nil
	}
	return tx, nil
}

// SendBatch sends several statements in one round trip: see [pgx.Batch]. Outside a transaction they are one: all take place or none. Each is planned,
// gated and recorded by itself. The results are held in memory. Close them. Of [pgx.Batch] BeginTx is not supported.
func (p *Pool) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	var results *batchResults
	err := p.on(ctx, func(h *held) (err error) {
		results, err = h.conn.sendBatch(ctx, b, h.release)
		return err
	})
	if err != nil {
		return failedResults{err}
	}
	return results
}

// CopyFrom stores the rows of a source in a table, with its sealed columns sealed and the tenant's id written: all of them or none. COPY
// cannot be used behind row-level security: the rows go in INSERT statements of up to 4,096 rows or 1 MiB each, and every statement leaves an
// event. Two such statements are in memory at most: rows are read from the source while the database stores those before. As in pgx a source may
// use the memory of a row again for the next one.
//
// Rows go in arrays, a column each, where all columns are sealed or of PostgreSQL's types boolean, smallint, integer, bigint, real, double
// precision, numeric, text, varchar, char, bytea, uuid, json, jsonb, date, time, timestamp, timestamptz or interval; what is stored is what pgx's COPY
// stores. Other columns, such as enumerations and arrays, have the rows sent in VALUES, some hundred a statement, and a value that pgx sends as a
// text to another type than text or JSON, such as a string for a number, has that row and those after it sent so: it takes PostgreSQL and
// the client about twice as long. Values that cannot be copied, such as maps, are then sent a row at a time.
func (p *Pool) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (n int64, err error) {
	tx, err := p.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(ctx)
	if n, err = tx.(*nativeTx).copyFrom(ctx, table, columns, source, true); err != nil {
		return 0, err
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, err
	}
	return n, nil
}

// Ping tells whether the database answers. It touches no data and needs no tenant.
func (p *Pool) Ping(ctx context.Context) error {
	return p.on(ctx, func(h *held) error {
		err := h.conn.Ping(ctx)
		h.release(err)
		return err
	})
}

// Stat tells of the pool's connections.
func (p *Pool) Stat() *pgxpool.Stat { return p.pool.Stat() }

// Close closes all connections, and waits until none is in use any more, as that of a pgxpool.Pool does: whoever has not closed its rows or
// batch, or ended its transaction, keeps it waiting.
func (p *Pool) Close() {
	p.pool.Close()
	p.db.Close()
}
