package sqldb_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage/dialect"
)

// A literal for a sealed column means what PostgreSQL takes it for in a column of that type: ORMs that inline values
// write them so.
func TestLiteralsForSealedColumns(t *testing.T) {
	moment := time.Date(2024, 2, 29, 22, 59, 59, 123456000, time.UTC)
	day := time.Date(1950, 3, 14, 0, 0, 0, 0, time.UTC)
	cases := []struct {
		column, literal string
		want            any
		param           any // the same value, bound, which must find the row
	}{
		{"text", `'O''Neil \ '`, `O'Neil \ `, `O'Neil \ `},
		{"text", `'\x00'`, `\x00`, `\x00`},
		{"bytes", `'\x0001ff5c27'`, []byte{0, 1, 255, '\\', '\''}, []byte{0, 1, 255, '\\', '\''}},
		{"bytes", `'\x'`, []byte{}, []byte{}},
		{"int", `-9223372036854775808`, int64(math.MinInt64), int64(math.MinInt64)},
		{"int", `'12'`, int64(12), 12},
		{"float", `5`, 5.0, 5.0},
		{"float", `9007199254740993`, float64(1 << 53), float64(1 << 53)},
		{"float", `-1` + strings.Repeat("0", 300), -1e300, -1e300},
		{"float", `0.1`, 0.1, 0.1},
		{"float", `'-Infinity'`, math.Inf(-1), math.Inf(-1)},
		{"bool", `TRUE`, true, true},
		{"bool", `'false'`, false, false},
		{"time", `'2024-02-29 22:59:59.123456+00:00'`, moment, moment},
		{"time", `'2024-02-29 23:59:59.123456+01'`, moment, moment},
		{"time", `'2024-02-29T22:59:59.123456Z'`, moment, moment},
		{"date", `'1950-03-14'`, day, day},
		{"date", `'1950-03-14 00:00:00+00:00'`, day, day},
		{"date", `'1950-03-14 23:59:59-10'`, day, day},
		{"numeric", `12345678901234567890.125`, "12345678901234567890.125", "12345678901234567890.125"},
		{"json", `'{"a": "\n"}'`, []byte(`{"a": "\n"}`), nil},
		{"uuid", `'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'`, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
	}
	refused := []struct{ column, literal string }{
		{"bytes", `'text'`}, {"bytes", `'\x0'`}, {"bytes", `'\\x00'`}, // the last is \x00 in the escape form
		{"int", `'1.5'`}, {"int", `1.5`}, {"float", `'x'`}, {"float", `'0x1p4'`}, {"float", `'inf'`}, {"bool", `'yes'`},
		{"time", `'2024-02-29 22:59:59'`}, {"time", `'yesterday'`}, {"time", `'2024-02-30 00:00:00+00'`},
		{"date", `'14.3.1950'`}, {"date", `'1950-03-14 25:00:00+00'`}, {"json", `'{'`}, {"uuid", `'6ba7'`},
	}
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			db, _ := typed(t, d)
			ctx := as(tenantA)
			for i, c := range cases {
				if _, err := db.ExecContext(ctx, fmt.Sprintf(`INSERT INTO typed (id, "%s") VALUES ($1, %s)`, c.column, c.literal), i); err != nil {
					t.Errorf("%s from %s: %v", c.column, c.literal, err)
					continue
				}
				var got any
				if err := db.QueryRowContext(ctx, fmt.Sprintf(`SELECT "%s" FROM typed WHERE id = $1`, c.column), i).Scan(&got); err != nil || !reflect.DeepEqual(got, c.want) {
					t.Errorf("%s from %s: got %v (%T), %v", c.column, c.literal, got, got, err)
				}
				for _, by := range []string{"$2", c.literal} {
					args := []any{i, c.param}
					if by != "$2" {
						args = args[:1]
					}
					if c.param == nil {
						continue // JSON texts that are alike need not be equal
					}
					var n int
					query := fmt.Sprintf(`SELECT count(*) FROM typed WHERE id = $1 AND "%s" = %s`, c.column, by)
					if err := db.QueryRowContext(ctx, query, args...).Scan(&n); err != nil || n != 1 {
						t.Errorf("%s: %d rows, %v", query, n, err)
					}
				}
			}
			for _, c := range refused {
				_, err := db.ExecContext(ctx, fmt.Sprintf(`INSERT INTO typed (id, "%s") VALUES (99, %s)`, c.column, c.literal))
				if err == nil {
					t.Errorf("%s took %s", c.column, c.literal)
				} else if strings.Contains(err.Error(), strings.Trim(c.literal, `'`)) {
					t.Errorf("the error shows the value: %v", err)
				}
			}
		})
	}
}
