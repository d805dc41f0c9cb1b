package pgxlisten_test

import (
	"context"
	"database/sql"

	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/sqlstore/pgxlisten"
)

func ExampleDB() {
	open := func(ctx context.Context, db *sql.DB) (*sqlstore.Store, error) {
		return sqlstore.Open(ctx, db, sqlstore.PostgreSQL, &sqlstore.Options{Listen: pgxlisten.DB(db)})
	}
	_ = open
}
