package sqldb

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
)

// renew finds what is to be stored in a row, and counts index values that are not under the newest key.
func (b *resealBatch) renew(ctx context.Context, row *resealRow) error {
	row.new = append(row.new, row.old...)
	i := 0
	for _, c := range b.table.columns {
		at := i
		i++
		var index *driver.Value
		if c.index != "" {
			index = &row.new[i]
			i++
		}
		v, opened, err := b.value(ctx, row, at, c, index != nil)
		if err != nil {
			return err
		}
		if index != nil {
			if err := b.index(row, index, c, v, opened); err != nil {
				return err
			}
		}
	}
	return nil
}

// value renews one sealed value. Opened is false where it does not open, and also where nobody needs it.
func (b *resealBatch) value(ctx context.Context, row *resealRow, at int, c resealColumn, needed bool) (v any, opened bool, err error) {
	if row.old[at] == nil {
		return nil, true, nil
	}
	ciphertext, ok := row.old[at].([]byte)
	if !ok {
		return nil, false, b.unopened(ctx, c, 0)
	}
	key, _ := envelope.FieldKey(ciphertext)
	stale := b.table.data && key != b.newest
	t, id := b.pass.Keys(), b.pass.Tenant()
	switch {
	case stale && b.write:
		var sealed []byte
		if sealed, v, err = envelope.ResealField(t.Data(), id, b.table.bound, c.name, c.decl.logical, ciphertext); err == nil {
			row.new[at] = sealed
			row.resealed++
		}
	case needed:
		v, err = envelope.OpenField(t.Data(), id, b.table.bound, c.name, c.decl.logical, ciphertext)
	default:
		return nil, false, nil
	}
	if errors.Is(err, envelope.ErrDecrypt) || errors.Is(err, envelope.ErrMalformed) {
		return nil, false, b.unopened(ctx, c, key)
	}
	return v, err == nil, err
}

// index makes the index value of a value anew.
func (b *resealBatch) index(row *resealRow, index *driver.Value, c resealColumn, v any, opened bool) error {
	old, _ := (*index).([]byte)
	if !opened {
		if !b.write {
			b.left.add(b.table, c.name, keys.PurposeIndex, 0, 1)
		}
		return nil
	}
	var made []byte
	for n, key := range b.indexID {
		if v != nil {
			value, err := c.decl.blindIndex(b.pass, sqlplan.Param{Table: b.table.bound, Column: c.name, IndexVersion: n}, v)
			if err != nil {
				return err
			}
			made = value.([]byte)
		}
		same := *index == nil && made == nil || *index != nil && made != nil && bytes.Equal(old, made)
		switch {
		case n == 0 && same:
			return nil
		case n == 0 && b.write && b.leaveIndexes:
			return nil
		case n == 0 && b.write:
			if *index = nil; made != nil {
				*index = made
			}
			row.reindexed++
			return nil
		case same:
			b.left.add(b.table, c.name, keys.PurposeIndex, key, 1)
			return nil
		}
	}
	b.left.add(b.table, c.name, keys.PurposeIndex, 0, 1)
	return nil
}

// unopened notes a value that does not open. Each is an alert, once in a run, unless it is the operator's doing.
func (b *resealBatch) unopened(ctx context.Context, c resealColumn, key uint32) error {
	if !b.write && !b.opts.DryRun {
		return nil
	}
	if b.pass.Keys().DataKeyDisabled(key) {
		if b.faults.disabled == nil {
			b.faults.disabled = map[uint32]int64{}
		}
		b.faults.disabled[key]++
		return nil
	}
	place := b.table.name + "." + c.name
	if b.faults.unopened++; b.faults.unopened == 1 {
		b.faults.where = place
	}
	if err := b.pass.Alert(ctx, place); err != nil {
		return err
	}
	if b.faults.unopened >= maxUnopened {
		return fmt.Errorf("%w: so many values do not open that it goes no further", storage.ErrIsolation)
	}
	return nil
}
