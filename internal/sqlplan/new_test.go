package sqlplan

import (
	"errors"
	"reflect"
	"sync"
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

// Plans are data: the same however many goroutines make them at once.
func TestNewConcurrently(t *testing.T) {
	statements := goldenStatements(t, "plans")[:40]
	cat := testCatalog(PostgreSQL)
	want := make([]*Plan, len(statements))
	for i, sql := range statements {
		want[i], _ = New(sql, cat)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for i, sql := range statements {
				if got, _ := New(sql, cat); !reflect.DeepEqual(got, want[i]) {
					t.Errorf("%s: got %+v, want %+v", sql, got, want[i])
				}
			}
		})
	}
	wait.Wait()
}
