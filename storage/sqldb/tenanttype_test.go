package sqldb_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// A tenant column may be a UUID or an integer. Several texts are one of those: a tenant whose id is another spelling than the
// canonical one would be the other tenant to the database.
func TestTenantColumnsOfOtherTypes(t *testing.T) {
	for typ, ids := range map[string][3]string{ // two tenants, and another spelling of the first
		"uuid":    {"6f1c0a52-9a8f-4c0e-9e53-1b3a52f1a001", "6f1c0a52-9a8f-4c0e-9e53-1b3a52f1a002", "6F1C0A52-9A8F-4C0E-9E53-1B3A52F1A001"},
		"bigint":  {"17", "18", "017"},
		"integer": {"17", "18", "017"},
	} {
		t.Run(typ, func(t *testing.T) {
			raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
			mustExec(t, raw, fmt.Sprintf(`CREATE TABLE notes (tenant_id %s NOT NULL, id bigint NOT NULL, n integer, PRIMARY KEY (tenant_id, id))`, typ))
			schema, opts := sqldb.Schema{"notes": {}}, &sqldb.Options{TenantType: typ}
			ddl, err := schema.DDL(dialect.PostgreSQL, opts)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, raw, ddl)
			a, b, other := tenant.MustParse(ids[0]), tenant.MustParse(ids[1]), tenant.MustParse(ids[2])
			guard := storage.Guard{Keys: newRing(t, a, b, other), Audit: &recorder{}}
			db, err := sqldb.Open(context.Background(), dsn, schema, guard, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, id := range []tenant.ID{a, b} {
				if _, err := db.ExecContext(as(id), `INSERT INTO notes (tenant_id, id, n) VALUES ($1, 1, 2)`, id.String()); err != nil {
					t.Fatal(err)
				}
			}
			var n int
			if err := db.QueryRowContext(as(a), `SELECT count(*) FROM notes WHERE 10 / n = 5`).Scan(&n); err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
			if _, err := db.ExecContext(as(a), `INSERT INTO notes (tenant_id, id) VALUES ($1, 9)`, b.String()); err == nil {
				t.Error("stored for another tenant")
			}
			for _, query := range []string{`SELECT n FROM notes`, `UPDATE notes SET n = 3`, `DELETE FROM notes`, `INSERT INTO notes (id) VALUES (7)`} {
				if _, err := db.ExecContext(as(other), query); err == nil || !strings.Contains(err.Error(), "canonical") {
					t.Errorf("%s as %s: %v", query, other, err)
				}
			}
		})
	}
}
