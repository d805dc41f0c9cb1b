package sqlplan

// Shapes of recursive queries, of writes in WITH, of MERGE and of groupings.
var wideShapes = []shape{
	// Recursive queries. A name in WITH RECURSIVE hides a table in all of its queries.
	{sql: "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT n.i, p.id FROM n LEFT JOIN patients p ON p.id = n.i", args: args{id}},
	{sql: "WITH RECURSIVE t AS (SELECT id, patient_id FROM visits WHERE id = $1 UNION SELECT v.id, v.patient_id FROM visits v JOIN t ON v.id = t.patient_id) SELECT * FROM t", args: args{id}},
	{sql: "WITH RECURSIVE patients AS (SELECT id FROM visits UNION SELECT patients.id + 1 FROM patients WHERE patients.id < 4) SELECT id FROM patients"},
	{sql: "WITH RECURSIVE a AS (SELECT id FROM patients), b AS (SELECT id FROM a UNION SELECT b.id + 1 FROM b JOIN visits v ON v.id = b.id) SELECT count(*) FROM b"},
	{sql: "WITH RECURSIVE t (x, depth) AS (SELECT patient_id, 0 FROM visits UNION ALL SELECT v.patient_id, depth + 1 FROM t JOIN visits v ON v.id = t.x WHERE depth < 3) SELECT x, depth, count(*) FROM t GROUP BY x, depth"},
	{sql: "WITH RECURSIVE visits AS (SELECT id FROM patients) SELECT id FROM visits"},
	{sql: "SELECT id, (WITH RECURSIVE c AS (SELECT p.id AS n UNION ALL SELECT n + 1 FROM c WHERE n < 3) SELECT count(*) FROM c) FROM patients p"},
	{sql: "INSERT INTO visits (id, ward) WITH RECURSIVE n AS (SELECT 20 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 22) SELECT i, $1 FROM n", args: args{ward}},
	{sql: "UPDATE patients SET age = 5 WHERE id IN (WITH RECURSIVE t AS (SELECT id FROM visits UNION SELECT t.id + 1 FROM t WHERE t.id < 3) SELECT id FROM t)"},
	{only: PostgreSQL, sql: "WITH RECURSIVE t AS (SELECT id, ARRAY[id] AS path FROM patients UNION ALL SELECT v.patient_id, path || v.patient_id FROM t JOIN visits v ON v.id = t.id WHERE NOT v.patient_id = ANY (path)) SELECT id, path FROM t"},

	// Writes in WITH: all see what was there before.
	{only: PostgreSQL, sql: "WITH d AS (DELETE FROM visits WHERE patient_id = $1 RETURNING id, cost) SELECT count(*), sum(cost) FROM d", args: args{id}},
	{only: PostgreSQL, sql: "WITH d AS (DELETE FROM visits RETURNING id, ward, report) SELECT d.id, d.report, p.name FROM d LEFT JOIN patients p ON p.id = d.id"},
	{only: PostgreSQL, sql: "WITH u AS (UPDATE patients SET age = age + 1 RETURNING id, age, name) SELECT u.id, u.age, p.age AS before, u.name FROM u JOIN patients p ON p.id = u.id"},
	{only: PostgreSQL, sql: "WITH moved AS (DELETE FROM visits WHERE ward = $1 RETURNING id, ward) INSERT INTO patients (id, note) SELECT id + 50, ward || id FROM moved", args: args{ward}},
	{only: PostgreSQL, sql: "WITH i AS (INSERT INTO patients (id, note, ssn) VALUES (70, 'new', $1) ON CONFLICT (ssn) DO UPDATE SET note = 'met' RETURNING id) INSERT INTO visits (id, patient_id) SELECT 70, id FROM i", args: args{ssn}},
	{only: PostgreSQL, sql: "WITH a AS (UPDATE visits SET cost = 1 WHERE id = $1), b AS (DELETE FROM patients WHERE id = $1) SELECT 1", args: args{id}},
	{only: PostgreSQL, sql: "WITH x AS (SELECT id FROM patients WHERE age > $1), d AS (DELETE FROM visits USING x WHERE visits.patient_id = x.id RETURNING visits.id) DELETE FROM patients WHERE id IN (SELECT id FROM d)", args: args{age}},
	{only: PostgreSQL, sql: "WITH d AS (DELETE FROM patients WHERE 100 / age > 3 RETURNING id) UPDATE visits SET ward = 'gone' FROM d WHERE visits.patient_id = d.id"},
	{only: PostgreSQL, since: 17, sql: "WITH m AS (MERGE INTO patients p USING visits v ON p.id = v.id WHEN MATCHED THEN UPDATE SET age = v.cost RETURNING p.id) SELECT count(*) FROM m"},

	// MERGE.
	{only: PostgreSQL, sql: "MERGE INTO patients p USING visits v ON p.id = v.id WHEN MATCHED THEN DELETE"},
	{only: PostgreSQL, sql: "MERGE INTO patients p USING visits v ON p.id = v.id WHEN MATCHED AND v.cost > $1 THEN UPDATE SET age = v.cost, ssn = NULL WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, note) VALUES (v.id, 'from ' || v.id)", args: args{age}},
	{only: PostgreSQL, since: 17, sql: "MERGE INTO patients USING (VALUES ($1::bigint, $2::text), (30, 'n')) AS s (id, note) ON patients.id = s.id WHEN MATCHED THEN UPDATE SET note = s.note WHEN NOT MATCHED THEN INSERT (id, note, ssn, name) VALUES (s.id, s.note, 'sx', $3) RETURNING merge_action(), patients.id, patients.ssn, s.note", args: args{id, note, name}},
	{only: PostgreSQL, sql: "MERGE INTO visits v USING patients p ON v.patient_id = p.id AND p.ssn = $1 WHEN MATCHED THEN UPDATE SET (ward, cost) = (p.note, 3), report = 'r' WHEN NOT MATCHED AND p.age > 0 THEN INSERT (id, ward) VALUES (p.id + 40, p.note) WHEN NOT MATCHED THEN DO NOTHING", args: args{ssn}},
	{only: PostgreSQL, since: 17, sql: "MERGE INTO visits USING countries c ON ward = c.code WHEN MATCHED THEN UPDATE SET cost = DEFAULT RETURNING *"},
	{only: PostgreSQL, sql: "MERGE INTO patients p USING visits v ON p.id = v.id AND 100 / (p.age + 1) > 2 WHEN MATCHED AND p.age > 5 THEN DO NOTHING WHEN MATCHED THEN UPDATE SET name = p.name, note = DEFAULT"},
	{only: PostgreSQL, sql: "WITH s AS (SELECT patient_id AS id, max(cost) AS c FROM visits GROUP BY patient_id) MERGE INTO patients p USING s ON s.id = p.id WHEN MATCHED AND EXISTS (SELECT 1 FROM visits w WHERE w.id = p.id) THEN UPDATE SET age = (SELECT count(*) FROM patients) WHEN NOT MATCHED AND s.id IS NOT NULL THEN INSERT (id, age) VALUES (s.id, s.c)"},
	{only: PostgreSQL, sql: "MERGE INTO \"Odd Table\" o USING (SELECT id FROM visits) s ON o.\"Key\" = s.id WHEN NOT MATCHED THEN INSERT (\"Key\", \"we\"\"ird\") VALUES (s.id, 'm')"},
	{only: PostgreSQL, sql: "MERGE INTO patients v USING visits patients ON v.id = patients.patient_id AND patients.ward = $1 WHEN MATCHED THEN UPDATE SET age = patients.cost", args: args{ward}},
	{only: PostgreSQL, sql: "MERGE INTO patients p USING visits v ON p.note = v.ward AND p.ssn = 's1' WHEN NOT MATCHED THEN INSERT DEFAULT VALUES"},

	// Groupings.
	{only: PostgreSQL, sql: "SELECT ward, patient_id, count(*), grouping(ward, patient_id) FROM visits GROUP BY ROLLUP (ward, patient_id)"},
	{only: PostgreSQL, sql: "SELECT ward, patient_id, sum(cost) FROM visits GROUP BY CUBE (ward, patient_id) HAVING grouping(ward) = 0"},
	{only: PostgreSQL, sql: "SELECT v.ward AS w, p.age, count(*) FROM visits v JOIN patients p ON p.id = v.patient_id GROUP BY GROUPING SETS ((w, 2), (v.ward), ()) ORDER BY 1, 2, 3"},
	{only: PostgreSQL, sql: "SELECT tenant_id, age, count(*) FROM patients GROUP BY CUBE (tenant_id, age) ORDER BY 1, 2, 3 LIMIT 2"},
	{only: PostgreSQL, sql: "SELECT age, count(name) FROM patients GROUP BY DISTINCT ROLLUP (age), ROLLUP (age)"},
	{only: PostgreSQL, sql: "SELECT ward, cost, count(*) FROM visits GROUP BY (ward, cost)"},
	{only: PostgreSQL, sql: "INSERT INTO visits (id, cost) SELECT coalesce(patient_id, 88) + 60, sum(cost) FROM visits GROUP BY ROLLUP (patient_id) HAVING coalesce(patient_id, 88) = 88 AND grouping(patient_id) = 1"},
	{only: PostgreSQL, sql: "SELECT ward, percentile_cont(0.5) WITHIN GROUP (ORDER BY cost), percentile_disc(0.5) WITHIN GROUP (ORDER BY cost DESC) FILTER (WHERE cost > $1) FROM visits GROUP BY ward", args: args{age}},
	{only: PostgreSQL, sql: "SELECT mode() WITHIN GROUP (ORDER BY age), rank(10) WITHIN GROUP (ORDER BY age), percentile_disc(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY id) FROM patients"},

	{only: PostgreSQL, sql: "SELECT id FROM patients WHERE note LIKE ANY (ARRAY['n1%', $1 || '_', $1]) OR note NOT ILIKE ALL (ARRAY['N%'])", args: args{note}},

	{sql: "UPDATE patients SET (age, note) = (SELECT max(cost), 'of ' || patients.id FROM visits v WHERE v.patient_id = patients.id), created = NULL WHERE id > $1", args: args{id}},
	{only: PostgreSQL, sql: "INSERT INTO patients (id, note) VALUES ($1, 'n') ON CONFLICT (id) DO UPDATE SET (age, note) = (SELECT count(*), min(ward) FROM visits), name = 'x'", args: args{id}},

	// Subscripts, collations, named arguments, functions in FROM, INSERT from other queries.
	{only: PostgreSQL, sql: "SELECT (ARRAY[id, age])[2], (string_to_array(note, '1'))[1] FROM patients WHERE (ARRAY[id, age])[1] = $1", args: args{id}},
	{only: PostgreSQL, sql: "SELECT (string_to_array(note, '1'))[1:1], (ARRAY[id, 2])[:1] FROM patients"},
	{only: PostgreSQL, sql: "SELECT ward, (array_agg(id ORDER BY id))[1] FROM visits GROUP BY ward"},
	{sql: `SELECT id FROM patients WHERE note COLLATE "C" > $1 ORDER BY note COLLATE "C"`, args: args{note}, lite: "SELECT id FROM patients WHERE note > $1"},
	{only: PostgreSQL, sql: `SELECT note COLLATE "POSIX", max(note COLLATE pg_catalog."C") FROM patients GROUP BY note`},
	{only: PostgreSQL, sql: "SELECT id, created + make_interval(days => $1::int, hours => 2) FROM patients", args: args{id}},
	{only: PostgreSQL, sql: "SELECT p.id, x.v, x.ordinality FROM patients p, unnest(ARRAY[p.age, p.id]) WITH ORDINALITY AS x(v)"},
	{only: PostgreSQL, sql: "SELECT p.id, e.key, e.value FROM patients p CROSS JOIN LATERAL jsonb_each_text(jsonb_build_object('a', p.age, 'n', p.note)) e"},
	{only: PostgreSQL, sql: "SELECT a.value, b.* FROM jsonb_array_elements('[1, 2]') a, unnest(ARRAY[1, 2], ARRAY['x']) b (n, t) JOIN visits v ON v.id = b.n"},
	{only: PostgreSQL, sql: "SELECT s, count(*) FROM visits v, string_to_table(v.ward, 'w') s GROUP BY s"},
	{sql: "INSERT INTO patients (id, note) SELECT DISTINCT id + 80 AS i, ward || id AS n FROM visits"},
	{sql: "INSERT INTO visits (id, ward) SELECT id + 80, note FROM patients UNION SELECT id + 90, ward FROM visits"},
	{only: PostgreSQL, sql: "INSERT INTO visits (id, ward) SELECT id + 80, note FROM patients EXCEPT SELECT id + 80, ward FROM visits ORDER BY 1 LIMIT 3 RETURNING id"},
	{only: PostgreSQL, sql: "SELECT id, age FROM patients ORDER BY age FETCH FIRST 2 ROWS WITH TIES"},
	{only: PostgreSQL, sql: "SELECT (patients.created, patients.created) OVERLAPS (timestamptz '2024-01-01', timestamptz '2024-01-04'), int8range(id, id + 2) @> 3 FROM patients WHERE id >= 0"},

	// Records from JSON, and SQL's own syntax for JSON.
	{only: PostgreSQL, sql: `SELECT r.a, r.b FROM jsonb_to_recordset('[{"a": 1, "b": ["x"]}, {"a": 2}]') AS r(a bigint, b text[]) JOIN patients p ON p.id = r.a`},
	{only: PostgreSQL, sql: `INSERT INTO visits (id, ward) SELECT x.id, x.ward FROM json_to_recordset('[{"id": 61, "ward": "w1"}, {"id": 62}]') AS x(id bigint, ward text)`},
	{only: PostgreSQL, sql: `SELECT p.id, r.* FROM patients p, jsonb_to_record(jsonb_build_object('age', p.age, 'n', p.note)) AS r(age numeric(10, 2), n varchar(20))`},
	{only: PostgreSQL, sql: `SELECT x.q, x.r, x.u FROM ROWS FROM (jsonb_to_recordset('[{"a": 1}]') AS (a int, b text), unnest(ARRAY[1, 2])) AS x(q, r, u)`},
	{only: PostgreSQL, sql: `SELECT to_jsonb(r) FROM jsonb_to_recordset('[{"a": 1}]') AS r(a int)`},
	{only: PostgreSQL, sql: `SELECT c.code, c.title FROM jsonb_populate_recordset(NULL::countries, '[{"code": "xx"}]') c`},
	{only: PostgreSQL, sql: `SELECT o."Key", o."we""ird" FROM json_populate_record(NULL::public."Odd Table", '{"Key": 4}') AS o`},
	{only: PostgreSQL, since: 17, sql: `SELECT JSON_OBJECT('a': id, 'n' VALUE note ABSENT ON NULL RETURNING text), JSON_ARRAY(id, note, age NULL ON NULL RETURNING text) FROM patients`},
	{only: PostgreSQL, since: 17, sql: `SELECT ward, JSON_ARRAYAGG(id ORDER BY id RETURNING text), JSON_OBJECTAGG(id: cost RETURNING text), JSON_ARRAYAGG(cost ORDER BY id RETURNING text) FILTER (WHERE cost > $1) FROM visits GROUP BY ward`, args: args{age}},
	{only: PostgreSQL, since: 17, sql: `SELECT id, JSON_ARRAY(SELECT v.id FROM visits v WHERE v.patient_id = p.id ORDER BY 1 RETURNING text) FROM patients p`},
	{only: PostgreSQL, since: 17, sql: `SELECT JSON('{"a": 1}' WITH UNIQUE KEYS)::text, JSON_SCALAR(age)::text, JSON_SERIALIZE(to_json(note) RETURNING text), note IS JSON, note IS NOT JSON OBJECT FROM patients`},
	{only: PostgreSQL, since: 17, sql: `SELECT note IS JSON, coalesce(note IS JSON) = coalesce('1' IS JSON) FROM patients WHERE (note IS NOT JSON) IS NOT TRUE`},
	{only: PostgreSQL, since: 17, sql: `SELECT id FROM patients WHERE JSON_EXISTS(jsonb_build_object('a', age), '$.a ? (@ > $n)' PASSING $1::int AS n)`, args: args{age}},
	{only: PostgreSQL, since: 17, sql: `SELECT JSON_VALUE(jsonb_build_object('a', age), '$.a' RETURNING int DEFAULT id ON EMPTY ERROR ON ERROR), JSON_QUERY(jsonb_build_array(note), '$[*]' WITH WRAPPER)::text FROM patients`},
	{only: PostgreSQL, since: 17, sql: `UPDATE visits SET ward = JSON_OBJECT('w': ward RETURNING text) WHERE JSON_VALUE(JSON_OBJECT('c': cost RETURNING jsonb), '$.c' RETURNING bigint) > $1`, args: args{age}},
}
