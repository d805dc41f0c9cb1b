package sqldb

import (
	"context"
	"errors"
	"testing"
)

func TestAPlannerThatPanicsRefuses(t *testing.T) {
	// Without a catalog it does.
	p, err := newPlan(context.Background(), planKey{text: "SELECT 'canary'"}, nil)
	var refused *RefusedError
	if p != nil || !errors.As(err, &refused) || refused.Reason != "statement that the planner failed on" {
		t.Errorf("%v, %v", p, err)
	}
}
