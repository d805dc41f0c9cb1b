package sqldb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

const canary = "canary4711"

// showsCanary tells whether an error, what it wraps, or any field of PostgreSQL's, holds the canary.
func showsCanary(err error) bool {
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		if strings.Contains(cause.Error(), canary) || strings.Contains(fmt.Sprintf("%+v", cause), canary) {
			return true
		}
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.Contains(fmt.Sprintf("%+v", *pg), canary)
}

// TestRaisedTextsAreWithheld: a trigger's author can put a row into any word of an error, under any SQLSTATE.
func TestRaisedTextsAreWithheld(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	mustExec(t, e.raw, `CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`)
	mustExec(t, e.raw, `CREATE TRIGGER tell BEFORE UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION tell()`)
	mustExec(t, e.raw, `CREATE TABLE strict (ward text CHECK (ward <> '`+canary+`'))`)
	mustExec(t, e.raw, `CREATE FUNCTION deferred() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''at commit: %'', NEW.ward; END'`)
	for _, c := range []struct{ what, body, code string }{
		{"plain", `RAISE EXCEPTION 'ward % is full', NEW.ward`, "P0001"},
		{"as a unique violation", `RAISE unique_violation USING MESSAGE = NEW.ward`, "23505"},
		{"as an unknown column", `RAISE EXCEPTION '%', NEW.ward USING ERRCODE = '42703'`, "42703"},
		{"as a serialization failure", `RAISE EXCEPTION '%', NEW.ward USING ERRCODE = '40001'`, "40001"},
		{"in every field", `RAISE EXCEPTION 'x' USING ERRCODE = '23503', DETAIL = NEW.ward, HINT = NEW.ward, COLUMN = NEW.ward, CONSTRAINT = NEW.ward, DATATYPE = NEW.ward, TABLE = NEW.ward, SCHEMA = NEW.ward`, "23503"},
		{"an assertion", `ASSERT false, NEW.ward`, "P0004"},
		{"a cast", `PERFORM NEW.ward::int`, "22P02"},
		{"dynamic SQL", `EXECUTE 'SELECT ' || NEW.ward`, "42703"},
		{"a constraint within", `INSERT INTO strict VALUES (NEW.ward)`, "23514"},
		{"text search", `PERFORM to_tsvector(NEW.ward::regconfig, 'x')`, "42704"},
	} {
		mustExec(t, e.raw, `CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN `+c.body+`; RETURN NEW; END $body$`)
		_, err := e.db.ExecContext(as(tenantA), `UPDATE patients SET ward = $1 WHERE id = 1`, canary)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != c.code || showsCanary(err) {
			t.Errorf("%s: %v (%+v)", c.what, err, pg)
		}
		_, err = e.tryRows(as(tenantA), `UPDATE patients SET ward = $1 WHERE id = 1 RETURNING id`, canary)
		if err == nil || showsCanary(err) {
			t.Errorf("%s, RETURNING: %v", c.what, err)
		}
	}
	mustExec(t, e.raw, `DROP TRIGGER tell ON patients; CREATE CONSTRAINT TRIGGER deferred AFTER UPDATE ON patients DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION deferred()`)
	tx, err := e.db.BeginTx(as(tenantA), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = $1 WHERE id = 1`, canary); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err == nil || showsCanary(err) || errors.Is(err, sqldb.ErrOutcomeUnknown) {
		t.Errorf("at commit: %v", err)
	}
	// A statement by itself is committed after its rows have been sent. Nobody may take those for written.
	for range 2 {
		if got, err := e.tryRows(as(tenantA), `UPDATE patients SET ward = $1 WHERE id = 1 RETURNING id`, canary); err == nil || showsCanary(err) {
			t.Errorf("a statement that failed at its commit: %v, %v", got, err)
		}
		e.rows(t, tenantB, `SELECT id FROM patients`)
	}
	if got := e.rows(t, tenantA, `SELECT ward FROM patients WHERE id = 1`); got[0][0] != "west" {
		t.Errorf("a write that was refused stands: %v", got)
	}
}

// TestSQLiteTriggersAreWithheld: the text of RAISE can be an expression.
func TestSQLiteTriggersAreWithheld(t *testing.T) {
	e := newEnv(t, dialect.SQLite, nil)
	fill(t, e)
	mustExec(t, e.raw, `CREATE TRIGGER tell BEFORE UPDATE ON patients BEGIN SELECT RAISE(ABORT, 'ward ' || NEW.ward || ' is full'); END`)
	_, err := e.db.ExecContext(as(tenantA), `UPDATE patients SET ward = $1 WHERE id = 1`, canary)
	if err == nil || showsCanary(err) || !strings.Contains(err.Error(), "trigger") {
		t.Errorf("%v", err)
	}
	if _, err := e.tryRows(as(tenantA), `UPDATE patients SET ward = $1 WHERE id = 1 RETURNING id`, canary); err == nil || showsCanary(err) {
		t.Errorf("RETURNING: %v", err)
	}
}

// TestErrorsOfTheDatabaseStayUseful: who writes the application sees what is wrong with the statement.
func TestErrorsOfTheDatabaseStayUseful(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	for _, c := range []struct {
		query, says string
		args        []any
	}{
		{insertPatient, `duplicate key value violates unique constraint "patients_pkey"`, []any{1, "x", "y", nil, nil}},
		{insertPatient, `duplicate key value violates unique constraint "patients_tenant_id_ssn_index_key"`, []any{9, "x", "ssn-1", nil, nil}},
		{`INSERT INTO visits (id, patient_id) VALUES (9, 99)`, `violates foreign key constraint "visits_tenant_id_patient_id_fkey"`, nil},
		{`INSERT INTO visits (id, patient_id) VALUES (9, $1)`, `null value in column "patient_id"`, []any{nil}},
		{`SELECT id FROM patients WHERE ward = id`, `operator does not exist: text = bigint`, nil},
		{`SELECT id / (id - id) FROM patients`, `division by zero`, nil},
		{`SELECT CAST(ward AS bigint) FROM patients`, `invalid text representation`, nil},
	} {
		if _, err := e.tryRows(as(tenantA), c.query, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.query, err)
		}
	}
}
