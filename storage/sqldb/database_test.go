package sqldb

import (
	"errors"
	"testing"
)

func TestAPlannerThatPanicsRefuses(t *testing.T) {
	// Without a catalog it does.
	p, err := newPlan("SELECT 'canary'", nil)
	var refused *RefusedError
	if p != nil || !errors.As(err, &refused) || refused.Reason != "statement that the planner failed on" {
		t.Errorf("%v, %v", p, err)
	}
}
