package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

func TestAPlannerThatPanicsRefuses(t *testing.T) {
	// Without a catalog it does.
	p, err := newPlan(context.Background(), planKey{text: "SELECT 'canary'"}, nil)
	var refused *RefusedError
	if p != nil || !errors.As(err, &refused) || refused.Reason != "statement that the planner failed on" {
		t.Errorf("%v, %v", p, err)
	}
}

// TestLongPlansAreNotKept: a short text can have a long plan, of which a thousand would be a quarter of a gigabyte.
func TestLongPlansAreNotKept(t *testing.T) {
	plans, err := lru.New[planKey, *sqlplan.Plan](10)
	if err != nil {
		t.Fatal(err)
	}
	columns := []sqlplan.Column{{Name: "tenant_id", Type: "text", NotNull: true}}
	for i := range 300 {
		columns = append(columns, sqlplan.Column{Name: fmt.Sprintf("a_column_%d", i), Type: "text"})
	}
	cat := &sqlplan.Catalog{Dialect: sqlplan.PostgreSQL, IndexVersions: 1, Tables: map[string]*sqlplan.Table{"t": {Schema: "public", Name: "t", TenantColumn: "tenant_id", Columns: columns}}}
	d := &database{plans: plans, catalogs: [maxIndexVersions]*sqlplan.Catalog{cat}}
	for i, c := range []struct {
		text string
		kept bool
	}{
		{"SELECT * FROM t", true},
		{"SELECT 1 FROM t WHERE true" + strings.Repeat(" AND EXISTS (SELECT * FROM t)", 20), false},
	} {
		p, err := d.plan(t.Context(), c.text, 1)
		if err != nil {
			t.Fatal(err)
		}
		if kept := plans.Contains(planKey{text: c.text, versions: 1}); kept != c.kept {
			t.Errorf("%d: %d bytes whose plan has %d are kept: %v", i, len(c.text), len(p.SQL), kept)
		}
	}
}
