package sqldb_test

import (
	"bytes"
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/storage"
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

// A codec that is registered later, by whoever kept a connection's types or has them from a result, does not make another tenant's number of
// a tenant's.
func TestPoolTypesMakeNoOtherTenant(t *testing.T) {
	for _, typ := range []string{"bigint", "integer"} {
		raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
		mustExec(t, raw, fmt.Sprintf(`CREATE TABLE notes (tenant_id %s NOT NULL, id bigint NOT NULL, note text, PRIMARY KEY (tenant_id, id))`, typ))
		a, b := tenant.MustParse("17"), tenant.MustParse("18")
		guard := storage.Guard{Keys: newRing(t, a, b), Audit: &recorder{}}
		pool, err := sqldb.OpenPool(t.Context(), dsn, sqldb.Schema{"notes": {}}, guard, &sqldb.PoolOptions{Options: sqldb.Options{TenantType: typ, InsecureWithoutRLS: true}})
		must(t, err)
		t.Cleanup(pool.Close)
		for _, id := range []tenant.ID{a, b} {
			_, err := pool.Exec(as(id), `INSERT INTO notes (id, note) VALUES (1, $1)`, "of "+id.String())
			must(t, err)
		}
		rows, err := pool.Query(as(a), `SELECT note FROM notes`)
		must(t, err)
		for _, oid := range []uint32{pgtype.Int4OID, pgtype.Int8OID} {
			was, _ := rows.TypeMap().TypeForOID(oid)
			rows.TypeMap().RegisterType(&pgtype.Type{Name: was.Name, OID: oid, Codec: misleads{was.Codec}})
		}
		rows.Close()
		var note string
		if err := pool.QueryRow(as(a), `SELECT note FROM notes`).Scan(&note); err != nil || note != "of 17" {
			t.Errorf("%s: %q, %v", typ, note, err)
		}
	}
}

// misleads is a codec of an application's that makes every number 18.
type misleads struct{ pgtype.Codec }

func (m misleads) PlanEncode(_ *pgtype.Map, oid uint32, format int16, _ any) pgtype.EncodePlan {
	switch {
	case format == pgtype.TextFormatCode:
		return sends("18")
	case oid == pgtype.Int4OID:
		return sends("\x00\x00\x00\x12")
	}
	return sends("\x00\x00\x00\x00\x00\x00\x00\x12")
}

type sends string

func (s sends) Encode(_ any, buf []byte) ([]byte, error) { return append(buf, s...), nil }

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
