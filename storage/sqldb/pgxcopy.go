package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// maxCopyText keeps the INSERT of many rows that stands for a COPY in the cache of plans, and with it planned once.
const maxCopyText = maxCachedText

// CopyFrom implements pgx.Tx. All rows are stored or none; after an error the transaction can go on without them.
func (t *nativeTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error) {
	nested, err := t.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer nested.Rollback(ctx)
	n, err := nested.(*nativeTx).copyFrom(ctx, table, columns, source)
	if err != nil {
		return 0, err
	}
	if err := nested.Commit(ctx); err != nil {
		return 0, err
	}
	return n, nil
}

// copyFrom stores the rows of a source in INSERT statements of many rows. The number of rows in one is a power of two, so that there are few texts.
func (t *nativeTx) copyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (stored int64, err error) {
	if len(table) == 0 || len(columns) == 0 {
		return 0, errors.New("sqldb: CopyFrom needs a table and at least one column")
	}
	into := "INSERT INTO " + table.Sanitize() + " (" + sanitizeAll(columns) + ") VALUES "
	most := 1
	for 2*most*len(columns)*len("$00000,") <= maxCopyText-len(into) && 2*most*len(columns) <= 1<<15 {
		most *= 2
	}
	args := make([]any, 0, most*len(columns))
	flush := func(rows int) error {
		tag, err := t.Exec(ctx, into+placeholders(rows, len(columns)), args[:rows*len(columns)]...)
		if err != nil {
			return err
		}
		stored += tag.RowsAffected()
		args = append(args[:0], args[rows*len(columns):]...)
		return nil
	}
	drain := func() error {
		for rows := most; rows > 0; rows /= 2 {
			if len(args) >= rows*len(columns) {
				if err := flush(rows); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for source.Next() {
		values, err := source.Values()
		if err != nil {
			return 0, err
		}
		if len(values) != len(columns) {
			return 0, fmt.Errorf("sqldb: CopyFrom expects %d values a row and was given %d", len(columns), len(values))
		}
		owned := true
		for _, v := range values {
			own, ok := ownMemory(v)
			args, owned = append(args, own), owned && ok
		}
		if !owned || len(args) == cap(args) {
			if err := drain(); err != nil {
				return 0, err
			}
		}
	}
	if err := source.Err(); err != nil {
		return 0, err
	}
	if err := drain(); err != nil {
		return 0, err
	}
	return stored, nil
}

func sanitizeAll(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = pgx.Identifier{name}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}

// placeholders returns ($1,$2),($3,$4) and so on.
func placeholders(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteByte('(')
		case i%columns == 0:
			b.WriteString("),(")
		default:
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	b.WriteByte(')')
	return b.String()
}
