package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver of the keys' database
	_ "gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/records"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/sqlstore/pgxlisten"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/tenant"
)

// The names by which the service knows its stores. The bucket's label is part of what is sealed, so it stays.
const (
	database  = "clinic"
	bucket    = "scans"
	keysTable = "keys.strongroom_keys"
	trailName = "audit.strongroom_audit" // the trail's table
)

// opened is what the service is built on.
type opened struct {
	*stack.Stack
	vault *vaultkek.KEK // nil without Vault
}

// open opens trail, keys, database and bucket. Each is in -dir, unless a flag says which server has it; the rest of the
// program does not know the difference.
func open(ctx context.Context, c *config, r *reports) (*opened, error) {
	o := &opened{}
	s := stack.Config{Dir: c.dir, Authorizer: tenant.AuthorizerFunc(session.Authorize), Telemetry: r.library}
	s.Databases = map[string]stack.Database{database: c.database()}
	s.Buckets = map[string]stack.Bucket{bucket: {URL: c.bucketURL(), Options: &blobs.Options{Label: bucket, InsecureAllowPlaintext: c.plaintext}}}
	s.AuditOptions = &audit.Options{Service: "clinic", Timeout: 10 * time.Second}
	var closers []func() error
	fail := func(err error) (*opened, error) {
		for _, c := range closers {
			err = errors.Join(err, c())
		}
		return nil, err
	}
	if c.trailDB != "" {
		trail, err := openTrail(ctx, c, r)
		if err != nil {
			return fail(err)
		}
		s.Audit, closers = trail, append(closers, trail.Close)
	}
	if c.vault != "" {
		kek, err := openVault(ctx, c)
		if err != nil {
			return fail(err)
		}
		o.vault, s.KEK, closers = kek, kek, append(closers, kek.Close)
	}
	if c.keysDB != "" {
		store, err := openKeys(ctx, c)
		if err != nil {
			return fail(err)
		}
		s.Store = store
	}
	var err error
	if o.Stack, err = stack.Open(ctx, s); err != nil { // which closes what it was given
		return nil, err
	}
	o.DB[database].SetMaxOpenConns(connections)
	o.DB[database].SetMaxIdleConns(connections)
	return o, nil
}

// connections is how many a process has to its database. They are kept: database/sql would close all but two that rest.
const connections = 16

func (c *config) database() stack.Database {
	d := stack.Database{URL: c.postgres, Schema: records.Schema, Options: &sqldb.Options{InsecureAllowPlaintext: c.plaintext}}
	switch {
	case c.postgres == "":
		d.URL, d.Tables = "sqlite:"+filepath.Join(c.dir, "clinic.db"), append([]string{"PRAGMA journal_mode = WAL"}, records.Tables(dialect.SQLite)...)
	case c.owner != "": // -setup
		d.Owner, d.Tables = c.owner, records.Tables(dialect.PostgreSQL)
	}
	return d
}

func (c *config) bucketURL() string {
	if c.s3 != "" {
		return c.s3
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(c.dir, "scans")), RawQuery: "create_dir=true&no_tmp_dir=true"}
	return u.String()
}

// trailDir is where the log is that the pages show: "" where this process has none.
func (c *config) trailDir() string {
	if c.trail == "" && c.trailDB == "" {
		return filepath.Join(c.dir, "audit")
	}
	return c.trail
}

// openTrail records into PostgreSQL: the instance needs no disk, and a sealer takes the events into a log elsewhere.
func openTrail(ctx context.Context, c *config, r *reports) (*audit.Stream, error) {
	signer, err := readStreamKey(c)
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(c.trailDB)
	if err != nil { // which repeats the connection string
		return nil, errors.New("-trail-db is not a connection string that can be read")
	}
	return pglog.Open(ctx, config, pglog.Options{Table: trailName, StreamOptions: audit.StreamOptions{Signer: signer, Service: "clinic", Timeout: 10 * time.Second, Telemetry: r.library}})
}

func openVault(ctx context.Context, c *config) (*vaultkek.KEK, error) {
	role, secret, err := readAppRole(c)
	if err != nil {
		return nil, err
	}
	login, err := vaultkek.AppRole(role, secret, "")
	if err != nil {
		return nil, err
	}
	return vaultkek.Open(ctx, c.vault, login, &vaultkek.Options{InsecureAllowPlaintext: c.plaintext})
}

// openKeys opens the table of wrapped keys as a role that can do nothing else. Instances hear of each other's suspensions at once.
func openKeys(ctx context.Context, c *config) (keys.Store, error) {
	db, err := sql.Open("pgx", c.keysDB) //sqldblint:raw wrapped keys are not a tenant's rows
	if err != nil {
		return nil, errors.New("-keys is not a connection string that can be read")
	}
	store, err := sqlstore.Open(ctx, db, dialect.PostgreSQL, &sqlstore.Options{Table: keysTable, Listen: pgxlisten.DB(db)})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the keys' database: %w", err), db.Close())
	}
	return ownedStore{store, db}, nil
}

// ownedStore is a store whose database is closed with it.
type ownedStore struct {
	*sqlstore.Store
	db *sql.DB
}

func (s ownedStore) Close() error { return s.db.Close() }

// checkersKeys opens the tenants' keys for the checker, which records that it did in a trail of its own.
func checkersKeys(ctx context.Context, c *config) (*keys.Keyring, func() error, error) {
	dir, err := os.MkdirTemp("", "strongroom-clinic-check-")
	if err != nil {
		return nil, nil, err
	}
	fail := func(err error) (*keys.Keyring, func() error, error) {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	trail, err := audit.OpenLog(dir, &audit.Options{Service: "clinic-check", ReserveBytes: -1, Timeout: time.Minute})
	if err != nil {
		return fail(err)
	}
	s := stack.Config{Dir: c.dir, Audit: trail}
	if c.vault != "" {
		if s.KEK, err = openVault(ctx, c); err != nil {
			return fail(errors.Join(err, trail.Close()))
		}
	}
	if c.keysDB != "" {
		if s.Store, err = openKeys(ctx, c); err != nil {
			return fail(errors.Join(err, trail.Close()))
		}
	}
	o, err := stack.Open(ctx, s)
	if err != nil {
		return fail(err)
	}
	return o.Keys, func() error { return errors.Join(o.Close(), os.RemoveAll(dir)) }, nil
}
