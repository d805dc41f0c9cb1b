package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestRecursiveQueries reads down and up a chain of rows that goes on in another tenant's.
func TestRecursiveQueries(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		for i := range 3 { // one chain for A, whose ids B has too
			e.exec(t, tenantA, `INSERT INTO visits (id, patient_id, note) VALUES ($1, 1, $2)`, 100+i, fmt.Sprint("note ", i))
		}
		e.exec(t, tenantB, `INSERT INTO visits (id, patient_id, note) VALUES (103, 1, 'foreign')`)
		const chain = `WITH RECURSIVE chain (id, depth) AS (SELECT id, 0 FROM visits WHERE id = 100
			UNION ALL SELECT v.id, chain.depth + 1 FROM chain JOIN visits v ON v.id = chain.id + 1)
			SELECT chain.depth, v.note FROM chain JOIN visits v ON v.id = chain.id ORDER BY chain.depth`
		got := fmt.Sprint(e.rows(t, tenantA, chain))
		if want := "[[0 note 0] [1 note 1] [2 note 2]]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestWritesInWith moves rows from one table to another in one statement, and returns what it deleted, opened.
func TestWritesInWith(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	before := e.rows(t, tenantB, `SELECT id, patient_id, note FROM visits ORDER BY id`)
	e.exec(t, tenantA, `INSERT INTO visits (id, patient_id, note) VALUES (7, 1, 'seven'), (8, 1, 'eight')`)
	e.log.take()
	got := e.rows(t, tenantA, `WITH gone AS (DELETE FROM visits WHERE id > $1 RETURNING id, note), named AS (UPDATE patients SET ward = 'emptied' RETURNING id)
		SELECT gone.id, gone.note, (SELECT count(*) > 0 FROM named) FROM gone ORDER BY gone.id`, 6)
	if want := "[[7 seven true] [8 eight true]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	events := e.log.take()
	if last := events[len(events)-1]; last.Code != audit.CodeExec || last.Rows != -1 || !slices.Equal(last.Tables, []string{"patients", "visits"}) {
		t.Errorf("the trail says %s of %d rows in %v; three writes are not in the count, and the count is of rows returned", last.Code, last.Rows, last.Tables)
	}
	if after := e.rows(t, tenantB, `SELECT id, patient_id, note FROM visits ORDER BY id`); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("another tenant's rows: %v, were %v", after, before)
	}
	if n := e.rows(t, tenantB, `SELECT count(*) FROM patients WHERE ward = 'emptied'`)[0][0]; n != int64(0) {
		t.Errorf("%v of another tenant's rows were updated", n)
	}
}

// TestMerge upserts sealed values by a blind index, where another tenant has the same ones. Before PostgreSQL 17 MERGE
// returns nothing.
func TestMerge(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	for _, id := range []tenant.ID{tenantA, tenantB} {
		e.exec(t, id, `INSERT INTO patients (id, name, ssn, ward) VALUES (1, $1, 's-1', 'north'), (2, $1, 's-2', 'south')`, "of "+id.String())
	}
	upsert := `MERGE INTO patients p USING (VALUES ($1::bigint)) AS s (id) ON p.ssn = $2 AND p.id = s.id
		WHEN MATCHED AND p.ward = 'south' THEN DELETE WHEN MATCHED THEN UPDATE SET name = $3, ward = 'merged'
		WHEN NOT MATCHED THEN INSERT (id, name, ssn) VALUES (s.id, $3, $2)`
	returns := testenv.Postgres(t).Major >= 17
	if returns {
		upsert += " RETURNING merge_action(), p.id, p.name, p.ssn"
	}
	for _, c := range []struct {
		id   int
		ssn  string
		want string
	}{{1, "s-1", "[[UPDATE 1 new s-1]]"}, {2, "s-2", "[[DELETE 2 of clinic s-2]]"}, {3, "s-3", "[[INSERT 3 new s-3]]"}} {
		if !returns {
			e.exec(t, tenantA, upsert, c.id, c.ssn, "new")
			continue
		}
		if got := fmt.Sprint(e.rows(t, tenantA, upsert, c.id, c.ssn, "new")); got != c.want {
			t.Errorf("%d: got %s, want %s", c.id, got, c.want)
		}
	}
	const all = `SELECT id, name, ssn, ward FROM patients ORDER BY id`
	if got, want := fmt.Sprint(e.rows(t, tenantA, all)), "[[1 new s-1 merged] [3 new s-3 <nil>]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(e.rows(t, tenantB, all)), "[[1 of Clinic s-1 north] [2 of Clinic s-2 south]]"; got != want {
		t.Errorf("another tenant: got %s, want %s", got, want)
	}
}

// TestDeletesAreAuthorizedAsDeletes hides a delete in statements that are writes.
func TestDeletesAreAuthorizedAsDeletes(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	guard := e.guard
	errNoDelete := errors.New("no deletes")
	guard.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
		if a.Verb == tenant.Delete {
			return errNoDelete
		}
		return nil
	})
	db, err := sqldb.Open(context.Background(), e.dsn, clinicSchema, guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	count := `SELECT count(*) FROM visits`
	before := e.rows(t, tenantA, count)
	for _, query := range []string{
		`DELETE FROM visits`,
		`WITH d AS (DELETE FROM visits RETURNING id) SELECT id FROM d`,
		`WITH d AS (DELETE FROM visits RETURNING id) UPDATE patients SET ward = 'x' FROM d WHERE patients.id = d.id`,
		`MERGE INTO visits v USING patients p ON v.patient_id = p.id WHEN MATCHED THEN DELETE`,
		`MERGE INTO visits v USING patients p ON v.patient_id = p.id WHEN MATCHED AND v.id > 1 THEN UPDATE SET note = NULL WHEN MATCHED THEN DELETE`,
		`WITH m AS (MERGE INTO visits v USING patients p ON v.patient_id = p.id WHEN MATCHED THEN DELETE RETURNING v.id) INSERT INTO patients (id) SELECT id + 100 FROM m`,
	} {
		if _, err := db.ExecContext(as(tenantA), query); !errors.Is(err, errNoDelete) || !errors.Is(err, tenant.ErrDenied) {
			t.Errorf("%s: %v", query, err)
		}
	}
	if _, err := db.ExecContext(as(tenantA), `MERGE INTO visits v USING patients p ON v.patient_id = p.id WHEN MATCHED THEN UPDATE SET note = NULL`); err != nil {
		t.Errorf("a MERGE that deletes nothing: %v", err)
	}
	if after := e.rows(t, tenantA, count); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v visits are left of %v", after, before)
	}
}

// TestOwnTypes casts to a type that the options name, and to one that they do not.
func TestOwnTypes(t *testing.T) {
	raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
	for _, ddl := range []string{
		`CREATE TYPE mood AS ENUM ('calm', 'worried')`, `CREATE TYPE other AS ENUM ('calm')`,
		`CREATE TABLE visits (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, mood mood, PRIMARY KEY (tenant_id, id))`,
	} {
		mustExec(t, raw, ddl)
	}
	schema, opts := sqldb.Schema{"visits": {}}, &sqldb.Options{Types: []string{"mood"}}
	ddl, err := schema.DDL(dialect.PostgreSQL, opts)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw, ddl)
	e := &env{log: &recorder{}, ring: newRing(t, tenantA, tenantB)}
	e.guard.Keys, e.guard.Audit = e.ring, e.log
	if e.db, err = sqldb.Open(context.Background(), dsn, schema, e.guard, opts); err != nil {
		t.Fatal(err)
	}
	defer e.db.Close()
	e.exec(t, tenantA, `INSERT INTO visits (id, mood) VALUES (1, $1::mood), (2, 'worried')`, "calm")
	e.exec(t, tenantB, `INSERT INTO visits (id, mood) VALUES (1, 'calm')`)
	if got := fmt.Sprint(e.rows(t, tenantA, `SELECT id, mood::text FROM visits WHERE mood = ANY ($1::mood[]) ORDER BY mood DESC`, []string{"calm", "worried"})); got != "[[2 worried] [1 calm]]" {
		t.Error(got)
	}
	var refused *sqldb.RefusedError
	if _, err := e.tryRows(as(tenantA), `SELECT 'calm'::other`); !errors.As(err, &refused) {
		t.Errorf("an undeclared type: %v", err)
	}
}

// TestValuesAsPgxHasThem reads values of many types through the guard and through pgx alone.
func TestValuesAsPgxHasThem(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	for _, value := range []string{
		"1.50::numeric", "'NaN'::numeric", "ARRAY[2.0::numeric, NULL]", "ARRAY[1, NULL, 3]", `ARRAY['a b', NULL, 'c"d']`, "ARRAY[true]",
		"ARRAY[[1, 2], [3, 4]]", "ARRAY[timestamptz '2024-01-02 03:04:05+00']", `ARRAY['\x00ff'::bytea]`, "ARRAY[1.5::float8]", "int8range(1, 5)", "numrange(1.0, 2.50)",
		"'{a,b}'::text[]", "interval '1 day 2 hours'", "'10.0.0.1/8'::inet", "'10.0.0.0/8'::cidr", "'b1a5c6d0-0000-4000-8000-000000000001'::uuid",
		"date '2024-02-29'", "time '12:30'", "timestamp '2024-02-29 01:02:03.5'", "1::int2", "1.5::float4", "true", `'\x01'::bytea`, "'a'::varchar(3)", "'a'::char(1)",
		"to_tsvector('simple', 'a b')", "NULL::int8range", "'{}'::text[]",
	} {
		got := e.rows(t, tenantA, "SELECT "+value)[0][0]
		var want any
		if err := e.raw.QueryRow("SELECT " + value).Scan(&want); err != nil {
			t.Fatal(err)
		}
		if gotTime, ok := got.(time.Time); ok && gotTime.Equal(want.(time.Time)) {
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %T %v, pgx has %T %v", value, got, got, want, want)
		}
	}
}

// TestArraysWithNULL passes slices of pointers.
func TestArraysWithNULL(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	one, ssn, west := int64(1), "ssn-2", "west"
	if got := e.rows(t, tenantA, `SELECT id FROM patients WHERE (id = ANY ($1) OR ssn = ANY ($2)) AND ward = ANY ($3) ORDER BY id`, []*int64{&one, nil}, []*string{nil, &ssn}, []*string{&west}); fmt.Sprint(got) != "[[1] [2]]" {
		t.Error(got)
	}
}
