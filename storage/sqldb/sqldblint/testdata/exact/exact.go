// Package exact is checked with the tables' columns at hand.
package exact

import (
	"context"
	"database/sql"
)

func statements(ctx context.Context, db *sql.DB) {
	db.QueryContext(ctx, `SELECT id, nmae FROM patients`)                                         // want `refused: unknown column: nmae`
	db.QueryContext(ctx, `SELECT * FROM patients ORDER BY 2`)                                     // want `refused: ORDER BY a sealed column: patients.name`
	db.QueryContext(ctx, `SELECT * FROM patients ORDER BY 3`)                                     // a plain one
	db.ExecContext(ctx, `INSERT INTO patients (id) VALUES ($1) ON CONFLICT (ward) DO NOTHING`, 1) // want `refused: ON CONFLICT on columns that are no key: patients`
	db.ExecContext(ctx, `INSERT INTO patients (id) VALUES ($1) ON CONFLICT (id) DO NOTHING`, 1)
	db.QueryContext(ctx, `SELECT id::text FROM patients`) // PostgreSQL's own
}
