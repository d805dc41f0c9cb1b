package sqldb_test

import (
	"database/sql/driver"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage/dialect"
)

// pqArray stands for pq.Array, which gives an array's text form.
type pqArray string

func (a pqArray) Value() (driver.Value, error) { return string(a), nil }

func TestArraysOnSealedColumns(t *testing.T) {
	db, _ := typed(t, dialect.PostgreSQL)
	ctx := as(tenantA)
	moment := time.Date(2024, 2, 29, 22, 59, 59, 123456000, time.UTC)
	day := time.Date(1950, 3, 14, 0, 0, 0, 0, time.UTC)
	text := `a "b", \ {c}`
	if _, err := db.ExecContext(ctx, `INSERT INTO typed (id, text, bytes, int, float, bool, time, date, numeric, uuid) VALUES
		(1, $1, $2, 7, 0.5, TRUE, $3, $4, 1.50, $5), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`,
		text, []byte{0, 255}, moment, day, "550e8400-e29b-41d4-a716-446655440000"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		condition string
		array     any
		want      int // rows: 1 or 0
	}{
		{`text = ANY ($1)`, []string{"x", text}, 1},
		{`text = ANY ($1)`, []string{}, 0},
		{`text = ANY ($1)`, []string(nil), 0},
		{`text = ANY ($1)`, nil, 0},
		{`text = ANY ($1)`, pqArray(`{NULL,"a \"b\", \\ {c}"}`), 1},
		{`text = ANY ($1::text[])`, pqArray(`{}`), 0},
		{`text = ANY ($1)`, pqArray(`{{x},{"a \"b\", \\ {c}"}}`), 1}, // dimensions do not matter to ANY
		{`text = ANY ('{"a \"b\", \\ {c}"}')`, nil, 1},
		{`NOT text = ANY ($1)`, []string{"x"}, 1},
		{`NOT text = ANY ($1)`, pqArray(`{NULL}`), 0}, // unknown
		{`text = ANY ($1) IS NULL AND id = 1`, pqArray(`{NULL}`), 1},
		{`bytes = ANY ($1)`, [][]byte{{1}, {0, 255}}, 1},
		{`bytes = ANY ($1)`, pqArray(`{"\\x00ff"}`), 1},
		{`int = ANY ($1)`, []int64{6, 7}, 1},
		{`int = ANY ($1::bigint[])`, pqArray(`{6,7}`), 1},
		{`float = ANY ($1)`, []float64{0.5}, 1},
		{`float = ANY ($1)`, pqArray(`{0.5}`), 1},
		{`bool = ANY ($1)`, []bool{true}, 1},
		{`bool = ANY ($1)`, pqArray(`{true}`), 1},
		{`time = ANY ($1)`, []time.Time{moment}, 1},
		{`time = ANY ($1)`, pqArray(`{"2024-02-29 23:59:59.123456+01:00"}`), 1},
		{`date = ANY ($1)`, []time.Time{day}, 1},
		{`numeric = ANY ($1)`, pqArray(`{1.5}`), 1},
		{`uuid = ANY ($1)`, []string{"550E8400-E29B-41D4-A716-446655440000"}, 1},
	} {
		var args []any
		if strings.Contains(c.condition, "$1") {
			args = append(args, c.array)
		}
		var n int
		err := db.QueryRowContext(ctx, `SELECT count(*) FROM typed WHERE `+c.condition, args...).Scan(&n)
		if err != nil || n != c.want {
			t.Errorf("%s %v: %d rows, want %d, %v", c.condition, c.array, n, c.want, err)
		}
		err = db.QueryRowContext(as(tenantB), `SELECT count(*) FROM typed WHERE `+c.condition, args...).Scan(&n)
		if err == nil && n != 0 {
			t.Errorf("%s %v: %d rows of another tenant", c.condition, c.array, n)
		}
	}
	for _, c := range []struct {
		condition string
		array     any
	}{
		{`text = ANY ($1)`, "canary"},
		{`text = ANY ($1)`, []byte(`{canary}`)},
		{`text = ANY ($1)`, pqArray(`{canary`)},
		{`text = ANY ($1)`, []int64{1}},
		{`text = ANY ($1)`, [][]string{{"canary"}}},
		{`int = ANY ($1)`, []string{"canary"}},
		{`int = ANY ($1)`, pqArray(`{canary}`)},
	} {
		_, err := db.QueryContext(ctx, `SELECT id FROM typed WHERE `+c.condition, c.array)
		if err == nil {
			t.Errorf("%s took %v", c.condition, c.array)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error shows the value: %v", err)
		}
	}
}
