package sqldb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestPrivilegesPastRowLevelSecurity: what row-level security does not bind, the connecting role may not do. Each attack is one
// that a raw statement of that role makes on the rows of a tenant that it is not, and that what Open prints puts an end to.
func TestPrivilegesPastRowLevelSecurity(t *testing.T) {
	// The attacker is nobody's tenant: row-level security shows it no row.
	const none = ``
	for _, c := range []struct {
		what   string
		since  int    // the server's major version
		setup  string // by the superuser
		attack string // by the application's role; fails once the fixes were run
		want   string
	}{
		{"TRUNCATE", 0, `GRANT TRUNCATE ON t TO APP`, `TRUNCATE t`, "TRUNCATE on public.t"},
		{"all privileges", 0, `GRANT ALL ON t TO APP`, `TRUNCATE t`, "TRUNCATE on public.t"},
		{"as everybody", 0, `GRANT TRUNCATE ON t TO PUBLIC`, `TRUNCATE t`, "PUBLIC"},
		{"as a member", 0, `CREATE ROLE ONE; GRANT TRUNCATE ON t TO ONE; GRANT ONE TO APP`, `TRUNCATE t`, "TRUNCATE on public.t"},
		{"as a member who does not inherit", 0, `CREATE ROLE ONE; GRANT TRUNCATE ON t TO ONE; ALTER ROLE APP NOINHERIT; GRANT ONE TO APP`, `SET ROLE ONE; TRUNCATE t`, "TRUNCATE on public.t"},
		{"as a member of a member", 0, `CREATE ROLE ONE; CREATE ROLE TWO; GRANT TRUNCATE ON t TO TWO; GRANT TWO TO ONE; GRANT ONE TO APP`, `TRUNCATE t`, "TRUNCATE on public.t"},
		{"a partition's TRUNCATE", 0, `GRANT TRUNCATE ON t1 TO APP`, `TRUNCATE t1`, "TRUNCATE on public.t1"},
		{"a child's TRUNCATE", 0, `GRANT TRUNCATE ON u1 TO APP`, `TRUNCATE u1`, "TRUNCATE on public.u1"},
		{"a shared table's TRUNCATE", 0, `GRANT TRUNCATE ON shared TO APP`, `TRUNCATE shared`, "TRUNCATE on public.shared"},
		// A foreign key's check is made as the owner, to whom it shows all rows.
		{"REFERENCES", 0, `GRANT REFERENCES ON t TO APP; CREATE SCHEMA own AUTHORIZATION APP`,
			`CREATE TABLE own.probe (a text, b bigint, FOREIGN KEY (a, b) REFERENCES t (tenant_id, id)); INSERT INTO own.probe VALUES ('victim', 1)`, "REFERENCES on public.t"},
		{"REFERENCES of columns", 0, `GRANT REFERENCES (tenant_id, id) ON t TO APP; CREATE SCHEMA own AUTHORIZATION APP`,
			`CREATE TABLE own.probe (a text, b bigint, FOREIGN KEY (a, b) REFERENCES t (tenant_id, id)); INSERT INTO own.probe VALUES ('victim', 1)`, "REFERENCES (id)"},
		// A trigger runs as whoever makes it fire: the owner too, and a migration.
		{"TRIGGER", 0, `GRANT TRIGGER ON u TO APP; CREATE SCHEMA own AUTHORIZATION APP`,
			`CREATE FUNCTION own.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER f AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION own.f()`, "TRIGGER on public.u"},
		{"MAINTAIN", 17, `GRANT MAINTAIN ON u TO APP`, `REINDEX TABLE u`, "MAINTAIN on public.u"},
		{"maintenance of everything", 17, `GRANT pg_maintain TO APP`, `REINDEX TABLE t1`, "is a member of pg_maintain"},
		{"a partition by itself", 0, `ALTER TABLE t1 DISABLE ROW LEVEL SECURITY`, `SELECT 1 / count(*) FROM t1`, "holds rows of it"},
		{"a partition by itself, of a member", 0, `ALTER TABLE t1 DISABLE ROW LEVEL SECURITY; REVOKE ALL ON t1 FROM APP; CREATE ROLE ONE; GRANT SELECT (id) ON t1 TO ONE; ALTER ROLE APP NOINHERIT; GRANT ONE TO APP`,
			`SET ROLE ONE; SELECT 1 / count(id) FROM t1`, "holds rows of it"},
		{"all tables by themselves", 0, `ALTER TABLE t1 DISABLE ROW LEVEL SECURITY; REVOKE ALL ON t1 FROM APP; GRANT pg_read_all_data TO APP`, `SELECT 1 / count(*) FROM t1`, "holds rows of it"},
		{"a child by itself", 0, `ALTER TABLE u1 DISABLE ROW LEVEL SECURITY`, `SELECT 1 / count(*) FROM u1`, "holds rows of it"},
		{"a partition with a policy of its own", 0, `CREATE POLICY all_of_them ON t1 USING (true)`, `SELECT 1 / count(*) FROM t1`, "all_of_them"},
		{"a partition's partition", 0, `ALTER TABLE t2a DISABLE ROW LEVEL SECURITY`, `SELECT 1 / count(*) FROM t2a`, "holds rows of it"},
		{"a sequence set back", 0, `GRANT UPDATE ON SEQUENCE u_n_seq TO APP`, `SELECT setval('u_n_seq', 1)`, "UPDATE on public.u_n_seq"},
		{"a sequence, as everybody", 0, `GRANT ALL ON SEQUENCE u_n_seq TO PUBLIC`, `SELECT setval('u_n_seq', 1)`, "UPDATE on public.u_n_seq"},
		{"who replicates", 0, `ALTER ROLE APP REPLICATION`, none, "REPLICATION"},
		{"who makes roles", 0, `ALTER ROLE APP CREATEROLE`, none, "CREATEROLE"},
		{"who becomes one that makes roles", 0, `CREATE ROLE ONE CREATEROLE; GRANT ONE TO APP`, `SET ROLE ONE`, "CREATEROLE"},
		{"who reads the server's files", 0, `GRANT pg_read_server_files TO APP`, `CREATE TEMP TABLE x (y text); COPY x FROM '/etc/passwd'`, "is a member of pg_read_server_files"},
		{"who runs programs", 0, `GRANT pg_execute_server_program TO APP`, `CREATE TEMP TABLE x (y text); COPY x FROM PROGRAM 'id'`, "is a member of pg_execute_server_program"},
		// A view reads its tables as its owner, and what a materialized view holds was read as whoever refreshed it.
		{"a superuser's view", 0, `CREATE VIEW v AS SELECT id FROM t; GRANT SELECT ON v TO APP`, `SELECT 1 / count(*) FROM v`, "the view public.v"},
		{"a view of one who bypasses, as everybody", 0, `CREATE ROLE ONE BYPASSRLS; GRANT SELECT ON t TO ONE; CREATE VIEW v AS SELECT id FROM t; ALTER VIEW v OWNER TO ONE; GRANT SELECT (id) ON v TO PUBLIC`, `SELECT 1 / count(id) FROM v`, "the view public.v"},
		{"a view of a superuser's view", 0, `CREATE VIEW v AS SELECT id FROM t1; GRANT SELECT ON v TO THEOWNER; CREATE VIEW w AS SELECT id FROM v; ALTER VIEW w OWNER TO THEOWNER; GRANT SELECT ON w TO APP`, `SELECT 1 / count(*) FROM w`, "the view public.w"},
		{"a view that deletes", 0, `CREATE VIEW v AS SELECT * FROM u; GRANT DELETE ON v TO APP`, `WITH d AS (DELETE FROM v RETURNING 1) SELECT 1 / count(*) FROM d`, "the view public.v"},
		{"a materialized view", 0, `CREATE MATERIALIZED VIEW v AS SELECT id FROM t; ALTER MATERIALIZED VIEW v OWNER TO THEOWNER; GRANT SELECT ON v TO APP`, `SELECT 1 / count(*) FROM v`, "the materialized view public.v"},
		{"the owner's view", 0, `CREATE VIEW v AS SELECT id FROM t; ALTER VIEW v OWNER TO THEOWNER; GRANT SELECT ON v TO APP`, `SELECT 1 / count(*) FROM v`, ""},
		{"a superuser's view that asks as its caller", 0, `CREATE VIEW v WITH (security_invoker = true) AS SELECT id FROM t; GRANT SELECT ON v TO APP`, `SELECT 1 / count(*) FROM v`, ""},
		{"a superuser's view for others", 0, `CREATE VIEW v AS SELECT id FROM t; CREATE MATERIALIZED VIEW w AS SELECT id FROM t`, `SELECT 1 / count(*) FROM v`, ""},
		{"the owner's view of a partition", 0, `CREATE VIEW v AS SELECT id FROM t1; ALTER VIEW v OWNER TO THEOWNER; GRANT SELECT ON v TO APP`, `SELECT 1 / count(*) FROM v`, "the view public.v"},
		{"the owner's view of a partition that binds it", 0, `ALTER TABLE t1 FORCE ROW LEVEL SECURITY; CREATE VIEW v AS SELECT id FROM t1; ALTER VIEW v OWNER TO THEOWNER; GRANT SELECT ON v TO APP`, `SELECT 1 / count(*) FROM v`, ""},
		// What is asked of a table that a declared one is a child or partition of shows its rows under the policies of that table.
		{"a parent", 0, `CREATE TABLE above (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, n bigint NOT NULL); ALTER TABLE above OWNER TO THEOWNER; ALTER TABLE u INHERIT above; GRANT SELECT ON above TO APP`,
			`SELECT 1 / count(*) FROM above`, "public.above"},
		{"a parent's parent, of a member", 0, `CREATE TABLE top (tenant_id text COLLATE "C" NOT NULL); CREATE TABLE above (id bigint NOT NULL) INHERITS (top); ALTER TABLE u INHERIT above; CREATE ROLE ONE; GRANT SELECT ON top TO ONE; GRANT ONE TO APP`,
			`SELECT 1 / count(*) FROM top`, "public.top"},
		{"a parent that deletes", 0, `CREATE TABLE above (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL); ALTER TABLE u INHERIT above; GRANT DELETE ON above TO APP`,
			`WITH d AS (DELETE FROM above RETURNING 1) SELECT 1 / count(*) FROM d`, "public.above"},
		{"a parent's TRUNCATE", 0, `CREATE TABLE above (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL); ALTER TABLE u INHERIT above; GRANT TRUNCATE ON above TO APP`,
			`TRUNCATE above`, "TRUNCATE on public.above"},
		{"a parent of the role's own", 0, `CREATE SCHEMA own AUTHORIZATION APP; CREATE TABLE own.above (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL); ALTER TABLE own.above OWNER TO APP; ALTER TABLE u INHERIT own.above`,
			`SELECT 1 / count(*) FROM own.above`, "own.above"},
		{"a table partitioned further up", 0, `CREATE TABLE above (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL) PARTITION BY LIST (tenant_id); ALTER TABLE above ATTACH PARTITION t DEFAULT; GRANT SELECT ON above TO APP`,
			`SELECT 1 / count(*) FROM above`, "public.above"},
		{"a superuser's view of a parent", 0, `CREATE TABLE above (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL); ALTER TABLE u INHERIT above; CREATE VIEW v AS SELECT id FROM above; GRANT SELECT ON v TO APP`,
			`SELECT 1 / count(*) FROM v`, "the view public.v"},
		{"the owner's view of a parent", 0, `CREATE TABLE above (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL); ALTER TABLE above OWNER TO THEOWNER; ALTER TABLE u INHERIT above; CREATE VIEW v AS SELECT id FROM above; ALTER VIEW v OWNER TO THEOWNER; GRANT SELECT ON v TO APP`,
			`SELECT 1 / count(*) FROM v`, "the view public.v"},
		{"a parent that nobody uses", 0, `CREATE TABLE above (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL); ALTER TABLE u INHERIT above`, `SELECT 1 / count(*) FROM above`, ""},
		// A rule does what it does as the owner of its table.
		{"a rule of another table", 0, `CREATE TABLE x (y bigint); CREATE RULE r AS ON INSERT TO x DO ALSO DELETE FROM u; GRANT INSERT ON x TO APP`, `INSERT INTO x VALUES (1)`, "public.x"},
		// With ALTER ROLE … SET role a session is another's than it logged in as, and one statement brings it back.
		{"who logs in as the owner", 0, `GRANT APP TO THEOWNER; ALTER ROLE THEOWNER SET role = APP`, none, "owns the table"},
		{"who logs in as a superuser", 0, `GRANT APP TO THEOWNER; ALTER ROLE THEOWNER SUPERUSER; ALTER ROLE THEOWNER SET role = APP`, none, "superuser"},
		{"nothing more than needed", 0, ``, `TRUNCATE t`, ""},
		{"a partition with the guard's own policy", 0, `CREATE POLICY strongroom_tenant ON t1 USING (tenant_id = NULLIF(current_setting('strongroom.tenant', true), '')) WITH CHECK (tenant_id = NULLIF(current_setting('strongroom.tenant', true), ''))`, `SELECT 1 / count(*) FROM t1`, ""},
		{"a partition that nobody reads by itself", 0, `ALTER TABLE t1 DISABLE ROW LEVEL SECURITY; REVOKE ALL ON t1 FROM APP`, `SELECT 1 / count(*) FROM t1`, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			server := testenv.Postgres(t)
			if server.Major < c.since {
				t.Skip("the server has no such privilege")
			}
			database := server.NewDatabase(t)
			owner := openBare(t, database.OwnerURL)
			mustExec(t, owner, `CREATE TABLE t (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant_id, id)) PARTITION BY RANGE (id);
				CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9);
				CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (9) TO (99) PARTITION BY RANGE (id); CREATE TABLE t2a PARTITION OF t2 FOR VALUES FROM (9) TO (20);
				CREATE TABLE u (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, n bigserial, PRIMARY KEY (tenant_id, id)); CREATE TABLE u1 () INHERITS (u);
				CREATE TABLE shared (code text PRIMARY KEY);
				INSERT INTO t VALUES ('victim', 1), ('victim', 10); INSERT INTO u1 VALUES ('victim', 1); INSERT INTO shared VALUES ('is')`)
			schema := sqldb.Schema{"t": {}, "u": {}, "shared": {Shared: true}}
			ddl, err := schema.DDL(dialect.PostgreSQL, nil)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, owner, ddl)
			super := openBare(t, database.SuperURL)
			roles := strings.NewReplacer("APP", `"`+database.App+`"`, "THEOWNER", `"`+database.Owner+`"`, "ONE", `"`+database.App+`_one"`, "TWO", `"`+database.App+`_two"`)
			t.Cleanup(func() {
				for _, role := range []string{"ONE", "TWO"} {
					mustExec(t, super, roles.Replace(`DO $$ BEGIN IF to_regrole('`+role+`') IS NOT NULL THEN DROP OWNED BY `+role+`; DROP ROLE `+role+`; END IF; END $$`))
				}
			})
			if c.setup != none {
				mustExec(t, super, roles.Replace(c.setup))
			}
			attack := func() error {
				tx, err := openBare(t, database.AppURL).Begin()
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback()
				_, err = tx.Exec(roles.Replace(c.attack))
				return err
			}
			dsn := database.AppURL
			if strings.Contains(c.setup, "SET role") {
				dsn = database.OwnerURL
			}
			err = openErr(t, dsn, schema, nil)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				if attack() == nil {
					t.Error("the attack succeeds")
				}
				return
			}
			if c.attack != none {
				if err := attack(); err != nil {
					t.Errorf("there is nothing to refuse: %v", err)
				}
			}
			var se *sqldb.SchemaError
			if !errors.As(err, &se) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v; want it to say %q", err, c.want)
			}
			if strings.Contains(c.setup, "SET role") {
				return // whoever it is, it is not to connect
			}
			for _, p := range se.Problems {
				if strings.HasPrefix(p.Fix, "REVOKE CREATE") || strings.HasPrefix(p.Fix, "ALTER SCHEMA") { // of the attack's own place
					continue
				}
				if strings.Contains(p.Fix, "another_role") {
					return // of whose making Open leaves the rest to who runs it
				}
				mustExec(t, super, p.Fix)
			}
			if err := openErr(t, dsn, schema, nil); err != nil {
				t.Errorf("what was printed does not mend it: %v", err)
			}
			if c.attack != none && attack() == nil {
				t.Error("the attack succeeds after what was printed was run")
			}
		})
	}
}

// TestFunctionsPastRowLevelSecurity: a function that statements may call, and that runs as a superuser, reads the rows of all tenants.
func TestFunctionsPastRowLevelSecurity(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	owner, super := openBare(t, database.OwnerURL), openBare(t, database.SuperURL)
	mustExec(t, owner, `CREATE TABLE t (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant_id, id)); INSERT INTO t VALUES ('victim', 1)`)
	schema := sqldb.Schema{"t": {}}
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, owner, ddl)
	const body = ` LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM public.t'`
	mustExec(t, super, `CREATE FUNCTION total() RETURNS bigint`+body)
	mustExec(t, super, `CREATE FUNCTION other() RETURNS bigint`+body)
	mustExec(t, owner, `CREATE SCHEMA app; CREATE FUNCTION app.bound() RETURNS bigint`+body)
	count := func() (n int) {
		t.Helper()
		if err := openBare(t, database.AppURL).QueryRow(`SELECT total()`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if count() != 1 {
		t.Error("there is nothing to refuse")
	}
	if err := openErr(t, database.AppURL, schema, &sqldb.Options{Functions: []string{"app.bound"}}); err != nil {
		t.Errorf("what statements cannot call, and what is bound as the owner is: %v", err)
	}
	for _, name := range []string{"total", "public.total"} {
		err := openErr(t, database.AppURL, schema, &sqldb.Options{Functions: []string{"app.bound", name}})
		var se *sqldb.SchemaError
		if !errors.As(err, &se) || len(se.Problems) != 1 || !strings.Contains(err.Error(), "the function public.total(), which") {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustExec(t, super, `ALTER FUNCTION public.total() SECURITY INVOKER`)
	if err := openErr(t, database.AppURL, schema, &sqldb.Options{Functions: []string{"total"}}); err != nil || count() != 0 {
		t.Errorf("%d rows, %v", count(), err)
	}
}

// TestFunctionsOfTablesAreNotTheRoles: whoever owns a function that a table calls has it do something else when the table's owner writes.
func TestFunctionsOfTablesAreNotTheRoles(t *testing.T) {
	for what, use := range map[string]string{
		"a trigger":      `CREATE TRIGGER f BEFORE INSERT ON t1 FOR EACH ROW EXECUTE FUNCTION own.f()`,
		"a default":      `ALTER TABLE t ALTER id SET DEFAULT own.g(1)`,
		"a constraint":   `ALTER TABLE t ADD CHECK (own.g(id) > 0)`,
		"an index":       `CREATE INDEX ON t1 (own.g(id))`,
		"a policy":       `CREATE POLICY p ON t AS RESTRICTIVE USING (own.g(id) > 0)`,
		"nothing at all": `SELECT 1`,
	} {
		t.Run(what, func(t *testing.T) {
			database := testenv.Postgres(t).NewDatabase(t)
			owner, super := openBare(t, database.OwnerURL), openBare(t, database.SuperURL)
			mustExec(t, owner, `CREATE TABLE t (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant_id, id)) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9)`)
			schema := sqldb.Schema{"t": {Triggers: map[string]sqldb.Trigger{"f": {}}}}
			ddl, err := schema.DDL(dialect.PostgreSQL, nil)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, owner, ddl)
			app := `"` + database.App + `"`
			mustExec(t, super, `CREATE SCHEMA own AUTHORIZATION `+app+`; GRANT USAGE ON SCHEMA own TO PUBLIC;
				CREATE FUNCTION own.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE FUNCTION own.g(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
				ALTER FUNCTION own.f() OWNER TO `+app+`; ALTER FUNCTION own.g(bigint) OWNER TO `+app+`; `+use)
			if what == "a trigger" {
				mustExec(t, openBare(t, database.AppURL), `CREATE OR REPLACE FUNCTION own.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''this is %'', current_user; END'`)
				if _, err := owner.Exec(`INSERT INTO t1 VALUES ('x', 1)`); err == nil || !strings.Contains(err.Error(), "this is "+database.Owner) {
					t.Errorf("there is nothing to refuse: %v", err)
				}
			}
			if what == "a policy" {
				mustExec(t, super, `INSERT INTO t VALUES ('victim', 7)`)
				app := openBare(t, database.AppURL)
				mustExec(t, app, `CREATE OR REPLACE FUNCTION own.g(bigint) RETURNS bigint IMMUTABLE COST 0.0001 LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''there is %'', $1; END'`)
				if _, err := app.Exec(`SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SELECT id FROM t`); err == nil || !strings.Contains(err.Error(), "there is 7") {
					t.Errorf("there is nothing to refuse: %v", err)
				}
			}
			err = openErr(t, database.AppURL, schema, nil)
			var se *sqldb.SchemaError
			switch {
			case what == "nothing at all":
				if err != nil {
					t.Error(err)
				}
				return
			case !errors.As(err, &se) || len(se.Problems) != 1 || !strings.Contains(err.Error(), "owns the function own."):
				t.Fatal(err)
			}
			mustExec(t, super, strings.ReplaceAll(se.Problems[0].Fix, "OWNER TO another_role", `OWNER TO "`+database.Owner+`"`))
			if err := openErr(t, database.AppURL, schema, nil); err != nil {
				t.Errorf("what was printed does not mend it: %v", err)
			}
		})
	}
}
