package builtin

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// TestOfCitext holds the names against what the extension makes: its functions that are called like built-ins.
func TestOfCitext(t *testing.T) {
	conn := connect(t, testenv.Postgres(t).NewDatabase(t).SuperURL)
	if _, err := conn.Exec(t.Context(), "CREATE EXTENSION citext"); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `SELECT DISTINCT proname::text FROM pg_proc p JOIN pg_depend d
		ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'citext' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	made, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(made) == 0 {
		t.Fatal(made, err)
	}
	has := map[string]bool{}
	for _, name := range made {
		has[name] = true
		if _, known := Function(PostgreSQL, name, nil); known && !OfCitext(name) {
			t.Errorf("%s: citext has one of its own", name)
		}
	}
	for _, name := range Names(PostgreSQL) {
		if OfCitext(name) && !has[name] {
			t.Errorf("%s: citext has none", name)
		}
	}
}
