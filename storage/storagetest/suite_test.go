package storagetest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/storage/storagetest"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var schema = sqldb.Schema{
	"patients": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}},
	"visits":   {},
}

var ddl = []string{
	`CREATE TABLE patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, name_index BLOB, ward TEXT, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name_index));`,
	`CREATE TABLE visits (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, patient_id INTEGER NOT NULL, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id))`,
}

func suite(e *storagetest.Env) storagetest.Suite {
	own := func(format string) func(tenant.ID) []any {
		return func(id tenant.ID) []any { return []any{fmt.Sprintf(format, id)} }
	}
	return storagetest.Suite{
		DB: e.DB, Schema: schema, Keys: e.Keys, Raw: e.Raw, Trail: e.Trail, Bucket: e.Bucket, RawBucket: e.RawBucket,
		Fill: []storagetest.Statement{
			{SQL: `INSERT INTO patients (id, ward, name) VALUES (1, 'west', $1)`, ArgsFor: own("Ada of %s")},
			{SQL: `INSERT INTO patients (id, ward, name) VALUES (2, 'east', $1)`, ArgsFor: own("Bea of %s")},
			{SQL: `INSERT INTO patients (id, ward, name) VALUES (4, 'east', 'Cyd of both')`},
			{SQL: `INSERT INTO visits (id, patient_id) VALUES (1, 1)`},
		},
		Statements: []storagetest.Statement{
			{SQL: `SELECT id, name FROM patients ORDER BY id`},
			{SQL: `SELECT count(*) FROM patients`},
			{SQL: `SELECT p.name FROM visits v JOIN patients p ON p.id = v.patient_id WHERE v.id = $1`, Args: []any{1}},
			{SQL: `SELECT id FROM patients WHERE name = $1`, ArgsFor: own("Ada of %s")},
			{SQL: `UPDATE patients SET ward = 'north'`},
			{SQL: `UPDATE patients SET ward = 'south' WHERE id = 1 RETURNING name`},
			{SQL: `DELETE FROM visits`},
			{SQL: `INSERT INTO patients (id, ward) VALUES (1, 'west')`, Fails: true}, // a duplicate of the tenant's own
			{SQL: `INSERT INTO visits (id, patient_id) SELECT 100 + count(*), 1 FROM patients`},
			{SQL: `INSERT INTO patients (id, ward) VALUES (3, 'west')`},
			{SQL: `SELECT random()`, Varies: true},
		},
	}
}

func TestRun(t *testing.T) {
	e := storagetest.New(t, schema, ddl...)
	storagetest.Run(t, suite(e))
}

// Unit tests of applications look like this.
func TestNew(t *testing.T) {
	e := storagetest.New(t, schema, ddl...)
	north, south := e.As("north"), e.As("south")
	if _, err := e.DB.ExecContext(north, `INSERT INTO patients (id, name) VALUES (1, $1)`, "Ada"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := e.DB.QueryRowContext(south, `SELECT count(*) FROM patients`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if err := e.Bucket.WriteAll(north, "scan", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	if ok, err := e.Bucket.Exists(south, "scan"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if len(e.Trail.Events()) == 0 || len(e.Trail.Events()) != 0 {
		t.Error("no events, or twice the same")
	}
}

// The suite on PostgreSQL with row-level security.
func TestRunPostgreSQL(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	e := storagetest.New(t, schema, ddl...)
	open := func(url string) *sql.DB {
		db, err := sql.Open("pgx", url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	owner := open(database.OwnerURL)
	for _, text := range ddl {
		text = strings.NewReplacer("TEXT NOT NULL", `text COLLATE "C" NOT NULL`, "BLOB", "bytea", "INTEGER", "bigint").Replace(text)
		if _, err := owner.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	more, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Exec(more); err != nil {
		t.Fatal(err)
	}
	s := suite(e)
	s.Raw = open(database.SuperURL)
	if s.DB, err = sqldb.Open(t.Context(), database.AppURL, schema, storage.Guard{Keys: e.Keys, Audit: e.Trail}, nil); err != nil {
		t.Fatal(err)
	}
	defer s.DB.Close()
	storagetest.Run(t, s)
}

// A guard that is broken in one way is found, whatever the way.
func TestBrokenGuardsAreFound(t *testing.T) {
	const scoped = " WHERE tenant_id = '?'"
	correct := func(text, id string) string {
		r := strings.NewReplacer(
			"SELECT 100 + count(*), 1 FROM patients", "SELECT '?', 100 + count(*), 1 FROM patients"+scoped,
			"VALUES (", "VALUES ('"+id+"', ", "(id, ", "(tenant_id, id, ",
			"FROM patients ORDER", "FROM patients"+scoped+" ORDER", "FROM patients WHERE", "FROM patients"+scoped+" AND", "count(*) FROM patients", "count(*) FROM patients"+scoped,
			"p.id = v.patient_id WHERE", "p.id = v.patient_id AND p.tenant_id = v.tenant_id WHERE v.tenant_id = '?' AND",
			"ward = 'north'", "ward = 'north'"+scoped, "WHERE id = 1 RETURNING", scoped+" AND id = 1 RETURNING", "DELETE FROM visits", "DELETE FROM visits"+scoped,
			`FROM "patients"`, `FROM "patients"`+scoped, `FROM "visits"`, `FROM "visits"`+scoped, "$1", "?1")
		return strings.ReplaceAll(r.Replace(text), "'?'", "'"+id+"'")
	}
	without := func(part string) func(text, id string) string {
		return func(text, id string) string {
			if strings.HasPrefix(text, part) {
				return strings.NewReplacer(" WHERE tenant_id = '"+id+"' AND", " WHERE", " WHERE tenant_id = '"+id+"'", "", "v.tenant_id = '"+id+"' AND ", "").Replace(correct(text, id))
			}
			return correct(text, id)
		}
	}
	// unlike changes what the guard makes of a statement.
	unlike := func(part string, old, now func(id string) string) func(text, id string) string {
		return func(text, id string) string {
			if rewritten := correct(text, id); !strings.HasPrefix(text, part) {
				return rewritten
			} else {
				return strings.Replace(rewritten, old(id), now(id), 1)
			}
		}
	}
	// first answers every tenant's as it did the first one's, as what keeps a plan or a connection for the wrong tenant does.
	first := func(part string) func(text, id string) string {
		var once sync.Once
		kept := ""
		return func(text, id string) string {
			if !strings.HasPrefix(text, part) {
				return correct(text, id)
			}
			once.Do(func() { kept = id })
			return correct(text, kept)
		}
	}
	// mixed has one current tenant for all connections, for as long as it takes to send a statement.
	mixed := func() func(text, id string) string {
		var mu sync.Mutex
		current := ""
		return func(text, id string) string {
			mu.Lock()
			current = id
			mu.Unlock()
			for range 1000 {
				runtime.Gosched()
			}
			mu.Lock()
			defer mu.Unlock()
			return correct(text, current)
		}
	}
	text := func(s string) func(string) string { return func(string) string { return s } }
	// indexed keeps names in another form than the clear, and what index says of them beside it.
	indexed := func(index string) func(text, id string) string {
		return func(text, id string) string {
			if i := strings.Index(text, "VALUES ("); i > 0 && strings.Contains(text, "name)") {
				name := text[strings.LastIndex(text, ", ")+2 : len(text)-1]
				return correct(strings.Replace(text[:i], "name)", "name, name_index)", 1)+text[i:len(text)-len(name)-1]+"hex("+name+"), "+strings.Replace(index, "?1", name, 1)+")", id)
			}
			return strings.Replace(correct(text, id), `SELECT * FROM "patients"`, `SELECT id, ward, CAST(unhex(name) AS TEXT) AS name FROM "patients"`, 1)
		}
	}
	// outside is a guard that is broken where no transaction was begun.
	outside := func(rewrite func(text, id string) string) func(text, id string) string {
		return func(text, id string) string {
			if text, ok := strings.CutPrefix(text, outsideMark); ok {
				return rewrite(text, id)
			}
			return correct(text, id)
		}
	}
	plain := sqldb.Schema{"patients": {}, "visits": {}}
	for what, c := range map[string]struct {
		rewrite func(text, id string) string
		schema  sqldb.Schema
		found   string // "" for the guard that is not broken
		trail   bool
	}{
		"none":                          {correct, plain, "", false},
		"reads":                         {without("SELECT id, name"), plain, "SELECT id, name", false},
		"counts":                        {without("SELECT count"), plain, "SELECT count", false},
		"joins":                         {without("SELECT p.name"), plain, "SELECT p.name", false},
		"updates":                       {without("UPDATE patients SET ward = 'north'"), plain, "UPDATE patients", false},
		"RETURNING":                     {without("UPDATE patients SET ward = 'south'"), plain, "UPDATE patients SET ward = 'south'", false},
		"deletes":                       {without("DELETE"), plain, "DELETE FROM visits", false},
		"everything is one":             {func(text, _ string) string { return correct(text, "one") }, plain, "cannot be stored", false},
		"no sealing":                    {correct, schema, "patients.name is stored in the clear", false},
		"subqueries":                    {unlike("INSERT INTO visits (id, patient_id) SELECT", func(id string) string { return " WHERE tenant_id = '" + id + "'" }, text("")), plain, "SELECT 100 + count", false},
		"counts, kept":                  {first("SELECT count"), plain, "SELECT count(*) FROM patients\nis not the same when another tenant has other rows", false},
		"updates, kept":                 {first("UPDATE patients SET ward = 'north'"), plain, "statements of another tenant were committed", false},
		"deletes, kept":                 {first("DELETE"), plain, "statements of another tenant were committed", false},
		"always an error":               {unlike("SELECT p.name", text("SELECT p.name"), text("SELECT p.nobody")), plain, "fails, and so shows nothing", false},
		"a clear index":                 {indexed("?1"), schema, "patients.name is stored in the clear in the column name_index", false},
		"a shared key":                  {indexed("CAST(hex(?1) AS BLOB)"), schema, "name_index has the same value for two tenants", false},
		"one tenant for all":            {mixed(), plain, "run at the same time", false},
		"shared rows":                   {correct, sqldb.Schema{"patients": {}, "visits": {}, "countries": {Shared: true}}, "statements of another tenant were committed", false},
		"no trail":                      {correct, plain, "left no event", true},
		"reads outside a transaction":   {outside(without("SELECT count")), plain, "is not the same without a transaction", false},
		"updates outside a transaction": {outside(without("UPDATE patients SET ward = 'north'")), plain, "statements of another tenant were committed", false},
		"no tenant":                     {nil, plain, "without a tenant in its context", false},
	} {
		t.Run(what, func(t *testing.T) {
			e := storagetest.New(t, plain, strings.Replace(ddl[0], "BLOB", "TEXT", 1), ddl[1])
			if _, err := e.Raw.Exec(`PRAGMA foreign_keys = OFF`); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Raw.Exec(`CREATE TABLE countries (name TEXT); INSERT INTO countries VALUES ('Norway')`); err != nil {
				t.Fatal(err)
			}
			var path string
			if err := e.Raw.QueryRow(`SELECT file FROM pragma_database_list`).Scan(&path); err != nil {
				t.Fatal(err)
			}
			s := suite(e)
			s.Schema, s.Bucket, s.RawBucket = c.schema, nil, nil
			if c.schema["countries"].Shared {
				s.Statements = append(s.Statements, storagetest.Statement{SQL: `UPDATE countries SET name = name || '!'`})
			}
			if !c.trail {
				s.Trail = nil
			}
			s.DB = sql.OpenDB(broken{"file:" + path + "?_pragma=busy_timeout(10000)", c.rewrite, strings.Contains(what, "outside")})
			defer s.DB.Close()
			problems, err := s.Check(t.Context())
			all := strings.Join(problems, "\n")
			if err != nil || c.found == "" != (len(problems) == 0) || !strings.Contains(all, c.found) {
				t.Errorf("%v\n%s", err, all)
			}
		})
	}
	if _, err := (storagetest.Suite{}).Check(t.Context()); err == nil {
		t.Error("an empty suite")
	}
}

// broken is a guard that rewrites texts as it was told.
type broken struct {
	dsn     string
	rewrite func(text, id string) string
	mark    bool // what is sent without a transaction
}

const outsideMark = "/* outside */"

func (b broken) Driver() driver.Driver { return &sqlite.Driver{} }

func (b broken) Connect(context.Context) (driver.Conn, error) {
	conn, err := (&sqlite.Driver{}).Open(b.dsn)
	return &brokenConn{Conn: conn, guard: b}, err
}

type brokenConn struct {
	driver.Conn
	guard  broken
	within bool // a transaction
}

type brokenTx struct {
	driver.Tx
	conn *brokenConn
}

func (c *brokenConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	c.within = err == nil
	return &brokenTx{tx, c}, err
}

func (t *brokenTx) Commit() error   { t.conn.within = false; return t.Tx.Commit() }
func (t *brokenTx) Rollback() error { t.conn.within = false; return t.Tx.Rollback() }

func (c *brokenConn) text(ctx context.Context, text string) (string, error) {
	access, err := tenant.FromContext(ctx)
	if c.guard.rewrite == nil {
		return text, nil
	}
	if c.guard.mark && !c.within {
		text = outsideMark + text
	}
	return c.guard.rewrite(text, access.Tenant.String()), err
}

func (c *brokenConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	text, err := c.text(ctx, text)
	if err != nil {
		return nil, err
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, text, args)
}

func (c *brokenConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	text, err := c.text(ctx, text)
	if err != nil {
		return nil, err
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, text, args)
}
