package storagetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// Statement is one of the application's statements.
type Statement struct {
	SQL  string
	Args []any
	// ArgsFor, if set, makes the arguments for a tenant in place of Args. What tenants store should differ, so that it is seen whose it is.
	ArgsFor func(tenant.ID) []any
	// Varies tells of a result, or of rows that are stored, that are others each time, as by a clock, a sequence or chance: they are not
	// compared, and what is in them is looked through all the same.
	Varies bool
	// Fails tells of a statement that is to fail, as one that stores a row twice. Of the others a failure is a problem: what fails always
	// would be the same whoever else has rows.
	Fails bool
}

func (s Statement) args(id tenant.ID) []any {
	if s.ArgsFor != nil {
		return s.ArgsFor(id)
	}
	return s.Args
}

// Suite says what [Run] tries.
type Suite struct {
	// DB is the guarded database, of a test: rows of the suite's tenants are stored there. Required.
	DB *sql.DB
	// Schema is what DB was opened with. Required.
	Schema sqldb.Schema
	// Keys is the keyring that DB was opened with. Required: the suite's tenants are provisioned.
	Keys *keys.Keyring
	// Tenants are those of the suite, who must have no rows. Default: two new UUIDs.
	Tenants [2]tenant.ID
	// Fill gives a tenant rows. It is run as both, so with the same keys, and should give every declared table a row. Required.
	Fill []Statement
	// Statements are what the application sends, each run by itself in a transaction that is rolled back, those that only read also without
	// one, and in the end once more as either tenant, to stay: the second's without transactions. Required.
	Statements []Statement
	// Raw, if set, is a handle that sees the rows of all tenants without a guard, such as a superuser's: sealed columns and what is stored
	// beside them, blind indexes that is, must not have what they hold in the clear, nor the same value for two tenants. Give both
	// tenants a row with the same text in a searchable column for that.
	Raw *sql.DB
	// Trail, if set, is what DB and Bucket were opened with as their audit trail: every access must leave an event.
	Trail *Trail
	// Bucket, if set, is a guarded bucket of a test, where the suite's tenants get objects: those of the same names must not meet, and
	// what one has the other must not find, list, copy, change or delete.
	Bucket *blob.Bucket
	// RawBucket, if set, is what Bucket is a guard of: objects and their metadata must not be in the clear there, and where those of two
	// tenants change places, as the suite has them do, they must not open.
	RawBucket *blob.Bucket
}

// Run runs the suite and reports what it finds as errors of the test.
func Run(t *testing.T, s Suite) {
	t.Helper()
	problems, err := s.Check(t.Context())
	if err != nil {
		t.Fatalf("storagetest: %v", err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// Check runs the suite and returns what it finds; an error means that it could not be run.
func (s Suite) Check(ctx context.Context) (problems []string, err error) {
	if s.DB == nil || s.Keys == nil || len(s.Schema) == 0 || len(s.Fill) == 0 || len(s.Statements) == 0 {
		return nil, errors.New("Suite needs DB, Schema, Keys, Fill and Statements")
	}
	for i := range s.Tenants {
		if s.Tenants[i].IsZero() {
			s.Tenants[i] = tenant.MustParse(uuid.NewString())
		}
		if err := s.Keys.Provision(ctx, s.Tenants[i]); err != nil {
			return nil, fmt.Errorf("provision a tenant of the suite: %w", err)
		}
	}
	c := &check{Suite: s, ctx: ctx, a: s.Tenants[0], b: s.Tenants[1]}
	return c.run(), nil
}

// check is a run of the suite. Tenant a is looked at alone first.
type check struct {
	Suite
	ctx      context.Context
	a, b     tenant.ID
	parallel bool // outcomes of both tenants are on the way

	mu       sync.Mutex
	problems []string
}

func (c *check) problem(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := "storagetest: " + fmt.Sprintf(format, args...); !slices.Contains(c.problems, p) {
		c.problems = append(c.problems, p)
	}
}

func (c *check) run() []string {
	if _, err := c.DB.ExecContext(c.ctx, c.Statements[0].SQL, c.Statements[0].args(c.a)...); !errors.Is(err, tenant.ErrMissing) {
		c.problem("a statement without a tenant in its context gave %v: is DB opened with sqldb.Open?", err)
	}
	if !c.fill(c.a) {
		return c.problems
	}
	mine := c.rows(c.a)
	if rows := c.rows(c.b); c.count(rows) > 0 {
		c.problem("a tenant without rows sees %d: %v", c.count(rows), rows)
	}
	before := c.outcomes(c.a)
	c.meant(before)
	if !c.fill(c.b) {
		c.problem("with the same keys, the second tenant's rows cannot be stored: a primary key, unique constraint or foreign key lacks the tenant column, or Fill is no statement for two")
		return c.problems
	}
	theirs := c.rows(c.b)
	c.same(c.a, mine, "another tenant stored rows")
	together := c.outcomes(c.a)
	c.compare(before, together, "another tenant has rows")
	others := c.outcomes(c.b)
	c.foreign(c.a, mine, theirs, together)
	c.foreign(c.b, theirs, mine, others)
	c.alone(c.a, together)
	c.alone(c.b, others)
	c.atOnce(together, others)
	c.same(c.a, mine, "statements of another tenant were rolled back")
	c.same(c.b, theirs, "statements of another tenant were rolled back")
	c.stored()

	// What stays of either's statements changes nothing for the other, whose own give what they gave before.
	c.commit(c.a, true)
	c.same(c.b, theirs, "statements of another tenant were committed")
	c.compare(others, c.outcomes(c.b), "another tenant has other rows")
	mine, together = c.rows(c.a), c.outcomes(c.a)
	c.commit(c.b, false)
	c.same(c.a, mine, "statements of another tenant were committed")
	c.compare(together, c.outcomes(c.a), "another tenant has other rows")
	c.objects()
	return c.problems
}

// fill stores a tenant's rows.
func (c *check) fill(id tenant.ID) bool {
	for _, st := range c.Fill {
		if _, err := c.DB.ExecContext(access(c.ctx, id), st.SQL, st.args(id)...); err != nil {
			c.problem("fill: %s: %v", st.SQL, err)
			return false
		}
	}
	return true
}

// snapshot is all that a tenant sees of its own tables and of those that are shared.
type snapshot map[string][]string

func (s snapshot) String() string {
	var b strings.Builder
	for _, table := range slices.Sorted(func(yield func(string) bool) {
		for t := range s {
			if !yield(t) {
				return
			}
		}
	}) {
		fmt.Fprintf(&b, "%s:\n  %s\n", table, strings.Join(s[table], "\n  "))
	}
	return b.String()
}

func (c *check) count(s snapshot) (n int) {
	for table, rows := range s {
		if !c.Schema[table].Shared {
			n += len(rows)
		}
	}
	return n
}

// rows are those that a tenant sees.
func (c *check) rows(id tenant.ID) snapshot { return c.snapshot(access(c.ctx, id), c.DB) }

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (c *check) snapshot(ctx context.Context, db querier) snapshot {
	s := snapshot{}
	for name := range c.Schema {
		rows, err := db.QueryContext(ctx, "SELECT * FROM "+quoted(name))
		if err == nil {
			s[name], err = lines(rows)
		}
		if err != nil {
			c.problem("read all of %s: %v", name, err)
		}
	}
	return s
}

// same tells of rows of a tenant's that are not what they were.
func (c *check) same(id tenant.ID, was snapshot, since string) {
	if now := c.rows(id); now.String() != was.String() {
		c.problem("what a tenant has is not the same after %s:\n%v\n%v", since, was, now)
	}
}

// quoted is a table's name in SQL, with its schema where it has one.
func quoted(name string) string {
	parts := strings.Split(name, ".")
	for i := range parts {
		parts[i] = `"` + strings.ReplaceAll(parts[i], `"`, `""`) + `"`
	}
	return strings.Join(parts, ".")
}

// lines are a result's rows as texts, in an order of their own.
func lines(rows *sql.Rows) (all []string, err error) {
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, dest := make([]any, len(names)), make([]any, len(names))
	for i := range dest {
		dest[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return all, err
		}
		texts := make([]string, len(values))
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			texts[i] = fmt.Sprintf("%q", fmt.Sprint(v))
		}
		all = append(all, strings.Join(texts, " "))
	}
	slices.Sort(all)
	return all, errors.Join(rows.Err(), rows.Close())
}
