package story

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
)

// Place is somewhere bytes were written to. Read hands each of its pieces, a file for instance, to visit and stops at
// its first error.
type Place struct {
	Name string
	Read func(ctx context.Context, visit func(piece string, content io.Reader) error) error
}

// Files is a directory with all that is below it.
func Files(dir string) Place {
	return Place{dir, func(ctx context.Context, visit func(string, io.Reader) error) error {
		return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			return visit(path, f)
		})
	}}
}

// Rows are the rows of tables, each as the bytes that a raw handle gets, for databases whose files are out of reach.
func Rows(db *sql.DB, tables ...string) Place {
	return Place{"the tables " + strings.Join(tables, ", "), func(ctx context.Context, visit func(string, io.Reader) error) error {
		for _, table := range tables {
			content, err := dump(ctx, db, table)
			if err != nil {
				return err
			}
			if err := visit(table, content); err != nil {
				return err
			}
		}
		return nil
	}}
}

func dump(ctx context.Context, db *sql.DB, table string) (*bytes.Buffer, error) {
	rows, err := db.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, targets := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	content := new(bytes.Buffer)
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		for _, v := range values {
			if b, ok := v.([]byte); ok {
				content.Write(b)
			} else {
				fmt.Fprint(content, v)
			}
			content.WriteByte('\n')
		}
	}
	return content, rows.Err()
}

// Objects are the objects of a bucket: their contents, names and attributes.
func Objects(bucket *blob.Bucket) Place {
	return Place{"the bucket", func(ctx context.Context, visit func(string, io.Reader) error) error {
		keys, err := list(ctx, bucket)
		if err != nil {
			return err
		}
		for _, key := range keys {
			content, err := bucket.ReadAll(ctx, key)
			if err != nil {
				return err
			}
			attributes, err := bucket.Attributes(ctx, key)
			if err != nil {
				return err
			}
			about := fmt.Sprintln(key, attributes.ContentType, attributes.ContentDisposition, attributes.CacheControl, attributes.Metadata)
			if err := visit(key, io.MultiReader(strings.NewReader(about), bytes.NewReader(content))); err != nil {
				return err
			}
		}
		return nil
	}}
}
