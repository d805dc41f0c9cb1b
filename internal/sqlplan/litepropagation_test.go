package sqlplan

import (
	"testing"
)

// SQLite may replace a column by the constant that it is compared with, also in a guard (its optimizer's constant
// propagation), and evaluates first what an index holds. Neither has a condition meet the victim's row.
func TestGuardsHoldOnSQLite(t *testing.T) {
	db := openLite(t, liteShared+`
		CREATE INDEX by_ward ON visits (patient_id, ward);
		INSERT INTO visits (id, tenant_id, patient_id, ward) VALUES (1, 'attacker', 1, '1'), (2, 'victim', 7, 'secret{');`)
	for _, text := range []string{
		"DELETE FROM visits WHERE patient_id = 7 AND ward >= $1 AND json_extract(ward, '$') IS NOT NULL",
		"UPDATE visits SET cost = 1 WHERE patient_id = 7 AND ward >= $1 AND json_extract(ward, '$') IS NOT NULL",
		"UPDATE visits SET cost = 1 WHERE tenant_id = 'attacker' AND patient_id = 7 AND ward >= $1 AND json_extract(ward, '$') IS NOT NULL",
		"SELECT id FROM visits WHERE patient_id = 7 AND ward >= $1 AND json_extract(ward, '$') IS NOT NULL",
		"SELECT id FROM visits WHERE tenant_id = 'attacker' AND patient_id = 7 AND ward >= $1 AND json_extract(ward, '$') IS NOT NULL",
	} {
		plan, err := New(text, testCatalog(SQLite))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(plan.SQL, bindPlan(plan, "attacker", []any{"secre"})...); err != nil {
			t.Errorf("%s tells of the victim's row: %v", plan.SQL, err)
		}
	}
}
