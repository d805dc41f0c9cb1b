package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"time"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

var (
	scaleOf      = flag.Int("tenants", 10_000, "how many tenants keys.scale has; its cache holds a tenth")
	vaultScaleOf = flag.Int("vault-tenants", 500, "how many tenants keys.scale.vault has, each with a key of its own in Vault; its cache holds a tenth")
)

// keyScaleFigures are about very many tenants, on PostgreSQL: with a KEK provider that costs next to nothing, and with Vault.
func keyScaleFigures() []Figures {
	return []Figures{
		{ID: "keys.scale", Measure: func() ([]Result, error) {
			f, err := newFixture(0)
			if err != nil {
				return nil, err
			}
			defer f.cleanup()
			kek, err := f.shared()
			if err != nil {
				return nil, err
			}
			return onPostgres(func(store *sqlstore.Store) ([]Result, error) {
				return newKeyScale("keys.scale", *scaleOf, *scaleOf/10, kek, store).run(min(20**scaleOf, 400_000), 20*time.Second)
			})
		}},
		{ID: "keys.scale.vault", Measure: func() ([]Result, error) {
			return onPostgres(func(store *sqlstore.Store) ([]Result, error) {
				ctx, t := context.Background(), &bare{}
				server := testenv.Vault(t)
				mount := server.EnableTransit(t)
				kek, err := vaultkek.Open(ctx, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
				if err != nil {
					return nil, err
				}
				defer kek.Close()
				return newKeyScale("keys.scale.vault", *vaultScaleOf, *vaultScaleOf/10, kek, store).run(5**vaultScaleOf, 10*time.Second)
			})
		}},
	}
}

// onPostgres runs something with an empty store in a database of its own.
func onPostgres(run func(*sqlstore.Store) ([]Result, error)) (results []Result, err error) {
	t := &bare{}
	defer func() {
		if f, ok := recover().(failure); ok {
			err = errors.New(string(f))
		}
	}()
	ctx := context.Background()
	database := testenv.Postgres(t).NewDatabase(t)
	owner, err := sql.Open("pgx", database.OwnerURL)
	if err != nil {
		return nil, err
	}
	defer owner.Close()
	if err := sqlstore.Create(ctx, owner, dialect.PostgreSQL, ""); err != nil {
		return nil, err
	}
	db, err := sql.Open("pgx", database.AppURL)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxIdleConns(32)
	db.SetMaxOpenConns(32)
	store, err := sqlstore.Open(ctx, db, dialect.PostgreSQL, nil)
	if err != nil {
		return nil, err
	}
	return run(store)
}
