package sqldb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// pgOrigins are the numbers by which a PostgreSQL server says where a result's columns come from.
type pgOrigins struct {
	columns map[pgOrigin]originName
	tables  map[uint32]string // the declared tables
	sum     [sha256.Size]byte
}

type pgOrigin struct {
	table  uint32
	column uint16
}

type originName struct{ table, column string }

// originsCache is what the connections of a database have read last. They share it while it is true: a schema of many tables has
// thousands of columns, and each connection would hold them all.
type originsCache struct{ last atomic.Pointer[pgOrigins] }

// declaredColumns are the columns of the declared tables, for the parameters of [declaredNames].
const declaredColumns = `
		FROM unnest($1::text[], $2::text[], $3::text[]) AS want(nspname, relname, declared)
		JOIN pg_catalog.pg_namespace n ON n.nspname = want.nspname
		JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = want.relname
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
		WHERE a.attnum > 0 AND NOT a.attisdropped`

func declaredNames(cat *sqlplan.Catalog) []any {
	var schemas, relations, tables []string
	for _, t := range cat.Tables {
		schemas, relations, tables = append(schemas, t.Schema), append(relations, t.Relation()), append(tables, t.Name)
	}
	return []any{schemas, relations, tables}
}

// read learns how the server of a connection numbers the catalog's tables and columns. It is done for every connection, so that
// a table dropped and made again is noticed by connections made since; where nothing is another than another connection found it,
// by a sum that the server makes.
func (k *originsCache) read(ctx context.Context, conn *pgx.Conn, cat *sqlplan.Catalog) (*pgOrigins, error) {
	names := declaredNames(cat)
	if last := k.last.Load(); last != nil {
		var sum []byte
		err := conn.QueryRow(ctx, `
		SELECT pg_catalog.sha256(pg_catalog.convert_to(coalesce(pg_catalog.string_agg(pg_catalog.format('%s %s %s %s;', c.oid, a.attnum,
			pg_catalog.encode(pg_catalog.convert_to(a.attname::text, 'UTF8'), 'hex'), pg_catalog.encode(pg_catalog.convert_to(want.declared, 'UTF8'), 'hex')),
			'' ORDER BY c.oid, a.attnum), ''), 'UTF8'))`+declaredColumns, names...).Scan(&sum)
		if err != nil {
			return nil, fmt.Errorf("sqldb: reading the catalog failed: %w", redact(err))
		}
		if string(sum) == string(last.sum[:]) {
			return last, nil
		}
	}
	now, err := readOrigins(ctx, conn, names)
	if err == nil {
		k.last.Store(now)
	}
	return now, err
}

func readOrigins(ctx context.Context, conn *pgx.Conn, names []any) (*pgOrigins, error) {
	rows, err := conn.Query(ctx, `
		SELECT c.oid, want.declared, a.attnum, a.attname`+declaredColumns+`
		ORDER BY c.oid, a.attnum`, names...)
	if err != nil {
		return nil, fmt.Errorf("sqldb: reading the catalog failed: %w", redact(err))
	}
	defer rows.Close()
	out := &pgOrigins{columns: make(map[pgOrigin]originName), tables: make(map[uint32]string)}
	sum := sha256.New()
	for rows.Next() {
		var (
			o    pgOrigin
			num  int16
			name originName
		)
		if err := rows.Scan(&o.table, &name.table, &num, &name.column); err != nil {
			return nil, fmt.Errorf("sqldb: reading the catalog failed: %w", err)
		}
		o.column = uint16(num)
		out.columns[o], out.tables[o.table] = name, name.table
		addOrigin(sum, o, name)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sqldb: reading the catalog failed: %w", redact(err))
	}
	sum.Sum(out.sum[:0])
	return out, nil
}

// addOrigin adds a column to the sum as the server does.
func addOrigin(sum hash.Hash, o pgOrigin, name originName) {
	fmt.Fprintf(sum, "%d %d %s %s;", o.table, o.column, hex.EncodeToString([]byte(name.column)), hex.EncodeToString([]byte(name.table)))
}
