package story

import (
	"strings"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// Schema declares the tables to the guard: only what is sealed has to be said, the rest is read from the database.
func Schema() sqldb.Schema {
	return sqldb.Schema{
		"patients": {Sealed: sqldb.Columns{
			"name":  sqldb.Text().Searchable("name_index").FoldCase().TrimSpace(),
			"ssn":   sqldb.Text().Searchable("ssn_index"),
			"born":  sqldb.Date(),
			"notes": sqldb.Text(),
		}},
		"visits":      {Sealed: sqldb.Columns{"finding": sqldb.Text()}},
		"departments": {Shared: true}, // reference data: every tenant reads it, none writes it
	}
}

// tables are made by the database's owner. The tenant column is part of every key; sealed columns and blind indexes
// hold bytes, and their constraints keep out what is not sealed.
const tables = `
CREATE TABLE departments (
	code  TEXT PRIMARY KEY,
	title TEXT NOT NULL
);
CREATE TABLE patients (
	tenant_id  TEXT NOT NULL,
	id         BIGINT NOT NULL,
	name       BLOB NOT NULL,
	name_index BLOB,
	ssn        BLOB,
	ssn_index  BLOB,
	born       BLOB,
	insurer    TEXT,
	notes      BLOB,
	PRIMARY KEY (tenant_id, id),
	CHECKS patients
);
CREATE INDEX patients_name ON patients (tenant_id, name_index);
CREATE INDEX patients_ssn ON patients (tenant_id, ssn_index);
CREATE TABLE visits (
	tenant_id  TEXT NOT NULL,
	id         BIGINT NOT NULL,
	patient_id BIGINT NOT NULL,
	day        DATE NOT NULL,
	department TEXT NOT NULL REFERENCES departments (code),
	finding    BLOB,
	PRIMARY KEY (tenant_id, id),
	FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id),
	CHECKS visits
);
CREATE INDEX visits_patient ON visits (tenant_id, patient_id);
`

// Tables returns the statements that make the tables, for the owner's raw handle. On PostgreSQL what
// [sqldb.Schema.DDL] of [Schema] returns comes after them: it adds row-level security.
func Tables(d dialect.Dialect) string {
	made := tables
	if d == dialect.PostgreSQL {
		made = strings.NewReplacer("BLOB", "bytea", "tenant_id  TEXT", `tenant_id  TEXT COLLATE "C"`).Replace(tables)
	}
	for name, table := range Schema() {
		made = strings.ReplaceAll(made, "CHECKS "+name, strings.Join(table.Checks(d), ",\n\t"))
	}
	return made
}

// raw returns a statement for the raw handle, whose parameters SQLite's driver wants written ?1 and PostgreSQL $1.
func (s *story) raw(query string) string {
	if s.Dialect == dialect.SQLite {
		return strings.ReplaceAll(query, "$", "?")
	}
	return query
}
