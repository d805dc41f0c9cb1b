package builtin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// poisoned is a database with a table of poisonous values for each type.
type poisoned struct {
	*pgx.Conn
	version int
	tables  map[Type]string
	byOID   map[uint32]Type
	cached  map[string][]string
}

// setup makes the types that the catalogue speaks of, and deepest(), the deepest jsonb that can be built from another.
const setup = `
CREATE EXTENSION IF NOT EXISTS citext;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE FUNCTION deepest(v jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	LOOP v := jsonb_build_array(v); END LOOP;
EXCEPTION WHEN statement_too_complex THEN RETURN v;
END $$;`

func poisonedBy(t testing.TB, conn *pgx.Conn) *poisoned {
	t.Helper()
	p := &poisoned{Conn: conn, tables: map[Type]string{}, byOID: map[uint32]Type{}, cached: map[string][]string{}}
	p.must(t, setup)
	if err := p.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int / 10000").Scan(&p.version); err != nil {
		t.Fatal(err)
	}
	for typ, values := range poison {
		if p.version >= 17 {
			values = slices.Concat(values, poison17[typ])
		}
		p.fill(t, typ, values)
	}
	p.patterns(t)
	p.must(t, "INSERT INTO p_jsonb(v) SELECT deepest(v) FROM p_jsonb ORDER BY length(v::text) - length(replace(v::text, '[', '')) DESC NULLS LAST LIMIT 1")
	for _, element := range elements {
		p.arrays(t, element)
	}
	// The planner tries values on statistics. There are none of ranges of a huge numeric, which ANALYZE fails for.
	for typ, table := range p.tables {
		if !contains("numrange nummultirange", string(typ)) {
			p.must(t, "ANALYZE "+table)
		}
	}
	return p
}

func (p *poisoned) must(t testing.TB, query string) {
	t.Helper()
	if _, err := p.Exec(t.Context(), query); err != nil {
		t.Fatalf("%.300s: %.300v", query, err)
	}
}

// sqlType is a type as SQL names it.
func sqlType(t Type) string { return strings.TrimPrefix(string(t), enumPrefix) }

func (p *poisoned) create(t testing.TB, typ Type) string {
	t.Helper()
	name := "p_" + strings.ReplaceAll(sqlType(typ), "[]", "_array")
	p.must(t, fmt.Sprintf("CREATE TABLE %s (id int GENERATED ALWAYS AS IDENTITY, v %s)", name, sqlType(typ)))
	p.tables[typ] = name
	var oid uint32
	if err := p.QueryRow(t.Context(), fmt.Sprintf("SELECT '%s'::regtype::oid", sqlType(typ))).Scan(&oid); err != nil {
		t.Fatal(err)
	}
	p.byOID[oid] = typ
	return name
}

func (p *poisoned) fill(t testing.TB, typ Type, values []string) {
	t.Helper()
	name := p.create(t, typ)
	p.must(t, "INSERT INTO "+name+"(v) VALUES (NULL)")
	for _, v := range values {
		insert := func(depth int) string {
			return fmt.Sprintf("INSERT INTO %s(v) SELECT (%s)::%s", name, strings.ReplaceAll(v, "DEPTH", fmt.Sprint(depth)), sqlType(typ))
		}
		if !strings.Contains(v, "DEPTH") {
			p.must(t, insert(0))
			continue
		}
		low, high := 1, 1<<17 // the greatest depth that is known to pass, and the least that is thought to fail
		for high-low > 1 {
			middle := (low + high) / 2
			if p.passes(t.Context(), insert(middle)) {
				low = middle
			} else {
				high = middle
			}
		}
		p.must(t, insert(max(1, low-1000))) // a parameter is read with less of the stack left
	}
}

// passes tells whether a statement succeeds, and undoes it.
func (p *poisoned) passes(ctx context.Context, query string) bool {
	tx, err := p.Begin(ctx)
	if err != nil {
		return false
	}
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, query)
	return err == nil
}

// arrays makes the table of an element type's arrays: of every shape, with bounds of every kind.
func (p *poisoned) arrays(t testing.TB, element Type) {
	t.Helper()
	p.must(t, fmt.Sprintf(`INSERT INTO %[1]s(v)
		WITH y AS (SELECT a.v AS a, b.v AS b FROM %[2]s a, %[2]s b WHERE a.id = 2 AND b.id = 3)
		SELECT NULL UNION ALL SELECT '{}'::%[3]s[] UNION ALL SELECT ARRAY[NULL]::%[3]s[] UNION ALL
		SELECT array(SELECT v FROM %[2]s) UNION ALL SELECT array(SELECT v FROM %[2]s WHERE v IS NOT NULL) UNION ALL
		SELECT array(SELECT v FROM %[2]s WHERE v IS NOT NULL ORDER BY id DESC) UNION ALL
		SELECT ARRAY[a] FROM y UNION ALL SELECT ARRAY[a, b] FROM y UNION ALL SELECT ARRAY[b, a, NULL] FROM y UNION ALL
		SELECT ARRAY[ARRAY[a, b], ARRAY[b, NULL]] FROM y UNION ALL SELECT ARRAY[ARRAY[a]] FROM y UNION ALL
		SELECT ARRAY[ARRAY[ARRAY[a, b]], ARRAY[ARRAY[b, a]]] FROM y UNION ALL
		SELECT array_fill(a, ARRAY[2], ARRAY[-2147483648]) FROM y UNION ALL
		SELECT array_fill(a, ARRAY[2], ARRAY[2147483645]) FROM y UNION ALL
		SELECT array_fill(a, ARRAY[2, 2], ARRAY[-5, 5]) FROM y UNION ALL
		SELECT array_fill(a, ARRAY[1, 1, 1, 1, 1, 1]) FROM y UNION ALL
		SELECT array_fill(NULL::%[3]s, ARRAY[20000]) UNION ALL
		SELECT array_fill(b, ARRAY[2000]) FROM y`, p.create(t, element+arraySuffix), p.tables[element], sqlType(element)))
}

// texts returns a table's values as parameters have them, but for the largest and for those that are nested deeper than the
// server reads: whether it reads a parameter depends on no row.
func (p *poisoned) texts(t testing.TB, table string) []string {
	t.Helper()
	if values, ok := p.cached[table]; ok {
		return values
	}
	rows, err := p.Query(t.Context(), fmt.Sprintf("SELECT v::text FROM %s WHERE length(v::text) <= 200000 ORDER BY id", table))
	if err != nil {
		t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Prepare(t.Context(), "", "SELECT v FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	values = slices.DeleteFunc(values, func(v string) bool {
		r := p.PgConn().ExecParams(t.Context(), "SELECT $1 IS NULL", [][]byte{[]byte(v)}, []uint32{d.Fields[0].DataTypeOID}, nil, nil).Read()
		var e *pgconn.PgError
		if r.Err != nil && (!errors.As(r.Err, &e) || e.Code != "54001") {
			t.Fatalf("%s: %.60q: %.300v", table, v, r.Err)
		}
		return r.Err != nil
	})
	p.cached[table] = values
	return values
}
