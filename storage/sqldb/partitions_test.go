package sqldb_test

import (
	"fmt"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestPartitionedTables: tenants do not meet in a partitioned table, whatever it is partitioned by and however a row comes to be in a partition;
// and no partition can be named instead of it, by a statement or by who has the application's role.
func TestPartitionedTables(t *testing.T) {
	schema := sqldb.Schema{"p": {Sealed: sqldb.Columns{"s": sqldb.Text().Searchable("s_index")}}}
	for by, parts := range map[string][]string{
		"HASH (tenant_id)": {"p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "p2 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1)"},
		"LIST (id)":        {"p1 PARTITION OF p FOR VALUES IN (1)", "p2 PARTITION OF p DEFAULT", "p3 PARTITION OF p FOR VALUES IN (1001)"},
		"RANGE (id)":       {"p1 PARTITION OF p FOR VALUES FROM (0) TO (2)", "p2 PARTITION OF p DEFAULT", "p3 PARTITION OF p FOR VALUES FROM (1000) TO (2000)"},
	} {
		t.Run(by, func(t *testing.T) {
			raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
			mustExec(t, raw, withChecks(dialect.PostgreSQL, schema, `CREATE TABLE p (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, s bytea, s_index bytea, PRIMARY KEY (tenant_id, id))`)+` PARTITION BY `+by)
			for _, part := range parts[:2] {
				mustExec(t, raw, `CREATE TABLE `+part)
			}
			ddl, err := schema.DDL(dialect.PostgreSQL, nil)
			must(t, err)
			mustExec(t, raw, ddl)
			e := &env{dialect: dialect.PostgreSQL, log: &recorder{}, ring: newRing(t, tenantA, tenantB)}
			e.guard.Keys, e.guard.Audit = e.ring, e.log
			e.db, err = sqldb.Open(t.Context(), dsn, schema, e.guard, nil)
			must(t, err)
			t.Cleanup(func() { e.db.Close() })
			for i := 1; i <= 3; i++ {
				e.exec(t, tenantA, `INSERT INTO p (id, s) VALUES ($1, $2)`, i, fmt.Sprint("A", i))
				e.exec(t, tenantB, `INSERT INTO p (id, s) VALUES ($1, $2)`, i, fmt.Sprint("B", i))
			}
			if n := e.exec(t, tenantA, `UPDATE p SET id = id + 10 WHERE id < 3`); n != 2 { // to another partition
				t.Errorf("%d rows were moved", n)
			}
			planted := 0 // past the guard, by the owner, into the partitions themselves
			for i := range 8 {
				if _, err := raw.Exec(fmt.Sprintf(`INSERT INTO p%d (tenant_id, id) VALUES ('Clinic', %d)`, i%2+1, 100+i)); err == nil { // or the row is of the other one
					planted++
				}
			}
			if n := e.rows(t, tenantB, `SELECT count(*) FROM p WHERE id > 99`); planted == 0 || fmt.Sprint(n) != fmt.Sprintf("[[%d]]", planted) {
				t.Errorf("of %d rows put into partitions the tenant has %v", planted, n)
			}
			if got := fmt.Sprint(e.rows(t, tenantA, `SELECT id, s FROM p ORDER BY id`)); got != "[[3 A3] [11 A1] [12 A2]]" {
				t.Errorf("the tenant has %s", got)
			}
			if got := fmt.Sprint(e.rows(t, tenantB, `SELECT id, s FROM p WHERE s IN ('A1', 'B1', 'A3')`)); got != "[[1 B1]]" {
				t.Errorf("the other tenant has %s", got)
			}
			later := parts[2:]
			for _, part := range later { // one that is made while the program runs
				mustExec(t, raw, `CREATE TABLE `+part+`; ALTER TABLE p3 ENABLE ROW LEVEL SECURITY`)
				e.exec(t, tenantA, `INSERT INTO p (id, s) VALUES (1001, 'later')`)
				if a, b := e.rows(t, tenantA, `SELECT id FROM p WHERE s = 'later'`), e.rows(t, tenantB, `SELECT id FROM p WHERE id = 1001`); len(a) != 1 || len(b) != 0 {
					t.Errorf("of a later partition the tenants have %v and %v", a, b)
				}
			}
			for _, q := range []string{`SELECT id FROM p1`, `SELECT id FROM public.p1`, `INSERT INTO p1 (id) VALUES (1)`, `DELETE FROM p2`, `SELECT id FROM ONLY p`, `SELECT tableoid FROM p`} {
				if got, err := e.tryRows(as(tenantA), q); err == nil {
					t.Errorf("%s: %v", q, got)
				}
			}
			bare := openBare(t, dsn) // the application's role, which names its tenant
			mustExec(t, bare, `SELECT set_config('strongroom.tenant', 'clinic', false)`)
			for i := range parts {
				var n int
				if err := bare.QueryRow(fmt.Sprintf(`SELECT count(*) FROM p%d`, i+1)).Scan(&n); err != nil || n != 0 {
					t.Errorf("partition %d shows %d rows by itself, %v", i+1, n, err)
				}
				if _, err := bare.Exec(fmt.Sprintf(`INSERT INTO p%d (tenant_id, id) VALUES ('clinic', 1)`, i+1)); err == nil {
					t.Errorf("partition %d takes rows by itself", i+1)
				}
			}
			again, err := sqldb.Open(t.Context(), dsn, schema, e.guard, nil)
			must(t, err)
			must(t, again.Close())
		})
	}
}
