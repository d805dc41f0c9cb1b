-- The tables of the cases. Indexes lead with the tenant for what is compared; those that PostgreSQL can only make as GIN
-- do not.
CREATE EXTENSION IF NOT EXISTS citext;
CREATE TYPE visit_state AS ENUM ('open', 'shut', 'done');

CREATE TABLE patients (
	tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, ward text, email citext, created timestamptz, tags text[],
	meta jsonb, last_visit bigint, ext uuid, deleted_at timestamptz, active boolean, n integer, amount numeric,
	state visit_state,
	PRIMARY KEY (tenant_id, id)
);
CREATE TABLE visits (
	tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, patient_id bigint, at timestamptz, doc tsvector,
	PRIMARY KEY (tenant_id, id)
);
CREATE TABLE beds (
	tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, ward text, n integer, deleted_at timestamptz,
	PRIMARY KEY (tenant_id, id)
);
