package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/examples/internal/story"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// service is what an application has once everything is open: an ordinary *sql.DB and an ordinary *blob.Bucket.
type service struct {
	db     *sql.DB
	bucket *blob.Bucket
	ring   *keys.Keyring
	log    *audit.Log
}

// open opens everything that an application needs. This is the part to copy.
func open(ctx context.Context, dir string) (s *service, err error) {
	s = &service{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()

	// The audit trail: nothing is read or written before an event about it is on disk here. One log for each process.
	if s.log, err = audit.OpenLog(auditDir(dir), nil); err != nil {
		return s, err
	}

	// The keys. A key-encryption key for each tenant wraps that tenant's own keys. Here they are in a file and a
	// directory; in production the first is HashiCorp Vault (keys/vaultkek) and the second a database (keys/sqlstore).
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	if err != nil {
		return s, err
	}
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	if err != nil {
		return s, err
	}
	if s.ring, err = keys.Open(ctx, kek, store, &keys.Options{Audit: s.log}); err != nil {
		return s, err
	}

	// One guard for all stores.
	guard := storage.Guard{Keys: s.ring, Audit: s.log}

	// The database. Its tables exist: whoever owns it made them, see makeTables. In production: "postgres://…".
	if s.db, err = sqldb.Open(ctx, "sqlite:"+databaseFile(dir), story.Schema(), guard, nil); err != nil {
		return s, err
	}

	// The bucket: any that gocloud.dev has, such as s3blob, gcsblob and azureblob.
	inner, err := fileblob.OpenBucket(bucketDir(dir), &fileblob.Options{CreateDir: true, NoTempDir: true})
	if err != nil {
		return s, err
	}
	s.bucket, err = blobs.Wrap(inner, guard, &blobs.Options{Label: "scans"})
	return s, err
}

// close closes what is open, the log last: closing the others can still be worth an event.
func (s *service) close() error {
	var errs []error
	if s.bucket != nil {
		errs = append(errs, s.bucket.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.ring != nil {
		errs = append(errs, s.ring.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
}

func databaseFile(dir string) string { return filepath.Join(dir, "clinics.db") }
func auditDir(dir string) string     { return filepath.Join(dir, "audit") }
func bucketDir(dir string) string    { return filepath.Join(dir, "bucket") }
