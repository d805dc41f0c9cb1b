-- Prints, for the flag -schema of sqldblint, the tables of the current schema. Run it as the tables' owner:
--
--	psql -XAtq -f columns_postgres.sql "$OWNER_URL" > columns.json
SELECT json_build_object('dialect', 'postgresql', 'schema', current_schema(), 'tables', json_object_agg(c.relname, json_build_object(
	'columns', (
		SELECT json_agg(json_build_object(
			'name', a.attname, 'type', format_type(a.atttypid, NULL), 'notNull', a.attnotnull,
			'hasDefault', a.atthasdef OR a.attidentity <> '', 'generated', a.attgenerated <> '' OR a.attidentity = 'a') ORDER BY a.attnum)
		FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
	'primaryKey', (
		SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
		WHERE i.indrelid = c.oid AND i.indisprimary),
	'uniqueKeys', (
		SELECT json_agg((SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey)))
		FROM pg_index i
		WHERE i.indrelid = c.oid AND i.indisunique AND NOT i.indisprimary AND i.indpred IS NULL AND i.indexprs IS NULL))))
FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p');
