package pglog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
)

// ErrSealing means that another sealer seals the table.
var ErrSealing = errors.New("pglog: another sealer has the table; stop it first, or wait until its session has ended")

// SealOptions are the settings of [OpenSealer].
type SealOptions struct {
	// Signers are what authenticates the streams: the one that their recorders have, and while those change to another both.
	// Required.
	Signers []note.Signer
	// Table is the table's name, or schema.table. Default: [DefaultTable].
	Table string
	// Every is how long [Sealer.Run] pauses where a round found nothing more. Default: 200 ms.
	Every time.Duration
	// Rows is how many rows one round takes, at most a quarter of them of one stream. Default: 20,000.
	Rows int
	// Progress is called after every round that found something new, and every failure that Run goes on after.
	Progress func(Sealed, error)
}

// Sealed is what one round found. Rows that were refused stay in the table, marked.
type Sealed = audit.Sealed

// Sealer takes the rows of a table into a log. It is not safe for concurrent use.
type Sealer struct {
	config  *pgx.ConnConfig
	opts    SealOptions
	table   table
	log     *audit.Log
	adopter *audit.Adopter
	keys    []int64
	conn    *pgx.Conn // nil for none; holds the table's lock
	after   [16]byte  // the last stream of a round that had no room for more
}

// OpenSealer connects as the role that [DDL] grants a sealer's rights, and takes the table for this sealer and for the log,
// which must be [audit.Durable]: of several sealers that are opened one goes on, by a lock that the server holds for its
// session, and a table that one log seals is refused to any other, for ever. Config must lead to the server that the
// recorders write to, and not through a pooler that gives each transaction another session.
//
// Close the sealer, and then the log.
func OpenSealer(ctx context.Context, config *pgx.ConnConfig, log *audit.Log, opts SealOptions) (*Sealer, error) {
	if config == nil || log == nil {
		return nil, errors.New("pglog: the configuration of the connection or the log is missing")
	}
	t, err := parseTable(opts.Table)
	if err != nil {
		return nil, err
	}
	if opts.Every == 0 {
		opts.Every = 200 * time.Millisecond
	}
	if opts.Rows == 0 {
		opts.Rows = 20_000
	}
	if opts.Every < 0 || opts.Rows < 4 {
		return nil, errors.New("pglog: SealOptions.Every is negative, or Rows below 4; use 0 for the defaults")
	}
	s := &Sealer{config: config.Copy(), opts: opts, table: t, log: log}
	if s.config.RuntimeParams["application_name"] == "" {
		s.config.RuntimeParams["application_name"] = "strongroom-seal"
	}
	if s.adopter, err = log.Adopter(opts.Signers...); err != nil {
		return nil, err
	}
	for _, k := range s.adopter.Keys() {
		s.keys = append(s.keys, int64(k))
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// lockClass is the upper half of the advisory lock's key, "SRlg"; the lower half is the table's oid.
const lockClass = 0x53526c67

// connect makes a connection that holds the table's lock, where there is none.
func (s *Sealer) connect(ctx context.Context) (err error) {
	if s.conn != nil && !s.conn.IsClosed() {
		return nil
	}
	if s.conn, err = pgx.ConnectConfig(ctx, s.config); err != nil {
		s.conn = nil
		return s.failed(err)
	}
	if err := s.take(ctx); err != nil {
		s.drop()
		return err
	}
	return nil
}

func (s *Sealer) failed(err error) error {
	return fmt.Errorf("pglog: cannot seal the table %s at %s: %w", s.table.plain, s.config.Host, describe(err))
}

// take takes the table for this session, and for the log.
func (s *Sealer) take(ctx context.Context) error {
	if err := checkConstraints(ctx, s.conn, s.table); err != nil {
		return s.failed(err)
	}
	var locked bool
	err := s.conn.QueryRow(ctx, `SELECT pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8 | pg_catalog.to_regclass($2)::pg_catalog.oid::pg_catalog.int8)`,
		int64(lockClass)<<32, s.table.rows).Scan(&locked)
	if err != nil {
		return s.failed(err)
	}
	if !locked {
		return ErrSealing
	}
	mine, verifier := s.log.Verifier(), ""
	_, err = s.conn.Exec(ctx, `INSERT INTO `+s.table.sealer+` (verifier) VALUES ($1) ON CONFLICT DO NOTHING`, mine)
	if err == nil {
		err = s.conn.QueryRow(ctx, `SELECT verifier FROM `+s.table.sealer).Scan(&verifier)
	}
	switch {
	case err != nil:
		return s.failed(err)
	case verifier != mine:
		return fmt.Errorf("pglog: the table %s is sealed into the log with the key %q, and not into %q: two logs would each have a part, and gaps; open that log, or make a table for this one", s.table.plain, verifier, mine)
	}
	return nil
}

// drop closes the connection, and with it gives the lock up.
func (s *Sealer) drop() {
	if s.conn == nil {
		return
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.conn.Close(ended)
	s.conn = nil
}

// Close gives the table up. The log stays open.
func (s *Sealer) Close() error {
	if s.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.conn.Close(ctx)
	s.conn = nil
	return err
}

// Run seals until ctx ends, and then returns nil. It goes on after failures of the database, with a new connection; an error
// is one of the log, or one that trying again does not mend.
func (s *Sealer) Run(ctx context.Context) error {
	return s.log.Seal(ctx, s.opts.Every, s.Round, s.opts.Progress)
}
