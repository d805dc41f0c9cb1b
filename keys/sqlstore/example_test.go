package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

func ExampleNew() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:") // modernc.org/sqlite
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection to :memory: is a database of its own

	if _, err = sqlstore.Open(ctx, db, dialect.SQLite, nil); err != nil {
		fmt.Println("no table yet")
	}
	if err := sqlstore.Create(ctx, db, dialect.SQLite, ""); err != nil {
		fmt.Println(err)
		return
	}
	store, err := sqlstore.Open(ctx, db, dialect.SQLite, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	version, err := store.Put(ctx, tenant.MustParse("acme"), []byte("record"), 0)
	fmt.Println(version > 0, err)
	// Output:
	// no table yet
	// true <nil>
}
