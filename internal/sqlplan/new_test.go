package sqlplan

import (
	"errors"
	"testing"
)

// The planner's errors are refusals, whatever it is given.
func TestNewRefusesGarbage(t *testing.T) {
	for _, sql := range []string{"", ";", "SELECT", "SELECT 1; SELECT 2", "\x00", "SELEC 1", "('"} {
		_, err := New(sql, testCatalog(PostgreSQL))
		var refused *RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%q: got %v, want a refusal", sql, err)
		}
	}
}
