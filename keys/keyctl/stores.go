package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/s3blob" // the scheme s3 of a bucket's url

	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/blobs/s3leftovers"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// database is an open database of the tenants' data.
type database struct {
	name string
	db   *sql.DB
}

// bucket is an open bucket of the tenants' objects.
type bucket struct {
	label     string
	bucket    *blob.Bucket
	leftovers blobs.Leftovers // nil where nobody is to look for any
	// conditional tells that the store writes an object only if it still is the version that was read.
	conditional bool
}

// databases opens the databases that the configuration names, or one of them.
func (c *call) databases(ctx context.Context, s *session, only string) (all []database, err error) {
	for i := range s.config.Databases {
		d := &s.config.Databases[i]
		if only != "" && d.Name != only {
			continue
		}
		db, err := c.openDatabase(ctx, s, i, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, fmt.Errorf("the database %s: %w", d.Name, err)
		}
		s.closes(db.Close)
		all = append(all, database{d.Name, db})
	}
	if only != "" && len(all) == 0 {
		return nil, usagef("the configuration names no database %q", only)
	}
	return all, nil
}

// openDatabase opens the database at a place in the configuration.
func (c *call) openDatabase(ctx context.Context, s *session, i int, logger *slog.Logger) (*sql.DB, error) {
	d := &s.config.Databases[i]
	opts := d.options(logger)
	if d.SQLite != nil {
		return sqldb.Open(ctx, "sqlite:"+s.config.in(d.SQLite.File), d.schema, s.guard, opts)
	}
	dsn, err := c.postgresURL(s.config, fmt.Sprintf("databases[%d].postgresql", i), d.PostgreSQL.URL, d.PostgreSQL.Password)
	if err != nil {
		return nil, err
	}
	return sqldb.Open(ctx, dsn, d.schema, s.guard, opts)
}

// options are what the application opens the database with.
func (d *databaseConfig) options(logger *slog.Logger) *sqldb.Options {
	opts := &sqldb.Options{TenantColumn: d.TenantColumn, TenantType: d.TenantType, Schema: d.PostgreSQLSchema, TransactionPooler: d.TransactionPooler, Logger: logger}
	if p := d.PostgreSQL; p != nil {
		opts.InsecureAllowPlaintext, opts.InsecureWithoutRLS = p.InsecureAllowPlaintext, p.InsecureWithoutRLS
	}
	return opts
}

// buckets opens the buckets that the configuration names, or one of them.
func (c *call) buckets(ctx context.Context, s *session, only string) (all []bucket, err error) {
	for i := range s.config.Buckets {
		b := &s.config.Buckets[i]
		if only != "" && b.Label != only {
			continue
		}
		opened, err := c.openBucket(ctx, s, b)
		if err != nil {
			return nil, fmt.Errorf("the bucket %s: %w", b.Label, err)
		}
		s.closes(opened.bucket.Close)
		all = append(all, opened)
	}
	if only != "" && len(all) == 0 {
		return nil, usagef("the configuration names no bucket %q", only)
	}
	return all, nil
}

func (c *call) openBucket(ctx context.Context, s *session, b *bucketConfig) (bucket, error) {
	out := bucket{label: b.Label, conditional: strings.HasPrefix(b.URL, "s3:")}
	opts := &blobs.Options{Label: b.Label, SealNames: b.SealNames, InsecureAllowPlaintext: b.InsecureAllowPlaintext}
	var err error
	if b.URL != "" {
		if out.bucket, err = blobs.Open(ctx, b.URL, s.guard, opts); err == nil && b.Leftovers {
			out.leftovers, err = s.leftovers(ctx, b)
		}
		return out, err
	}
	if b.Leftovers {
		return out, configf("leftovers is for buckets on S3")
	}
	inner, err := fileblob.OpenBucket(s.config.in(b.Dir), &fileblob.Options{NoTempDir: true})
	if err != nil {
		return out, err
	}
	out.bucket, err = blobs.Wrap(inner, s.guard, opts)
	return out, err
}

// leftovers looks at a bucket on S3 beside gocloud.dev's interface.
func (s *session) leftovers(ctx context.Context, b *bucketConfig) (blobs.Leftovers, error) {
	client, u, err := s.s3(ctx, b)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, configf("leftovers is for buckets on S3")
	}
	return s3leftovers.New(client, u.Host, u.Query().Get("prefix")), nil
}

// s3 returns the client of a bucket on S3; nil for one elsewhere. Blobs.Open has taken the URL before.
func (s *session) s3(ctx context.Context, b *bucketConfig) (*s3.Client, *url.URL, error) {
	u, err := url.Parse(b.URL)
	if err != nil || u.Scheme != "s3" {
		return nil, u, nil
	}
	inner, err := blob.OpenBucket(ctx, b.URL)
	if err != nil {
		return nil, u, fmt.Errorf("open s3://%s", u.Host) // the opener's error may repeat what is in the URL
	}
	s.closes(inner.Close)
	var client *s3.Client
	if !inner.As(&client) {
		return nil, u, nil
	}
	return client, u, nil
}
