package sqldb_test

import (
	"testing"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestRollbackPutsBackEachType: what the guard wrote comes back whole into each type that plaintexts had.
func TestRollbackPutsBackEachType(t *testing.T) {
	raw, dsn, super := newRaw(t, dialect.PostgreSQL)
	m := &moving{raw: raw, app: openPool(t, dsn), super: openBare(t, super), dsn: dsn, ring: newRing(t, tenantA), log: &recorder{}}
	mustExec(t, raw, `CREATE TABLE things (id bigint PRIMARY KEY, clinic text NOT NULL, padded char(5), short varchar(9), doc jsonb, exact json, at timestamp, small real, n int2, amount numeric, whole bigint, u uuid, flag bool, raw bytea);
		INSERT INTO things (id, clinic, padded) SELECT i, 'clinic', 'a' FROM generate_series(0, 20) i`)
	schema := sqldb.Schema{"things": {Sealed: sqldb.Columns{"padded": sqldb.Text(), "short": sqldb.Text(), "doc": sqldb.JSON(), "exact": sqldb.JSON(), "at": sqldb.Time(), "small": sqldb.Float(), "n": sqldb.Int(),
		"amount": sqldb.Numeric(), "whole": sqldb.Numeric(), "u": sqldb.UUID(), "flag": sqldb.Bool(), "raw": sqldb.Bytes()}}}
	guard := storage.Guard{Keys: m.ring, Audit: m.log}
	m.plan = sqldb.Migration{DSN: ownerURL(dsn), Schema: schema, Guard: guard, Actor: "operator", Purpose: "moving in", Tenants: map[string]sqldb.TenantSource{"things": sqldb.FromColumn("clinic")}}
	m.to(t, sqldb.MigrateSwitch)
	db, err := sqldb.Open(t.Context(), dsn, schema, guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cases := []struct {
		column string
		value  any
		want   string
	}{
		{"padded", "abcde", "abcde"}, {"padded", "abc  ", "abc"}, {"padded", "abc", "abc"}, {"short", "abcdefghi", "abcdefghi"}, {"doc", `{"b":1,"a":2}`, `{"a": 2, "b": 1}`}, {"exact", `{"b":1,"a":2}`, `{"b":1,"a":2}`},
		{"at", "2021-02-03T04:05:06.789Z", "2021-02-03 04:05:06.789"}, {"small", 1.5, "1.5"}, {"n", 7, "7"}, {"amount", "1.50", "1.5"}, {"whole", "12", "12"}, {"u", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
		{"flag", true, "true"}, {"raw", []byte{0, 255}, `\x00ff`}, {"short", nil, "NULL"},
	}
	for i, c := range cases {
		if _, err := db.ExecContext(as(tenantA), `UPDATE things SET `+c.column+` = $1 WHERE id = $2`, c.value, i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		if got := m.one(t, `SELECT `+c.column+`::text FROM things WHERE id = $1`, i); got != c.want {
			t.Errorf("%v is %s in %s, not %s", c.value, got, c.column, c.want)
		}
	}
}
