// Package records keeps what the clinics know: patients, visits and scans. It is plain database/sql; that each statement
// stays inside the clinic of whoever asks, that sealed columns are sealed, and that every access is in the trail is the
// work of the handle it is given.
package records

import (
	"strings"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// Schema says what is sealed; everything else is read from the database.
var Schema = sqldb.Schema{
	"patients": {Sealed: sqldb.Columns{
		"name":    sqldb.Text().Searchable("name_index").FoldCase().TrimSpace(),
		"born":    sqldb.Date(),
		"insurer": sqldb.Text(),
		"notes":   sqldb.Text(),
	}},
	"visits": {Sealed: sqldb.Columns{"finding": sqldb.Text()}},
	"scans":  {Sealed: sqldb.Columns{"title": sqldb.Text()}},
}

// tables are the database owner's to make: a real service has them in its migrations. The tenant column is part of every
// key, and what is sealed is bytes. Times are milliseconds since 1970, which both databases sort alike.
var tables = []string{
	`CREATE TABLE IF NOT EXISTS patients (
	tenant_id  TEXT NOT NULL,
	id         TEXT NOT NULL,
	name       BLOB NOT NULL,
	name_index BLOB,
	born       BLOB,
	insurer    BLOB,
	notes      BLOB,
	admitted   BIGINT NOT NULL,
	PRIMARY KEY (tenant_id, id)
)`,
	`CREATE TABLE IF NOT EXISTS visits (
	tenant_id  TEXT NOT NULL,
	id         TEXT NOT NULL,
	patient_id TEXT NOT NULL,
	day        BIGINT NOT NULL,
	ward       TEXT NOT NULL,
	finding    BLOB,
	PRIMARY KEY (tenant_id, id),
	FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id)
)`,
	`CREATE TABLE IF NOT EXISTS scans (
	tenant_id    TEXT NOT NULL,
	id           TEXT NOT NULL,
	patient_id   TEXT NOT NULL,
	content_type TEXT NOT NULL,
	title        BLOB,
	taken        BIGINT NOT NULL,
	PRIMARY KEY (tenant_id, id),
	FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id)
)`,
	`CREATE INDEX IF NOT EXISTS patients_admitted ON patients (tenant_id, admitted)`,
	`CREATE INDEX IF NOT EXISTS patients_name ON patients (tenant_id, name_index)`,
	`CREATE INDEX IF NOT EXISTS visits_patient ON visits (tenant_id, patient_id, day)`,
	`CREATE INDEX IF NOT EXISTS scans_patient ON scans (tenant_id, patient_id, taken)`,
}

// Tables returns the statements that make the tables, for [stack.Database].
func Tables(d dialect.Dialect) []string {
	made := make([]string, len(tables))
	for i, text := range tables {
		if d == dialect.PostgreSQL {
			// Ids are compared byte by byte, whatever the database's language is.
			text = strings.NewReplacer("BLOB", "bytea", "tenant_id  TEXT", `tenant_id text COLLATE "C"`, "tenant_id    TEXT", `tenant_id text COLLATE "C"`).Replace(text)
		}
		made[i] = text
	}
	return made
}
