package sqldb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// resealTables are tables with keys of every kind, by which Reseal pages: what is read of a key must find its row again.
var resealTables = map[dialect.Dialect]struct {
	schema sqldb.Schema
	ddl    []string
	insert map[string]string // by table, with $1 for the sealed value and $2 for the row's number as a text
}{
	dialect.PostgreSQL: {
		schema: sqldb.Schema{
			"owners":           {TenantColumn: "id", Sealed: sqldb.Columns{"v": sqldb.Text().Searchable("v_index")}},
			"many":             {Sealed: sqldb.Columns{"v": sqldb.Text().Searchable("v_index")}},
			"billing.Invoices": {Sealed: sqldb.Columns{"v": sqldb.Text()}},
			"numbers":          {TenantType: "uuid", TenantColumn: "who", Sealed: sqldb.Columns{"v": sqldb.Text()}},
			"keyed":            {Sealed: sqldb.Columns{"v": sqldb.Text().Searchable("v_index")}},
		},
		ddl: []string{
			`CREATE SCHEMA billing`,
			`GRANT USAGE ON SCHEMA billing TO PUBLIC`,
			`CREATE TABLE owners (id text COLLATE "C" PRIMARY KEY, v bytea, v_index bytea)`,
			`CREATE TABLE many (a text NOT NULL, b numeric NOT NULL, tenant_id text COLLATE "C" NOT NULL, c timestamptz NOT NULL, d uuid NOT NULL, e date NOT NULL,
				f real NOT NULL, g boolean NOT NULL, h varchar(20) NOT NULL, i char(8) NOT NULL, j inet NOT NULL, k bytea NOT NULL, l smallint NOT NULL, v bytea, v_index bytea,
				PRIMARY KEY (g, e, tenant_id, f, h, i, j, b, c, d, a, k, l))`,
			`CREATE TABLE billing."Invoices" (tenant_id text COLLATE "C" NOT NULL, "the ""id""" bigint NOT NULL, v bytea, PRIMARY KEY (tenant_id, "the ""id"""))`,
			`GRANT SELECT, INSERT, UPDATE, DELETE ON billing."Invoices" TO PUBLIC`,
			`CREATE TABLE numbers (who uuid NOT NULL, id bigint NOT NULL, v bytea, PRIMARY KEY (who, id))`,
			`CREATE TABLE keyed (tenant_id text COLLATE "C" NOT NULL, v bytea, v_index bytea NOT NULL, PRIMARY KEY (tenant_id, v_index))`,
		},
		insert: map[string]string{
			"many": `INSERT INTO many (v, a, b, c, d, e, f, g, h, i, j, k, l) VALUES ($1, $2::text, $2::text::numeric / 3, '2026-01-01'::timestamptz + $2::text::int * interval '1 microsecond',
				'550e8400-e29b-41d4-a716-446655440000', date '2026-01-01' + $2::text::int % 3, $2::text::real / 3, $2::text::int % 2 = 0, $2::text, $2::text, '10.0.0.1', 'x', $2::text::smallint)`,
			"billing.Invoices": `INSERT INTO billing."Invoices" (v, "the ""id""") VALUES ($1, $2::text::bigint)`,
			"numbers":          `INSERT INTO numbers (v, id) VALUES ($1, $2::text::bigint)`,
			"keyed":            `INSERT INTO keyed (v) VALUES ($1)`,
		},
	},
	dialect.SQLite: {
		schema: sqldb.Schema{
			"owners": {TenantColumn: "id", Sealed: sqldb.Columns{"v": sqldb.Text().Searchable("v_index")}},
			"many":   {Sealed: sqldb.Columns{"v": sqldb.Text().Searchable("v_index")}},
			"keyed":  {Sealed: sqldb.Columns{"v": sqldb.Text().Searchable("v_index")}},
		},
		ddl: []string{
			`CREATE TABLE owners (id TEXT NOT NULL PRIMARY KEY, v BLOB, v_index BLOB)`,
			`CREATE TABLE many (a TEXT COLLATE NOCASE NOT NULL, b DATE NOT NULL, tenant_id TEXT NOT NULL, c DATETIME NOT NULL, d REAL NOT NULL, e NUMERIC NOT NULL, "f""" BOOLEAN NOT NULL, v BLOB, v_index BLOB,
				PRIMARY KEY ("f""", d, tenant_id, b, c, e, a)) WITHOUT ROWID`,
			`CREATE TABLE keyed (tenant_id TEXT NOT NULL, v BLOB, v_index BLOB NOT NULL, PRIMARY KEY (tenant_id, v_index))`,
		},
		insert: map[string]string{
			"many":  `INSERT INTO many (v, a, b, c, d, e, "f""") VALUES ($1, 'Row ' || $2, '2026-01-0' || $2, '2026-01-01 10:00:0' || $2, $2 / 3.0, $2 + 0, $2 % 2 = 0)`,
			"keyed": `INSERT INTO keyed (v) VALUES ($1)`,
		},
	},
}

func TestResealTablesOfAllKinds(t *testing.T) {
	for d, c := range resealTables {
		t.Run(string(d), func(t *testing.T) {
			mine := tenant.MustParse("550e8400-e29b-41d4-a716-446655440000")
			other := tenant.MustParse("550e8400-e29b-41d4-a716-446655440001")
			raw, dsn, super := newRaw(t, d)
			for _, ddl := range c.ddl {
				for name, table := range c.schema {
					create := `CREATE TABLE ` + name + ` `
					if name == "billing.Invoices" {
						create = `CREATE TABLE billing."Invoices" `
					}
					if rest, ok := strings.CutPrefix(ddl, create); ok {
						ddl = create + rest
						tail := ""
						if strings.HasSuffix(ddl, " WITHOUT ROWID") {
							ddl, tail = strings.TrimSuffix(ddl, " WITHOUT ROWID"), " WITHOUT ROWID"
						}
						ddl = strings.TrimSuffix(ddl, ")") + ", " + strings.Join(table.Checks(d), ", ") + ")" + tail
					}
				}
				mustExec(t, raw, ddl)
			}
			if d == dialect.PostgreSQL {
				ddl, err := c.schema.DDL(d, nil)
				if err != nil {
					t.Fatal(err)
				}
				mustExec(t, raw, ddl)
			}
			e := &env{dialect: d, log: &recorder{}, raw: raw, dsn: dsn, super: super, ring: newRingIn(t, t.TempDir(), quick(), mine, other)}
			db, err := sqldb.Open(t.Context(), dsn, c.schema, storage.Guard{Keys: e.ring, Audit: e.log}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			e.db = db
			const rows = 9
			for _, id := range []tenant.ID{mine, other} {
				e.exec(t, id, `INSERT INTO owners (v) VALUES ('value 0')`)
				for table, insert := range c.insert {
					for i := 1; i <= rows && table != "owners"; i++ {
						n := any(fmt.Sprint(i))
						if d == dialect.SQLite {
							n = i
						}
						if strings.Contains(insert, "$2") {
							e.exec(t, id, insert, fmt.Sprint("value ", i), n)
						} else {
							e.exec(t, id, insert, fmt.Sprint("value ", i))
						}
					}
				}
			}
			e.rotate(t, mine, keys.PurposeData, keys.PurposeIndex)
			for _, opts := range []*sqldb.ResealOptions{{BatchSize: 2, Purposes: []keys.Purpose{keys.PurposeData}}, {BatchSize: 2}} {
				report, err := sqldb.Reseal(as(mine), db, opts)
				if err != nil || len(report.Left) != 0 {
					t.Fatalf("%+v, %v", report, err)
				}
				tables := int64(len(c.schema) - 1)
				if opts.Purposes != nil && report.Resealed != tables*rows+1 {
					t.Errorf("%d values were moved, want %d", report.Resealed, tables*rows+1)
				}
				if opts.Purposes == nil && report.Reindexed != 2*rows+1 {
					t.Errorf("%d index values were moved, want %d", report.Reindexed, 2*rows+1)
				}
			}
			for _, id := range []tenant.ID{mine, other} {
				for table := range c.schema {
					name := table
					if table == "billing.Invoices" {
						name = `billing."Invoices"`
					}
					got := map[any]bool{}
					for _, row := range e.rows(t, id, `SELECT v FROM `+name) {
						got[row[0]] = true
					}
					want := rows
					if table == "owners" {
						want = 1
					}
					if len(got) != want {
						t.Errorf("%s of %s: %v", table, id, got)
					}
				}
			}
			if left, err := sqldb.Reseal(as(other), db, &sqldb.ResealOptions{DryRun: true}); err != nil || len(left.Left) != 0 {
				t.Errorf("the other tenant: %+v, %v", left, err)
			}
		})
	}
}
