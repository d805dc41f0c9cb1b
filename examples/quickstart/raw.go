package main

import (
	"context"
	"database/sql"
	"errors"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "modernc.org/sqlite" // the "sqlite" driver of database/sql, without a guard

	"github.com/strongroom-go/strongroom/examples/internal/story"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// makeTables does what the owner of a database does once, with a migration tool for instance.
func makeTables(ctx context.Context, dir string) error {
	db, err := sql.Open("sqlite", databaseFile(dir))
	if err != nil {
		return err
	}
	// The write-ahead log lets others read while one writes.
	_, err = db.ExecContext(ctx, "PRAGMA journal_mode = WAL;"+story.Tables(dialect.SQLite))
	return errors.Join(err, db.Close())
}

// raw is what an application never has, and an intruder might: the database and the bucket around the guard.
type raw struct {
	db     *sql.DB
	bucket *blob.Bucket
}

func openRaw(dir string) (*raw, error) {
	db, err := sql.Open("sqlite", databaseFile(dir)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	bucket, err := fileblob.OpenBucket(bucketDir(dir), &fileblob.Options{NoTempDir: true})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &raw{db, bucket}, nil
}

func (r *raw) close() error { return errors.Join(r.bucket.Close(), r.db.Close()) }

// world is the place of the story: what is open, around the guard and through it, and all files there are.
func world(s *service, r *raw, dir string, out io.Writer, bars func(int, string) story.Bar) story.World {
	return story.World{
		DB: s.db, Bucket: s.bucket, RawDB: r.db, RawBucket: r.bucket, Dialect: dialect.SQLite,
		Keys: s.ring, Log: s.log, AuditDir: auditDir(dir), AtRest: []story.Place{story.Files(dir)},
		Out: out, Progress: bars,
	}
}
