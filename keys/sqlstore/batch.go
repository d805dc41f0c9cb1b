package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// manyOf returns what writes the statement for the records of many tenants. On PostgreSQL the ids are one argument, of a type
// that every driver has, and the statement is always the same, so that it is prepared once: an id has no spaces. What is
// known is not sent. In SQLite nothing is, and arrays are an extension.
func manyOf(d dialect.Dialect, q *strings.Replacer) func(ids []tenant.ID, known []int64) (string, []any) {
	if d == dialect.PostgreSQL {
		statement := q.Replace("SELECT t.tenant::text, t.version, CASE WHEN t.version = k.version THEN NULL ELSE t.data END " +
			"FROM unnest(string_to_array({1}, ' '), string_to_array({2}, ' ')::bigint[]) AS k (tenant, version) JOIN {t} AS t ON t.tenant::text = k.tenant{c}")
		return func(ids []tenant.ID, known []int64) (string, []any) {
			names, versions := make([]string, len(ids)), make([]string, len(ids))
			for i := range ids {
				names[i], versions[i] = ids[i].String(), strconv.FormatInt(known[i], 10)
			}
			return statement, []any{strings.Join(names, " "), strings.Join(versions, " ")}
		}
	}
	begin, end := q.Replace("SELECT tenant, version, data FROM {t} WHERE tenant{c} IN (?"), ")"
	return func(ids []tenant.ID, _ []int64) (string, []any) {
		args := make([]any, len(ids))
		for i := range ids {
			args[i] = ids[i].String()
		}
		return begin + strings.Repeat(", ?", len(ids)-1) + end, args
	}
}

// GetChanged implements [keys.BatchStore].
func (s *Store) GetChanged(ctx context.Context, ids []tenant.ID, known []int64) ([]keys.Record, error) {
	if len(ids) == 0 || len(ids) > keys.MaxBatch || len(known) != len(ids) {
		return nil, fmt.Errorf("sqlstore: a question about %d tenants of which %d versions are known; it must be 1 to %d of each", len(ids), len(known), keys.MaxBatch)
	}
	places := make(map[string]int, len(ids))
	for i, id := range ids {
		if err := check(ctx, id); err != nil {
			return nil, err
		}
		places[id.String()] = i
	}
	statement, args := s.many(ids, known)
	rows, err := s.db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: read records: %w", classify(ctx, err))
	}
	defer rows.Close()
	records := make([]keys.Record, len(ids))
	for rows.Next() {
		var id string
		var rec keys.Record
		if err := rows.Scan(&id, &rec.Version, &rec.Data); err != nil {
			return nil, fmt.Errorf("%w: sqlstore: a row is not of this package's making: %w", keys.ErrIntegrity, redact.Error(err))
		}
		i, asked := places[id]
		switch {
		case !asked:
			return nil, fmt.Errorf("%w: sqlstore: the database answers what it was not asked", keys.ErrIntegrity)
		case rec.Version == known[i]:
			rec.Data = nil
		}
		records[i] = rec
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sqlstore: read records: %w", classify(ctx, err))
	}
	return records, nil
}
