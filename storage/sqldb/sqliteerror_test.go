package sqldb_test

import (
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
)

// TestSQLitesWordsHoldNoValue: what a function says while a statement runs repeats what it was given, a parameter or what a row has.
func TestSQLitesWordsHoldNoValue(t *testing.T) {
	e := newEnv(t, dialect.SQLite, nil)
	fill(t, e)
	_, err := e.db.ExecContext(as(tenantA), `UPDATE patients SET ward = '$Ada Lovelace'`)
	must(t, err)
	for _, c := range []struct {
		statement string
		args      []any
		want      string
	}{
		{`SELECT json_extract('{"a":1}', $1) FROM patients`, []any{"$Ada Lovelace"}, "JSON path"},
		{`SELECT json_extract('{"a":1}', ward) FROM patients`, nil, "JSON path"},
		{`SELECT id FROM patients WHERE json_type('{"a":1}', ward) = 'x'`, nil, "JSON path"},
		{`UPDATE patients SET ward = json_set('{}', $1, 1)`, []any{"$Ada Lovelace"}, "JSON path"},
		{`SELECT json_extract(ward, '$.a') FROM patients`, nil, "malformed JSON"}, // which is always the same
	} {
		read := func() error {
			rows, err := e.db.QueryContext(as(tenantA), c.statement, c.args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
			}
			return rows.Err()
		}
		run := func() error { _, err := e.db.ExecContext(as(tenantA), c.statement, c.args...); return err }
		for how, f := range map[string]func() error{"queried": read, "executed": run} {
			if err := f(); err == nil || strings.Contains(err.Error(), "Lovelace") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v", c.statement, how, err)
			}
		}
	}
	for _, event := range e.log.take() {
		if strings.Contains(event.Reason+event.Statement, "Lovelace") {
			t.Errorf("the trail has %+v", event)
		}
	}
}
