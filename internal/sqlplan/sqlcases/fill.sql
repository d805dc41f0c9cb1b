-- :rows rows in each table, the tenants' in turns. Each tenant has the ids from 0, and a row every six minutes back from
-- :now. Ten rows of a tenant share a ward, a tag, a code and a word. There are few beds.
INSERT INTO patients
SELECT t, k, 'ward ' || k / 10, 'p' || k || '@example.org', :now - k * interval '6 minutes', ARRAY['t' || k / 10, 'c' || k % 7],
	jsonb_build_object('code', k / 10, 'n', (k % 100)::text, 'k', ARRAY['a', 'b' || k % 3], 'codes', jsonb_build_array(jsonb_build_object('code', 'c' || k % 5))),
	k, md5(k::text)::uuid, CASE WHEN k % 10 = 0 THEN :now END, k % 3 <> 0, k, k * 0.5,
	(CASE k % 1000 WHEN 0 THEN 'open' WHEN 1 THEN 'shut' ELSE 'done' END)::visit_state
FROM generate_series(0, :rows - 1) AS g,
	LATERAL (SELECT (:tenants)[g % cardinality(:tenants) + 1] AS t, g / cardinality(:tenants) AS k) AS row;
INSERT INTO visits
SELECT t, k, k * 7919 % (:rows / cardinality(:tenants)), :now - k * interval '6 minutes', array_to_tsvector(ARRAY['word' || k / 10, 'common' || k % 50])
FROM generate_series(0, :rows - 1) AS g,
	LATERAL (SELECT (:tenants)[g % cardinality(:tenants) + 1] AS t, g / cardinality(:tenants) AS k) AS row;
INSERT INTO beds SELECT t, k, 'ward ' || k, 1, NULL FROM unnest(:tenants) AS t, generate_series(0, 9) AS k;
