// Package pgxlisten listens to PostgreSQL's NOTIFY through the driver pgx, for [sqlstore.Options].
package pgxlisten

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/strongroom-go/strongroom/keys/sqlstore"
)

// DB listens on a connection of db, whose driver is pgx's stdlib, and keeps it for that: a pool that is limited to few
// connections needs one more. Through a pooler that gives a client another connection for each transaction (PgBouncer in
// transaction mode) nothing is heard: pass a db without it.
func DB(db *sql.DB) sqlstore.Listen {
	return func(ctx context.Context, channel string, heard func(payload string)) error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		var failed error
		err = conn.Raw(func(c any) error {
			failed = listen(ctx, c, channel, heard)
			return driver.ErrBadConn // it listens: nobody else must get it
		})
		if failed == nil {
			failed = err
		}
		return failed
	}
}

func listen(ctx context.Context, c any, channel string, heard func(payload string)) error {
	pg, ok := c.(*stdlib.Conn)
	if !ok {
		return fmt.Errorf("pgxlisten: the database's driver is %T and not pgx's stdlib: %w", c, errors.ErrUnsupported)
	}
	// The channel is quoted as an identifier is: the name in it is sqlstore's own.
	if _, err := pg.Conn().Exec(ctx, `LISTEN "`+channel+`"`); err != nil {
		return err
	}
	for {
		n, err := pg.Conn().WaitForNotification(ctx)
		if err != nil {
			return err
		}
		heard(n.Payload)
	}
}
