package sqldb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// copiedKinds are the columns of a table with every type that goes in arrays, and values of each. Each row of the test has one of them, NULL in the other columns.
var copiedKinds = []struct {
	column, typ string
	values      []any
}{
	{"yes", "boolean", []any{true, false, pgtype.Bool{}, "t"}},
	{"small", "smallint", []any{int16(math.MinInt16), 7, "8", pgtype.Int2{Int16: 9, Valid: true}}},
	{"middle", "integer", []any{int32(math.MinInt32), math.MaxInt32, uint8(3), "-1"}},
	{"big", "bigint", []any{int64(math.MinInt64), int64(math.MaxInt64), pgtype.Int8{}, (*int64)(nil), "12"}},
	{"single", "real", []any{float32(math.Inf(1)), math.NaN(), float32(math.SmallestNonzeroFloat32), math.Copysign(0, -1), "-Infinity"}},
	{"double", "double precision", []any{math.NaN(), math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64, math.Copysign(0, -1), 1, "-Infinity"}},
	{"amount", "numeric", []any{"-12345678901234567890.00010", pgtype.Numeric{NaN: true, Valid: true}, pgtype.Numeric{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, pgtype.Numeric{Int: big.NewInt(1200), Exp: -2, Valid: true}, pgtype.Numeric{Int: big.NewInt(0), Exp: -5, Valid: true}, 17, 0.5, "NaN"}},
	{"money2", "numeric(12,2)", []any{pgtype.Numeric{Int: big.NewInt(1005), Exp: -3, Valid: true}, pgtype.Numeric{Int: big.NewInt(-1995), Exp: -3, Valid: true}, 3, "7.125"}},
	{"txt", "text", []any{"", "Þ '\" \\ {},NULL", "NULL", "\x01\t\n", pgtype.Text{}, []byte("bytes"), strings.Repeat("long ", 2000)}},
	{"short", "varchar(4)", []any{"", "ab", "abcd    ", "þþþþ"}},
	{"padded", "char(5)", []any{"", "a", "abcde   "}},
	{"raw", "bytea", []any{[]byte{}, []byte{0, 1, 255, '\\'}, []byte(nil), bytes.Repeat([]byte{0}, 9000)}},
	{"ref", "uuid", []any{uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), [16]byte{1}, pgtype.UUID{}, "6BA7B8109DAD11D180B400C04FD430C8"}},
	{"doc", "json", []any{`{"b": 1,  "a":null}`, []byte(`[1 ,2]`), map[string]any{"k": []int{1}}, json1{1}, []string{"a"}, `"x"`, "null", nil}},
	{"docb", "jsonb", []any{`{"b": 1,  "a":null, "b": 2}`, []byte(`[1 ,2]`), map[string]any{"k": 1.50}, json1{2}, []string{"a"}, `"x"`, "null"}},
	{"day", "date", []any{time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC), pgtype.Date{InfinityModifier: pgtype.Infinity, Valid: true}, pgtype.Date{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, time.Date(-4712, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(5874897, 12, 31, 0, 0, 0, 0, time.UTC), "2024-02-29"}},
	{"clock", "time", []any{pgtype.Time{Microseconds: 86400e6, Valid: true}, pgtype.Time{Valid: true}, pgtype.Time{Microseconds: 1, Valid: true}}},
	{"local", "timestamp", []any{time.Date(294276, 12, 31, 23, 59, 59, 999999000, time.UTC), time.Date(2024, 2, 29, 1, 2, 3, 123456789, time.UTC), pgtype.Timestamp{InfinityModifier: pgtype.Infinity, Valid: true}}},
	{"at", "timestamptz", []any{time.Date(2024, 2, 29, 1, 2, 3, 123456789, time.FixedZone("", 3600)), pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, time.Time{}, time.Date(-4712, 1, 1, 0, 0, 0, 0, time.UTC)}},
	{"at0", "timestamptz(0)", []any{time.Date(2024, 2, 29, 1, 2, 3, 500000000, time.UTC), time.Date(2024, 2, 29, 1, 2, 3, 499999000, time.UTC)}},
	{"span", "interval", []any{pgtype.Interval{Months: -1, Days: 40, Microseconds: -1, Valid: true}, 90 * time.Minute}},
}

type json1 struct{ N int }

// What a copy stores is, byte by byte, what pgx's own COPY stores, whether it went in arrays or not.
func TestPoolCopyStoresAsCOPY(t *testing.T) {
	for _, c := range []struct{ name, more string }{{"in arrays", ""}, {"in VALUES", ", mood mood, lists int[], addr inet"}} {
		t.Run(c.name, func(t *testing.T) {
			columns, ddl := []string{"id"}, ""
			for _, k := range copiedKinds {
				columns, ddl = append(columns, k.column), ddl+", "+k.column+" "+k.typ
			}
			var rows [][]any
			row := func(at int, v any) {
				r := make([]any, len(columns))
				r[0] = len(rows)
				if at > 0 {
					r[at] = v
				}
				rows = append(rows, r)
			}
			if c.more != "" {
				columns, ddl = append(columns, "mood", "lists", "addr"), ddl+c.more
				row(len(columns)-3, "merry")
				row(len(columns)-2, []int32{1, -2})
				row(len(columns)-2, []int32{})
				row(len(columns)-1, "10.0.0.0/8")
			}
			row(0, nil)
			for at, k := range copiedKinds {
				for _, v := range k.values {
					if _, isText := v.(string); !isText || c.more != "" || contains(k.typ, "text", "char", "json") {
						row(at+1, v) // in arrays no others, so that all of them do go in arrays
					}
				}
			}
			raw, dsn, super := newRaw(t, dialect.PostgreSQL)
			schema := sqldb.Schema{"kinds": {}}
			mustExec(t, raw, `CREATE TYPE mood AS ENUM ('calm', 'merry')`)
			mustExec(t, raw, `CREATE TABLE kinds (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL`+ddl+`, PRIMARY KEY (tenant_id, id))`)
			mustExec(t, raw, `CREATE TABLE twins (id bigint NOT NULL`+ddl+`)`)
			rls, err := schema.DDL(dialect.PostgreSQL, nil)
			must(t, err)
			mustExec(t, raw, rls)
			log := &recorder{}
			pool, err := sqldb.OpenPool(t.Context(), dsn, schema, storage.Guard{Keys: newRing(t, tenantA), Audit: log}, &sqldb.PoolOptions{LoadTypes: []string{"public.mood"}})
			must(t, err)
			t.Cleanup(pool.Close)

			plain, err := pgx.Connect(t.Context(), super)
			must(t, err)
			defer plain.Close(context.Background())
			types, err := plain.LoadTypes(t.Context(), []string{"public.mood"})
			must(t, err)
			plain.TypeMap().RegisterTypes(types)
			if n, err := plain.CopyFrom(t.Context(), pgx.Identifier{"twins"}, columns, pgx.CopyFromRows(rows)); err != nil || n != int64(len(rows)) {
				t.Fatalf("COPY: %d, %v", n, err)
			}
			log.take()
			if n, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"kinds"}, columns, pgx.CopyFromRows(rows)); err != nil || n != int64(len(rows)) {
				t.Fatalf("%d, %v", n, err)
			}
			if n := len(inserts(log)); (n == 1) != (c.more == "") {
				t.Errorf("the rows went in %d statements", n)
			}
			stored := func(table string) (out [][][]byte) {
				result, err := plain.Query(t.Context(), "SELECT "+strings.Join(columns, ", ")+" FROM "+table+" ORDER BY id")
				must(t, err)
				for result.Next() {
					var r [][]byte
					for _, v := range result.RawValues() {
						r = append(r, bytes.Clone(v))
					}
					out = append(out, r)
				}
				must(t, result.Err())
				return out
			}
			want, got := stored("twins"), stored("kinds")
			if len(want) != len(rows) || len(got) != len(rows) {
				t.Fatalf("%d and %d rows of %d", len(want), len(got), len(rows))
			}
			for i := range rows {
				for j := range columns {
					if !bytes.Equal(want[i][j], got[i][j]) || (want[i][j] == nil) != (got[i][j] == nil) {
						t.Errorf("%s, of %v: %x and not %x", columns[j], rows[i][j], got[i][j], want[i][j])
					}
				}
			}
			// What COPY refuses is refused, in the words of the guard.
			for _, bad := range []struct {
				column string
				value  any
			}{{"short", "abcde"}, {"txt", "nul\x00"}, {"txt", "\xff"}, {"doc", "{"}, {"docb", "{"}, {"small", 40000}, {"big", "canary"}, {"money2", 1e12}, {"big", json1{3}}, {"amount", struct{ canary int }{1}}} {
				n, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"kinds"}, []string{"id", bad.column}, pgx.CopyFromRows([][]any{{1001, nil}, {1002, bad.value}}))
				if err == nil || n != 0 || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "abcde") {
					t.Errorf("%s, %v: %d, %v", bad.column, bad.value, n, err)
				}
				if _, err := plain.CopyFrom(t.Context(), pgx.Identifier{"twins"}, []string{"id", bad.column}, pgx.CopyFromRows([][]any{{1002, bad.value}})); err == nil {
					t.Errorf("COPY stores %v in %s", bad.value, bad.column)
				}
			}
			if len(stored("kinds")) != len(rows) {
				t.Error("rows of a copy that failed were stored")
			}
		})
	}
}

func contains(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

// inserts are the outcomes of the writes in a trail.
func inserts(log *recorder) (out []audit.Event) {
	for _, ev := range log.take() {
		if ev.Phase == audit.Outcome && strings.HasPrefix(ev.Statement, "INSERT") {
			out = append(out, ev)
		}
	}
	return out
}

// Rows go in arrays, with sealed columns sealed and searchable, in memory that the source uses again, and each statement of them leaves
// an event. From a row on that cannot go in an array they go in VALUES, and all is one copy.
func TestPoolCopyInArrays(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	const rows, odd = 9000, 8500
	name, values := []byte{}, make([]any, 5)
	source := func(first int, another func(i int) any) pgx.CopyFromSource {
		return pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
			name = fmt.Appendf(name[:0], "Name %d", i)
			values[0], values[1], values[2], values[3], values[4] = any(first+i), "clinic", name, nil, &name
			if i%2 == 0 {
				values[3] = fmt.Sprintf("ssn %d of %d", i, first)
			}
			if another != nil {
				values[0] = another(i)
			}
			return values, nil
		})
	}
	columns := []string{"id", "tenant_id", "name", "ssn", "ward"}
	e.log.take()
	n, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, columns, source(10_000, nil))
	if err != nil || n != rows {
		t.Fatalf("%d, %v", n, err)
	}
	sum := int64(0)
	events := inserts(e.log)
	for _, ev := range events {
		sum += ev.Rows
	}
	if len(events) != 3 || sum != rows {
		t.Errorf("%d statements of %d rows in all", len(events), sum)
	}
	e.log.take()
	n, err = pool.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, columns, source(20_000, func(i int) any {
		if i == odd {
			return fmt.Sprint(20_000 + i) // a text, for PostgreSQL to read as a number
		}
		return 20_000 + i
	}))
	if err != nil || n != rows {
		t.Fatalf("%d, %v", n, err)
	}
	if events := inserts(e.log); len(events) < 4 {
		t.Errorf("%d statements", len(events))
	}
	tx, err := pool.Begin(as(tenantA))
	must(t, err)
	n, err = tx.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, columns, source(30_000, nil))
	if err != nil || n != rows {
		t.Fatalf("%d, %v", n, err)
	}
	must(t, tx.Commit(as(tenantA)))
	for _, first := range []int{10_000, 20_000, 30_000} {
		for _, i := range []int{0, 4094, 4096, odd, rows - 2} {
			var id int
			var name, ward string
			must(t, pool.QueryRow(as(tenantA), `SELECT id, name, ward FROM patients WHERE ssn = $1`, fmt.Sprintf("ssn %d of %d", i, first)).Scan(&id, &name, &ward))
			if want := fmt.Sprintf("Name %d", i); id != first+i || name != want || ward != want {
				t.Errorf("row %d from %d: %d, %s, %s", i, first, id, name, ward)
			}
		}
	}
	if got := fmt.Sprint(e.rows(t, tenantA, `SELECT count(*), count(DISTINCT ward), count(ssn) FROM patients WHERE id >= 10000`)); got != "[[27000 9000 13500]]" {
		t.Errorf("stored: %s", got)
	}
	var plain int // three bytes by themselves are in one of 25 of as much ciphertext
	must(t, openBare(t, e.super).QueryRow(`SELECT count(*) FROM patients WHERE position('Name '::bytea IN name) > 0 OR position('ssn '::bytea IN ssn) > 0 AND position(' of '::bytea IN ssn) > 0 OR ssn IS NOT NULL AND ssn_index IS NULL OR tenant_id NOT IN ('clinic', 'Clinic')`).Scan(&plain))
	if plain != 0 {
		t.Errorf("%d values are in the clear", plain)
	}
}

// A copy that ends early stores nothing, and leaves the connection to others.
func TestPoolCopyInArraysEndsEarly(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	before := fmt.Sprint(e.raws(t, tenantA))
	const at = 6000 // rows before are on their way
	copying := func(ctx context.Context, stop func(i int) (any, error)) (int64, error) {
		return pool.CopyFrom(ctx, pgx.Identifier{"patients"}, []string{"id", "name", "ssn"}, pgx.CopyFromSlice(20_000, func(i int) ([]any, error) {
			id := any(1000 + i)
			if i == at {
				var err error
				if id, err = stop(1000 + i); err != nil {
					return nil, err
				}
			}
			return []any{id, "canary", fmt.Sprint("canary ", i)}, nil
		}))
	}
	ctx, cancel := context.WithCancel(as(tenantA))
	for what, c := range map[string]struct {
		ctx  context.Context
		stop func(int) (any, error)
		want func(error) bool
	}{
		"the source fails":    {as(tenantA), func(int) (any, error) { return nil, errDisk }, func(err error) bool { return errors.Is(err, errDisk) }},
		"a duplicate":         {as(tenantA), func(int) (any, error) { return 1, nil }, isState("23505")},
		"no value":            {as(tenantA), func(int) (any, error) { return nil, nil }, isState("23502")},
		"out of range":        {as(tenantA), func(int) (any, error) { return "9223372036854775808", nil }, isState("22003")},
		"no number":           {as(tenantA), func(int) (any, error) { return []string{"canary"}, nil }, func(err error) bool { return strings.Contains(err.Error(), "cannot be encoded") }},
		"a cancelled context": {ctx, func(i int) (any, error) { cancel(); return i, nil }, func(err error) bool { return errors.Is(err, context.Canceled) }},
		"a suspended tenant": {as(tenantA), func(i int) (any, error) {
			return i, e.ring.Suspend(t.Context(), tenantA, "test")
		}, func(err error) bool { return errors.Is(err, keys.ErrSuspended) }},
		"a trail that fails": {as(tenantA), func(i int) (any, error) {
			e.log.failing(func(ev *audit.Event) bool { return ev.Phase == audit.Intent })
			return i, nil
		}, func(err error) bool { return errors.Is(err, audit.ErrUnavailable) }},
	} {
		e.log.take()
		n, err := copying(c.ctx, c.stop)
		if err == nil || n != 0 || !c.want(err) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %d, %v", what, n, err)
		}
		e.log.failing(nil)
		if what == "a suspended tenant" {
			must(t, e.ring.Resume(t.Context(), tenantA, "test"))
		}
		intents, outcomes := 0, 0
		for _, ev := range e.log.take() {
			if strings.HasPrefix(ev.Statement, "INSERT") {
				intents, outcomes = intents+count(ev.Phase == audit.Intent), outcomes+count(ev.Phase == audit.Outcome)
			}
		}
		if intents == 0 || intents != outcomes {
			t.Errorf("%s: %d intents and %d outcomes", what, intents, outcomes)
		}
		if fmt.Sprint(e.raws(t, tenantA)) != before {
			t.Fatalf("%s: a part of the rows was stored", what)
		}
		must(t, pool.Ping(t.Context()))
	}
	func() {
		defer func() {
			if recover() != "source" {
				t.Error("the source's panic was lost")
			}
		}()
		copying(as(tenantA), func(int) (any, error) { panic("source") })
	}()
	must(t, pool.Ping(t.Context()))
	if fmt.Sprint(e.raws(t, tenantA)) != before {
		t.Error("after a panic: a part of the rows was stored")
	}
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func isState(code string) func(error) bool {
	return func(err error) bool {
		var pg *pgconn.PgError
		return errors.As(err, &pg) && pg.Code == code
	}
}

// A source may end the transaction that its rows are stored in, and use it between rows.
func TestPoolCopySourceUsesTransaction(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	tx, err := pool.Begin(as(tenantA))
	must(t, err)
	copying := func(use func(i int) error) error {
		_, err := tx.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, []string{"id", "ward"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
			return []any{1000 + i, "copied"}, use(i)
		}))
		return err
	}
	var n int
	must(t, copying(func(i int) error {
		if i != 4999 {
			return nil
		}
		return tx.QueryRow(as(tenantA), `SELECT count(*) FROM patients WHERE ward = 'copied'`).Scan(&n)
	}))
	if n != 4096 {
		t.Errorf("%d rows", n)
	}
	if err := copying(func(i int) error {
		if i != 4999 {
			return nil
		}
		return tx.Rollback(as(tenantA))
	}); !errors.Is(err, pgx.ErrTxClosed) && !isState("23505")(err) {
		t.Error(err)
	}
	tx.Rollback(as(tenantA))
	must(t, pool.Ping(t.Context()))
}

// Defaults, generated columns and triggers do with rows in arrays what they do with rows of VALUES, in the order of the rows.
func TestPoolCopyInArraysFillsIn(t *testing.T) {
	testenv.Postgres(t)
	schema := sqldb.Schema{"lines": {Triggers: map[string]sqldb.Trigger{"see": {}}}}
	raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
	mustExec(t, raw, `CREATE TABLE lines (tenant_id text COLLATE "C" NOT NULL, id bigint GENERATED BY DEFAULT AS IDENTITY, ward text, cost bigint DEFAULT 7,
		twice bigint GENERATED ALWAYS AS (id * 2) STORED, seen text, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant_id, id))`)
	mustExec(t, raw, `CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.ward = 'skipped' THEN RETURN NULL; END IF; NEW.seen = NEW.ward || ' seen'; RETURN NEW; END $$`)
	mustExec(t, raw, `CREATE TRIGGER see BEFORE INSERT ON lines FOR EACH ROW EXECUTE FUNCTION see()`)
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	must(t, err)
	mustExec(t, raw, ddl)
	log := &recorder{}
	pool, err := sqldb.OpenPool(t.Context(), dsn, schema, storage.Guard{Keys: newRing(t, tenantA), Audit: log}, nil)
	must(t, err)
	t.Cleanup(pool.Close)
	n, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"lines"}, []string{"ward"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
		if i == 100 {
			return []any{"skipped"}, nil
		}
		return []any{fmt.Sprint("ward ", i)}, nil
	}))
	if err != nil || n != 4999 {
		t.Fatalf("%d, %v", n, err)
	}
	if events := inserts(log); len(events) != 2 {
		t.Errorf("%d statements", len(events))
	}
	rows, err := pool.Query(as(tenantA), `SELECT id, ward, cost, twice, seen FROM lines ORDER BY id`)
	must(t, err)
	i, last := 0, int64(0)
	for rows.Next() {
		var id, cost, twice int64
		var ward, seen string
		must(t, rows.Scan(&id, &ward, &cost, &twice, &seen))
		if i == 100 {
			i++
		}
		if want := fmt.Sprint("ward ", i); ward != want || seen != want+" seen" || cost != 7 || twice != 2*id || id <= last {
			t.Fatalf("row %d: %d %s %d %d %s", i, id, ward, cost, twice, seen)
		}
		i, last = i+1, id
	}
	if must(t, rows.Err()); i != 5000 {
		t.Errorf("%d rows", i)
	}
}

// While two index keys live, a unique key on a blind index admits a value once among rows in arrays too.
func TestPoolCopyInArraysDuringARotation(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	e.admit(t, tenantA, 0, 10)
	e.rotate(t, tenantA, keys.PurposeIndex)
	pool := newPool(t, e, e.guard, nil)
	before := fmt.Sprint(e.raws(t, tenantA))
	copying := func(rows int, of func(i int) string) error {
		_, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, []string{"id", "ssn"}, pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
			return []any{1000 + i, of(i)}, nil
		}))
		return err
	}
	for _, at := range []int{0, 1500, 2999} {
		err := copying(3000, func(i int) string {
			if i == at {
				return ssn(4)
			}
			return fmt.Sprint("new ", i)
		})
		if !errors.Is(err, sqldb.ErrDuplicate) || strings.Contains(err.Error(), ssn(4)) {
			t.Errorf("row %d is a duplicate: %v", at, err)
		}
		if fmt.Sprint(e.raws(t, tenantA)) != before {
			t.Fatal("a part of the rows was stored")
		}
	}
	must(t, copying(3000, func(i int) string { return fmt.Sprint("new ", i) }))
	var id int
	must(t, pool.QueryRow(as(tenantA), `SELECT id FROM patients WHERE ssn = 'new 2999'`).Scan(&id))
	if id != 3999 {
		t.Error(id)
	}
}
