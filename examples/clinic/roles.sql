-- The roles of the clinic, each with as little as it needs. A superuser runs this once, in the clinic's database. The passwords are for a
-- machine of your own: give others, or none and certificates instead.

CREATE ROLE clinic_owner LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD 'owner'; -- makes the tables, and serves nobody
CREATE ROLE clinic_app   LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD 'app';   -- the service: row-level security binds it
CREATE ROLE clinic_keys  LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD 'keys';  -- the service's keyring: wrapped keys, and nothing else
CREATE ROLE clinic_audit LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD 'audit'; -- the service's trail: it inserts, and cannot read what it did
CREATE ROLE clinic_seal  LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD 'seal';  -- the sealer, which takes the trail into its log

DO $$ BEGIN
	EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
	EXECUTE format('GRANT CONNECT ON DATABASE %I TO clinic_owner, clinic_app, clinic_keys, clinic_audit, clinic_seal', current_database());
END $$;

ALTER SCHEMA public OWNER TO clinic_owner;
GRANT USAGE ON SCHEMA public TO clinic_app;
ALTER DEFAULT PRIVILEGES FOR ROLE clinic_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO clinic_app;

-- Better in databases of their own; here in schemas of their own, which the application's role cannot enter.
CREATE SCHEMA keys AUTHORIZATION clinic_owner;
GRANT USAGE ON SCHEMA keys TO clinic_keys;
ALTER DEFAULT PRIVILEGES FOR ROLE clinic_owner IN SCHEMA keys GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO clinic_keys;

CREATE SCHEMA audit AUTHORIZATION clinic_owner;
GRANT USAGE ON SCHEMA audit TO clinic_audit, clinic_seal;
