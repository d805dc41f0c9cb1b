-- What only pgx has; everything else is ../sqlctest/query.sql.

-- name: CopyPatients :copyfrom
INSERT INTO patients (id, name, ssn, ward) VALUES ($1, $2, $3, $4);

-- name: GetNames :batchone
SELECT name FROM patients WHERE id = $1;

-- name: AddVisits :batchexec
INSERT INTO visits (id, patient_id, room, note) VALUES ($1, $2, $3, $4);

-- name: VisitNotes :batchmany
SELECT note FROM visits WHERE patient_id = $1 ORDER BY id;
