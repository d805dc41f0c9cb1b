package sqldb_test

import (
	"bytes"
	"database/sql/driver"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// newNarrowPool is newPool with one connection, which all tenants share.
func newNarrowPool(t *testing.T, e *env, opts *sqldb.PoolOptions) *sqldb.Pool {
	t.Helper()
	sep := "?"
	if strings.Contains(e.dsn, "?") {
		sep = "&"
	}
	narrow := *e
	narrow.dsn += sep + "pool_max_conns=1"
	return newPool(t, &narrow, e.guard, opts)
}

// keepsBytes is a scanner that keeps what it is shown.
type keepsBytes struct{ kept []byte }

func (k *keepsBytes) ScanBytes(v []byte) error { k.kept = v; return nil }

// What an application keeps of a row, against pgx's rules, never becomes what another tenant reads on the connection.
func TestPoolKeptBytesStay(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	for _, id := range []tenant.ID{tenantA, tenantB} {
		_, err := pool.Exec(as(id), `UPDATE patients SET ward = $1`, strings.Repeat("ward of "+id.String()+";", 200))
		must(t, err)
	}
	const query = `SELECT ward FROM patients WHERE id = 1`
	ways := map[string]func(rows pgx.Rows) []byte{
		"RawValues": func(rows pgx.Rows) []byte { return rows.RawValues()[0] },
		"DriverBytes": func(rows pgx.Rows) []byte {
			var b pgtype.DriverBytes
			must(t, rows.Scan(&b))
			return b
		},
		"a BytesScanner": func(rows pgx.Rows) []byte {
			var k keepsBytes
			must(t, rows.Scan(&k))
			return k.kept
		},
	}
	for what, keep := range ways {
		rows, err := pool.Query(as(tenantA), query)
		must(t, err)
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
		kept := keep(rows)
		rows.Close()
		want := bytes.Clone(kept)
		for range 20 {
			var ward string
			must(t, pool.QueryRow(as(tenantB), query).Scan(&ward))
		}
		if !bytes.Equal(kept, want) {
			t.Errorf("%s: kept of %s: %.60q", what, tenantA, kept)
		}
	}
}

// valuer runs a function when its value is asked for.
type valuer func() driver.Value

func (v valuer) Value() (driver.Value, error) { return v(), nil }

// What was checked is sent, though the application writes to the same memory meanwhile.
func TestPoolSendsWhatWasChecked(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	pattern := []byte(`west%`)
	b := &pgx.Batch{}
	b.Queue(`SELECT count(*) FROM patients WHERE ward LIKE $1`, pattern)
	b.Queue(`SELECT count(*) FROM patients WHERE name = $1`, valuer(func() driver.Value { copy(pattern, `none\`); return "x" }))
	results := pool.SendBatch(as(tenantA), b)
	var n int
	if err := results.QueryRow().Scan(&n); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
	results.Close()
}

// Neither ciphertexts nor tenants' numbers go through an application's codecs; a decimal library's may take numeric.
func TestPoolOwnTypesAreNotReplaced(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	for oid, replaced := range map[uint32]bool{pgtype.ByteaOID: true, pgtype.Int8OID: true, pgtype.NumericOID: false} {
		pool := newPool(t, e, e.guard, &sqldb.PoolOptions{RegisterTypes: func(m *pgtype.Map) {
			typ, _ := m.TypeForOID(oid)
			m.RegisterType(&pgtype.Type{Name: typ.Name, OID: oid, Codec: recodes{typ.Codec}})
		}})
		_, err := pool.Exec(as(tenantA), `UPDATE visits SET note = $1 WHERE id = 1`, "new")
		if refused := err != nil && strings.Contains(err.Error(), "RegisterTypes"); refused != replaced {
			t.Errorf("type %d: %v", oid, err)
		}
	}
}

// recodes is a codec of an application's.
type recodes struct{ pgtype.Codec }

func TestPoolEmptyBytesAreNotNull(t *testing.T) {
	pool := openWide(t, &sqldb.PoolOptions{})
	_, err := pool.Exec(as(tenantA), `INSERT INTO wide (id, raw) VALUES (1, $1)`, []byte{})
	must(t, err)
	var raw []byte
	must(t, pool.QueryRow(as(tenantA), `SELECT raw FROM wide`).Scan(&raw))
	if raw == nil {
		t.Error("empty bytes came back as NULL")
	}
}
