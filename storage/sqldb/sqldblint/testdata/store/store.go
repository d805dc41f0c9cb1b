// Package store gets its handle from elsewhere; the schema is that of the package it imports.
package store

import (
	"context"
	"database/sql"

	"github.com/strongroom-go/strongroom/storage/sqldb/sqldblint/testdata/clinic"
)

// Tables is a use of the other package.
var Tables = len(clinic.Schema)

// Store embeds the handle.
type Store struct{ *sql.DB }

// Names reads from it.
func (s Store) Names(ctx context.Context) {
	s.QueryContext(ctx, `SELECT id FROM patients ORDER BY name`) // want `refused: ORDER BY a sealed column: patients.name`
	s.QueryContext(ctx, `SELECT id FROM nowhere`)                // want `refused: unknown table: nowhere`
	s.QueryContext(ctx, `SELECT pg_sleep(1)`)                    // want `refused: function not in the allowlist: pg_sleep`
	s.QueryContext(ctx, `SELECT id, name FROM patients`)
	sql.Open("pgx", "") // this package does not import sqldb
}
