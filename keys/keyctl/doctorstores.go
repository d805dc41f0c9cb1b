package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// store opens the store and looks at it.
func (d *doctor) store(ctx context.Context) {
	err := d.openStore(ctx, d.s)
	if err != nil {
		d.s.store = nil
		d.find("store", problem, "see that the store can be reached, correct the configuration, or run keyctl init", "the store does not open: %v", err)
		return
	}
	if _, err := count(ctx, d.s.store, ""); err != nil {
		d.s.store = nil
		d.find("store", problem, "see that the store can be read", "%v", err)
		return
	}
	if d.s.config.Store.PostgreSQL != nil {
		d.storeRoles(ctx)
		return
	}
	d.find("store", fine, "", "the store can be read")
}

// storeRoles looks at what this role may do in the store's table, and who else may.
func (d *doctor) storeRoles(ctx context.Context) {
	db, _, table, err := d.storeDB(d.s.config, "rw")
	if err != nil {
		d.find("store", problem, "see the error", "%v", err)
		return
	}
	defer db.Close()
	d.postgresClock(ctx, "the store's PostgreSQL", db)
	table = cmp.Or(table, sqlstore.DefaultTable)
	schema, name, ok := strings.Cut(table, ".")
	if !ok {
		schema, name = "", table
	}
	qualified := pgx.Identifier{name}.Sanitize()
	if schema != "" {
		qualified = pgx.Identifier{schema, name}.Sanitize()
	}
	before := d.counts[problem] + d.counts[warning]
	var role string
	var owns, super bool
	var lacks sql.NullString
	err = db.QueryRowContext(ctx, `
		SELECT current_user, c.relowner = r.oid, r.rolsuper,
			(SELECT string_agg(p, ', ') FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p WHERE NOT has_table_privilege(c.oid, p))
		FROM pg_catalog.pg_class c, pg_catalog.pg_roles r WHERE c.oid = to_regclass($1) AND r.rolname = current_user`, qualified).
		Scan(&role, &owns, &super, &lacks)
	if err != nil {
		d.find("store", problem, "see the error", "what this role may do in the store's table cannot be read: %v", err)
		return
	}
	if lacks.Valid {
		d.find("store", problem, "GRANT "+lacks.String+" ON "+qualified+" TO "+pgx.Identifier{role}.Sanitize(), "the role %s may not %s in the store's table", role, lacks.String)
	}
	switch {
	case super:
		d.find("store", problem, "connect with a role of its own that has SELECT, INSERT, UPDATE and DELETE on "+qualified, "the role %s is a superuser", role)
	case owns:
		d.find("store", warning, "have another role own the table", "the role %s owns the store's table, and can change it", role)
	}
	d.otherWriters(ctx, db, qualified)
	if d.counts[problem]+d.counts[warning] == before {
		d.find("store", fine, "", "the store can be read, and its table is this role's alone to write")
	}
}

// otherWriters reports who else can write to the store's table.
func (d *doctor) otherWriters(ctx context.Context, db *sql.DB, qualified string) {
	rows, err := db.QueryContext(ctx, `
		SELECT coalesce(r.rolname, 'PUBLIC'), string_agg(DISTINCT a.privilege_type, ', ')
		FROM pg_catalog.pg_class c
		CROSS JOIN LATERAL aclexplode(c.relacl) a
		LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
		WHERE c.oid = to_regclass($1) AND a.grantee <> c.relowner AND coalesce(r.rolname, '') <> current_user
			AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
		GROUP BY 1 ORDER BY 1`, qualified)
	if err != nil {
		d.find("store", problem, "see the error", "who may write to the store's table cannot be read: %v", err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var role, may string
		if err := rows.Scan(&role, &may); err != nil {
			d.find("store", problem, "see the error", "%v", err)
			return
		}
		d.find("store", warning, "unless it is a service's, REVOKE "+may+" ON "+qualified+" FROM "+role, "%s may %s in the store's table: whoever can write there can put back a record from before a suspension", role, may)
	}
	if err := rows.Err(); err != nil {
		d.find("store", problem, "see the error", "%v", err)
	}
}

func (d *doctor) postgresClock(ctx context.Context, whose string, db *sql.DB) {
	var theirs time.Time
	if err := db.PingContext(ctx); err != nil {
		return // what opens it says so
	}
	asked := time.Now()
	if err := db.QueryRowContext(ctx, `SELECT clock_timestamp()`).Scan(&theirs); err != nil {
		d.find("clocks", warning, "see the error", "the clock of %s cannot be read: %v", whose, err)
		return
	}
	took := time.Since(asked)
	d.clock(whose, theirs.Sub(asked.Add(took/2)), took/2)
}

// databases opens each database, and reports what keeps it from being opened.
func (d *doctor) databases(ctx context.Context) {
	if d.s.ring == nil && len(d.s.config.Databases) > 0 {
		d.find("databases", warning, "mend what is above first", "the databases were not looked at: the keyring is not open")
		return
	}
	for i := range d.s.config.Databases {
		c := &d.s.config.Databases[i]
		var said heard
		db, err := d.openDatabase(ctx, d.s, i, slog.New(&said))
		var schema *sqldb.SchemaError
		switch {
		case errors.As(err, &schema):
			for _, p := range schema.Problems {
				where := strings.Trim(c.Name+"."+p.Table+"."+p.Column, ".")
				d.find("databases", problem, p.Fix, "%s: %s", where, p.What)
			}
		case err != nil:
			d.find("databases", problem, "see the error: it says what to do", "%s does not open: %v", c.Name, err)
		default:
			d.find("databases", fine, "", "%s fits its schema, and every access to it is guarded", c.Name)
			db.Close()
		}
		for _, text := range said {
			d.find("databases", warning, "see storage/sqldb, LEAKPROOF", "%s: %s", c.Name, text)
		}
		if c.PostgreSQL != nil {
			d.dataClock(ctx, i)
		}
	}
}

// dataClock looks at the clock of a database of PostgreSQL.
func (d *doctor) dataClock(ctx context.Context, i int) {
	c := &d.s.config.Databases[i]
	dsn, err := d.postgresURL(d.s.config, fmt.Sprintf("databases[%d].postgresql", i), c.PostgreSQL.URL, c.PostgreSQL.Password)
	if err != nil {
		return // opening it said so
	}
	cc, err := pgx.ParseConfig(dsn)
	if err != nil || !c.PostgreSQL.InsecureAllowPlaintext && requireTLS("", cc) != nil {
		return
	}
	db := openConfig(cc)
	defer db.Close()
	d.postgresClock(ctx, "the PostgreSQL of "+c.Name, db)
}

// heard keeps what a library warns of.
type heard []string

// Enabled implements [slog.Handler].
func (*heard) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements [slog.Handler].
func (h *heard) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += fmt.Sprintf("; %s: %s", a.Key, a.Value); return true })
	*h = append(*h, text)
	return nil
}

// WithAttrs implements [slog.Handler].
func (h *heard) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements [slog.Handler].
func (h *heard) WithGroup(string) slog.Handler { return h }

// buckets opens each bucket, and on S3 looks at what deletions leave.
func (d *doctor) buckets(ctx context.Context) {
	if d.s.ring == nil && len(d.s.config.Buckets) > 0 {
		d.find("buckets", warning, "mend what is above first", "the buckets were not looked at: the keyring is not open")
		return
	}
	for i := range d.s.config.Buckets {
		c := &d.s.config.Buckets[i]
		b, err := d.openBucket(ctx, d.s, c)
		if err != nil {
			d.find("buckets", problem, "correct the configuration, or the rights at the store", "%s does not open: %v", c.Label, err)
			continue
		}
		d.s.closes(b.bucket.Close)
		client, u, err := d.s.s3(ctx, c)
		switch {
		case err != nil:
			d.find("buckets", problem, "see the error", "%s: %v", c.Label, err)
		case client != nil:
			d.s3Bucket(ctx, c, client, u.Host)
		default:
			d.find("buckets", fine, "", "%s opens", c.Label)
		}
	}
}

func (d *doctor) s3Bucket(ctx context.Context, c *bucketConfig, client *s3.Client, name string) {
	asked := time.Now()
	head, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	answered := time.Now()
	if err != nil {
		d.find("buckets", problem, "see that the store can be reached, and that the credentials in the environment may list the bucket", "%s cannot be reached: %v", c.Label, err)
		return
	}
	if theirs, ok := awsmiddleware.GetServerTime(head.ResultMetadata); ok {
		took := answered.Sub(asked)
		d.clock("the store of "+c.Label, theirs.Add(time.Second/2).Sub(asked.Add(took/2)), took/2+time.Second/2) // it tells whole seconds
	}
	v, err := client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &name})
	switch {
	case err != nil:
		d.find("buckets", warning, "allow s3:GetBucketVersioning", "whether %s keeps older versions cannot be read", c.Label)
	case v.Status == types.BucketVersioningStatusEnabled && !c.Leftovers:
		d.find("buckets", problem, `set "leftovers": true`, "%s keeps older versions of objects, which stay when a tenant leaves", c.Label)
	default:
		d.find("buckets", fine, "", "%s can be reached", c.Label)
	}
}
