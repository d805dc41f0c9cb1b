package sqldb

import (
	"context"
	"time"
)

// Overdue makes what a connection that (*sql.Conn).Raw hands out knows of its prepared statements older than it may be.
func Overdue(raw any) error {
	raw.(*conn).session.(*pgSession).described = time.Time{}
	return nil
}

// Overdue does so for a connection of the pool's.
func (p *Pool) Overdue(ctx context.Context) error {
	return p.on(ctx, func(h *held) error {
		defer h.release(nil)
		return Overdue(h.conn)
	})
}

// OriginsOf is what a connection that (*sql.Conn).Raw hands out knows of where columns come from.
func OriginsOf(raw any) any { return raw.(*conn).session.(*pgSession).origins }

// ErrReading is the answer of a connection that is being read from.
var ErrReading = errReading
