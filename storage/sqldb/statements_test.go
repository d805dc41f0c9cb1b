package sqldb_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlcases"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// The statements that ordinary applications send, over tables where an index matters: each becomes what it should
// (package sqlcases), or is in the list of those that do not yet, and then must not.

var writePending = flag.Bool("pending", false, "write testdata/pending.txt anew")

const pendingFile = "testdata/pending.txt"

const (
	caseRows    = 100_000
	caseTenants = 10
)

// poison gives other tenants values on which the statements' functions fail. Nobody may notice.
const poison = `UPDATE patients SET meta = '{"n": "x", "k": 1, "codes": {}}', n = 2147483647, amount = 'NaN', created = 'infinity', ward = '\'
	WHERE tenant_id <> $1 AND id % 100 = 0`

// caseWorld is the tables as tenants share them, guarded and by hand, and one tenant's alone.
type caseWorld struct {
	id        tenant.ID
	now       time.Time
	guarded   *sql.DB
	explainer *sql.DB
	explained string // the last plan
	byHand    *pgx.Conn
	alone     *sql.DB
	log       *recorder
}

func newCaseWorld(t *testing.T) *caseWorld {
	t.Helper()
	ctx := t.Context()
	w := &caseWorld{now: time.Now().Add(-3 * time.Minute).UTC(), log: &recorder{}}
	var ids []tenant.ID
	data := sqlcases.Data{Rows: caseRows, Now: w.now}
	for i := range caseTenants {
		ids = append(ids, tenant.MustParse(fmt.Sprint("clinic-", i)))
		data.Tenants = append(data.Tenants, ids[i].String())
	}
	w.id = ids[3]
	shared, dsn, _ := newRaw(t, dialect.PostgreSQL)
	w.alone, _, _ = newRaw(t, dialect.PostgreSQL)
	mustExec(t, shared, data.Shared())
	if _, err := shared.Exec(poison, w.id.String()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, shared, "VACUUM ANALYZE")
	mustExec(t, w.alone, data.Alone(w.id.String()))

	guard := storage.Guard{Keys: newRing(t, ids...), Audit: w.log}
	opts := &sqldb.Options{InsecureWithoutRLS: true, Types: []string{"visit_state"}}
	var err error
	if w.guarded, err = sqldb.Open(ctx, dsn, sqldb.Schema{"patients": {}, "visits": {}, "beds": {}}, guard, opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.guarded.Close() })
	if w.explainer, err = sqldb.Explaining(ctx, w.guarded, func(_, plan string) { w.explained = plan }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.explainer.Close() })
	if w.byHand, err = pgx.Connect(ctx, dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.byHand.Close(context.Background()) })
	return w
}

func (w *caseWorld) as() context.Context { return as(w.id) }

func TestStatements(t *testing.T) {
	cases, err := sqlcases.Cases()
	if err != nil {
		t.Fatal(err)
	}
	w := newCaseWorld(t)
	pending := readPending(t)
	count := map[string]int{}
	var still []string
	for _, c := range cases {
		key := c.Key()
		why := w.hold(t, c)
		count[w.became(c)]++
		if why != "" {
			still = append(still, key)
		}
		switch {
		case why == "" && pending[key] && !*writePending:
			t.Errorf("%s\nis what it should be; take it out of %s", key, pendingFile)
		case why != "" && pending[key]:
			t.Logf("pending: %s\n\t%s", key, why)
		case why != "" && !*writePending:
			t.Errorf("%s\n%s", key, why)
		}
		delete(pending, key)
	}
	for key := range pending {
		t.Errorf("%s names no case: %s", pendingFile, key)
	}
	if *writePending {
		writePendingFile(t, still)
	}
	t.Logf("PostgreSQL %d: of %d statements %d are free, %d fenced, %d refused; %d are not what they should be",
		testenv.Postgres(t).Major, len(cases), count["free"], count["fenced"], count["refused"], len(still))
}

// became is what a statement is today: free where its plan uses the indexes of the one by hand, or where there is none.
func (w *caseWorld) became(c sqlcases.Case) string {
	args, _ := c.Args(w.id.String(), w.now)
	var refused *sqldb.RefusedError
	switch _, err := w.indexes(c, args); {
	case errors.As(err, &refused):
		return "refused"
	case c.Hand != "" && w.sameIndexes(c, args) != "":
		return "fenced"
	}
	return "free"
}

// hold returns why a statement is not what it should be; "" if it is.
func (w *caseWorld) hold(t *testing.T, c sqlcases.Case) string {
	t.Helper()
	args, err := c.Args(w.id.String(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	if c.Aim == sqlcases.Refuse {
		return w.refused(c, args)
	}
	if why := w.sameResult(c, args); why != "" {
		return why
	}
	switch c.Aim {
	case sqlcases.Check:
		return w.checked(c)
	case sqlcases.Free, sqlcases.Inside:
		return w.sameIndexes(c, args)
	}
	return ""
}

func (w *caseWorld) refused(c sqlcases.Case, args []any) string {
	_, err := w.guarded.ExecContext(w.as(), c.SQL, args...)
	var refused *sqldb.RefusedError
	if !errors.As(err, &refused) {
		return fmt.Sprintf("not refused: %v", err)
	}
	if refused.Hint == "" {
		return fmt.Sprintf("refused without a hint: %v", err)
	}
	return ""
}

// checked tells whether another tenant's id is noticed where the statement writes the tenant.
func (w *caseWorld) checked(c sqlcases.Case) string {
	args, _ := c.Args("clinic-4", w.now)
	w.log.take()
	_, err := w.guarded.ExecContext(w.as(), c.SQL, args...)
	if !errors.Is(err, storage.ErrIsolation) {
		return fmt.Sprintf("another tenant's id: %v", err)
	}
	if !slices.ContainsFunc(w.log.take(), func(e audit.Event) bool { return e.Code == audit.CodeIsolation }) {
		return "another tenant's id raised no alert"
	}
	return ""
}

// caseState is what a statement may have written.
const caseState = `SELECT 'p', id, ward, n, deleted_at, state FROM patients UNION ALL SELECT 'v', id, NULL, patient_id, at, NULL FROM visits
	UNION ALL SELECT 'b', id, ward, n, NULL, NULL FROM beds`

// sameResult compares what a statement returns and writes with what it does where the tenant is alone.
func (w *caseWorld) sameResult(c sqlcases.Case, args []any) string {
	got, err := tried(w.as(), w.guarded, c.SQL, args)
	if err != nil {
		return err.Error()
	}
	want, err := tried(context.Background(), w.alone, c.Alone, args)
	if err != nil {
		return "on a database of the tenant's own: " + err.Error()
	}
	if !slices.Equal(got, want) {
		return fmt.Sprintf("%d rows, want %d; the first that differ:\n%s", len(got), len(want), firstDifference(got, want))
	}
	return ""
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("got  %.300s\nwant %.300s", a[i], b[i])
		}
	}
	return "one is the beginning of the other"
}

var reading = regexp.MustCompile(`^SELECT`)

// tried runs a statement and takes back what it did. It returns its rows in any order, and after a write all rows.
func tried(ctx context.Context, db *sql.DB, query string, args []any) ([]string, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	rows, err := texts(tx.QueryContext(ctx, query, args...))
	if err != nil || reading.MatchString(query) {
		return rows, err
	}
	state, err := texts(tx.QueryContext(ctx, caseState))
	return append(rows, state...), err
}

func texts(rows *sql.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, dest := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		dest[i] = &values[i]
	}
	var out []string
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		var row []string
		for i, v := range values {
			switch v := v.(type) {
			case []byte:
				row = append(row, names[i]+"="+string(v))
			case time.Time:
				if time.Since(v).Abs() < time.Minute {
					row = append(row, names[i]+"=just now")
					continue
				}
				row = append(row, names[i]+"="+v.UTC().Format(time.RFC3339))
			default:
				row = append(row, fmt.Sprint(names[i], "=", v))
			}
		}
		out = append(out, strings.Join(row, " "))
	}
	slices.Sort(out)
	return out, rows.Err()
}

// sameIndexes compares the indexes that PostgreSQL uses with those for the statement by hand.
func (w *caseWorld) sameIndexes(c sqlcases.Case, args []any) string {
	got, err := w.indexes(c, args)
	if err != nil {
		return err.Error()
	}
	var plan string
	err = w.byHand.QueryRow(context.Background(), "EXPLAIN (FORMAT JSON) "+c.ByHand(w.id.String()),
		append([]any{pgx.QueryExecModeDescribeExec}, args...)...).Scan(&plan)
	if err != nil {
		return "by hand: " + err.Error()
	}
	want, err := indexesOf(plan)
	if err != nil {
		return "by hand: " + err.Error()
	}
	if !slices.Equal(got, want) {
		return fmt.Sprintf("uses %s; by hand %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	return ""
}

// indexes returns the indexes that PostgreSQL uses for a guarded statement.
func (w *caseWorld) indexes(c sqlcases.Case, args []any) ([]string, error) {
	w.explained = ""
	_, err := w.explainer.ExecContext(w.as(), c.SQL, args...)
	if w.explained == "" {
		return nil, err
	}
	return indexesOf(w.explained)
}

// planNode is a node of what EXPLAIN returns.
type planNode struct {
	Relation string     `json:"Relation Name"`
	Index    string     `json:"Index Name"`
	Cond     string     `json:"Index Cond"`
	Plans    []planNode `json:"Plans"`
	Type     string     `json:"Node Type"`
}

// allRows stands for every index that is searched by the tenant alone: which of them it is says nothing.
const allRows = "all the tenant's rows of "

// indexesOf returns how a plan reads tables: each index with the columns that it is searched by, and whether it sorts more
// than it returns.
func indexesOf(plan string) ([]string, error) {
	var roots []struct{ Plan planNode }
	if err := json.Unmarshal([]byte(plan), &roots); err != nil || len(roots) != 1 {
		return nil, fmt.Errorf("EXPLAIN returned %q: %w", plan, err)
	}
	found, selective := map[string]bool{}, map[string]bool{}
	var walk func(n planNode, limited bool)
	walk = func(n planNode, limited bool) {
		table, _, _ := strings.Cut(n.Index, "_")
		switch columns := searched(n); {
		case n.Index != "" && (len(columns) == 0 || slices.Equal(columns, []string{"tenant_id"})):
			found[allRows+table] = true
		case n.Index != "":
			found[n.Index+"("+strings.Join(columns, " ")+")"], selective[table] = true, true
		case n.Type == "Seq Scan":
			found["everybody's rows of "+n.Relation] = true
		case n.Type == "Sort" && limited:
			found["a sort of more than the limit"] = true
		}
		for _, child := range n.Plans {
			walk(child, limited || n.Type == "Limit")
		}
	}
	walk(roots[0].Plan, false)
	for table := range selective { // PostgreSQL may intersect an index without the tenant with the tenant's rows, or not
		delete(found, allRows+table)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

var (
	planLiteral = regexp.MustCompile(`'(?:[^']|'')*'`)
	planName    = regexp.MustCompile(`[a-z_]+`)
	indexed     = map[string][]string{
		"patients_pkey": {"tenant_id", "id"}, "patients_created": {"tenant_id", "created", "id"}, "patients_ward": {"tenant_id", "ward"},
		"patients_n": {"tenant_id", "n"}, "patients_amount": {"tenant_id", "amount"}, "patients_state": {"tenant_id", "state"},
		"patients_tags": {"tags"}, "patients_meta": {"meta"},
		"visits_pkey": {"tenant_id", "id"}, "visits_patient": {"tenant_id", "patient_id"}, "visits_at": {"tenant_id", "at"}, "visits_doc": {"doc"},
	}
)

// searched returns the columns of an index that its condition names.
func searched(n planNode) []string {
	names := planName.FindAllString(planLiteral.ReplaceAllString(n.Cond, ""), -1)
	var out []string
	for _, column := range indexed[n.Index] {
		if slices.Contains(names, column) {
			out = append(out, column)
		}
	}
	return out
}

func readPending(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(pendingFile)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out[line] = true
		}
	}
	return out
}

func writePendingFile(t *testing.T, keys []string) {
	t.Helper()
	text := "# Cases of internal/sqlplan/sqlcases/statements.txt that are not yet what they should be: see TestStatements.\n" + strings.Join(keys, "\n") + "\n"
	if err := os.WriteFile(pendingFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
