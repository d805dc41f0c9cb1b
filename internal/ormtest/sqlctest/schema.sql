-- The tables as the application sees them through the guard: sealed columns with their logical types, without the
-- tenant column and the blind indexes. What the owner's migrations make is another file; see package goosetest.

CREATE TABLE countries (code text PRIMARY KEY, title text NOT NULL);

CREATE TABLE patients (
    id bigserial PRIMARY KEY,
    name text NOT NULL,
    ssn text UNIQUE,
    born date,
    ward text NOT NULL DEFAULT 'entry',
    country_code text REFERENCES countries (code),
    created_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz
);

CREATE TABLE visits (
    id bigserial PRIMARY KEY,
    patient_id bigint NOT NULL REFERENCES patients (id),
    room text NOT NULL DEFAULT '',
    note text,
    cost numeric
);

CREATE TABLE results (
    id bigserial PRIMARY KEY,
    scan bytea NOT NULL,
    count bigint NOT NULL,
    level float8 NOT NULL,
    urgent boolean NOT NULL,
    at timestamptz NOT NULL,
    day date NOT NULL,
    amount numeric NOT NULL,
    doc jsonb NOT NULL,
    ref uuid NOT NULL
);
