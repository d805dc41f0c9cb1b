package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/keys"
)

// classify wraps keys.ErrUnavailable around a driver's error where trying again may help. What a driver repeats of its
// connection string is taken out.
func classify(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // drivers have words of their own for it
	case retryable(err):
		return fmt.Errorf("%w: %w", keys.ErrUnavailable, redact.Error(err))
	}
	return redact.Error(err)
}

func retryable(err error) bool {
	for _, target := range []error{driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, target) {
			return true
		}
	}
	var network net.Error
	if errors.As(err, &network) {
		return true
	}
	// PostgreSQL drivers (pgx, lib/pq) say SQLSTATE this way: connection exceptions, transaction rollbacks, lack of
	// resources, operator intervention (shutdown), system errors; a lock not available, a database that does not accept
	// connections, a standby that cannot write. See appendix A of its manual.
	var pg interface{ SQLState() string }
	if errors.As(err, &pg) && len(pg.SQLState()) == 5 {
		state := pg.SQLState()
		return slices.Contains([]string{"08", "40", "53", "57", "58"}, state[:2]) || slices.Contains([]string{"55P03", "55000", "25006"}, state)
	}
	// SQLite drivers say the result code this way: BUSY, LOCKED, IOERR, CANTOPEN. See sqlite.org/rescode.html.
	var lite interface{ Code() int }
	if errors.As(err, &lite) {
		return slices.Contains([]int{5, 6, 10, 14}, lite.Code()&0xff)
	}
	return false
}
