package sqldb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestMigrateTenantsOfOtherTypes: tenant columns that are UUIDs or integers, that are there already or come from
// another column, and tables of other schemas.
func TestMigrateTenantsOfOtherTypes(t *testing.T) {
	for _, typ := range []string{"uuid", "bigint"} {
		t.Run(typ, func(t *testing.T) {
			ids := []string{"17", "4711"}
			if typ == "uuid" {
				ids = []string{uuid.NewString(), uuid.NewString()}
			}
			a, b := tenant.MustParse(ids[0]), tenant.MustParse(ids[1])
			raw, dsn, super := newRaw(t, dialect.PostgreSQL)
			mustExec(t, raw, strings.ReplaceAll(fmt.Sprintf(`CREATE SCHEMA billing;
				CREATE TABLE accounts (id TYPE PRIMARY KEY, label text);
				CREATE TABLE things (id bigserial PRIMARY KEY, tenant_id TYPE REFERENCES accounts (id), name text UNIQUE);
				CREATE TABLE billing.things (id bigserial PRIMARY KEY, account TYPE REFERENCES public.accounts (id) ON DELETE CASCADE, thing bigint REFERENCES public.things (id), name varchar(9) NOT NULL DEFAULT 'x', UNIQUE (name, thing));
				CREATE TABLE billing.parts (thing bigint REFERENCES billing.things (id), name char(5));
				INSERT INTO accounts VALUES ('%[1]s', 'A'), ('%[2]s', 'B');
				INSERT INTO things (tenant_id, name) VALUES ('%[1]s', 'a'), ('%[2]s', 'b'); INSERT INTO billing.things (account, thing, name) VALUES ('%[1]s', 1, 'a'), ('%[2]s', 2, 'b');
				INSERT INTO billing.parts VALUES (1, 'a'), (2, 'b');
				GRANT USAGE ON SCHEMA billing TO PUBLIC; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA billing TO PUBLIC; GRANT USAGE ON ALL SEQUENCES IN SCHEMA billing TO PUBLIC`, ids[0], ids[1]), "TYPE", typ))
			schema := sqldb.Schema{
				"accounts": {TenantColumn: "id"}, "things": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}},
				"billing.things": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}}, "billing.parts": {Sealed: sqldb.Columns{"name": sqldb.Text()}},
			}
			opts := &sqldb.Options{TenantType: typ}
			guard := storage.Guard{Keys: newRing(t, a, b), Audit: &recorder{}}
			m := &moving{raw: raw, app: openPool(t, dsn), super: openBare(t, super), dsn: dsn}
			m.plan = sqldb.Migration{DSN: ownerURL(dsn), Schema: schema, Options: opts, Guard: guard, Actor: "operator", Purpose: "moving in",
				Tenants: map[string]sqldb.TenantSource{"billing.things": sqldb.FromColumn("account"), "billing.parts": sqldb.FromParent("thing")}}
			m.to(t, sqldb.MigrateSwitch)
			if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
				t.Fatal(err)
			}
			m.to(t, sqldb.MigrateDrop)
			db, err := sqldb.Open(t.Context(), dsn, schema, guard, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			e := &env{db: db}
			for id, want := range map[tenant.ID]string{a: "[[a a a    ]]", b: "[[b b b    ]]"} {
				if got := e.rows(t, id, `SELECT t.name, b.name, p.name FROM things t JOIN billing.things b ON b.thing = t.id JOIN billing.parts p ON p.thing = b.id WHERE b.name = $1`, strings.Trim(want[:3], "[ ]")); fmt.Sprint(got) != want {
					t.Errorf("%s: %v", id, got)
				}
			}
		})
	}
}
