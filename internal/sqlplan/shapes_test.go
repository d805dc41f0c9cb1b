package sqlplan

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// shape is a statement for the property test, with its random arguments.
type shape struct {
	sql  string
	args []func(*rand.Rand) any
	only Dialect // 0 for both
	// since is the first major version of PostgreSQL that knows the syntax, where that is none of the oldest supported.
	since int
	// lite is what stands for sql in the plain SQLite database, where SQLite reads sql differently or not at all.
	lite string
	// open tells that the statement leaves its result open, so that only other tenants' rows are looked at.
	open bool
	// mistyped tells that the arguments may be of types that the plain column does not take, and the test's sealing does.
	mistyped bool
	// loose tells that the text may be one that the planner's parser takes and the server's does not, or be a condition that
	// is no boolean, which the server takes alone and not beside another.
	loose bool
}

func id(r *rand.Rand) any    { return r.IntN(6) }
func age(r *rand.Rand) any   { return r.IntN(4) * 10 }
func ward(r *rand.Rand) any  { return fmt.Sprint("w", r.IntN(3)) }
func note(r *rand.Rand) any  { return fmt.Sprintf("n%d", r.IntN(5)*10+r.IntN(3)) }
func ssn(r *rand.Rand) any   { return fmt.Sprint("s", r.IntN(6)) }
func name(r *rand.Rand) any  { return fmt.Sprint("name", r.IntN(4)) }
func maybe(r *rand.Rand) any { return []any{nil, ssn(r)}[r.IntN(2)] }

func ssns(r *rand.Rand) any { // an array: NULL, empty, with a NULL in it, or of values
	if r.IntN(6) == 0 {
		return nil
	}
	out := []*string{}
	for range r.IntN(4) {
		s := ssn(r).(string)
		out = append(out, []*string{&s, &s, nil}[r.IntN(3)])
	}
	return out
}

type args = []func(*rand.Rand) any

var shapes = []shape{
	// Plain reads.
	{sql: "SELECT * FROM patients"},
	{sql: "SELECT id, name, ssn FROM patients WHERE id = $1", args: args{id}},
	{sql: "SELECT p.*, p.id AS again FROM patients AS p WHERE p.note LIKE $1 || '%'", args: args{note}},
	{sql: "SELECT count(*) FROM patients"},
	{sql: "SELECT count(name), count(ssn), count(DISTINCT age) FROM patients"},
	{sql: "SELECT sum(cost), min(cost), max(ward) FROM visits WHERE cost > $1", args: args{age}},
	{sql: "SELECT age, count(*) FROM patients GROUP BY age HAVING count(*) > 0"},
	{sql: "SELECT age AS a, count(*) FROM patients GROUP BY a ORDER BY a"},
	{sql: "SELECT age, count(*) FROM patients GROUP BY 1 ORDER BY 2, 1"},
	{sql: "SELECT DISTINCT ward FROM visits"},
	{sql: "SELECT column1, p.id FROM (VALUES (1), (2)) x LEFT JOIN patients p ON abs(p.age) = 10"},
	{sql: "SELECT id, age FROM patients ORDER BY age DESC, id LIMIT 2 OFFSET 1", lite: "SELECT id, age FROM patients ORDER BY age DESC NULLS FIRST, id LIMIT 2 OFFSET 1"},
	{sql: "SELECT id FROM patients ORDER BY id OFFSET 1", lite: "SELECT id FROM patients ORDER BY id LIMIT -1 OFFSET 1"},
	{sql: "SELECT note AS id, id AS note FROM patients ORDER BY id LIMIT 2"},
	{sql: "SELECT CASE WHEN age > $1 THEN 'old' ELSE 'young' END FROM patients", args: args{age}},
	{sql: "SELECT coalesce(ward, 'none'), lower(ward), upper(ward) FROM visits"},
	{sql: "SELECT id FROM patients WHERE (age, id) > ($1, $2)", args: args{age, id}},
	{sql: "SELECT id FROM patients WHERE age BETWEEN $1 AND $2 OR age IS NULL", args: args{age, age}},
	{sql: "SELECT id FROM patients WHERE NOT (age = $1) AND note <> 'it''s $2'", args: args{age}},
	{sql: "SELECT id, tenant_id FROM patients WHERE tenant_id = 'a' OR tenant_id <> 'a'"},
	{sql: "SELECT id FROM patients WHERE age IS DISTINCT FROM $1", args: args{age}},
	{sql: "SELECT id FROM patients WHERE age IN ($1, $2, 30) AND age NOT IN ($1)", args: args{age, age}},
	{sql: "SELECT sum(age) FILTER (WHERE id > 1) FROM patients"},
	{sql: "SELECT id, row_number() OVER (PARTITION BY ward ORDER BY id) FROM visits"},
	{sql: "SELECT id, sum(cost) OVER w FROM visits WINDOW w AS (ORDER BY id)"},
	{sql: "SELECT 1"},
	{sql: "SELECT trim(both 'n' FROM note) AS a, substring(note FROM 2 FOR 1) AS b, position('1' IN note) AS c, trim(note) AS d FROM patients",
		lite: "SELECT trim(note, 'n') AS a, substring(note, 2, 1) AS b, instr(note, '1') AS c, trim(note) AS d FROM patients"},
	{sql: "SELECT id + $1, age * 2 - 1 FROM patients WHERE age + $1 > 10", args: args{id}},
	{sql: "SELECT id FROM patients WHERE age / 7 > 1"},
	{sql: "SELECT abs(age) FROM patients WHERE abs(age) > 5"},

	// Sealed columns.
	{sql: "SELECT id, name FROM patients WHERE ssn = $1", args: args{ssn}},
	{sql: "SELECT id, name FROM patients WHERE $1 = ssn", args: args{ssn}},
	{sql: "SELECT id FROM patients WHERE ssn <> $1", args: args{ssn}},
	{sql: "SELECT id FROM patients WHERE ssn IN ($1, $2, 's3')", args: args{ssn, ssn}},
	{sql: "SELECT id FROM patients WHERE ssn NOT IN ($1, $2)", args: args{ssn, ssn}},
	{sql: "SELECT id FROM patients WHERE ssn IS NOT DISTINCT FROM $1", args: args{maybe}},
	{sql: "SELECT id FROM patients WHERE ssn IS DISTINCT FROM $1", args: args{maybe}},
	{sql: "SELECT id FROM patients WHERE name IS NULL"},
	{sql: "SELECT id, ssn FROM patients WHERE ssn IS NOT NULL AND note > $1", args: args{note}},
	{sql: "SELECT id FROM patients WHERE ssn = 's1' OR ssn = $1", args: args{ssn}},
	{sql: "SELECT p.ssn, q.id FROM patients p JOIN patients q ON p.ssn = q.ssn"},
	{sql: "SELECT x.n, x.id FROM (SELECT name AS n, id FROM patients WHERE ssn = $1) x WHERE x.n IS NOT NULL", args: args{ssn}},
	{sql: "WITH c AS (SELECT id, ssn FROM patients) SELECT c.ssn FROM c JOIN visits v ON v.patient_id = c.id"},
	{sql: "SELECT p.id, p.name, count(v.id) FROM patients p LEFT JOIN visits v ON v.patient_id = p.id GROUP BY p.id"},
	{sql: "SELECT v.report, p.ssn FROM visits v LEFT JOIN patients p ON p.id = v.patient_id AND p.ssn = $1", args: args{ssn}},

	// A sealed column is one value for each row that its table's key tells apart.
	{sql: "SELECT DISTINCT id, name, ssn FROM patients WHERE age > $1", args: args{age}},
	{sql: "SELECT DISTINCT * FROM patients"},
	{sql: "SELECT DISTINCT p.id, p.name FROM patients p JOIN visits v ON v.patient_id = p.id"},
	{sql: "SELECT DISTINCT p.name, p.id AS x, v.ward FROM visits v LEFT JOIN patients p ON v.patient_id = p.id"},
	{sql: "SELECT DISTINCT v.* FROM visits v FULL JOIN patients p ON v.patient_id = p.id"},
	{sql: "SELECT DISTINCT p.id, p.ssn, v.id AS visit, v.report FROM patients p, visits v WHERE p.id = v.patient_id"},
	{sql: "SELECT x.name, x.id FROM (SELECT DISTINCT p.id, p.name FROM patients p CROSS JOIN visits v) x WHERE x.id = $1", args: args{id}},
	{sql: "SELECT p.id, p.name, count(v.id) FROM patients p LEFT JOIN visits v ON v.patient_id = p.id GROUP BY p.id, p.name"},
	{sql: "SELECT p.name AS n, p.id, count(*) FROM patients p JOIN visits v ON v.patient_id = p.id GROUP BY n, 2, p.ssn"},
	{sql: "SELECT v.report, v.id, max(p.age) FROM patients p RIGHT JOIN visits v ON v.patient_id = p.id GROUP BY 2, 1"},

	// Joins.
	{sql: "SELECT p.id, v.id, v.ward FROM patients p JOIN visits v ON v.patient_id = p.id"},
	{sql: "SELECT p.id, v.ward FROM patients p LEFT JOIN visits v ON v.patient_id = p.id AND v.ward = $1", args: args{ward}},
	{sql: "SELECT p.id, v.ward FROM patients p RIGHT JOIN visits v ON v.patient_id = p.id"},
	{sql: "SELECT p.id, v.ward FROM patients p FULL JOIN visits v ON v.patient_id = p.id"},
	{sql: "SELECT p.id, v.ward FROM patients p CROSS JOIN visits v"},
	{sql: "SELECT p.id, v.ward FROM patients p, visits v WHERE p.id = v.patient_id"},
	{sql: "SELECT id, ward, note FROM patients JOIN visits USING (id)"},
	{sql: "SELECT id, patients.id, visits.id FROM patients FULL JOIN visits USING (id)"},
	{sql: "SELECT id FROM patients RIGHT JOIN visits USING (id) ORDER BY id"},
	{sql: "SELECT * FROM visits JOIN \"Odd Table\" o ON o.\"Key\" = visits.id"},
	{sql: "SELECT p.id FROM patients p LEFT JOIN visits v ON v.patient_id = p.id WHERE v.id IS NULL"},
	{sql: "SELECT v.id, c.title FROM visits v LEFT JOIN countries c ON c.code = v.ward"},
	{sql: "SELECT c.code, v.id FROM countries c FULL JOIN visits v ON c.code = v.ward"},
	{sql: "SELECT a.id, b.id, c.id FROM patients a LEFT JOIN (visits b JOIN visits c ON b.id = c.patient_id) ON a.id = b.patient_id"},
	{sql: "SELECT a.id, b.id FROM patients a JOIN patients b ON a.age = b.age AND a.id < b.id"},
	{sql: "SELECT visits.id FROM patients visits, visits patients WHERE visits.id = patients.patient_id"},

	// Subqueries, CTEs and names that hide others.
	{sql: "SELECT id FROM patients WHERE id IN (SELECT patient_id FROM visits WHERE ward = $1)", args: args{ward}},
	{sql: "SELECT id FROM patients p WHERE EXISTS (SELECT v.report FROM visits v WHERE v.patient_id = p.id)"},
	{sql: "SELECT id FROM patients p WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.patient_id = p.id AND v.ward = $1)", args: args{ward}},
	{sql: "SELECT id, (SELECT count(*) FROM visits v WHERE v.patient_id = p.id) AS n FROM patients p"},
	{sql: "SELECT id, (SELECT max(id) FROM visits) FROM patients"},
	{sql: "SELECT id FROM patients WHERE age > (SELECT avg(age) FROM patients)"},
	{sql: "SELECT id FROM patients WHERE id NOT IN (SELECT patient_id FROM visits WHERE patient_id IS NOT NULL)"},
	{sql: "SELECT x.id FROM (SELECT id, age FROM patients WHERE age > $1) AS x ORDER BY x.id", args: args{age}},
	{sql: "WITH patients AS (SELECT id, ward FROM visits) SELECT * FROM patients"},
	{sql: "WITH patients AS (SELECT * FROM patients) SELECT id FROM patients", lite: "SELECT id FROM patients"},
	{sql: "WITH a AS (SELECT id FROM visits), visits AS (SELECT id FROM a) SELECT id FROM visits", lite: "SELECT id FROM visits"},
	{sql: "WITH visits AS (SELECT id FROM patients) SELECT id FROM patients WHERE id IN (WITH patients AS (SELECT id FROM visits) SELECT id FROM patients)"},
	{sql: "SELECT id FROM (WITH patients AS (SELECT id FROM visits) SELECT id FROM patients) q WHERE id IN (SELECT id FROM patients)"},
	{sql: "WITH t (x, y) AS (SELECT id, ward FROM visits) SELECT y, count(*) FROM t GROUP BY y"},
	{sql: "SELECT id FROM patients UNION SELECT patient_id FROM visits"},
	{sql: "SELECT id FROM patients UNION ALL SELECT id FROM visits ORDER BY id"},
	{sql: "SELECT id FROM patients EXCEPT SELECT patient_id FROM visits ORDER BY 1 LIMIT 2"},
	{sql: "SELECT id FROM patients INTERSECT SELECT patient_id FROM visits"},
	{sql: "SELECT id FROM patients UNION SELECT id FROM visits UNION ALL SELECT 9"},
	{sql: "SELECT id FROM patients UNION SELECT id FROM visits UNION SELECT 9"},
	{sql: "SELECT id FROM patients EXCEPT SELECT id FROM visits EXCEPT SELECT 1"},
	{sql: `SELECT "Key", "we""ird", "größe" FROM "Odd Table" WHERE "we""ird" = 'x1' ORDER BY "größe"`},
	{sql: "SELECT column1, p.id FROM (VALUES (1), (2)) AS x LEFT JOIN patients p ON p.id = column1"},

	// Writes.
	{sql: "INSERT INTO patients (id, name, ssn, note) VALUES ($1, $2, $3, 'new')", args: args{id, name, ssn}},
	{sql: "INSERT INTO patients (id, name, note) VALUES (100, $1, 'x'), (101, NULL, 'y'), (102, 'literal', 'z') RETURNING id, name, tenant_id", args: args{name}},
	{sql: "INSERT INTO patients AS p (id, name, note) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET name = excluded.name, age = p.id RETURNING p.id, name",
		lite: "INSERT INTO patients AS p (id, name, note) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET name = excluded.name, age = p.id RETURNING id, name", args: args{id, name, note}},
	{sql: "INSERT INTO patients (id, ssn, note) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn, note = patients.note || excluded.note WHERE patients.id > 1", args: args{id, ssn, note}},
	{sql: "INSERT INTO patients (id, ssn, note) VALUES ($1, $2, $3) ON CONFLICT (ssn) DO UPDATE SET age = 77", args: args{id, ssn, note}},
	{sql: "INSERT INTO patients (id, note) VALUES ($1, $2) ON CONFLICT DO NOTHING", args: args{id, note}},
	{sql: "INSERT INTO patients (id, note) VALUES ($1, $2), ($3, 'q') ON CONFLICT (note) DO NOTHING RETURNING id", args: args{id, note, id}},
	{sql: "INSERT INTO visits (id, ward, cost) SELECT id + 50, note, age FROM patients WHERE age > $1", args: args{age}},
	{sql: "INSERT INTO visits (id, ward) SELECT id, note FROM patients ON CONFLICT (id) DO UPDATE SET ward = excluded.ward", lite: "INSERT INTO visits (id, ward) SELECT id, note FROM patients WHERE true ON CONFLICT (id) DO UPDATE SET ward = excluded.ward"},
	{sql: "INSERT INTO visits (id, cost) SELECT 70, count(*) FROM visits"},
	{sql: "WITH x AS (SELECT max(id) AS m FROM visits) INSERT INTO visits (id, ward) SELECT m + 1, 'cte' FROM x WHERE m IS NOT NULL RETURNING *"},
	{sql: "UPDATE patients SET age = age + 1"},
	{sql: "UPDATE patients SET name = $1, ssn = NULL WHERE id = $2 RETURNING id, name, ssn", args: args{name, id}},
	{sql: "UPDATE patients SET ssn = ssn, name = patients.name, age = 3 WHERE ssn = $1 RETURNING ssn", args: args{ssn}},
	{sql: "UPDATE visits SET report = report, cost = p.age FROM patients p WHERE p.id = visits.patient_id AND p.age IS NOT NULL"},
	{sql: "INSERT INTO patients (id, ssn, name, note) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET id = patients.id, ssn = patients.ssn, name = patients.name RETURNING id, name, ssn", args: args{id, ssn, name, note}},
	{sql: "UPDATE patients p SET ssn = $1 WHERE p.ssn = $2", lite: "UPDATE patients AS p SET ssn = $1 WHERE p.ssn = $2", args: args{ssn, ssn}},
	{sql: "UPDATE patients SET (age, note) = ($1, note || 'z') WHERE age < $1 RETURNING *", args: args{age}},
	{sql: "UPDATE patients SET age = v.cost FROM visits v WHERE v.patient_id = patients.id AND v.id = (SELECT min(x.id) FROM visits x WHERE x.patient_id = patients.id)"},
	{sql: "UPDATE visits SET ward = (SELECT note FROM patients WHERE id = visits.patient_id)"},
	{sql: "UPDATE patients SET age = NULL WHERE EXISTS (SELECT 1 FROM visits v WHERE v.patient_id = patients.id)"},
	{sql: "UPDATE patients SET age = 1 WHERE age / 7 > 1 OR abs(age) = 10"},
	{sql: "WITH x AS (SELECT patient_id FROM visits) UPDATE patients SET age = 5 WHERE id IN (SELECT patient_id FROM x)"},
	{sql: "DELETE FROM visits"},
	{sql: "DELETE FROM patients WHERE ssn = $1 RETURNING id, ssn, note", args: args{ssn}},
	{sql: "DELETE FROM visits v WHERE v.patient_id NOT IN (SELECT id FROM patients) OR v.ward = $1", lite: "DELETE FROM visits AS v WHERE v.patient_id NOT IN (SELECT id FROM patients) OR v.ward = $1", args: args{ward}},
	{sql: `UPDATE "Odd Table" SET "größe" = 'ö' WHERE "Key" = 1 RETURNING "Key"`},
	{sql: `INSERT INTO "Odd Table" ("Key", "we""ird") VALUES (9, 'n')`},

	// PostgreSQL alone.
	{sql: "SELECT id, ssn FROM patients WHERE ssn = ANY ($1)", args: args{ssns}, only: PostgreSQL},
	{sql: "SELECT id FROM patients WHERE (ssn = ANY ($1::text[])) IS NULL OR NOT ssn = ANY ($2::varchar[])", args: args{ssns, ssns}, only: PostgreSQL},
	{sql: "SELECT id FROM patients WHERE ssn = ANY ('{s1,s2}') OR ssn = ANY ('{s3}'::text[])", only: PostgreSQL},
	{sql: "UPDATE patients SET age = 8 WHERE ssn = ANY ($1) AND id = $2", args: args{ssns, id}, only: PostgreSQL},
	{sql: "SELECT v.id, p.ssn = ANY ($1) AS a FROM visits v LEFT JOIN patients p ON p.id = v.patient_id AND p.ssn = ANY ($1)", args: args{ssns}, only: PostgreSQL},
	{sql: "SELECT DISTINCT ON (ward) ward, id FROM visits ORDER BY ward, id", only: PostgreSQL},
	{sql: "SELECT id FROM patients WHERE note ILIKE 'N1%' AND created > '2024-01-02'::timestamptz", only: PostgreSQL},
	{sql: "SELECT id FROM patients WHERE id = ANY(ARRAY[1, 2, $1::bigint]) AND age::text <> '10'", args: args{id}, only: PostgreSQL},
	{sql: "SELECT id FROM patients WHERE ssn = ANY(ARRAY[$1, 's2'])", args: args{ssn}, only: PostgreSQL},
	{sql: "SELECT p.id, v.n FROM patients p, LATERAL (SELECT count(*) AS n FROM visits v WHERE v.patient_id = p.id) v", only: PostgreSQL},
	{sql: "SELECT p.id, v.ward FROM patients p LEFT JOIN LATERAL (SELECT ward FROM visits v WHERE v.patient_id = p.id ORDER BY v.id LIMIT 1) v ON true", only: PostgreSQL},
	{sql: "SELECT id FROM patients WHERE id > 0 FOR UPDATE", only: PostgreSQL},
	{sql: "SELECT p.id, c.title FROM patients p JOIN countries c ON c.code = p.note FOR UPDATE OF p SKIP LOCKED", only: PostgreSQL},
	{sql: "DELETE FROM visits USING patients p WHERE p.id = visits.patient_id AND p.age > $1 RETURNING visits.id, p.name", args: args{age}, only: PostgreSQL},
	{sql: "UPDATE patients SET age = v.cost FROM visits v WHERE v.id = patients.id RETURNING patients.id, v.report, patients.name", only: PostgreSQL},
	{sql: "SELECT g, p.id FROM generate_series(1, 3) AS g LEFT JOIN patients p ON p.id = g", only: PostgreSQL},
	{sql: "SELECT u.x, p.id FROM unnest(ARRAY[1, 2]) AS u(x) JOIN patients p ON p.id = u.x", only: PostgreSQL},
	{sql: "SELECT x.a, p.id FROM (VALUES (1, 'q'), (2, 'r')) AS x (a, b) LEFT JOIN patients p ON p.id = x.a", only: PostgreSQL},
	{sql: "SELECT p.a, p.b FROM patients AS p (a, b) WHERE p.a > 1", only: PostgreSQL},
	{sql: "SELECT greatest(id, age), extract(year FROM created), created AT TIME ZONE 'UTC' FROM patients", only: PostgreSQL},
	{sql: "SELECT string_agg(note, ',' ORDER BY id), array_agg(id ORDER BY id DESC) FROM patients", only: PostgreSQL},
	{sql: "INSERT INTO visits (id, cost) VALUES (80, DEFAULT), (81, 5) RETURNING id, cost", only: PostgreSQL},
	{sql: "INSERT INTO visits (id, ward) SELECT g, 'gen' FROM generate_series(200, 202) AS g", only: PostgreSQL},
	{sql: "SELECT age FROM patients WHERE 100 / (age - 10) > 1", only: PostgreSQL},
	{sql: "DELETE FROM patients WHERE 100 / (age - 10) > 1", only: PostgreSQL},
	{sql: "SELECT note::int FROM patients WHERE substr(note, 2)::int > 10", only: PostgreSQL},
	{sql: "(SELECT id FROM patients ORDER BY id LIMIT 1) UNION ALL (SELECT id FROM visits ORDER BY id LIMIT 1)",
		lite: "SELECT * FROM (SELECT id FROM patients ORDER BY id LIMIT 1) UNION ALL SELECT * FROM (SELECT id FROM visits ORDER BY id LIMIT 1)"},
	{sql: "SELECT id FROM patients EXCEPT (SELECT patient_id FROM visits INTERSECT SELECT id FROM patients)",
		lite: "SELECT id FROM patients EXCEPT SELECT * FROM (SELECT patient_id FROM visits INTERSECT SELECT id FROM patients)"},
	{sql: "SELECT id FROM patients UNION SELECT id FROM visits INTERSECT SELECT patient_id FROM visits",
		lite: "SELECT id FROM patients UNION SELECT * FROM (SELECT id FROM visits INTERSECT SELECT patient_id FROM visits)"},
	{sql: "SELECT p.id, p.note, sum(v.cost) FROM patients p JOIN visits v ON v.patient_id = p.id GROUP BY p.id", only: PostgreSQL},
}

// randomSelect builds a join of two or three relations with random conditions.
func randomSelect(r *rand.Rand) (string, []any) {
	relations := []string{
		"patients", "visits", "(SELECT id, patient_id, cost FROM visits WHERE cost > $1)", "countries",
		"(SELECT p.id, v.ward FROM patients p LEFT JOIN visits v ON v.patient_id = p.id)", "c",
	}
	columns := [][]string{{"id", "age"}, {"id", "patient_id", "cost"}, {"id", "patient_id"}, {"code"}, {"id", "ward"}, {"id"}}
	text := []string{"code", "ward"}
	kinds := []string{"JOIN", "LEFT JOIN", "RIGHT JOIN", "CROSS JOIN", "FULL JOIN"}
	n := r.IntN(2) + 2
	picks := make([]int, n)
	for i := range picks {
		picks[i] = r.IntN(len(relations))
	}
	column := func(i int, wantText bool) string {
		for range 20 {
			c := columns[picks[i]][r.IntN(len(columns[picks[i]]))]
			isText := false
			for _, t := range text {
				isText = isText || c == t
			}
			if isText == wantText {
				return fmt.Sprintf("t%d.%s", i, c)
			}
		}
		return ""
	}
	var sql, selected strings.Builder
	sql.WriteString(relations[picks[0]] + " AS t0")
	for i := range picks {
		fmt.Fprintf(&selected, "t%d.%s, ", i, columns[picks[i]][0])
	}
	for i := 1; i < n; i++ {
		kind := kinds[r.IntN(len(kinds))]
		fmt.Fprintf(&sql, " %s %s AS t%d", kind, relations[picks[i]], i)
		if kind == "CROSS JOIN" {
			continue
		}
		wantText := picks[i] == 3
		left, right := column(r.IntN(i), wantText), column(i, wantText)
		if left == "" || right == "" {
			sql.WriteString(" ON 1 = 1")
		} else {
			fmt.Fprintf(&sql, " ON %s = %s", left, right)
		}
	}
	where := "$1 >= 0"
	if c := column(r.IntN(n), false); c != "" {
		where = []string{"%s > $1", "%s IS NULL", "%s IN (SELECT id FROM patients WHERE age > $1)",
			"EXISTS (SELECT 1 FROM visits x WHERE x.patient_id = %s AND x.cost > $1)"}[r.IntN(4)]
		where = fmt.Sprintf(where, c) + " AND CAST_FREE"
		where = strings.Replace(where, "CAST_FREE", "0 <= $1", 1)
	}
	return "WITH c AS (SELECT id FROM patients WHERE age IS NOT NULL) SELECT " + selected.String() + "1 FROM " + sql.String() + " WHERE " + where, []any{r.IntN(3)}
}
