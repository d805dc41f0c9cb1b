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
	n, err := nested.(*nativeTx).copyFrom(ctx, table, columns, source, false)
	if err != nil {
		return 0, err
	}
	if err := nested.Commit(ctx); err != nil {
		return 0, err
	}
	return n, nil
}

// copyFrom stores the rows of a source: in arrays where it can, and otherwise in VALUES. Ahead tells that nobody else has the
// transaction, so that the source can be asked for rows while the database stores those before.
func (t *nativeTx) copyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource, ahead bool) (stored int64, err error) {
	if len(table) == 0 || len(columns) == 0 {
		return 0, errors.New("sqldb: CopyFrom needs a table and at least one column")
	}
	into := "INSERT INTO " + table.Sanitize() + " (" + sanitizeAll(columns) + ") VALUES "
	values := newCopyValues(ctx, t, into, len(columns))
	var arrays *copyArrays
	defer func() {
		if arrays != nil {
			arrays.abandon() // where the source failed, or panics
		}
	}()
	for first := true; source.Next(); first = false {
		row, err := source.Values()
		if err != nil {
			return 0, err
		}
		if len(row) != len(columns) {
			return 0, fmt.Errorf("sqldb: CopyFrom expects %d values a row and was given %d", len(columns), len(row))
		}
		if first {
			arrays = newCopyArrays(ctx, t, into+placeholders(1, len(columns)), ahead)
		}
		if arrays != nil {
			taken, err := arrays.add(row)
			if err == nil && taken {
				err = arrays.drainFull()
			}
			if err != nil {
				return 0, err
			}
			if taken {
				continue
			}
			// A value that goes into no array. This row and those after it take the other way, which knows it or says what is wrong with it.
			n, err := arrays.drain()
			if err != nil {
				return 0, err
			}
			stored, arrays = stored+n, nil
		}
		if err := values.add(row); err != nil {
			return 0, err
		}
	}
	if err := source.Err(); err != nil {
		return 0, err
	}
	if arrays != nil {
		return arrays.drain()
	}
	if err := values.drain(); err != nil {
		return 0, err
	}
	return stored + values.stored, nil
}

// copyValues sends rows in INSERT statements of many rows of VALUES. The number of rows in one is a power of two, so that there are few texts.
type copyValues struct {
	ctx     context.Context
	tx      *nativeTx
	into    string
	columns int
	most    int   // rows of one statement
	args    []any // of the rows that are not sent yet
	stored  int64
}

func newCopyValues(ctx context.Context, t *nativeTx, into string, columns int) *copyValues {
	most := 1
	for 2*most*columns*len("$00000,") <= maxCopyText-len(into) && 2*most*columns <= 1<<15 {
		most *= 2
	}
	return &copyValues{ctx: ctx, tx: t, into: into, columns: columns, most: most}
}

func (v *copyValues) add(row []any) error {
	if v.args == nil {
		v.args = make([]any, 0, v.most*v.columns)
	}
	owned := true
	for _, value := range row {
		own, ok := ownMemory(value)
		v.args, owned = append(v.args, own), owned && ok
	}
	if owned && len(v.args) < cap(v.args) {
		return nil
	}
	return v.drain()
}

func (v *copyValues) drain() error {
	for rows := v.most; rows > 0; rows /= 2 {
		if len(v.args) >= rows*v.columns {
			if err := v.flush(rows); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *copyValues) flush(rows int) error {
	n := rows * v.columns
	tag, err := v.tx.Exec(v.ctx, v.into+placeholders(rows, v.columns), v.args[:n]...)
	if err != nil {
		return err
	}
	v.stored += tag.RowsAffected()
	v.args = append(v.args[:0], v.args[n:]...)
	return nil
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
