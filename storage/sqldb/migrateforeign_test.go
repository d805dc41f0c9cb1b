package sqldb_test

import (
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestForeignKeysThatTieNoTenant: a foreign key that refers to a tenant by another column than the row's own is none that a
// migration may turn into one by the tenant column: it would tie the row to another parent, and an action that deleted one row would
// delete all of the tenant's.
func TestForeignKeysThatTieNoTenant(t *testing.T) {
	raw, dsn, super := newRaw(t, dialect.PostgreSQL)
	m := &moving{raw: raw, app: openPool(t, dsn), super: openBare(t, super), dsn: dsn, ring: newRing(t, tenantA, tenantB), log: &recorder{}}
	mustExec(t, raw, `
		CREATE TABLE clinics (id text COLLATE "C" PRIMARY KEY, code text COLLATE "C" UNIQUE);
		CREATE TABLE wards (clinic text COLLATE "C" NOT NULL REFERENCES clinics (id), id bigint NOT NULL, PRIMARY KEY (clinic, id));
		CREATE TABLE staff (id bigint PRIMARY KEY, clinic text COLLATE "C" NOT NULL CONSTRAINT of REFERENCES clinics (id), ward bigint, lent text COLLATE "C",
			CONSTRAINT lent_to FOREIGN KEY (lent) REFERENCES clinics (id) ON DELETE CASCADE,
			CONSTRAINT lent_ward FOREIGN KEY (lent, ward) REFERENCES wards (clinic, id),
			CONSTRAINT own_ward FOREIGN KEY (clinic, ward) REFERENCES wards (clinic, id));
		CREATE TABLE beds (clinic text COLLATE "C" NOT NULL, ward bigint NOT NULL, n bigint PRIMARY KEY, CONSTRAINT in_ward FOREIGN KEY (clinic, ward) REFERENCES wards (clinic, id));
		CREATE TABLE badges (tenant_id text COLLATE "C" NOT NULL, id bigint PRIMARY KEY, CONSTRAINT coded FOREIGN KEY (tenant_id) REFERENCES clinics (code));
		INSERT INTO clinics VALUES ('clinic', 'clinic'), ('Clinic', 'Clinic'); INSERT INTO wards VALUES ('clinic', 1), ('Clinic', 1);
		INSERT INTO staff VALUES (1, 'clinic', 1, 'Clinic'), (2, 'clinic', 1, 'clinic'); INSERT INTO beds VALUES ('Clinic', 1, 1); INSERT INTO badges VALUES ('clinic', 1)`)
	schema := sqldb.Schema{"clinics": {TenantColumn: "id"}, "wards": {TenantColumn: "clinic"}, "staff": {}, "beds": {}, "badges": {}}
	m.plan = sqldb.Migration{DSN: ownerURL(dsn), Schema: schema, Guard: storage.Guard{Keys: m.ring, Audit: m.log}, Actor: "operator", Purpose: "moving in",
		Tenants: map[string]sqldb.TenantSource{"staff": sqldb.FromColumn("clinic"), "beds": sqldb.FromParent("clinic", "ward")}}
	plan, err := sqldb.PlanMigration(t.Context(), m.plan)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, p := range plan.Problems {
		for _, name := range []string{"lent_to", "lent_ward", "coded", "of", "own_ward", "in_ward"} {
			if strings.HasPrefix(p.What, "foreign key "+name+" ") {
				said[name] = true
			}
		}
	}
	if len(said) != 3 || !said["lent_to"] || !said["lent_ward"] || !said["coded"] {
		t.Errorf("what stands in the way: %v\n%s", said, plan)
	}
	for _, p := range plan.Problems {
		mustExec(t, raw, p.Fix)
	}
	m.to(t, sqldb.MigrateSwitch)
	if err := openErr(t, dsn, schema, nil); err != nil {
		t.Error(err)
	}
	got := m.one(t, `SELECT string_agg(pg_get_constraintdef(oid), '; ' ORDER BY conname) FROM pg_constraint WHERE contype = 'f' AND conrelid <> 'wards'::regclass`)
	if want := "FOREIGN KEY (tenant_id, ward) REFERENCES wards(clinic, id); FOREIGN KEY (tenant_id) REFERENCES clinics(id); FOREIGN KEY (tenant_id, ward) REFERENCES wards(clinic, id)"; got != want {
		t.Errorf("the foreign keys are %s\nnot %s", got, want)
	}
	if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
		t.Error(err)
	}
}
