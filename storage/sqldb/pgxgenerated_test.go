package sqldb_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// The same property through a Pool, beside a pool of pgx's own.
func TestGeneratedPool(t *testing.T) {
	testenv.Postgres(t)
	inNoTime(t, func(t *testing.T) { testGenerated(t, dialect.PostgreSQL, true) })
}

func (w *genWorld) openPools(t *testing.T) {
	t.Helper()
	var err error
	w.pool, err = w.reopen()
	must(t, err)
	t.Cleanup(w.pool.Close)
	w.plainPool = map[tenant.ID]*pgxpool.Pool{}
	for id, url := range w.plainURL {
		w.plainPool[id], err = pgxpool.New(t.Context(), url)
		must(t, err)
		t.Cleanup(w.plainPool[id].Close)
	}
}

// pgxRunner is a pool, a transaction, or one of pgx's own.
type pgxRunner struct {
	db interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	}
}

func (r pgxRunner) outcome(ctx context.Context, query string, st sqlgen.Statement) (string, error) {
	if !st.Reads && !strings.Contains(query, "RETURNING") {
		tag, err := r.db.Exec(ctx, query, st.Args...)
		return fmt.Sprint(tag.RowsAffected()), err
	}
	rows, err := r.db.Query(ctx, query, st.Args...)
	if err != nil {
		return "", err
	}
	return pgxLines(rows)
}

func pgxLines(rows pgx.Rows) (string, error) {
	values, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	return sortedLines(values), err
}

// poolTransaction is transaction on pools.
func (w *genWorld) poolTransaction(t *testing.T, id tenant.ID) {
	t.Helper()
	guarded, err := w.pool.Begin(as(id))
	must(t, err)
	plain, err := w.plainPool[id].Begin(context.Background())
	must(t, err)
	ok := w.some(t, id, pgxRunner{guarded}, pgxRunner{plain})
	if ok && w.IntN(2) == 0 {
		err = errors.Join(guarded.Commit(as(id)), plain.Commit(context.Background()))
	} else {
		err = errors.Join(guarded.Rollback(as(id)), plain.Rollback(context.Background()))
	}
	must(t, err)
}

// batch sends some statements in one round trip, on both sides. What both refuse, or what fails, is nobody's.
func (w *genWorld) batch(t *testing.T, id tenant.ID) {
	t.Helper()
	guarded, plain, strict := &pgx.Batch{}, &pgx.Batch{}, &pgx.Batch{}
	var all []sqlgen.Statement
	for range w.IntN(4) + 1 {
		st := w.next()
		text := cmp.Or(st.Plain, st.SQL)
		guarded.Queue(st.SQL, st.Args...)
		plain.Queue(text, st.Args...)
		strict.Queue(strictly(text), st.Args...)
		all = append(all, st)
	}
	w.ran += guarded.Len()
	read := func(results pgx.BatchResults) (all []string, err error) {
		for range guarded.Len() {
			rows, err := results.Query()
			if err != nil {
				return nil, errors.Join(err, results.Close())
			}
			lines, err := pgxLines(rows)
			if err != nil {
				return nil, errors.Join(err, results.Close())
			}
			all = append(all, fmt.Sprint(lines, rows.CommandTag()))
		}
		return all, results.Close()
	}
	got, gotErr := read(w.pool.SendBatch(as(id), guarded))
	var refused *sqldb.RefusedError
	if errors.As(gotErr, &refused) {
		if wrong := w.refusedWrongly(id, refused, all...); wrong != "" {
			t.Errorf("tenant %s: %v: %s", id, gotErr, wrong)
		}
		return
	}
	if gotErr != nil {
		w.failed += guarded.Len()
	}
	var want []string
	var wantErr error
	if w.hidden(id, gotErr, all...) {
		tx, err := w.plainPool[id].Begin(context.Background())
		must(t, err)
		want, wantErr = read(tx.SendBatch(context.Background(), strict))
		must(t, tx.Rollback(context.Background()))
		if wrong := w.notAdmitted(id, wantErr); wrong == "" {
			return
		}
	} else {
		want, wantErr = read(w.plainPool[id].SendBatch(context.Background(), plain))
	}
	// A batch that stores such values is run statement by statement: an earlier one may fail before PostgreSQL sees the text of a wrong one.
	if w.keys.several(id) && gotErr != nil && strings.HasPrefix(class(wantErr), "42") {
		return
	}
	if !w.alike(id, gotErr, wantErr) || gotErr == nil && fmt.Sprint(got) != fmt.Sprint(want) {
		var texts []string
		for _, q := range guarded.QueuedQueries {
			texts = append(texts, fmt.Sprint(q.SQL, q.Arguments))
		}
		t.Errorf("tenant %s:\n%s\nguarded: %v\n%v\nplain: %v\n%v", id, strings.Join(texts, "\n"), gotErr, got, wantErr, want)
	}
}
