-- name: CreatePatient :one
INSERT INTO patients (id, name, ssn, born, ward, country_code) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id;

-- name: GetPatient :one
SELECT * FROM patients WHERE id = $1;

-- name: FindPatients :many
SELECT * FROM patients WHERE name = sqlc.arg(name) ORDER BY id;

-- name: FindBySSN :one
SELECT id, name FROM patients WHERE ssn = $1;

-- name: FindByEither :many
SELECT id, name FROM patients WHERE name = sqlc.arg(name) OR ssn IN (sqlc.arg(ssn1), sqlc.arg(ssn2)) ORDER BY id;

-- name: ListPatients :many
SELECT id, name, born FROM patients
WHERE id = ANY(sqlc.arg(ids)::bigint[]) AND (sqlc.narg(ward)::text IS NULL OR ward = sqlc.narg(ward))
ORDER BY id DESC LIMIT $1 OFFSET $2;

-- name: PageAfter :many
SELECT id, name FROM patients WHERE (ward, id) > (sqlc.arg(ward)::text, sqlc.arg(id)::bigint) ORDER BY ward, id LIMIT 2;

-- name: RenamePatient :execrows
UPDATE patients SET name = sqlc.arg(name), ward = COALESCE(sqlc.narg(ward), ward) WHERE id = sqlc.arg(id);

-- name: UpsertPatient :one
INSERT INTO patients (name, ssn) VALUES ($1, $2)
ON CONFLICT (ssn) DO UPDATE SET name = excluded.name RETURNING id, (name IS NULL)::boolean AS unnamed;

-- name: DeletePatient :exec
DELETE FROM patients WHERE name = $1;

-- name: AddVisit :exec
INSERT INTO visits (id, patient_id, room, note, cost) VALUES ($1, $2, $3, $4, $5);

-- name: VisitsOf :many
SELECT v.id, v.note, v.cost, sqlc.embed(patients) FROM visits v JOIN patients ON patients.id = v.patient_id
WHERE patients.ssn = $1 ORDER BY v.id;

-- name: VisitCounts :many
SELECT p.id, p.name, count(v.id) AS visits, COALESCE(max(v.room), '')::text AS room FROM patients p LEFT JOIN visits v ON v.patient_id = p.id
GROUP BY p.id ORDER BY visits DESC, p.id;

-- name: BusyWards :many
WITH busy AS (SELECT ward, count(*) AS total FROM patients GROUP BY ward)
SELECT ward, total, rank() OVER (ORDER BY total DESC, ward) AS place FROM busy ORDER BY place;

-- name: CountrySeen :one
SELECT EXISTS (SELECT 1 FROM patients p JOIN countries c ON c.code = p.country_code WHERE c.title = $1);

-- name: AddResult :exec
INSERT INTO results (id, scan, count, level, urgent, at, day, amount, doc, ref) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: FindResult :one
SELECT * FROM results WHERE count = $1 AND level = $2 AND urgent = $3 AND at = $4 AND day = $5 AND amount = $6 AND ref = $7;

-- name: PatientsByName :many
SELECT id FROM patients ORDER BY name;

-- name: FindBySSNs :many
SELECT id, name FROM patients WHERE ssn = ANY(sqlc.arg(ssns)::text[]) ORDER BY id;

-- name: PatientsLike :many
SELECT id FROM patients WHERE name LIKE $1;

-- name: UpperNames :exec
UPDATE patients SET name = upper(name);
