package sqldb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestTheDatabaseRefusesWhatIsNotSealed: a raw handle stands for psql, for an older program, and for one that forgot a column.
func TestTheDatabaseRefusesWhatIsNotSealed(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		raw := e.raw
		if e.dialect == dialect.PostgreSQL {
			raw = openBare(t, e.super)
		}
		envelope := "\x01\x00\x00\x00\x07" + strings.Repeat("x", 29)
		for what, set := range map[string][2]any{
			"plaintext":             {"name", []byte("Ada Lovelace, who was born in London in 1815")},
			"an empty value":        {"name", []byte{}},
			"another version":       {"name", []byte("\x00" + envelope[1:])},
			"a truncated envelope":  {"name", []byte(envelope[:33])},
			"another type's length": {"born", []byte(envelope)},
			"a long date":           {"born", []byte(envelope + "123456")},
			"a short index":         {"ssn_index", []byte("123456789012345")},
			"a long index":          {"ssn_index", []byte("12345678901234567")},
			"an index of plaintext": {"name_index", []byte("Ada")},
		} {
			if _, err := raw.Exec(`UPDATE patients SET `+set[0].(string)+` = $1 WHERE id = 1`, set[1]); err == nil || !strings.Contains(err.Error(), "strongroom_") {
				t.Errorf("%s in %s: %v", what, set[0], err)
			}
		}
		if e.dialect == dialect.SQLite {
			if _, err := raw.Exec(`UPDATE patients SET name = ? WHERE id = 1`, envelope); err == nil {
				t.Error("text in the place of a blob was stored")
			}
		}
		for column, value := range map[string]any{"name": []byte(envelope), "born": []byte(envelope + "1234"), "ssn": nil} {
			if _, err := raw.Exec(`UPDATE patients SET `+column+` = $1 WHERE tenant_id = 'clinic' AND id = 1`, value); err != nil {
				t.Errorf("an envelope in %s: %v", column, err)
			}
		}
	})
}

// TestAForgottenDeclarationDoesNotOpen: what bears the mark and is not declared would be written in the clear.
func TestAForgottenDeclarationDoesNotOpen(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		for what, patients := range map[string]sqldb.Table{
			"patients.name: the column bears the mark":       {Sealed: sqldb.Columns{"ssn": sqldb.Text().Searchable("ssn_index"), "born": sqldb.Date()}},
			"patients.ssn_index: the column bears the mark":  {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index"), "ssn": sqldb.Text(), "born": sqldb.Date()}},
			"strongroom_sealed_born is not as the guard":     {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index"), "ssn": sqldb.Text().Searchable("ssn_index"), "born": sqldb.Time()}},
			"constraint strongroom_sealed_ward is missing":   {Sealed: sqldb.Columns{"ward": sqldb.Text()}},
			"patients.born: the column bears the mark":       {},
			"patients.name_index: the column bears the mark": {},
		} {
			schema := sqldb.Schema{"patients": patients, "visits": clinicSchema["visits"]}
			err := openErr(t, e.dsn, schema, nil)
			var se *sqldb.SchemaError
			if !errors.As(err, &se) || !strings.Contains(err.Error(), what) {
				t.Errorf("%v; want it to say %q", err, what)
			}
		}
	})
}

// TestMarksThatAreNotWhole: a constraint of the name that does not do what it says is none.
func TestMarksThatAreNotWhole(t *testing.T) {
	schema := sqldb.Schema{"t": {Sealed: sqldb.Columns{"s": sqldb.Text()}}}
	const sqliteWhole = `s IS NULL OR typeof(s) = 'blob' AND length(s) >= 34 AND substr(s, 1, 1) = x'01'`
	const postgresWhole = `octet_length(s) >= 34 AND get_byte(s, 0) = 1`
	type attempt struct{ constraint, want string }
	attempts := map[dialect.Dialect][]attempt{
		dialect.SQLite: {
			{`CONSTRAINT strongroom_sealed_s CHECK (` + sqliteWhole + `)`, ""},
			{`constraint [STRONGROOM_SEALED_S] check(` + strings.ReplaceAll(sqliteWhole, "s IS", "\"s\"\n/* so */ is") + `)`, ""},
			{`CONSTRAINT strongroom_sealed_s CHECK (1 OR ` + sqliteWhole + `)`, "not as the guard"},
			{`CONSTRAINT strongroom_sealed_s CHECK (` + sqliteWhole + ` OR 1)`, "not as the guard"},
			{`CONSTRAINT other CHECK (` + sqliteWhole + `)`, "is missing"},
			{`/* CONSTRAINT strongroom_sealed_s CHECK (` + sqliteWhole + `) */ CHECK (1)`, "is missing"},
			{`CHECK ('CONSTRAINT strongroom_sealed_s CHECK (` + strings.ReplaceAll(sqliteWhole, "'", "''") + `)' <> '')`, "is missing"},
		},
		dialect.PostgreSQL: {
			{`CONSTRAINT strongroom_sealed_s CHECK (` + postgresWhole + `)`, ""},
			{`CONSTRAINT strongroom_sealed_s CHECK (` + postgresWhole + ` OR true)`, "not as the guard"},
			{`CONSTRAINT strongroom_sealed_s CHECK (` + postgresWhole + `) NO INHERIT`, "not as the guard"},
			{`CONSTRAINT strongroom_sealed_s CHECK (octet_length(s) >= 34)`, "not as the guard"},
			{`CONSTRAINT other CHECK (` + postgresWhole + `)`, "is missing"},
		},
	}
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		for _, a := range attempts[d] {
			raw, dsn, _ := newRaw(t, d)
			blob := map[dialect.Dialect]string{dialect.SQLite: "BLOB", dialect.PostgreSQL: "bytea"}[d]
			mustExec(t, raw, `CREATE TABLE t (tenant_id text NOT NULL, id bigint NOT NULL, s `+blob+`, PRIMARY KEY (tenant_id, id), `+a.constraint+`)`)
			err := openErr(t, dsn, schema, &sqldb.Options{InsecureWithoutRLS: true})
			if a.want == "" && err != nil || a.want != "" && (err == nil || !strings.Contains(err.Error(), a.want)) {
				t.Errorf("%s: %s: %v; want %q", d, a.constraint, err, a.want)
			}
			var se *sqldb.SchemaError
			if a.want != "is missing" || !errors.As(err, &se) {
				continue
			}
			mustExec(t, raw, se.Problems[0].Fix)
			if err := openErr(t, dsn, schema, &sqldb.Options{InsecureWithoutRLS: true}); err != nil {
				t.Errorf("%s: after %s: %v", d, se.Problems[0].Fix, err)
			}
		}
	}
}
