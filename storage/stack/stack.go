// Package stack opens all that a service keeps its tenants' data in, in one call, and closes it in the right order: the audit trail, the
// keyring with its key store and key-encryption keys, databases and buckets.
//
// By default the trail and the keys are files in a directory. What a service outgrows it replaces, one by one:
//
//	kek, err := vaultkek.Open(ctx, "https://vault.example.com:8200", vaultkek.AppRole(role, secret), nil)
//	…
//	s, err := stack.Open(ctx, stack.Config{
//		Dir: "/var/lib/clinic", KEK: kek,
//		Databases: map[string]stack.Database{"clinic": {URL: "postgres://app@db.example.com/clinic?sslmode=verify-full", Schema: schema}},
//		Buckets:   map[string]stack.Bucket{"scans": {URL: "s3://scans?region=eu-central-1"}},
//	})
//	if err != nil { … }
//	defer s.Close()
//	rows, err := s.DB["clinic"].QueryContext(ctx, …)
//
// Package stackurl opens the same by a URL that says where all of it is.
//
// Nothing is hidden: a [Stack] is what [audit.OpenLog], [keys.Open], [sqldb.Open] and [blobs.Open] returned.
package stack

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gocloud.dev/blob"
	_ "modernc.org/sqlite" // the owner's handle

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/pgtls"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// Config says what to open. What it is given open belongs to the [Stack], which closes it if it has a Close method.
type Config struct {
	// Dir is a directory for what is not given below: the trail in audit, the key records in keys, and the key-encryption keys in
	// kek.json; databases and buckets without a URL are files there too. It is made if it is missing, for its owner alone. Required
	// unless all of them are given. The file of key-encryption keys opens
	// all that is sealed: keep it apart from the data's backups, or give a KEK.
	Dir string
	// Audit is the trail. Default: a log in Dir, with AuditOptions.
	Audit        audit.Recorder
	AuditOptions *audit.Options
	// KEK wraps the tenants' keys. Default: a file in Dir.
	KEK keys.KEK
	// Store keeps the wrapped keys. Default: a directory in Dir.
	Store keys.Store
	// KeyOptions are the keyring's. Audit in it is the trail, whatever is set.
	KeyOptions *keys.Options
	// Authorizer decides what an actor may do. Optional.
	Authorizer tenant.Authorizer
	// Telemetry gets spans, metrics and log lines of all that is opened here. Optional. AuditOptions and KeyOptions may have one of
	// their own.
	Telemetry *audit.Telemetry
	// Databases and Buckets are the service's, by names of its own.
	Databases map[string]Database
	Buckets   map[string]Bucket
}

// Database says how a database is opened: see [sqldb.Open].
type Database struct {
	// URL is [sqldb.Open]'s dsn. Default: the SQLite file NAME.db in [Config].Dir.
	URL     string
	Schema  sqldb.Schema
	Options *sqldb.Options
	// Tables are statements that make the tables, run by their owner before the database is opened, each time: they begin with
	// CREATE TABLE IF NOT EXISTS, or can be run again for another reason. A CREATE TABLE of a declared table that ends in its closing
	// parenthesis gets the constraints of its sealed columns ([sqldb.Table.Checks]). On PostgreSQL [sqldb.Schema.DDL] is run after
	// them.
	Tables []string
	// Owner is the connection string of the tables' owner, for Tables. Default: the file itself for SQLite, which is made; on
	// PostgreSQL it is required for Tables, and refused as URL is where the connection could be without TLS. A service that has it can do what the owner can: it is for development, and for
	// programs that do nothing but set up.
	Owner string
}

// Bucket says how a bucket is opened: see [blobs.Open]. The program imports the URL's driver.
type Bucket struct {
	// URL is [blobs.Open]'s. Default: files in the directory buckets/NAME of [Config].Dir. Then the bucket's label is its name, unless
	// Options has one, so that the directory may be moved.
	URL     string
	Options *blobs.Options
}

// Stack is what was opened. It is safe for concurrent use as its parts are.
type Stack struct {
	// Audit is the trail: an *audit.Log by default.
	Audit audit.Recorder
	Keys  *keys.Keyring
	// Guard is what the databases and buckets are guarded by, for what else is opened.
	Guard  storage.Guard
	DB     map[string]*sql.DB
	Bucket map[string]*blob.Bucket

	closers []io.Closer
	once    sync.Once
	err     error
}

// Open opens what the configuration says. If a part cannot be opened those before it are closed, what was given open included.
func Open(ctx context.Context, c Config) (_ *Stack, err error) {
	s := &Stack{DB: map[string]*sql.DB{}, Bucket: map[string]*blob.Bucket{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	// All that was given is closed, whatever fails.
	for _, given := range []any{c.Audit, c.KEK, c.Store} {
		s.owns(given)
	}
	if c.Audit == nil || c.KEK == nil || c.Store == nil {
		if c.Dir == "" {
			return nil, errors.New("stack: Config.Dir is empty; name a directory for the trail and the keys, or give Audit, KEK and Store")
		}
	}
	if c.Dir != "" && c.usesDir() {
		if err := os.MkdirAll(c.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
	}
	if err := s.openGuard(ctx, c); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		d, err := c.Databases[name].withDefault(c.Dir, name)
		if err == nil {
			err = s.openDatabase(ctx, name, d)
		}
		if err != nil {
			return nil, fmt.Errorf("stack: database %q: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Buckets)) {
		b, err := c.Buckets[name].withDefault(c.Dir, name)
		var bucket *blob.Bucket
		if err == nil {
			bucket, err = blobs.Open(ctx, b.URL, s.Guard, b.Options)
		}
		if err != nil {
			return nil, fmt.Errorf("stack: bucket %q: %w", name, err)
		}
		s.Bucket[name] = bucket
		s.owns(bucket)
	}
	return s, nil
}

// owns has what can be closed closed, before what came before it.
func (s *Stack) owns(part any) {
	if closer, ok := part.(io.Closer); ok {
		s.closers = append(s.closers, closer)
	}
}

func (s *Stack) openGuard(ctx context.Context, c Config) error {
	if s.Audit = c.Audit; s.Audit == nil {
		var opts audit.Options
		if c.AuditOptions != nil {
			opts = *c.AuditOptions
		}
		opts.Telemetry = cmp.Or(opts.Telemetry, c.Telemetry)
		log, err := audit.OpenLog(filepath.Join(c.Dir, "audit"), &opts)
		if err != nil {
			return err
		}
		s.Audit = log
		s.owns(log)
	}
	kek, store := c.KEK, c.Store
	if kek == nil {
		local, err := localkek.Open(filepath.Join(c.Dir, "kek.json"), nil)
		if err != nil {
			return err
		}
		kek = local
		s.owns(local)
	}
	if store == nil {
		files, err := filestore.Open(filepath.Join(c.Dir, "keys"), nil)
		if err != nil {
			return err
		}
		store = files
		s.owns(files)
	}
	var opts keys.Options
	if c.KeyOptions != nil {
		opts = *c.KeyOptions
	}
	opts.Audit, opts.InsecureWithoutAudit = s.Audit, false
	opts.Telemetry = cmp.Or(opts.Telemetry, c.Telemetry)
	ring, err := keys.Open(ctx, kek, store, &opts)
	if err != nil {
		return err
	}
	s.Keys = ring
	s.owns(ring)
	s.Guard = storage.Guard{Keys: ring, Audit: s.Audit, Authorizer: c.Authorizer, Telemetry: c.Telemetry}
	return nil
}

func (s *Stack) openDatabase(ctx context.Context, name string, d Database) error {
	if len(d.Tables) > 0 {
		if err := d.make(ctx); err != nil {
			return err
		}
	}
	db, err := sqldb.Open(ctx, d.URL, d.Schema, s.Guard, d.Options)
	if err != nil {
		return err
	}
	s.DB[name] = db
	s.owns(db)
	return nil
}

// make makes the tables as their owner.
func (d Database) make(ctx context.Context) error {
	owner, spoken, err := d.openOwner()
	if err != nil {
		return err
	}
	defer owner.Close()
	statements := make([]string, 0, len(d.Tables)+1)
	for _, table := range d.Tables {
		statements = append(statements, d.Schema.WithChecks(spoken, table))
	}
	if spoken == dialect.PostgreSQL {
		ddl, err := d.Schema.DDL(spoken, d.Options)
		if err != nil {
			return err
		}
		statements = append(statements, ddl)
	}
	for _, statement := range statements {
		if _, err := owner.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("making the tables as their owner: %w", err)
		}
	}
	return nil
}

// openOwner opens the database as the tables' owner, as [sqldb.Open] would: not in the clear.
func (d Database) openOwner() (*sql.DB, dialect.Dialect, error) {
	if path, ok := strings.CutPrefix(d.URL, "sqlite:"); ok {
		db, err := sql.Open("sqlite", cmp.Or(d.Owner, path))
		if err != nil {
			err = errUnreadable
		}
		return db, dialect.SQLite, err
	}
	if d.Owner == "" {
		return nil, "", errors.New("Database.Tables are made by the tables' owner: set Database.Owner to its connection string, or make them elsewhere")
	}
	config, err := pgx.ParseConfig(d.Owner)
	if err != nil { // which repeats the connection string
		return nil, "", errUnreadable
	}
	if host := pgtls.Plain(config); host != "" && (d.Options == nil || !d.Options.InsecureAllowPlaintext) {
		return nil, "", fmt.Errorf("Database.Owner: the connection to %s could be without TLS; add sslmode=verify-full to the connection string, or set Options.InsecureAllowPlaintext", host)
	}
	return stdlib.OpenDB(*config), dialect.PostgreSQL, nil
}

var errUnreadable = errors.New("Database.Owner is not a connection string that can be read")

// Close closes everything, the last that was opened first: buckets and databases, the keyring, the key store, the key-encryption keys, and the
// audit trail at the end. It waits for what is in use as each part does. Calling it again returns the same.
func (s *Stack) Close() error {
	s.once.Do(func() {
		var errs []error
		for _, closer := range slices.Backward(s.closers) {
			errs = append(errs, closer.Close())
		}
		s.err = errors.Join(errs...)
	})
	return s.err
}
