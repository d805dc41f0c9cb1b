package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/tenant"
)

// pgSession is one PostgreSQL connection.
type pgSession struct {
	conn *pgx.Conn
	rls  bool
	// pooler tells that the server session may be another one after each transaction, so that the tenant is set for
	// one transaction at a time and current is that of the open transaction alone.
	pooler bool
	// native tells that results are handed out in their wire format: see nativeCursor.
	native bool
	// current is the tenant that the session's setting names; zero where it is unknown or none.
	current tenant.ID
	inTx    bool
	// reading is set while a result set is open: the connection can do nothing else meanwhile.
	reading bool
	origins *pgOrigins        // as they were when the connection was made
	tag     pgconn.CommandTag // of the last statement that ended
	// described is when the connection had its prepared statements described anew: see describeAnew.
	described time.Time
}

const (
	setTenant      = "SELECT pg_catalog.set_config('" + tenantSetting + "', $1, false)"
	setTenantLocal = "SELECT pg_catalog.set_config('" + tenantSetting + "', $1, true)"
)

// descriptionsLast is for how long a prepared statement is taken to return what it was described to return.
const descriptionsLast = time.Minute

// describeAnew has the statements that the connection prepared prepared again, now and then: pgx asks what a prepared statement returns
// once, when it prepares it, and PostgreSQL goes on to run it by the names in it, on whatever table and columns have them by then. What is
// said of the columns' origins would be of those that had them before. It is called outside of a transaction, before anything is sent.
// A pooler's server sessions are other clients' too, and what they prepared is the pooler's.
func (s *pgSession) describeAnew(ctx context.Context) error {
	if s.pooler || time.Since(s.described) < descriptionsLast {
		return nil
	}
	switch err := s.conn.DeallocateAll(ctx); {
	case err == nil:
		s.described = time.Now()
		return nil
	case ctx.Err() != nil:
		return &unsentError{redact(err)}
	}
	s.close()
	return driver.ErrBadConn
}

// switching tells whether the session's setting has to change before a statement for id may run.
func (s *pgSession) switching(id tenant.ID) bool { return s.rls && s.current != id }

// errReading is returned where pgx would say that the connection is busy, which database/sql would take for a broken one: it would then
// wait for whoever reads, who may be the caller.
var errReading = errors.New("sqldb: the connection is being read from; close its open Rows first, or use another connection")

func (s *pgSession) query(ctx context.Context, id tenant.ID, sql string, args []driver.Value) (cursor, error) {
	if s.reading {
		return nil, errReading
	}
	if !s.inTx {
		if err := s.describeAnew(ctx); err != nil {
			return nil, err
		}
	}
	if !s.switching(id) {
		rows, err := s.conn.Query(ctx, sql, anys(args)...)
		if err != nil {
			return nil, s.badConn(err)
		}
		return newPgCursor(s, rows, nil)
	}
	if s.inTx {
		return nil, errTxTenant
	}
	batch := s.batch(id, sql, args)
	results := s.conn.SendBatch(ctx, batch)
	if _, err := results.Exec(); err != nil {
		results.Close()
		return nil, s.badConn(err)
	}
	rows, err := results.Query()
	if err != nil {
		results.Close()
		return nil, s.badConn(err)
	}
	// The setting counts once the whole batch has succeeded: see pgCursor.close.
	return newPgCursor(s, rows, &pendingBatch{results: results, id: id})
}

func (s *pgSession) exec(ctx context.Context, id tenant.ID, sql string, args []driver.Value) (int64, error) {
	if s.reading {
		return 0, errReading
	}
	if !s.inTx {
		if err := s.describeAnew(ctx); err != nil {
			return 0, err
		}
	}
	if !s.switching(id) {
		tag, err := s.conn.Exec(ctx, sql, anys(args)...)
		if err != nil {
			return 0, s.badConn(err)
		}
		s.tag = tag
		return tag.RowsAffected(), nil
	}
	if s.inTx {
		return 0, errTxTenant
	}
	results := s.conn.SendBatch(ctx, s.batch(id, sql, args))
	if _, err := results.Exec(); err != nil {
		results.Close()
		return 0, s.badConn(err)
	}
	tag, err := results.Exec()
	if cerr := results.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, s.badConn(err)
	}
	s.remember(id)
	s.tag = tag
	return tag.RowsAffected(), nil
}

// sendRows sends a statement of the open transaction with parameters that are encoded already, and leaves its answer to be read by
// sentRows: the database works meanwhile.
func (s *pgSession) sendRows(ctx context.Context, id tenant.ID, sql string, p *rowParams) (*pgconn.ResultReader, error) {
	switch {
	case s.reading:
		return nil, errReading
	case !s.inTx || s.switching(id):
		return nil, errTxTenant
	}
	s.reading = true
	return s.conn.PgConn().ExecParams(ctx, sql, p.values, p.oids, p.formats, nil), nil
}

func (s *pgSession) sentRows(answer *pgconn.ResultReader) (int64, error) {
	s.reading = false
	tag, err := answer.Close()
	if err != nil {
		return 0, s.badConn(err)
	}
	s.tag = tag
	return tag.RowsAffected(), nil
}

// update sends all in one go.
func (s *pgSession) update(ctx context.Context, id tenant.ID, sql string, args [][]driver.Value) ([]bool, error) {
	switch {
	case s.reading:
		return nil, errReading
	case !s.inTx || s.switching(id):
		return nil, errTxTenant
	}
	batch := &pgx.Batch{}
	for _, a := range args {
		batch.Queue(sql, anys(a)...)
	}
	results := s.conn.SendBatch(ctx, batch)
	changed := make([]bool, len(args))
	for i := range args {
		tag, err := results.Exec()
		if err != nil {
			results.Close()
			return nil, s.lost(err)
		}
		changed[i] = tag.RowsAffected() > 0
	}
	return changed, s.lost(results.Close())
}

// remember notes that the session's setting names id from now on.
func (s *pgSession) remember(id tenant.ID) {
	if !s.pooler {
		s.current = id
	}
}

// batch sends the setting and the statement in one round trip. Both run in one implicit transaction, so that a
// statement which fails takes the setting back with it: until the batch has succeeded the session's tenant is unknown.
func (s *pgSession) batch(id tenant.ID, sql string, args []driver.Value) *pgx.Batch {
	batch := s.settingTenant(id)
	batch.Queue(sql, anys(args)...)
	return batch
}

// settingTenant begins a batch with the setting.
func (s *pgSession) settingTenant(id tenant.ID) *pgx.Batch {
	s.current = tenant.ID{}
	batch := &pgx.Batch{}
	if s.pooler {
		batch.Queue(setTenantLocal, id.String())
	} else {
		batch.Queue(setTenant, id.String())
	}
	return batch
}

// begin begins a transaction of id's in one round trip, whatever tenant the session was for before.
func (s *pgSession) begin(ctx context.Context, id tenant.ID, opts driver.TxOptions) error {
	if s.reading {
		return errReading
	}
	text, err := beginText(opts)
	if err != nil {
		return err
	}
	if err := s.describeAnew(ctx); err != nil {
		return err
	}
	switch {
	case !s.switching(id):
		_, err = s.conn.Exec(ctx, text)
	case s.pooler:
		// Local to the transaction: whoever gets the server session next does not get the tenant with it.
		err = s.pipeline(ctx, func(p *pgconn.Pipeline) {
			p.SendQueryParams(text, nil, nil, nil, nil)
			p.SendQueryParams(setTenantLocal, [][]byte{[]byte(id.String())}, nil, nil, nil)
		})
	default:
		// Before BEGIN, and by a transaction of its own: inside the transaction a ROLLBACK would bring back the tenant before.
		s.current = tenant.ID{}
		err = s.pipeline(ctx, func(p *pgconn.Pipeline) {
			p.SendQueryParams(setTenant, [][]byte{[]byte(id.String())}, nil, nil, nil)
			p.SendPipelineSync()
			p.SendQueryParams(text, nil, nil, nil, nil)
		})
	}
	if err != nil {
		err = s.badConn(err)
		if !s.conn.IsClosed() && !s.usable() { // it began all the same
			err = errors.Join(err, s.rollback(context.WithoutCancel(ctx)))
		}
		return err
	}
	s.inTx = true
	if s.rls {
		s.current = id
	}
	return nil
}

// pipeline sends statements whose results nobody reads, in one round trip.
func (s *pgSession) pipeline(ctx context.Context, send func(*pgconn.Pipeline)) error {
	p := s.conn.PgConn().StartPipeline(ctx)
	send(p)
	err := p.Sync()
	for err == nil {
		var result any
		if result, err = p.GetResults(); result == nil {
			break
		}
		if rows, ok := result.(*pgconn.ResultReader); ok && err == nil {
			_, err = rows.Close()
		}
	}
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	return err
}

// ended notes that the transaction is over.
func (s *pgSession) ended() {
	s.inTx = false
	if s.pooler {
		s.current = tenant.ID{}
	}
}

func beginText(opts driver.TxOptions) (string, error) {
	text := "BEGIN"
	switch sql.IsolationLevel(opts.Isolation) {
	case sql.LevelDefault:
	case sql.LevelReadUncommitted, sql.LevelReadCommitted:
		text += " ISOLATION LEVEL READ COMMITTED"
	case sql.LevelRepeatableRead, sql.LevelSnapshot:
		text += " ISOLATION LEVEL REPEATABLE READ"
	case sql.LevelSerializable:
		text += " ISOLATION LEVEL SERIALIZABLE"
	default:
		return "", fmt.Errorf("sqldb: PostgreSQL has no isolation level %s; use serializable", sql.IsolationLevel(opts.Isolation))
	}
	if opts.ReadOnly {
		text += " READ ONLY"
	}
	return text, nil
}

func (s *pgSession) commit(ctx context.Context) error {
	s.ended()
	tag, err := s.conn.Exec(ctx, "COMMIT")
	if err != nil {
		s.mustBeIdle()
		return s.lost(err)
	}
	if tag.String() == "ROLLBACK" {
		return errCommitRolledBack
	}
	return nil
}

// rollback ends the transaction. Where the connection is gone, so is the transaction.
func (s *pgSession) rollback(ctx context.Context) error {
	s.ended()
	if s.conn.IsClosed() {
		return nil
	}
	_, err := s.conn.Exec(ctx, "ROLLBACK")
	if err != nil {
		s.mustBeIdle()
	}
	return redact(err)
}

// mustBeIdle closes a connection whose transaction did not end, as when its COMMIT was never sent: who holds it would go
// on, maybe as another tenant, in a transaction that nobody knows of and nobody commits.
func (s *pgSession) mustBeIdle() {
	if !s.usable() {
		s.close()
	}
}

func (s *pgSession) ping(ctx context.Context) error {
	if s.reading {
		return errReading
	}
	if err := s.conn.Ping(ctx); err != nil {
		s.close()
		return driver.ErrBadConn
	}
	return nil
}

func (s *pgSession) usable() bool {
	return !s.conn.IsClosed() && s.conn.PgConn().TxStatus() == 'I'
}

func (s *pgSession) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.conn.Close(ctx)
}

func anys(args []driver.Value) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = a
	}
	return out
}
