package sqldb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// What the role may not delete, and what hides rows from it, is an error before anything is deleted: all at once.
func TestOffboardNeedsToSeeAndDeleteAll(t *testing.T) {
	l := newLeaver(t, dialect.PostgreSQL)
	l.shred(t)
	var role string
	if err := openBare(t, l.dsn).QueryRow(`SELECT current_user`).Scan(&role); err != nil {
		t.Fatal(err)
	}
	for _, ddl := range []string{
		`REVOKE DELETE ON tenants FROM "` + role + `"`,
		`REVOKE SELECT ON patients FROM "` + role + `"`,
		`REVOKE UPDATE ON staff FROM "` + role + `"`,
		`CREATE POLICY keep ON visits AS RESTRICTIVE FOR DELETE USING (ward = 'south')`,
		`CREATE POLICY hide ON rooms AS RESTRICTIVE FOR SELECT TO "` + role + `" USING (id > 3)`,
		`CREATE POLICY others ON ping AS RESTRICTIVE FOR ALL TO postgres USING (false)`,
		`CREATE POLICY writers ON pong AS RESTRICTIVE FOR INSERT WITH CHECK (id < 1000)`,
	} {
		mustExec(t, l.super, ddl)
	}
	before := l.counts(t)
	r, err := sqldb.Offboard(as(leaving), l.db, leaving, nil)
	var problems *sqldb.SchemaError
	if !errors.As(err, &problems) || r.Rows() != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, want := range []string{"tenants: ", "GRANT DELETE ON \"public\".\"tenants\"", "patients: ", "GRANT SELECT ON", "staff.boss: ", `GRANT UPDATE ("boss") ON`, "policy keep", "policy hide", "nothing was deleted"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if len(problems.Problems) != 5 {
		t.Errorf("%d problems: %v", len(problems.Problems), err)
	}
	if got := l.counts(t); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("something was deleted: %v", got[leaving.String()])
	}
	for _, p := range problems.Problems {
		if strings.HasPrefix(p.Fix, "GRANT ") {
			mustExec(t, l.super, p.Fix)
		}
	}
	mustExec(t, l.super, `DROP POLICY keep ON visits; DROP POLICY hide ON rooms`)
	if _, err := sqldb.Offboard(as(leaving), l.db, leaving, nil); err != nil {
		t.Fatal(err)
	}
	l.gone(t)
}

// A trigger that keeps rows is found out: what DELETE does not take is not called deleted.
func TestOffboardSaysWhatIsLeft(t *testing.T) {
	l := newLeaver(t, dialect.PostgreSQL)
	l.shred(t)
	mustExec(t, l.super, `CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.id = 7 THEN RETURN NULL; END IF; RETURN OLD; END'`)
	mustExec(t, l.super, `CREATE TRIGGER keep BEFORE DELETE ON visits FOR EACH ROW EXECUTE FUNCTION keep()`)
	schema := sqldb.Schema{}
	for name, table := range offboardSchema {
		schema[name] = table
	}
	schema["visits"] = sqldb.Table{Triggers: map[string]sqldb.Trigger{"keep": {}}}
	db, err := sqldb.Open(t.Context(), l.dsn, schema, l.guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = sqldb.Offboard(as(leaving), db, leaving, nil)
	if err == nil || !strings.Contains(err.Error(), "table visits") && !strings.Contains(err.Error(), "referred to") {
		t.Errorf("a row was kept, and offboarding said %v", err)
	}
	if n := l.counts(t)[leaving.String()]["visits"]; n != 1 {
		t.Errorf("%d visits are left", n)
	}
}

// Tenant columns of other types, and a tenant whose id is no value of one; partitions, and a table in another schema.
func TestOffboardOfOtherShapes(t *testing.T) {
	raw, dsn, super := newRaw(t, dialect.PostgreSQL)
	schema := sqldb.Schema{
		"texts":         {},
		"numbers":       {TenantType: "bigint"},
		"billing.parts": {},
	}
	mustExec(t, raw, `CREATE SCHEMA billing`)
	for _, ddl := range []string{
		`CREATE TABLE texts (tenant_id text COLLATE "C" NOT NULL, id int NOT NULL, PRIMARY KEY (tenant_id, id))`,
		`CREATE TABLE numbers (tenant_id bigint NOT NULL, id int NOT NULL, PRIMARY KEY (tenant_id, id))`,
		`CREATE TABLE billing.parts (tenant_id text COLLATE "C" NOT NULL, id int NOT NULL, PRIMARY KEY (tenant_id, id)) PARTITION BY RANGE (id)`,
		`CREATE TABLE billing.parts_low PARTITION OF billing.parts FOR VALUES FROM (0) TO (50)`,
		`CREATE TABLE billing.parts_high PARTITION OF billing.parts FOR VALUES FROM (50) TO (1000)`,
	} {
		mustExec(t, raw, ddl)
	}
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw, ddl)
	all := openBare(t, super)
	mustExec(t, all, `GRANT USAGE ON SCHEMA billing TO PUBLIC; GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA billing TO PUBLIC`)
	l := &leaver{env: &env{log: &recorder{}}}
	seven, word := tenant.MustParse("7"), tenant.MustParse("seven")
	ring := newQuickRing(t, seven, word)
	l.guard.Keys, l.guard.Audit = ring, l.log
	db, err := sqldb.Open(t.Context(), dsn, schema, l.guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, id := range []string{"7", "07", "seven", "70"} {
		mustExec(t, all, `INSERT INTO texts SELECT $1, i FROM generate_series(1, 99) i`, id)
		mustExec(t, all, `INSERT INTO billing.parts SELECT $1, i FROM generate_series(1, 99) i`, id)
	}
	mustExec(t, all, `INSERT INTO numbers SELECT t, i FROM unnest(ARRAY[7, 70]) t, generate_series(1, 99) i`)
	for _, c := range []struct {
		id   tenant.ID
		rows int64
	}{{seven, 3 * 99}, {word, 2 * 99}} {
		if err := ring.Shred(t.Context(), c.id, ""); err != nil {
			t.Fatal(err)
		}
		r, err := sqldb.Offboard(as(c.id), db, c.id, &sqldb.OffboardOptions{BatchRows: 10})
		if err != nil || r.Rows() != c.rows {
			t.Errorf("%s: %+v, %v", c.id, r, err)
		}
	}
	var left string
	if err := all.QueryRow(`SELECT (SELECT count(*) FROM texts) || ' ' || (SELECT count(*) FROM numbers) || ' ' || (SELECT count(*) FROM billing.parts)`).Scan(&left); err != nil || left != "198 99 198" {
		t.Errorf("left of the others: %s, %v", left, err)
	}
}
