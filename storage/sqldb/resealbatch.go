package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
)

// walker goes through one table in batches, each its own access.
type walker struct {
	*reseal
	table *resealTable
	write bool
	after []driver.Value // the last row's key; nil at the beginning
	limit int
	// single is set after a batch that a duplicate kept from being written: as many rows are then taken one by one, and of the
	// duplicate the index values are left alone.
	single       int
	leaveIndexes bool
	done         bool
}

// resealRow is a row that was read, and what is to be stored in it.
type resealRow struct {
	key                 []driver.Value
	old, new            []driver.Value // of the table's stored columns
	resealed, reindexed int64
}

// busyTries is how often a batch is tried that the database gave up on in favour of somebody else.
const busyTries = 10

// next does one batch and returns how many rows it looked at.
func (w *walker) next(ctx context.Context) (int, error) {
	limit := w.limit
	if w.single > 0 {
		limit = 1
	}
	if w.limiter != nil {
		if err := w.limiter.WaitN(ctx, limit); err != nil {
			return 0, err
		}
	}
	for try := 1; ; try++ {
		before := w.faults.clone()
		var rows []resealRow
		err := w.on(ctx, func(ctx context.Context) (err error) {
			rows, err = w.batch(ctx, limit)
			return err
		})
		switch {
		case err == nil:
			if w.leaveIndexes && len(rows) == 1 {
				w.duplicate(rows[0])
			}
			w.leaveIndexes = false
			w.advance(rows, limit)
			return len(rows), nil
		case isUniqueViolation(err) && len(rows) > 1:
			w.single, w.faults = len(rows), before
			return 0, nil
		case isUniqueViolation(err) && len(rows) == 1 && !w.leaveIndexes:
			w.single, w.leaveIndexes, w.faults = max(1, w.single), true, before
			return 0, nil
		case !isBusy(err) || try == busyTries:
			return 0, err
		}
		w.faults = before
		select {
		case <-time.After(time.Duration(try) * 10 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (w *walker) advance(rows []resealRow, limit int) {
	w.single = max(0, w.single-len(rows))
	w.done = len(rows) < limit || len(w.table.key) == 0
	if len(rows) > 0 {
		w.after = rows[len(rows)-1].key
	}
}

func (w *walker) duplicate(row resealRow) {
	if w.faults.duplicates++; w.faults.duplicates == 1 {
		w.faults.duplicate = w.table.name
	}
	if len(w.report.Duplicates) < MaxDuplicates {
		key := make([]any, len(row.key))
		for i, v := range row.key {
			key[i] = v
		}
		w.report.Duplicates = append(w.report.Duplicates, Duplicate{w.table.name, key})
	}
}

// batch passes the gate, reads rows, and writes what is to be changed in one transaction. The rows are returned with an error
// where the database answered that a write violates a unique key.
func (w *walker) batch(ctx context.Context, limit int) (rows []resealRow, err error) {
	op := w.table.counting()
	if w.write {
		op = &w.table.op
	}
	pass, err := w.conn.db.gate.Enter(ctx, op)
	if err != nil {
		return nil, err
	}
	b := &resealBatch{walker: w, pass: pass}
	rows, err = b.run(ctx, limit)
	result := gate.Result{Rows: int64(len(rows)), Bytes: -1, Err: err}
	if w.write {
		result.Rows = b.changed
	}
	if b.sent && unanswered(err) {
		result.Unknown, result.Err = true, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	if lerr := pass.Leave(ctx, result); lerr != nil {
		return rows, errors.Join(result.Err, lerr)
	}
	return rows, result.Err
}

// resealBatch is one batch under way.
type resealBatch struct {
	*walker
	pass    *gate.Pass
	inTx    bool
	sent    bool // COMMIT was
	changed int64
	newest  uint32
	indexID []uint32
}

func (b *resealBatch) run(ctx context.Context, limit int) (rows []resealRow, err error) {
	defer func() {
		if b.inTx {
			b.inTx = false
			err = errors.Join(err, b.conn.session.rollback(context.WithoutCancel(ctx)))
		}
	}()
	b.newest, b.indexID = b.pass.Keys().DataKeyID(), b.pass.Keys().IndexKeyIDs()
	if len(b.indexID) == 0 {
		return nil, errors.New("sqldb: the tenant has no index key")
	}
	if b.write && b.table.locks {
		if err := b.begin(ctx); err != nil {
			return nil, err
		}
	}
	if rows, err = b.read(ctx, limit); err != nil {
		return nil, err
	}
	var args [][]driver.Value
	var changing []*resealRow
	for i := range rows {
		row := &rows[i]
		if err := b.renew(ctx, row); err != nil {
			return nil, err
		}
		if b.write && row.resealed+row.reindexed > 0 {
			changing, args = append(changing, row), append(args, b.arguments(row))
		}
	}
	if !b.write || len(args) == 0 {
		return rows, nil
	}
	if !b.inTx {
		if err := b.begin(ctx); err != nil {
			return nil, err
		}
	}
	changed, err := b.conn.session.update(ctx, b.pass.Tenant(), b.table.update, args)
	if err != nil {
		return rows, err
	}
	b.inTx, b.sent = false, true
	if err := b.conn.session.commit(ctx); err != nil {
		return rows, err
	}
	for i, row := range changing {
		if changed[i] {
			b.changed++
			b.report.Resealed += row.resealed
			b.report.Reindexed += row.reindexed
		}
	}
	return rows, nil
}

// lockTimeout is set where a write may wait for somebody else, whose own wait must not be what ends in a deadlock: PostgreSQL
// looks for those after a second.
const lockTimeout = "SELECT pg_catalog.set_config('lock_timeout', '500ms', true)"

func (b *resealBatch) begin(ctx context.Context) error {
	var opts driver.TxOptions
	if !b.table.lite {
		opts.Isolation = driver.IsolationLevel(sql.LevelReadCommitted)
	}
	if err := b.conn.session.begin(ctx, b.pass.Tenant(), opts); err != nil {
		return err
	}
	b.inTx = true
	if b.table.lite || !b.table.indexes {
		return nil
	}
	_, err := b.all(ctx, lockTimeout, nil)
	return err
}

// read reads the next rows.
func (b *resealBatch) read(ctx context.Context, limit int) ([]resealRow, error) {
	args, err := b.tenantArgs()
	if err != nil {
		return nil, err
	}
	args = append(args, b.after...)
	args = append(args, int64(limit))
	found, err := b.all(ctx, b.table.batch(b.after != nil, b.write), args)
	if err != nil {
		return nil, err
	}
	n := len(b.table.key)
	rows := make([]resealRow, len(found))
	for i, values := range found {
		rows[i] = resealRow{key: values[:n:n], old: values[n:]}
	}
	return rows, nil
}

// tenantArgs are the first parameters of what reads rows: the tenant and, where the database finds them, the newest key.
func (b *resealBatch) tenantArgs() ([]driver.Value, error) {
	id, err := canonicalTenant(b.pass.Tenant().String(), b.table.tenant)
	args := []driver.Value{id}
	if b.table.stale != "" {
		args = append(args, envelope.FieldPrefix(b.newest))
	}
	return args, err
}

// all reads a result to its end.
func (b *resealBatch) all(ctx context.Context, text string, args []driver.Value) ([][]driver.Value, error) {
	cur, err := b.conn.session.query(ctx, b.pass.Tenant(), text, args)
	if err != nil {
		return nil, err
	}
	kept, _, _, err := exhaust(cur, true)
	return kept.rows, err
}

// arguments are the parameters of the update of a row.
func (b *resealBatch) arguments(row *resealRow) []driver.Value {
	id, _ := canonicalTenant(b.pass.Tenant().String(), b.table.tenant) // it was bound to read the row
	args := append([]driver.Value{id}, row.key...)
	for i := range row.old {
		args = append(args, row.new[i], row.old[i])
	}
	return args
}

// renew finds what is to be stored in a row, and counts what is not under the newest key.
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
	if stale && !b.write {
		b.left.add(b.table, c.name, keys.PurposeData, key, 1)
	}
	t, id := b.pass.Keys(), b.pass.Tenant()
	switch {
	case stale && b.write:
		var sealed []byte
		if sealed, v, err = envelope.ResealField(t.Data(), id, b.table.name, c.name, c.decl.logical, ciphertext); err == nil {
			row.new[at] = sealed
			row.resealed++
		}
	case needed:
		v, err = envelope.OpenField(t.Data(), id, b.table.name, c.name, c.decl.logical, ciphertext)
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
			value, err := c.decl.blindIndex(b.pass, sqlplan.Param{Table: b.table.name, Column: c.name, IndexVersion: n}, v)
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

// count has the database count a table's values by the key that they name.
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

// isUniqueViolation tells that the database refused a second row with the same key.
func isUniqueViolation(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23505"
	}
	var lite interface{ Code() int }
	return errors.As(err, &lite) && (lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// isBusy tells that the database gave up in favour of somebody else, and that nothing was changed.
func isBusy(err error) bool {
	if unanswered(err) {
		return false
	}
	if errors.Is(err, driver.ErrBadConn) { // it had ended in the pool, and nothing was sent
		return true
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40001" || pg.Code == "40P01" || pg.Code == "55P03"
	}
	var lite interface{ Code() int }
	return errors.As(err, &lite) && (lite.Code()&0xff == sqlite3.SQLITE_BUSY || lite.Code()&0xff == sqlite3.SQLITE_LOCKED)
}
