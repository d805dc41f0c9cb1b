package sqlplan

import (
	"strings"
	"testing"
)

// What citext compares without regard to case is not left to a built-in that regards it.
func TestFunctionsOfCitext(t *testing.T) {
	cat := testCatalog(PostgreSQL)
	visits := *cat.Tables["visits"]
	visits.Columns = append(visits.Columns[:len(visits.Columns):len(visits.Columns)], Column{Name: "email", Type: "citext"})
	cat.Tables["visits"] = &visits
	for _, call := range []string{"max(email)", "min(DISTINCT email)", "max(v.email) OVER (PARTITION BY id)", "strpos(email, 'A')", "replace(email, 'A', 'b')",
		"regexp_replace('x', email, 'A')", "split_part(email, 'A', 1)", "translate(email, 'A', 'b')", "regexp_match(email, 'A')"} {
		_, err := New("SELECT "+call+" FROM visits v", cat)
		if err == nil || !strings.Contains(err.Error(), "citext") {
			t.Errorf("%s: %v", call, err)
		}
	}
	for _, from := range []string{"regexp_matches(v.email, 'A') m", "regexp_split_to_table(v.email, 'A') m"} {
		if _, err := New("SELECT m FROM visits v, "+from, cat); err == nil || !strings.Contains(err.Error(), "citext") {
			t.Errorf("%s: %v", from, err)
		}
	}
	for _, call := range []string{"max(email::text)", "lower(email)", "count(DISTINCT email)", "strpos(lower(email), 'a')", "array_agg(email)"} {
		if _, err := New("SELECT "+call+" FROM visits", cat); err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
}
