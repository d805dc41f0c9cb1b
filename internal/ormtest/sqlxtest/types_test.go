package sqlxtest

import (
	"testing"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
)

// Every logical type is stored, searched for and read back with Go's own types.
func TestTypes(t *testing.T) {
	c, db := open(t)
	for i, want := range fixture.Results {
		ctx := fixture.As(fixture.A)
		c.Untouched(t, fixture.B, func() {
			_, err := db.NamedExecContext(ctx, `INSERT INTO results (id, scan, count, level, urgent, at, day, amount, doc, ref)
				VALUES (:id, :scan, :count, :level, :urgent, :at, :day, :amount, :doc, :ref)`, struct {
				ID int
				fixture.Result
			}{i, want})
			fixture.OK(t, err)
		})
		rows, err := db.NamedQueryContext(ctx, `SELECT scan, count, level, urgent, at, day, amount, doc, ref FROM results
			WHERE count = :count AND level = :level AND urgent = :urgent AND at = :at AND day = :day AND amount = :amount AND ref = :ref`, want)
		fixture.OK(t, err)
		defer rows.Close()
		if !rows.Next() {
			t.Fatalf("result %d is not found by its values: %v", i, rows.Err())
		}
		var got fixture.Result
		fixture.OK(t, rows.StructScan(&got))
		fixture.Same(t, got, want)
		var n int
		fixture.OK(t, db.GetContext(fixture.As(fixture.B), &n, `SELECT count(*) FROM results WHERE count = $1`, want.Count))
		fixture.Equal(t, "the other's", n, 0)
	}
}
