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
		strings.Join(schema["patients"].Checks(sqldb.SQLite), ", ") + `)`)
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
	ddl, err := schema.DDL(sqldb.PostgreSQL, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(ddl)
	// Output:
	// -- patients
	// ALTER TABLE "public"."patients" ADD COLUMN IF NOT EXISTS "tenant_id" text COLLATE "C";
	// -- rows that exist need a tenant before the next statement
	// ALTER TABLE "public"."patients" ALTER COLUMN "tenant_id" SET NOT NULL;
	// ALTER TABLE "public"."patients" ADD COLUMN IF NOT EXISTS "ssn" bytea;
	// ALTER TABLE "public"."patients" DROP CONSTRAINT IF EXISTS "strongroom_sealed_ssn", ADD CONSTRAINT "strongroom_sealed_ssn" CHECK (octet_length("ssn") >= 34 AND get_byte("ssn", 0) = 1) NOT VALID; ALTER TABLE "public"."patients" VALIDATE CONSTRAINT "strongroom_sealed_ssn";
	// ALTER TABLE "public"."patients" ADD COLUMN IF NOT EXISTS "ssn_index" bytea;
	// ALTER TABLE "public"."patients" DROP CONSTRAINT IF EXISTS "strongroom_index_ssn_index", ADD CONSTRAINT "strongroom_index_ssn_index" CHECK (octet_length("ssn_index") = 16) NOT VALID; ALTER TABLE "public"."patients" VALIDATE CONSTRAINT "strongroom_index_ssn_index";
	// CREATE INDEX IF NOT EXISTS "patients_ssn_index_blind" ON "public"."patients" ("tenant_id", "ssn_index");
	// ALTER TABLE "public"."patients" ENABLE ROW LEVEL SECURITY;
	// ALTER TABLE "public"."patients" FORCE ROW LEVEL SECURITY;
	// DROP POLICY IF EXISTS strongroom_tenant ON "public"."patients";
	// CREATE POLICY strongroom_tenant ON "public"."patients" USING ("tenant_id" = NULLIF(current_setting('strongroom.tenant', true), '')) WITH CHECK ("tenant_id" = NULLIF(current_setting('strongroom.tenant', true), ''));
}
