package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"maps"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/keys"
)

// count has the database count a table's values by the key that they name. It is one statement for a column: rows whose key
// changes while a walk goes on would escape it, and what was counted decides whether a key is destroyed.
func (r *reseal) count(ctx context.Context, t *resealTable) error {
	var counted leftBy
	err := r.ask(ctx, t, func(b *resealBatch) error {
		counted = leftBy{}
		id, err := canonicalTenant(b.pass.Tenant().String(), t.tenant)
		if err != nil {
			return err
		}
		for _, c := range t.columns {
			found, err := b.all(ctx, t.counts(c.name), []driver.Value{id})
			if err != nil {
				return err
			}
			for _, row := range found {
				prefix, _ := row[0].([]byte)
				n, ok := row[1].(int64)
				if !ok {
					return errors.New("sqldb: the database's count is no integer")
				}
				if key, _ := envelope.FieldKey(prefix); key != b.pass.Keys().DataKeyID() {
					counted.add(t, c.name, keys.PurposeData, key, n)
				}
			}
		}
		return nil
	})
	maps.Copy(r.left, counted)
	return err
}

// total counts the rows that a walk goes through.
func (r *reseal) total(ctx context.Context, t *resealTable) (n int64, err error) {
	err = r.ask(ctx, t, func(b *resealBatch) error {
		b.newest = b.pass.Keys().DataKeyID()
		args, err := b.tenantArgs()
		if err != nil {
			return err
		}
		found, err := b.all(ctx, t.totals(), args)
		if err == nil && len(found) == 1 {
			n, _ = found[0][0].(int64)
		}
		return err
	})
	return n, err
}

// ask passes the gate for a read that releases nothing.
func (r *reseal) ask(ctx context.Context, t *resealTable, do func(*resealBatch) error) error {
	err := r.on(ctx, func(ctx context.Context) error { return r.askOn(ctx, t, do) })
	for try := 1; errors.Is(err, driver.ErrBadConn) && try < busyTries; try++ { // of a connection that had ended in the pool
		err = r.on(ctx, func(ctx context.Context) error { return r.askOn(ctx, t, do) })
	}
	return err
}

func (r *reseal) askOn(ctx context.Context, t *resealTable, do func(*resealBatch) error) error {
	pass, err := r.conn.db.gate.Enter(ctx, t.counting())
	if err != nil {
		return err
	}
	err = do(&resealBatch{walker: &walker{reseal: r, table: t}, pass: pass})
	return errors.Join(err, pass.Leave(ctx, gate.Result{Rows: -1, Bytes: -1, Err: err}))
}
