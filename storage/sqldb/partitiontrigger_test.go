package sqldb_test

import (
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestTriggersOfPartitionsAreTheirParents: what a declaration says of a trigger is said of one function. Another one that a
// partition or a child has under that name changes what nobody was told of.
func TestTriggersOfPartitionsAreTheirParents(t *testing.T) {
	const declared = `CREATE TRIGGER keep AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION keep(); `
	for what, c := range map[string]struct {
		ddl  string
		want string // what Open says; empty where it opens
	}{
		"the parent's, as each partition has it": {declared, ""},
		"another's under its name":               {`CREATE TRIGGER keep AFTER UPDATE ON t1 FOR EACH ROW EXECUTE FUNCTION other()`, ""},
		"the same on a partition only":           {`CREATE TRIGGER keep AFTER UPDATE ON t1 FOR EACH ROW EXECUTE FUNCTION keep()`, ""},
		"two under one name":                     {`CREATE TRIGGER keep AFTER UPDATE ON t1 FOR EACH ROW EXECUTE FUNCTION keep(); CREATE TRIGGER keep AFTER UPDATE ON t2 FOR EACH ROW EXECUTE FUNCTION other()`, "the trigger keep of public.t2 runs public.other"},
		"the parent's and a partition's":         {`CREATE TABLE t3 (LIKE t); CREATE TRIGGER keep AFTER UPDATE ON t3 FOR EACH ROW EXECUTE FUNCTION other(); ` + `CREATE TRIGGER keep AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION keep(); CREATE TRIGGER keep AFTER INSERT ON u1 FOR EACH ROW EXECUTE FUNCTION other()`, "the trigger keep of public.u1 runs public.other"},
		"the same with other arguments":          {`CREATE TRIGGER keep AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION keep(); CREATE TRIGGER keep AFTER INSERT ON u1 FOR EACH ROW EXECUTE FUNCTION keep('history')`, "the trigger keep of public.u1 runs public.keep"},
		"a function of the name elsewhere":       {`CREATE TRIGGER keep AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION keep(); CREATE SCHEMA more; CREATE FUNCTION more.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.history; RETURN NULL; END'; CREATE TRIGGER keep AFTER INSERT ON u1 FOR EACH ROW EXECUTE FUNCTION more.keep()`, "the trigger keep of public.u1 runs more.keep"},
		"the same on the child":                  {`CREATE TRIGGER keep AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION keep(); CREATE TRIGGER keep AFTER INSERT ON u1 FOR EACH ROW EXECUTE FUNCTION keep()`, ""},
		"a copy that is left on":                 {strings.ReplaceAll(declared, "keep", "undeclared") + `ALTER TABLE ONLY t DISABLE TRIGGER undeclared; ALTER TABLE t2 ENABLE TRIGGER undeclared`, "DROP TRIGGER \"undeclared\" ON public.t2"},
		"one that is turned off":                 {declared + `CREATE TRIGGER keep AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION keep(); CREATE TRIGGER keep AFTER INSERT ON u1 FOR EACH ROW EXECUTE FUNCTION other(); ALTER TABLE u1 DISABLE TRIGGER keep`, ""},
	} {
		t.Run(what, func(t *testing.T) {
			raw, dsn, super := newRaw(t, dialect.PostgreSQL)
			mustExec(t, openBare(t, super), `DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO PUBLIC', current_database()); END $$`)
			mustExec(t, raw, `CREATE TABLE t (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant_id, id)) PARTITION BY RANGE (id);
				CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (9) TO (20);
				CREATE TABLE u (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant_id, id)); CREATE TABLE u1 () INHERITS (u);
				CREATE TABLE history (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL);
				CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
				CREATE FUNCTION undeclared() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
				CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.history; RETURN NULL; END'; `+c.ddl)
			schema := sqldb.Schema{"t": {Triggers: map[string]sqldb.Trigger{"keep": {}}}, "u": {Triggers: map[string]sqldb.Trigger{"keep": {}}}, "history": {}}
			ddl, err := schema.DDL(dialect.PostgreSQL, nil)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, raw, ddl)
			err = openErr(t, dsn, schema, nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v; want it to say %q", err, c.want)
			}
		})
	}
}
