package main

import (
	"database/sql"
	"errors"
	"net/url"
	"time"

	"github.com/strongroom-go/strongroom/internal/sqlplan/sqlcases"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

var scaleSchema = sqldb.Schema{"patients": {}, "visits": {}}

// scaleBench is the tables of package sqlcases, whose row-level security is switched on and off: the data is the same.
type scaleBench struct {
	*sqlBench
	perTenant int
	owner     *sql.DB
	session   *sql.DB // of somebody who leaves the predicate to row-level security
	rls       bool
}

func newScale(rows int) (b *scaleBench, err error) {
	t := &bare{}
	defer func() {
		if f, ok := recover().(failure); ok {
			err = errors.New(string(f))
		}
	}()
	database := testenv.Postgres(t).NewDatabase(t)
	bench, err := newSQLBench()
	if err != nil {
		return nil, err
	}
	bench.dsn = database.AppURL
	b = &scaleBench{sqlBench: bench, perTenant: rows / scaleTenants}
	data := sqlcases.Data{Rows: rows, Now: time.Now()}
	for _, id := range bench.keys.ids[:scaleTenants] {
		data.Tenants = append(data.Tenants, id.String())
	}
	mine, err := url.Parse(database.AppURL)
	if err != nil {
		return nil, err
	}
	settings := mine.Query()
	settings.Set("strongroom.tenant", data.Tenants[0])
	mine.RawQuery = settings.Encode()
	for dsn, db := range map[string]**sql.DB{database.OwnerURL: &b.owner, database.AppURL: &b.raw, mine.String(): &b.session} {
		if *db, err = sql.Open("pgx", dsn); err != nil {
			return nil, err
		}
	}
	policies, err := scaleSchema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		return nil, err
	}
	for _, script := range []string{data.Shared(), policies, "VACUUM ANALYZE"} {
		if _, err := b.owner.Exec(script); err != nil {
			return nil, err
		}
	}
	b.rls = true
	return b, nil
}

func (b *scaleBench) close() {
	b.owner.Close()
	b.session.Close()
	b.sqlBench.close()
}

// behindRLS switches row-level security.
func (b *scaleBench) behindRLS(on bool) error {
	if b.rls == on {
		return nil
	}
	what := "DISABLE"
	if on {
		what = "ENABLE"
	}
	for table := range scaleSchema {
		if _, err := b.owner.Exec("ALTER TABLE " + table + " " + what + " ROW LEVEL SECURITY"); err != nil {
			return err
		}
	}
	b.rls = on
	return nil
}

// pair makes the two sides of a row. Behind row-level security the alternative is the statement as it is, without a
// predicate, in a session that has its tenant.
func (b *scaleBench) pair(s scaleShape, rls bool) (*Pair, error) {
	if err := b.behindRLS(rls); err != nil {
		return nil, err
	}
	sides := *b.sqlBench
	both := shape{
		ours: s.ours, peer: s.peer, args: func() []any { return s.args(b.perTenant) }, columns: s.columns,
		rolledBack: s.columns == 0, schema: scaleSchema, opts: withoutRLS,
	}
	if rls {
		both.peer, both.bySession, both.opts = s.ours, true, nil
		sides.raw = b.session
	}
	return sides.pair(both)
}
