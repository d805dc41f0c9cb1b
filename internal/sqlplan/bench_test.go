package sqlplan

import "testing"

// Planning happens once for each distinct statement; the driver caches plans.
func BenchmarkNew(b *testing.B) {
	for name, sql := range map[string]string{
		"point":  "SELECT id, name FROM patients WHERE ssn = $1",
		"join":   "SELECT p.id, p.name, count(v.id) FROM patients p LEFT JOIN visits v ON v.patient_id = p.id WHERE p.age > $1 GROUP BY p.id ORDER BY 3 DESC LIMIT 10",
		"insert": "INSERT INTO patients (id, name, ssn) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING id",
	} {
		cat := testCatalog(PostgreSQL)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := New(sql, cat); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
