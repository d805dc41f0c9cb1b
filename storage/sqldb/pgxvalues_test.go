package sqldb_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// openWide opens a table with a sealed column of each kind, and one with the types themselves.
func openWide(t *testing.T, opts *sqldb.PoolOptions, more ...string) *sqldb.Pool {
	t.Helper()
	schema := sqldb.Schema{"wide": {Sealed: sqldb.Columns{
		"txt": sqldb.Text(), "raw": sqldb.Bytes(), "num": sqldb.Int(), "flt": sqldb.Float(), "yes": sqldb.Bool(), "at": sqldb.Time(), "day": sqldb.Date(),
		"amount": sqldb.Numeric(), "doc": sqldb.JSON(), "ref": sqldb.UUID().Searchable("ref_index"),
	}}}
	raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
	for _, ddl := range more {
		mustExec(t, raw, ddl)
	}
	mustExec(t, raw, withChecks(dialect.PostgreSQL, schema, `CREATE TABLE wide (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, txt bytea, raw bytea, num bytea, flt bytea, yes bytea, at bytea, day bytea, amount bytea, doc bytea, ref bytea, ref_index bytea, plain jsonb, PRIMARY KEY (tenant_id, id))`))
	if len(more) > 0 {
		mustExec(t, raw, `ALTER TABLE wide ADD COLUMN mood mood, ADD COLUMN moods mood[]`)
	}
	ddl, err := schema.DDL(dialect.PostgreSQL, &opts.Options)
	must(t, err)
	mustExec(t, raw, ddl)
	pool, err := sqldb.OpenPool(t.Context(), dsn, schema, storage.Guard{Keys: newRing(t, tenantA), Audit: &recorder{}}, opts)
	must(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// What is sealed comes back in whatever type of pgx's it would come back in from a column of its logical type.
func TestPoolSealedTypes(t *testing.T) {
	testenv.Postgres(t)
	pool := openWide(t, &sqldb.PoolOptions{})
	at := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC)
	id := uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	type doc struct {
		A int
		B []string
	}
	const amount = "-12345678901234567890.0001"
	_, err := pool.Exec(as(tenantA), `INSERT INTO wide (id, txt, raw, num, flt, yes, at, day, amount, doc, ref) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		1, pgtype.Text{String: "Þ\x01 ' \\", Valid: true}, []byte{0, 1, 255}, int32(math.MinInt32), float32(0.5), true, pgtype.Timestamptz{Time: at, Valid: true},
		pgtype.Date{Time: at.Truncate(24 * time.Hour), Valid: true}, amount, doc{7, []string{"x", "ÿ"}}, [16]byte(id))
	must(t, err)
	var (
		txt   pgtype.Text
		raw   []byte
		num   pgtype.Int8
		flt   float64
		yes   *bool
		when  time.Time
		day   pgtype.Date
		money string
		d     doc
		ref   pgtype.UUID
	)
	const all = `SELECT txt, raw, num, flt, yes, at, day, amount, doc, ref FROM wide WHERE ref = $1`
	must(t, pool.QueryRow(as(tenantA), all, pgtype.UUID{Bytes: id, Valid: true}).Scan(&txt, &raw, &num, &flt, &yes, &when, &day, &money, &d, &ref))
	if got := fmt.Sprintf("%q %v %d %v %v %v %v %v %v", txt.String, raw, num.Int64, flt, *yes, when.UTC(), day.Time.Format(time.DateOnly), d, uuid.UUID(ref.Bytes) == id); got !=
		`"Þ\x01 ' \\" [0 1 255] -2147483648 0.5 true 2024-02-29 23:59:59.123456789 +0000 UTC 2024-02-29 {7 [x ÿ]} true` {
		t.Error(got)
	}
	if money != amount {
		t.Errorf("numeric: %s", money)
	}
	// As texts, and as pgx chooses itself.
	texts := make([]string, 6)
	must(t, pool.QueryRow(as(tenantA), `SELECT txt, at, day, amount, doc, ref FROM wide`).Scan(&texts[0], &texts[1], &texts[2], &texts[3], &texts[4], &texts[5]))
	if texts[1] != "2024-02-29 23:59:59.123456789+00" || texts[2] != "2024-02-29" || texts[5] != id.String() || !json.Valid([]byte(texts[4])) {
		t.Errorf("%q", texts)
	}
	rows, err := pool.Query(as(tenantA), all, id)
	must(t, err)
	maps, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil || len(maps) != 1 || maps[0]["num"] != int64(math.MinInt32) || maps[0]["yes"] != true || !maps[0]["at"].(time.Time).Equal(at) || maps[0]["txt"] != txt.String {
		t.Errorf("%v, %v", maps, err)
	}
	// NULL is NULL in all of them, and so is a sealed value that a row before had.
	_, err = pool.Exec(as(tenantA), `INSERT INTO wide (id, txt) VALUES (2, NULL), (3, '')`)
	must(t, err)
	rows, err = pool.Query(as(tenantA), `SELECT txt FROM wide ORDER BY id`)
	must(t, err)
	if got, err := pgx.CollectRows(rows, pgx.RowTo[pgtype.Text]); err != nil || len(got) != 3 || got[1].Valid || !got[2].Valid || got[2].String != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// JSON that is searched for is checked as it is sent, whatever it is made of.
func TestPoolChecksWhatIsSent(t *testing.T) {
	testenv.Postgres(t)
	pool := openWide(t, &sqldb.PoolOptions{})
	_, err := pool.Exec(as(tenantA), `INSERT INTO wide (id, plain) VALUES (1, $1)`, map[string]any{"a": []int{1, 2}})
	must(t, err)
	var n int
	must(t, pool.QueryRow(as(tenantA), `SELECT count(*) FROM wide WHERE plain @> $1`, map[string]any{"a": []int{2}}).Scan(&n))
	if n != 1 {
		t.Errorf("%d rows", n)
	}
	var deep any = 1
	for range 2000 {
		deep = []any{deep}
	}
	if err := pool.QueryRow(as(tenantA), `SELECT count(*) FROM wide WHERE plain @> $1`, deep).Scan(&n); err == nil || strings.Contains(err.Error(), "SQLSTATE") {
		t.Errorf("too deep: %v", err)
	}
	for _, limit := range []any{-1, pgtype.Int8{Int64: -1, Valid: true}, "-1", float32(-1)} {
		if _, err := pool.Exec(as(tenantA), `SELECT id FROM wide LIMIT $1`, limit); err == nil || strings.Contains(err.Error(), "SQLSTATE") {
			t.Errorf("LIMIT %v: %v", limit, err)
		}
	}
	if _, err := pool.Exec(as(tenantA), `SELECT id FROM wide LIMIT $1`, pgtype.Int8{Int64: 1, Valid: true}); err != nil {
		t.Error(err)
	}
}

// Types of the application's own are registered on each connection.
func TestPoolLoadsTypes(t *testing.T) {
	testenv.Postgres(t)
	pool := openWide(t, &sqldb.PoolOptions{Options: sqldb.Options{Types: []string{"mood", "public.mood"}}, LoadTypes: []string{"public.mood", "public._mood"}}, `CREATE TYPE mood AS ENUM ('calm', 'merry')`)
	_, err := pool.Exec(as(tenantA), `INSERT INTO wide (id, mood, moods) VALUES (1, $1, $2)`, "calm", []string{"merry", "calm"})
	must(t, err)
	var moods []string
	must(t, pool.QueryRow(as(tenantA), `SELECT moods FROM wide WHERE mood = 'calm'::mood`).Scan(&moods))
	if fmt.Sprint(moods) != "[merry calm]" {
		t.Error(moods)
	}
	if _, err := sqldb.OpenPool(t.Context(), "postgres://127.0.0.1:1/x", sqldb.Schema{}, storage.Guard{}, nil); err == nil {
		t.Error("without a guard")
	}
}
