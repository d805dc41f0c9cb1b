// want package:"not constant"

// Package anyschema uses a schema that is not constant: only what no schema admits is reported.
package anyschema

import (
	"context"
	"database/sql"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

var schema = sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text()}}}

func init() { schema["visits"] = sqldb.Table{} }

func statements(ctx context.Context, db *sql.DB) {
	db.QueryContext(ctx, `SELECT id FROM patients ORDER BY name`)
	db.QueryContext(ctx, `SELECT id FROM nowhere`)
	db.QueryContext(ctx, `SELECT pg_sleep(1)`)
	db.ExecContext(ctx, `UPDATE patients SET tenant_id = 'x'`)
	db.ExecContext(ctx, `ALTER TABLE patients ADD x int`) // want `refused: unsupported statement: AlterTable`
	db.ExecContext(ctx, `SELECT FROM WHERE`)              // want `refused: syntax error`
	db.ExecContext(ctx, `SELECT 1; DROP TABLE x`)         // want `refused: not one statement`
}
