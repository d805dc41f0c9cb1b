// Package sqlstore keeps the tenants' key records in a table of a PostgreSQL or SQLite database that the application
// has opened, which need not be the one that holds the tenants' data and, for PostgreSQL, had better not be: its
// role should be the only one that can write the table. On SQLite it must be another file, and db another pool in any
// case: a process that seals writes to the table now and then (see [keys.Options.RotateAfterSeals]), and within a
// transaction that holds the file's lock, or the pool's last connection, would wait for itself, and fail.
//
// It takes PostgreSQL 15 and newer, and SQLite 3.37 and newer. CockroachDB and YugabyteDB speak PostgreSQL's dialect.
//
// On PostgreSQL each change notifies, in its own transaction, and a store with [Options.Listen] hears of it.
//
// Records are numbered by [keys.NextVersion], so that after the table was restored from a backup no record gets the number of
// one that a process still knows, but those that processes of versions before this numbering write. A process that finds an
// older record than it knew refuses the tenant with [keys.ErrUnavailable] until the record is changed or the process restarted.
//
// Its driver is the application's choice; nothing of any driver is linked from here.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// DefaultTable is the table's name where [Options.Table] is empty.
const DefaultTable = "strongroom_keys"

// maxData is the longest record, in bytes.
const maxData = 64<<10 - 1

// Options are the optional settings of [Open].
type Options struct {
	// Table is the table's name, "name" or "schema.name", each 1 to 63 of a-z, 0-9 and "_". Default [DefaultTable].
	Table string
	// Listen, if set, has keyrings on the store hear of changes within a fraction of a second: for PostgreSQL, and where its
	// connection goes to the server itself and not through a pooler. Each store tells, if its database can; those with
	// Listen hear. See package pgxlisten.
	Listen Listen
}

// Store is one table. It is safe for concurrent use, and any number of processes may have stores on the same table.
type Store struct {
	db                                     *sql.DB
	get, insert, update, remove, list, all string
	many                                   func(ids []tenant.ID, known []int64) (statement string, args []any)
	listen                                 Listen
}

var _ keys.BatchStore = (*Store)(nil)

// DDL returns the statement that creates the table unless it exists; table may be empty. Run it with [Create], or as a
// migration by a role that owns the schema: the role that the store uses needs SELECT, INSERT, UPDATE and DELETE.
func DDL(d dialect.Dialect, table string) (string, error) {
	table, err := checkTable(table)
	if err != nil {
		return "", err
	}
	switch d {
	case dialect.PostgreSQL:
		// The collation makes comparisons those of the bytes, whatever the database's default.
		return "CREATE TABLE IF NOT EXISTS " + table + ` (
	tenant  text COLLATE "C" PRIMARY KEY,
	version bigint NOT NULL CHECK (version > 0),
	data    bytea NOT NULL
)`, nil
	case dialect.SQLite:
		return "CREATE TABLE IF NOT EXISTS " + table + ` (
	tenant  TEXT COLLATE BINARY PRIMARY KEY,
	version INTEGER NOT NULL CHECK (version > 0),
	data    BLOB NOT NULL
) STRICT, WITHOUT ROWID`, nil
	}
	return "", fmt.Errorf("sqlstore: the dialect %q is unknown; use dialect.PostgreSQL or dialect.SQLite", d)
}

// Create runs [DDL].
func Create(ctx context.Context, db *sql.DB, d dialect.Dialect, table string) error {
	ddl, err := DDL(d, table)
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, ddl); err != nil {
		return fmt.Errorf("sqlstore: create the table: %w", classify(ctx, err))
	}
	return nil
}

// Open returns the store in the table, after making sure that it is there and has its columns, and that of ids one of texts. opts may be nil.
func Open(ctx context.Context, db *sql.DB, d dialect.Dialect, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: db is nil; pass an opened *sql.DB")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	table, err := checkTable(o.Table)
	if err != nil {
		return nil, err
	}
	if o.Listen != nil && d != dialect.PostgreSQL {
		return nil, errors.New("sqlstore: Options.Listen is for PostgreSQL alone")
	}
	s := &Store{db: db, listen: o.Listen}
	if err := s.prepare(d, table); err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, s.all)
	if err == nil {
		rows.Next()
		err = errors.Join(rows.Err(), rows.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("sqlstore: the table %s cannot be read; create it with sqlstore.Create, and grant SELECT, INSERT, UPDATE and DELETE: %w", table, classify(ctx, err))
	}
	if err := textual(ctx, db, d, table); err != nil {
		return nil, err
	}
	if d == dialect.PostgreSQL && notifies(ctx, db) {
		s.insert, s.update, s.remove = notifying(s.insert, "version"), notifying(s.update, "version"), notifying(s.remove, "version + 1")
	}
	return s, nil
}

// textual refuses a table, another's work, that keeps ids as something else than texts: as numbers, "7" and "007" would be one tenant's.
func textual(ctx context.Context, db *sql.DB, d dialect.Dialect, table string) error {
	if d == dialect.PostgreSQL {
		// Only of texts is there such a comparison. A cast, as those of the store's statements, there is of everything.
		rows, err := db.QueryContext(ctx, "SELECT 1 FROM "+table+" WHERE 1 = 0 AND tenant = ''::text")
		if err == nil {
			rows.Next()
			err = errors.Join(rows.Err(), rows.Close())
		}
		if err != nil {
			return fmt.Errorf("sqlstore: the column tenant of the table %s must be one of texts, or different ids may be one; make the table with sqlstore.Create: %w", table, classify(ctx, err))
		}
		return nil
	}
	from, args := "pragma_table_info(?)", []any{table}
	if schema, name, ok := strings.Cut(table, "."); ok {
		from, args = "pragma_table_info(?, ?)", []any{name, schema}
	}
	var declared string
	err := db.QueryRowContext(ctx, "SELECT upper(type) FROM "+from+" WHERE lower(name) = 'tenant'", args...).Scan(&declared)
	if err != nil {
		return fmt.Errorf("sqlstore: the type of the table %s's column tenant cannot be read: %w", table, classify(ctx, err))
	}
	has := func(part string) bool { return strings.Contains(declared, part) }
	// What SQLite's documentation of type affinity says: in this order.
	if !has("INT") && (declared == "" || has("CHAR") || has("CLOB") || has("TEXT") || has("BLOB")) {
		return nil
	}
	return fmt.Errorf("sqlstore: the column tenant of the table %s has the type %s, which takes texts for numbers, so that different ids would be one; make the table with sqlstore.Create", table, declared)
}

// prepare writes the store's statements. Comparisons are of texts, and name their collation, should the table be another's work: of a type
// such as citext two ids may be one. SQLite has no such cast with which it uses the key: see [textual].
func (s *Store) prepare(d dialect.Dialect, table string) error {
	text, collate, mark := "::text", ` COLLATE "C"`, "$"
	switch d {
	case dialect.PostgreSQL:
	case dialect.SQLite:
		text, collate, mark = "", " COLLATE BINARY", "?"
	default:
		return fmt.Errorf("sqlstore: the dialect %q is unknown; use dialect.PostgreSQL or dialect.SQLite", d)
	}
	q := strings.NewReplacer("{t}", table, "{id}", "tenant"+text, "{c}", collate, "{1}", mark+"1", "{2}", mark+"2", "{3}", mark+"3", "{4}", mark+"4")
	s.get = q.Replace("SELECT version, data FROM {t} WHERE {id} = {1}{c}")
	s.insert = q.Replace("INSERT INTO {t} (tenant, version, data) VALUES ({1}, {2}, {3}) ON CONFLICT (tenant) DO NOTHING")
	s.update = q.Replace("UPDATE {t} SET version = {1}, data = {2} WHERE {id} = {3}{c} AND version = {4}")
	s.remove = q.Replace("DELETE FROM {t} WHERE {id} = {1}{c} AND version = {2}")
	s.list = q.Replace("SELECT {id} FROM {t} WHERE {id} > {1}{c} ORDER BY {id}{c} LIMIT {2}")
	s.many = manyOf(d, q)
	s.all = q.Replace("SELECT tenant, version, data FROM {t} WHERE 1 = 0")
	return nil
}

func checkTable(table string) (string, error) {
	if table == "" {
		return DefaultTable, nil
	}
	parts := strings.Split(table, ".")
	if len(parts) > 2 {
		return "", errors.New("sqlstore: the table's name has more than a schema and a name")
	}
	for _, part := range parts {
		if part == "" || len(part) > 63 || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || part[0] >= '0' && part[0] <= '9' {
			return "", errors.New("sqlstore: the table's name must be \"name\" or \"schema.name\", each 1 to 63 of a-z, 0-9 and \"_\", and not begin with a digit")
		}
	}
	return table, nil
}

func check(ctx context.Context, id tenant.ID) error {
	if id.IsZero() {
		return fmt.Errorf("sqlstore: %w: it is the zero ID", tenant.ErrInvalidID)
	}
	return ctx.Err()
}

// Get implements [keys.Store].
func (s *Store) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	if err := check(ctx, id); err != nil {
		return keys.Record{}, err
	}
	var rec keys.Record
	err := s.db.QueryRowContext(ctx, s.get, id.String()).Scan(&rec.Version, &rec.Data)
	if errors.Is(err, sql.ErrNoRows) {
		return keys.Record{}, fmt.Errorf("sqlstore: tenant %s: %w", id, keys.ErrNotFound)
	}
	if err != nil {
		return keys.Record{}, fmt.Errorf("sqlstore: read the record of tenant %s: %w", id, classify(ctx, err))
	}
	return rec, nil
}

// Put implements [keys.Store].
func (s *Store) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	if err := check(ctx, id); err != nil {
		return 0, err
	}
	if len(data) == 0 || len(data) > maxData {
		return 0, fmt.Errorf("sqlstore: a record of %d bytes; it must have 1 to %d", len(data), maxData)
	}
	var err error
	var done bool
	next := keys.NextVersion(version)
	switch {
	case version < 0:
	case version == 0:
		done, err = s.exec(ctx, s.insert, id.String(), next, data)
	default:
		done, err = s.exec(ctx, s.update, next, data, id.String(), version)
	}
	if err != nil {
		return 0, fmt.Errorf("sqlstore: store the record of tenant %s: %w", id, err)
	}
	if !done {
		return 0, fmt.Errorf("sqlstore: tenant %s: %w: another version than %d is stored", id, keys.ErrConflict, version)
	}
	return next, nil
}

// exec reports whether the statement changed the one row it is about.
func (s *Store) exec(ctx context.Context, statement string, args ...any) (bool, error) {
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return false, classify(ctx, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, classify(ctx, err)
	}
	return n == 1, nil
}

// Delete implements [keys.Store].
func (s *Store) Delete(ctx context.Context, id tenant.ID, version int64) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	done, err := s.exec(ctx, s.remove, id.String(), version)
	if err != nil {
		return fmt.Errorf("sqlstore: delete the record of tenant %s: %w", id, err)
	}
	if done {
		return nil
	}
	if _, err := s.Get(ctx, id); err != nil {
		return err
	}
	return fmt.Errorf("sqlstore: tenant %s: %w: another version than %d is stored", id, keys.ErrConflict, version)
}

// List implements [keys.Store].
func (s *Store) List(ctx context.Context, after tenant.ID, limit int) ([]tenant.ID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if limit <= 0 {
		return nil, fmt.Errorf("sqlstore: a list of at most %d ids; the limit must be above 0", limit)
	}
	rows, err := s.db.QueryContext(ctx, s.list, after.String(), limit)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: list: %w", classify(ctx, err))
	}
	defer rows.Close()
	var ids []tenant.ID
	for rows.Next() {
		var id tenant.ID
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("%w: sqlstore: a row is not of this package's making: %w", keys.ErrIntegrity, redact.Error(err))
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sqlstore: list: %w", classify(ctx, err))
	}
	return ids, nil
}
