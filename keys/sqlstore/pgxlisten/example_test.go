package pgxlisten_test

import (
	"context"
	"database/sql"

	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/sqlstore/pgxlisten"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

func ExampleDB() {
	open := func(ctx context.Context, db *sql.DB) (*sqlstore.Store, error) {
		return sqlstore.Open(ctx, db, dialect.PostgreSQL, &sqlstore.Options{Listen: pgxlisten.DB(db)})
	}
	_ = open
}
