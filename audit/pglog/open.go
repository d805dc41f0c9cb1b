package pglog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
)

// Options are the settings of [Open].
type Options struct {
	audit.StreamOptions // Signer is required
	// Table is the table's name, or schema.table. Default: [DefaultTable].
	Table string
}

// openTimeout bounds how long Open waits for the server.
const openTimeout = 30 * time.Second

// Open begins a stream in the table and returns its recorder. Config is where the database is, and the role that [DDL]
// grants a recorder's rights: one with more is refused, because whoever takes over a service must not be able to read or
// delete what it did. Where the server fails over, name all servers in config, with target_session_attrs=read-write.
//
// Open waits until ctx ends, at most 30 s. The recorder has one connection, and makes another whenever it was lost. Close it after the last access.
func Open(ctx context.Context, config *pgx.ConnConfig, opts Options) (*audit.Stream, error) {
	if config == nil {
		return nil, errors.New("pglog: the configuration of the connection is missing; make one with pgx.ParseConfig")
	}
	t, err := parseTable(opts.Table)
	if err != nil {
		return nil, err
	}
	e := newEngine(config, t)
	checking, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := e.check(checking); err != nil {
		e.drop()
		return nil, fmt.Errorf("%w: pglog: cannot record into %s: %w", audit.ErrUnavailable, e, err)
	}
	return audit.OpenStream(ctx, e, opts.StreamOptions)
}
