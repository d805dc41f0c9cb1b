package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "strongroom-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// The owner makes the table through a raw handle.
	path := filepath.Join(dir, "clinics.db")
	owner, err := sql.Open("sqlite", path)
	if err != nil {
		log.Fatal(err)
	}
	schema := sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index").FoldCase()}}}
	_, err = owner.Exec(`CREATE TABLE patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, name_index BLOB, PRIMARY KEY (tenant_id, id), ` +
		strings.Join(schema["patients"].Checks(dialect.SQLite), ", ") + `)`)
	if err != nil {
		log.Fatal(err)
	}
	defer owner.Close()

	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	if err != nil {
		log.Fatal(err)
	}
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	if err != nil {
		log.Fatal(err)
	}
	trail, err := audit.OpenLog(filepath.Join(dir, "audit"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer trail.Close()
	ring, err := keys.Open(ctx, kek, store, &keys.Options{Audit: trail})
	if err != nil {
		log.Fatal(err)
	}
	defer ring.Close()

	db, err := sqldb.Open(ctx, "sqlite:"+path, schema, storage.Guard{Keys: ring, Audit: trail}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	for _, clinic := range []string{"north", "south"} {
		id := tenant.MustParse(clinic)
		if err := ring.Provision(ctx, id); err != nil {
			log.Fatal(err)
		}
		ctx := tenant.NewContext(ctx, tenant.Access{Tenant: id, Actor: "dr.adams", Purpose: "treatment"})
		if _, err := db.ExecContext(ctx, `INSERT INTO patients (id, name) VALUES (1, $1)`, "Ada of "+clinic); err != nil {
			log.Fatal(err)
		}
	}
	north := tenant.NewContext(ctx, tenant.Access{Tenant: tenant.MustParse("north"), Actor: "dr.adams", Purpose: "treatment"})
	var name string
	if err := db.QueryRowContext(north, `SELECT name FROM patients WHERE name = $1`, "ADA OF NORTH").Scan(&name); err != nil {
		log.Fatal(err)
	}
	fmt.Println(name)
	err = db.QueryRowContext(north, `SELECT name FROM patients WHERE name = $1`, "Ada of south").Scan(&name)
	fmt.Println(err)
	_, err = db.QueryContext(north, `SELECT name FROM patients ORDER BY name`)
	fmt.Println(err)
	// Output:
	// Ada of north
	// sql: no rows in result set
	// sqldb: statement refused: ORDER BY a sealed column: patients.name at byte 35; equal values have different ciphertexts; use a plain column
}

func ExampleSchema_DDL() {
	schema := sqldb.Schema{"patients": {Sealed: sqldb.Columns{"ssn": sqldb.Text().Searchable("ssn_index")}}}
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(ddl)
	// Output:
	// -- patients
	// ALTER TABLE "public"."patients" ADD COLUMN IF NOT EXISTS "tenant_id" text COLLATE "C";
	// DO $strongroom$ BEGIN ALTER TABLE "public"."patients" ALTER COLUMN "tenant_id" SET NOT NULL; EXCEPTION WHEN not_null_violation THEN RAISE WARNING '%', 'rows of "public"."patients" have no tenant yet: give each its own, with UPDATE or sqldb.Migrate, and run this again'; END $strongroom$;
	// ALTER TABLE "public"."patients" ADD COLUMN IF NOT EXISTS "ssn" bytea;
	// DO $strongroom$ BEGIN IF (SELECT a.atttypid = 'pg_catalog.bytea'::pg_catalog.regtype FROM pg_catalog.pg_attribute a WHERE a.attrelid = '"public"."patients"'::pg_catalog.regclass AND a.attname = 'ssn') THEN ALTER TABLE "public"."patients" DROP CONSTRAINT IF EXISTS "strongroom_sealed_ssn", ADD CONSTRAINT "strongroom_sealed_ssn" CHECK (octet_length("ssn") >= 34 AND get_byte("ssn", 0) = 1); ELSE RAISE WARNING '%', 'the column "ssn" of "public"."patients" holds what is not sealed, and stays as it is: see sqldb.Open, which says how to replace it, or sqldb.Migrate'; END IF; EXCEPTION WHEN check_violation THEN RAISE WARNING '%', 'the column "ssn" of "public"."patients" holds what is not sealed, and stays as it is: see sqldb.Open, which says how to replace it, or sqldb.Migrate'; END $strongroom$;
	// ALTER TABLE "public"."patients" ADD COLUMN IF NOT EXISTS "ssn_index" bytea;
	// DO $strongroom$ BEGIN IF (SELECT a.atttypid = 'pg_catalog.bytea'::pg_catalog.regtype FROM pg_catalog.pg_attribute a WHERE a.attrelid = '"public"."patients"'::pg_catalog.regclass AND a.attname = 'ssn_index') THEN ALTER TABLE "public"."patients" DROP CONSTRAINT IF EXISTS "strongroom_index_ssn_index", ADD CONSTRAINT "strongroom_index_ssn_index" CHECK (octet_length("ssn_index") = 16); ELSE RAISE WARNING '%', 'the column "ssn_index" of "public"."patients" holds what is not sealed, and stays as it is: see sqldb.Open, which says how to replace it, or sqldb.Migrate'; END IF; EXCEPTION WHEN check_violation THEN RAISE WARNING '%', 'the column "ssn_index" of "public"."patients" holds what is not sealed, and stays as it is: see sqldb.Open, which says how to replace it, or sqldb.Migrate'; END $strongroom$;
	// DO $strongroom$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname = 'btree' JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = 'tenant_id' JOIN pg_catalog.pg_attribute b ON b.attrelid = i.indrelid AND b.attnum = i.indkey[1] AND b.attname = 'ssn_index' WHERE i.indrelid = '"public"."patients"'::pg_catalog.regclass AND i.indnkeyatts > 1 AND i.indisvalid AND i.indpred IS NULL) THEN CREATE INDEX "patients_ssn_index_blind" ON "public"."patients" ("tenant_id", "ssn_index"); END IF; END $strongroom$;
	// DO $strongroom$ BEGIN IF (SELECT a.attnotnull FROM pg_catalog.pg_attribute a WHERE a.attrelid = '"public"."patients"'::pg_catalog.regclass AND a.attname = 'tenant_id') THEN ALTER TABLE "public"."patients" ENABLE ROW LEVEL SECURITY; ALTER TABLE "public"."patients" FORCE ROW LEVEL SECURITY; DROP POLICY IF EXISTS strongroom_tenant ON "public"."patients"; CREATE POLICY strongroom_tenant ON "public"."patients" USING ("tenant_id" = NULLIF(current_setting('strongroom.tenant', true), '')) WITH CHECK ("tenant_id" = NULLIF(current_setting('strongroom.tenant', true), '')); ELSE RAISE WARNING '%', 'row-level security of "public"."patients" stays as it is, since its tenant column can be NULL: run this again when each row has a tenant'; END IF; END $strongroom$;
	// DO $strongroom$ BEGIN DECLARE part pg_catalog.regclass; BEGIN FOR part IN WITH RECURSIVE parts(oid) AS (SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhparent AND c.relrowsecurity WHERE c.oid = '"public"."patients"'::pg_catalog.regclass UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN parts p ON i.inhparent = p.oid) SELECT c.oid FROM parts p JOIN pg_catalog.pg_class c ON c.oid = p.oid WHERE c.relkind IN ('r', 'p') AND NOT c.relrowsecurity LOOP EXECUTE 'ALTER TABLE ' || part || ' ENABLE ROW LEVEL SECURITY'; END LOOP; END; END $strongroom$;
}
