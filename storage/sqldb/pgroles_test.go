package sqldb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestWhoOwnsTheFenceDoesNotOpen: an owner can take down what binds it, and so can whoever may become one.
func TestWhoOwnsTheFenceDoesNotOpen(t *testing.T) {
	schema := sqldb.Schema{"t": {}}
	for _, c := range []struct {
		what  string
		owner bool   // connects as the owner
		setup string // by the superuser; APP, @owner, @database are this database's
		want  string // what the error says; nothing where it opens
	}{
		{"an application's role", false, ``, ""},
		{"the owner of all", true, ``, "owns the table t"},
		{"the owner of the table", false, `ALTER TABLE t OWNER TO APP`, "owns the table t"},
		{"the owner of a partition", false, `CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9); ALTER TABLE t1 OWNER TO APP`, "owns the table t1"},
		{"the owner of the schema", false, `ALTER SCHEMA public OWNER TO APP`, "owns the schema public"},
		{"the owner of the database", false, `ALTER DATABASE @database OWNER TO APP`, "owns the database"},
		{"a member of the owner", false, `GRANT @owner TO APP`, "is a member of"},
		{"a member who does not inherit", false, `ALTER ROLE APP NOINHERIT; GRANT @owner TO APP`, "is a member of"},
		{"who may create in the schema", false, `GRANT CREATE ON SCHEMA public TO APP`, "may create operators in schema public"},
		{"who may create as everybody may", false, `GRANT CREATE ON SCHEMA public TO PUBLIC`, "may create operators in schema public"},
		{"who may create in the search path", false, `CREATE SCHEMA other; GRANT USAGE, CREATE ON SCHEMA other TO APP; ALTER ROLE APP SET search_path = public, other`, "may create operators in schema other"},
	} {
		t.Run(c.what, func(t *testing.T) {
			database := testenv.Postgres(t).NewDatabase(t)
			raw := openBare(t, database.OwnerURL)
			mustExec(t, raw, `CREATE TABLE t (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant_id, id)) PARTITION BY RANGE (id)`)
			ddl, err := schema.DDL(dialect.PostgreSQL, nil)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, raw, ddl)
			setup := strings.NewReplacer("APP", `"`+database.App+`"`, "@owner", `"`+database.Owner+`"`, "@database", `"`+database.Name+`"`).Replace(c.setup)
			if setup != "" {
				mustExec(t, openBare(t, database.SuperURL), setup)
			}
			dsn := database.AppURL
			if c.owner {
				dsn = database.OwnerURL
			}
			err = openErr(t, dsn, schema, nil)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var se *sqldb.SchemaError
			if !errors.As(err, &se) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v; want it to say %q", err, c.want)
			}
			for _, p := range se.Problems {
				if !strings.Contains(p.Fix, "OWNER TO") && !strings.Contains(p.Fix, "REVOKE") {
					t.Errorf("%v: no statement mends it", p)
				}
			}
			if err := openErr(t, dsn, schema, &sqldb.Options{InsecureWithoutRLS: true}); err != nil {
				t.Errorf("without the second fence: %v", err)
			}
		})
	}
}
