// want package:`billing.invoices\(iban\) patients tenants\(\+id\) \+tenant_id postgresql`

// Package schemas has tables of two schemas, and one with a tenant column of its own.
package schemas

import (
	"context"
	"database/sql"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

var schema = sqldb.Schema{
	"patients":         {},
	"billing.invoices": {Sealed: sqldb.Columns{"iban": sqldb.Text()}},
	"tenants":          {TenantColumn: "id", TenantType: "uuid"},
}

func open(ctx context.Context, guard storage.Guard) (*sql.DB, error) {
	return sqldb.Open(ctx, "postgres://localhost/app", schema, guard, nil)
}

func statements(ctx context.Context, db *sql.DB) {
	db.QueryContext(ctx, `SELECT i.iban FROM billing.invoices i JOIN patients p ON p.id = i.patient_id`)
	db.QueryContext(ctx, `SELECT iban FROM invoices`)                      // want `refused: unknown table: invoices`
	db.QueryContext(ctx, `SELECT 1 FROM other.patients`)                   // want `refused: unknown table: other.patients`
	db.QueryContext(ctx, `SELECT id FROM billing.invoices ORDER BY iban`)  // want `refused: ORDER BY a sealed column: billing.invoices.iban`
	db.ExecContext(ctx, `UPDATE tenants SET id = $1`, "x")                 // want `refused: write to the tenant column: tenants.id`
	db.ExecContext(ctx, `UPDATE tenants SET tenant_id = $1`, "x")          // a column like any other
	db.ExecContext(ctx, `UPDATE billing.invoices SET tenant_id = $1`, "x") // want `refused: write to the tenant column: billing.invoices.tenant_id`
}
