package sqldb_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlgen"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// Between the generated statements the tenants' keys are rotated, values are re-sealed, and older keys go. Nobody's answers
// change by it, but for what the documentation refuses while several index keys of a tenant live; that is held against what
// one key would have made of it.

// genKeys rotates the keys of generated tenants. What it does follows from a seed of its own, so that the statements of a seed
// are the same with it and without.
type genKeys struct {
	*rand.Rand
	ring *keys.Keyring
	made map[keyed]int // the keys there are, 1 where it says nothing
	id   tenant.ID     // whose keys are rotated: one tenant's at a time, since each text is planned once more for it
	// later are the statements that were refused while several index keys live.
	later map[tenant.ID][]sqlgen.Statement

	rotations, reseals, ends, refused, duplicates int
}

type keyed struct {
	id tenant.ID
	p  keys.Purpose
}

// newGenKeys returns keys of a keyring in memory: many rotations wait for a disk longer than for all else.
func newGenKeys(t *testing.T) *genKeys {
	t.Helper()
	db, err := sql.Open("sqlite", "file::memory:")
	must(t, err)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	must(t, sqlstore.Create(t.Context(), db, dialect.SQLite, ""))
	store, err := sqlstore.Open(t.Context(), db, dialect.SQLite, nil)
	must(t, err)
	kek, err := localkek.Open(filepath.Join(t.TempDir(), "kek.json"), nil)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
	must(t, err)
	t.Cleanup(func() { ring.Close() })
	return &genKeys{ring: ring, made: map[keyed]int{}, later: map[tenant.ID][]sqlgen.Statement{}}
}

func (k *genKeys) String() string {
	return fmt.Sprintf("%d rotations, %d re-sealings, %d ends of rotations; %d statements were refused and %d found a value under an older key",
		k.rotations, k.reseals, k.ends, k.refused, k.duplicates)
}

// begin begins a world: with a seed, and no statements of the last one's tables.
func (k *genKeys) begin(seed, round uint64) {
	k.Rand, k.id = rand.New(rand.NewPCG(^seed, round)), tenant.ID{}
	clear(k.later)
}

// among chooses whose keys are rotated: the tenant that has several index keys of another world already, or any.
func (k *genKeys) among(ids []tenant.ID) {
	if k == nil {
		return
	}
	k.id = ids[k.IntN(len(ids))]
	if i := slices.IndexFunc(ids, k.several); i >= 0 {
		k.id = ids[i]
	}
}

// unique makes unique keys of blind indexes, which few schemas have by chance.
func (k *genKeys) unique(s *sqlgen.Schema) {
	for _, table := range s.Tables {
		if i := slices.IndexFunc(table.Columns, func(c sqlgen.Column) bool { return c.Searchable }); k != nil && i >= 0 && table.Unique == nil && k.IntN(2) == 0 {
			table.Unique = []string{table.Columns[i].Name}
		}
	}
}

// several tells whether several index keys of a tenant live.
func (k *genKeys) several(id tenant.ID) bool {
	return k != nil && k.made[keyed{id, keys.PurposeIndex}] > 1
}

// inNoTime runs a test in a world in which a rotation's wait for all processes is over at once: its clock stands still while anybody,
// the database included, is at work.
func inNoTime(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

// maxGenKeys bounds the keys of a purpose. With three there is one that is neither the newest nor the oldest.
const maxGenKeys = 3

// rotate makes another key of a purpose, where there are not too many.
func (k *genKeys) rotate(t *testing.T, id tenant.ID, p keys.Purpose) {
	t.Helper()
	of := keyed{id, p}
	if k.made[of] = max(1, k.made[of]); k.made[of] == maxGenKeys {
		return
	}
	must(t, k.ring.Rotate(t.Context(), id, p, ""))
	k.made[of]++
	k.rotations++
}

// perhapsRotate rotates a key of a tenant once in so many calls.
func (k *genKeys) perhapsRotate(t *testing.T, id tenant.ID, times int) {
	t.Helper()
	if k != nil && k.id == id && k.IntN(times) == 0 {
		k.rotate(t, id, []keys.Purpose{keys.PurposeIndex, keys.PurposeIndex, keys.PurposeData}[k.IntN(3)])
	}
}

// turn does something with the keys of a tenant, or has it store what it may have already under an older key, or does nothing.
func (w *genWorld) turn(t *testing.T) {
	t.Helper()
	k := w.keys
	if k == nil {
		return
	}
	id := k.id
	if k.IntN(12) > 0 {
		if k.several(id) && k.IntN(3) == 0 {
			if st, ok := w.storing(); ok {
				w.check(t, id, w.on(), w.plainOn(id), st)
			}
		}
		return
	}
	switch k.IntN(8) {
	case 0, 1, 2:
		k.rotate(t, id, keys.PurposeIndex)
	case 3:
		k.rotate(t, id, keys.PurposeData)
	case 4, 5:
		w.reseal(t, id, w.anyReseal())
	default:
		w.end(t, id)
	}
}

// storing returns an INSERT of values that a unique key admits once and that are sealed, where there is such a key.
func (w *genWorld) storing() (st sqlgen.Statement, ok bool) {
	var into []*regexp.Regexp
	for _, table := range w.schema.Tables {
		for _, c := range table.Columns {
			if c.Searchable && slices.Equal(table.Unique, []string{c.Name}) {
				into = append(into, regexp.MustCompile("INSERT INTO "+regexp.QuoteMeta(table.SQL())+` \([^)]*`+regexp.QuoteMeta(sqlgen.Quote(c.Name))))
			}
		}
	}
	for range 200 {
		if len(into) == 0 || ok {
			break
		}
		st = w.schema.Random(w.keys.Rand)
		ok = slices.ContainsFunc(into, func(r *regexp.Regexp) bool { return r.MatchString(st.SQL) })
	}
	return st, ok
}

// anyReseal returns options of any kind.
func (w *genWorld) anyReseal() sqldb.ResealOptions {
	var o sqldb.ResealOptions
	switch w.keys.IntN(5) {
	case 0:
		o.Purposes = []keys.Purpose{keys.PurposeData}
	case 1:
		o.Purposes = []keys.Purpose{keys.PurposeIndex}
	case 2:
		o.Tables = []string{w.schema.Tables[w.keys.IntN(len(w.schema.Tables))].Declared()}
	case 3:
		o.DryRun = true
	}
	if w.keys.IntN(2) == 0 {
		o.BatchSize = w.keys.IntN(3) + 1
	}
	return o
}

// reseal moves values of a tenant to its newest keys, which nobody sees, and finds nothing left: all that stands in its way would be
// a value that is there twice.
func (w *genWorld) reseal(t *testing.T, id tenant.ID, o sqldb.ResealOptions) {
	t.Helper()
	w.keys.reseals++
	report, err := sqldb.Reseal(as(id), w.guarded, &o)
	if err != nil {
		t.Errorf("tenant %s: Reseal of %+v: %v", id, o, err)
		return
	}
	if !o.DryRun && len(report.Left) > 0 {
		t.Errorf("tenant %s: Reseal of %+v left %+v", id, o, report.Left)
	}
	if tr := w.schema.Trigger; tr != nil && tr.Column != "" && !o.DryRun {
		// It runs as with any UPDATE, of some of the rows. After one of all rows its work is the same on both sides.
		key := sqlgen.Quote(tr.Table.Columns[0].Name)
		w.check(t, id, w.on(), w.plainOn(id), sqlgen.Statement{SQL: fmt.Sprintf("UPDATE %s SET %s = %s", tr.Table.SQL(), key, key)})
	}
	w.same(t, id, w.on(), w.plainOn(id))
}

// end ends a tenant's rotations: older keys are destroyed, once nothing needs them. What was refused until then is not any more.
func (w *genWorld) end(t *testing.T, id tenant.ID) {
	t.Helper()
	k := w.keys
	k.ends++
	w.reseal(t, id, sqldb.ResealOptions{})
	for _, p := range []keys.Purpose{keys.PurposeIndex, keys.PurposeData} {
		all, err := k.ring.Versions(t.Context(), id, p)
		must(t, err)
		for _, version := range all[:len(all)-1] {
			remaining := func(context.Context) (int64, error) {
				report, err := sqldb.Reseal(as(id), w.guarded, &sqldb.ResealOptions{DryRun: true, Purposes: []keys.Purpose{p}})
				if err != nil {
					return 0, err
				}
				return report.Remaining(p)
			}
			must(t, k.ring.DisableKey(t.Context(), id, p, version.ID, "", remaining))
			must(t, k.ring.DestroyKey(t.Context(), id, p, version.ID, "", func(context.Context) (int64, error) { return 0, nil })) // as was counted
		}
		k.made[keyed{id, p}] = 1
	}
	later := k.later[id]
	k.later[id] = nil
	for _, st := range later {
		w.check(t, id, w.on(), w.plainOn(id), st)
	}
	w.same(t, id, w.on(), w.plainOn(id))
	k.among(w.tenants)
}

const duringRotation = "during a rotation of its index key"

// refusedWrongly says what is wrong with a refusal of one of some statements; "" for nothing. What only one index key can do is
// refused while several live, and planned for one.
func (w *genWorld) refusedWrongly(id tenant.ID, refused *sqldb.RefusedError, statements ...sqlgen.Statement) string {
	switch {
	case genUnwritable.MatchString(refused.Reason):
		return ""
	case !strings.HasSuffix(refused.Reason, duringRotation):
		return "it is not to be refused"
	case !w.keys.several(id):
		return "the tenant has one index key"
	}
	for _, st := range statements {
		stmt, err := w.guarded.PrepareContext(as(id), st.SQL)
		if err == nil {
			err = stmt.Close()
		}
		if err != nil && !genUnwritable.MatchString(err.Error()) {
			return fmt.Sprintf("with one index key: %v", err)
		}
	}
	w.keys.refused++
	if len(statements) == 1 && len(w.keys.later[id]) < 10 {
		w.keys.later[id] = append(w.keys.later[id], statements[0])
	}
	return ""
}

// passing is what admits rows that are there already.
const passing = " ON CONFLICT DO NOTHING"

// strictly is a statement without what has it pass over rows that are there.
func strictly(text string) string { return strings.ReplaceAll(text, passing, "") }

// hidden tells whether one of some statements failed because an older index key hides a value from a unique key. It may fail in
// another constraint, too, for a row that it would have passed over: the value is looked for when it has run.
func (w *genWorld) hidden(id tenant.ID, err error, statements ...sqlgen.Statement) bool {
	passes := func(st sqlgen.Statement) bool { return strings.Contains(st.SQL, passing) }
	return errors.Is(err, sqldb.ErrDuplicate) || w.keys.several(id) && violates(err) && slices.ContainsFunc(statements, passes)
}

// notTwice says what is wrong where an older index key hides a value from a statement; "" for nothing. The plain database must find a
// key twice, too, unless the statement says that it passes over such rows: without those words then. What it does is undone.
func (w *genWorld) notTwice(id tenant.ID, plain runner, st sqlgen.Statement) string {
	text := strictly(w.text(cmp.Or(st.Plain, st.SQL), true))
	ctx := context.Background()
	var err error
	switch r := plain.(type) {
	case sqlRunner:
		if db, alone := r.db.(*sql.DB); alone {
			tx, berr := db.BeginTx(ctx, nil)
			if berr != nil {
				return berr.Error()
			}
			defer tx.Rollback()
			r.db = tx
		}
		_, err = r.outcome(ctx, text, st)
	case pgxRunner:
		if pool, alone := r.db.(*pgxpool.Pool); alone {
			tx, berr := pool.Begin(ctx)
			if berr != nil {
				return berr.Error()
			}
			defer tx.Rollback(ctx)
			r.db = tx
		}
		_, err = r.outcome(ctx, text, st)
	}
	return w.notAdmitted(id, err)
}

// sqliteConstraint is SQLITE_CONSTRAINT.
const sqliteConstraint = "19"

// violates tells an error of a constraint.
func violates(err error) bool { return class(err) == violation || class(err) == sqliteConstraint }

// notAdmitted says what is wrong where the guard found a value twice and the plain database ended with err; "" for nothing.
func (w *genWorld) notAdmitted(id tenant.ID, err error) string {
	w.keys.found()
	switch {
	case !w.keys.several(id):
		return "the tenant has one index key"
	case !violates(err):
		return fmt.Sprintf("plain: %v", err)
	}
	return ""
}

// twiceInOne is cardinality_violation: of one INSERT … ON CONFLICT DO UPDATE two rows have the same key.
const twiceInOne = "21000"

// alike tells whether both sides ended alike. A value that another row has under an older index key is looked for when the statement has
// run: where it fails for a row behind the one that has the value, it fails for that.
func (w *genWorld) alike(id tenant.ID, guarded, plain error) bool {
	got, want := class(guarded), class(plain)
	return got == want || w.keys.several(id) && got == twiceInOne && want == violation
}

func (k *genKeys) found() {
	if k != nil {
		k.duplicates++
	}
}

// settled tells whether all connections came back, and whether the trail says of each intent what became of it.
func (w *genWorld) settled(t *testing.T, log *recorder) {
	t.Helper()
	if n := w.guarded.Stats().InUse; n != 0 {
		t.Errorf("%d connections have not come back", n)
	}
	if n := unended(log.take()); n != 0 {
		t.Errorf("of %d intents the trail does not say what became of them", n)
	}
}
