// want package:`countries\(shared\) patients\(born name:name_index\) visits\(note\) \+tenant_id \+similarity`

// Package clinic declares a schema, opens it and queries it.
package clinic

import (
	"context"
	"database/sql"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// Schema is what the other packages are checked against too.
var Schema = sqldb.Schema{
	"patients": {Sealed: sqldb.Columns{
		"name": sqldb.Text().Searchable("name_index").FoldCase(),
		"born": sqldb.Date(),
	}},
	"visits":    {Sealed: sqldb.Columns{"note": sqldb.Text()}},
	"countries": {Shared: true},
}

// Open opens the database.
func Open(ctx context.Context, dsn string, guard storage.Guard) (*sql.DB, error) {
	return sqldb.Open(ctx, dsn, Schema, guard, &sqldb.Options{Functions: []string{"similarity"}})
}

type repo struct {
	db   *sql.DB
	raw  *sql.DB
	dbtx interface {
		QueryContext(context.Context, string, ...any) (*sql.Rows, error)
		ExecContext(context.Context, string, ...any) (sql.Result, error)
	}
}

const byName = `SELECT id FROM patients WHERE name = $1`

func (r *repo) refused(ctx context.Context, id int) {
	r.db.QueryContext(ctx, `SELEC id FROM patients`)                                                    // want `sqldb: statement refused: syntax error at byte 0; write the statement in PostgreSQL's SQL`
	r.db.ExecContext(ctx, `SELECT 1; SELECT 2`)                                                         // want `refused: not one statement`
	r.db.ExecContext(ctx, `CREATE TABLE t (id int)`)                                                    // want `refused: unsupported statement: Create`
	r.db.QueryContext(ctx, `SELECT id FROM secrets`)                                                    // want `refused: unknown table: secrets at byte 15; declare the table`
	r.db.QueryContext(ctx, `SELECT id FROM other.patients`)                                             // want `refused: unknown table: other.patients`
	r.db.ExecContext(ctx, `UPDATE countries SET title = 'x'`)                                           // want `refused: write to a shared table: countries`
	r.db.ExecContext(ctx, `UPDATE patients SET tenant_id = 'x'`)                                        // want `refused: write to the tenant column: patients.tenant_id`
	r.db.QueryContext(ctx, `SELECT pg_sleep(10)`)                                                       // want `refused: function not in the allowlist: pg_sleep`
	r.db.QueryContext(ctx, `SELECT id FROM patients ORDER BY born`)                                     // want `refused: ORDER BY a sealed column: patients.born`
	r.db.QueryContext(ctx, `SELECT born AS b FROM patients ORDER BY 1`)                                 // want `refused: ORDER BY a sealed column: patients.born`
	r.db.QueryContext(ctx, `SELECT id FROM patients WHERE name > $1`, "a")                              // want `refused: comparison of a sealed column other than equality: patients.name`
	r.db.QueryContext(ctx, `SELECT id FROM patients WHERE born = $1`, id)                               // want `refused: comparison of a sealed column that is not searchable: patients.born`
	r.db.QueryContext(ctx, `SELECT id FROM patients p WHERE lower(p.name) = $1`, "a")                   // want `refused: expression over a sealed column: patients.name`
	r.db.ExecContext(ctx, `INSERT INTO visits (id, note) VALUES ($1, upper($2))`, 1, "n")               // want `refused: sealed column set from an expression: visits.note`
	r.db.QueryContext(ctx, `SELECT name_index FROM patients`)                                           // want `refused: unknown column: name_index`
	r.db.QueryContext(ctx, `SELECT v.id FROM patients p JOIN visits v ON v.pid = p.id ORDER BY v.note`) // want `refused: ORDER BY a sealed column: visits.note`
	r.db.PrepareContext(ctx, `DROP TABLE patients`)                                                     // want `refused: unsupported statement: Drop`
	r.dbtx.ExecContext(ctx, `TRUNCATE patients`)                                                        // want `refused: unsupported statement: Truncate`
	const query = `SELECT ` + `id FROM nowhere`
	r.db.QueryRowContext(ctx, query) // want `refused: unknown table: nowhere`
	once := `SELECT id FROM nowhere`
	r.db.QueryRowContext(ctx, once) // want `refused: unknown table: nowhere`
	tx, _ := r.db.BeginTx(ctx, nil)
	tx.ExecContext(ctx, `VACUUM`) // want `refused: unsupported statement: Vacuum`
	conn, _ := r.db.Conn(ctx)
	conn.ExecContext(ctx, `SET ROLE postgres`) // want `refused: unsupported statement: VariableSet`
}

func (r *repo) arguments(ctx context.Context, all []any) {
	r.db.QueryContext(ctx, byName)       // want `sqldb: the statement takes 1 parameters and was given 0`
	r.db.QueryContext(ctx, byName, 1, 2) // want `takes 1 parameters and was given 2`
	r.db.QueryContext(ctx, byName, "ada")
	r.db.QueryContext(ctx, byName, all...)
	r.db.PrepareContext(ctx, byName)
}

// admitted holds what cannot be proven to be refused.
func (r *repo) admitted(ctx context.Context, table, misspelt string) {
	r.db.QueryContext(ctx, `SELECT id, name, whatever FROM patients WHERE nosuchcolumn = 1`)
	r.db.QueryContext(ctx, `SELECT * FROM patients ORDER BY 5`)                                                               // the fifth may be plain
	r.db.QueryContext(ctx, `SELECT * FROM patients UNION SELECT * FROM visits`)                                               // refused, but why depends
	r.db.QueryContext(ctx, `SELECT DISTINCT id, name FROM patients`)                                                          // if id is the key
	r.db.QueryContext(ctx, `SELECT p.id FROM patients p WHERE EXISTS (SELECT 1 FROM visits WHERE name > 'a')`)                // visits may have a name
	r.db.QueryContext(ctx, `SELECT similarity('a', 'b')`)                                                                     // declared
	r.db.ExecContext(ctx, `INSERT INTO patients (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = $2`, 1, "n") // id may be a key
	r.db.QueryContext(ctx, `SELECT id::text FROM patients`)                                                                   // PostgreSQL takes it, SQLite does not
	r.db.QueryContext(ctx, `SELECT id FROM `+table)
	query := `SELECT id FROM nowhere`
	if misspelt != "" {
		query = `SELECT id FROM patients`
	}
	r.db.QueryContext(ctx, query)
	var empty string
	if misspelt != "" {
		empty = `SELECT id FROM nowhere`
	}
	r.db.QueryContext(ctx, empty)
	r.db.QueryContext(ctx, misspelt)
}

func (r *repo) tenantless(ctx context.Context) {
	r.db.Query(byName, "ada")                                    // want `sqldb: Query has no context and so never a tenant: the guard answers tenant.ErrMissing; use QueryContext`
	r.db.Exec(`DELETE FROM visits`)                              // want `Exec has no context`
	r.db.QueryRow(byName, "ada")                                 // want `QueryRow has no context`
	tx, _ := r.db.Begin()                                        // want `Begin has no context and so never a tenant.*use BeginTx`
	tx.Exec(`DELETE FROM visits`)                                // want `Exec has no context`
	s, _ := r.db.Prepare(byName)                                 // preparing needs no tenant
	s.Query("ada")                                               // want `Query has no context`
	s.QueryContext(ctx, "ada")                                   // a statement's arguments are not counted
	r.db.ExecContext(context.Background(), `DELETE FROM visits`) // want `context.Background\(\) has no tenant`
	r.db.BeginTx(context.TODO(), nil)                            // want `context.TODO\(\) has no tenant`
	r.db.PingContext(context.Background())
}

func (r *repo) open(ctx context.Context, driver string) {
	r.raw, _ = sql.Open("pgx", "postgres://owner@localhost/clinic") // want `sqldb: sql.Open\("pgx", …\) opens a handle without the guard`
	r.raw.Exec(`CREATE TABLE t (id int)`)                           // known to be raw
	tx, _ := r.raw.Begin()
	tx.Exec(`DROP TABLE t`)
	migrate(r.raw)
	sql.Open(driver, "")
	sql.Open("mysql", "")
	//sqldblint:raw the owner's handle runs the migrations
	owner, _ := sql.Open("sqlite", "file:clinic.db")
	owner.Exec(`PRAGMA journal_mode = wal`)
	owner.Close()
	r.db.ExecContext(ctx, `VACUUM`) //sqldblint:raw shows what the guard answers
}

func migrate(owner *sql.DB) { owner.Exec(`CREATE TABLE u (id int)`) }
