// want package:`patients\(name\)`

// Package fromdb is checked with the columns that a database printed.
package fromdb

import (
	"context"
	"database/sql"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

var schema = sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text()}}}

func statements(ctx context.Context, db *sql.DB) {
	db.QueryContext(ctx, `SELECT id, nmae FROM patients`)                                         // want `refused: unknown column: nmae`
	db.QueryContext(ctx, `SELECT id FROM undeclared`)                                             // want `refused: unknown table: undeclared`
	db.ExecContext(ctx, `INSERT INTO patients (id) VALUES ($1)`, 1)                               // want `refused: write to a generated column: patients.id`
	db.ExecContext(ctx, `INSERT INTO patients (bed) VALUES ($1) ON CONFLICT (bed) DO NOTHING`, 1) // want `refused: ON CONFLICT on columns that are no key`
	db.ExecContext(ctx, `INSERT INTO patients (bed) VALUES ($1) ON CONFLICT (ward) DO NOTHING`, 1)
	db.QueryContext(ctx, `SELECT id::text, bed FROM patients ORDER BY name`) // want `refused: ORDER BY a sealed column`
}
