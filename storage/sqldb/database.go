package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/internal/telemetry"
)

// database is what all connections of one guarded handle share. It is the driver.Connector of its *sql.DB.
type database struct {
	engine engine
	gate   *gate.Gate
	schema Schema
	opts   *Options
	// catalogs by how many live index keys the executing tenant has, minus one: they differ in that number alone.
	catalogs [maxIndexVersions]*sqlplan.Catalog
	plans    *lru.Cache[planKey, *sqlplan.Plan]
	native   bool              // it is a Pool's
	store    string            // the engine's name in the trail
	bound    map[string]string // what the values of each declared table are bound to

	planned   *telemetry.Plans // nil where telemetry is off
	telemetry *telemetry.Gate  // likewise
}

// maxIndexVersions bounds how many index keys of a tenant may be live at once.
const maxIndexVersions = 8

// planKey identifies a plan: the caller's text, how many index keys a search has to try, and whether it is for many rows.
type planKey struct {
	text     string
	versions int
	rows     bool
}

// maxCachedText and maxCachedSQL keep long statements, which are rarely sent twice, from filling the cache's memory, and those that are
// long once * is written out.
const (
	maxCachedText = 16 << 10
	maxCachedSQL  = 4 * maxCachedText
)

// newDatabase connects to the database and holds its tables against the schema.
func newDatabase(ctx context.Context, e engine, g *gate.Gate, s Schema, o *Options) (*database, error) {
	s = s.clone()
	cat, problems, err := e.introspect(ctx, s, o)
	if err != nil {
		return nil, err
	}
	if err := newSchemaError(problems); err != nil {
		return nil, err
	}
	plans, err := lru.New[planKey, *sqlplan.Plan](o.PlanCacheSize)
	if err != nil {
		return nil, fmt.Errorf("sqldb: plan cache: %w", err)
	}
	d := &database{engine: e, gate: g, schema: s, opts: o, plans: plans, store: string(e.dialect()), bound: make(map[string]string, len(s))}
	for name := range s {
		d.bound[name] = o.bound(e.dialect(), name)
	}
	for i := range d.catalogs {
		c := *cat
		c.IndexVersions = i + 1
		d.catalogs[i] = &c
	}
	return d, nil
}

// plan returns the plan for a text, from the cache or newly made.
func (d *database) plan(ctx context.Context, text string, versions int) (*sqlplan.Plan, error) {
	return d.planOf(ctx, planKey{text: text, versions: versions})
}

// planRows returns the plan for an INSERT of one row that is sent with many: see [sqlplan.NewRows].
func (d *database) planRows(ctx context.Context, text string, versions int) (*sqlplan.Plan, error) {
	return d.planOf(ctx, planKey{text: text, versions: versions, rows: true})
}

func (d *database) planOf(ctx context.Context, key planKey) (*sqlplan.Plan, error) {
	versions := key.versions
	if versions < 1 || versions > maxIndexVersions {
		return nil, fmt.Errorf("sqldb: the tenant has %d live index keys, and searches can try %d; finish its key rotation", versions, maxIndexVersions)
	}
	if p, ok := d.plans.Get(key); ok {
		d.planned.Hit()
		return p, nil
	}
	d.planned.Miss()
	ctx, span := d.telemetry.Plan(ctx)
	p, err := newPlan(ctx, key, d.catalogs[versions-1])
	if err != nil {
		span.End(gate.Class(err))
		return nil, err
	}
	span.End("")
	if len(key.text) <= maxCachedText && len(p.SQL) <= maxCachedSQL && d.plans.Add(key, p) {
		d.planned.Evicted()
	}
	return p, nil
}

// newPlan makes a plan. A defect of the planner's, which shows as a panic, refuses the statement: nothing was sent yet, and
// a text that somebody made up must not take the process or the pool's connection with it.
func newPlan(ctx context.Context, key planKey, cat *sqlplan.Catalog) (p *sqlplan.Plan, err error) {
	defer func() {
		if recover() != nil { // what it says may hold literals
			p, err = nil, sqlplan.Refused("statement that the planner failed on", "", -1, "write it in another form, and report it")
		}
	}()
	if key.rows {
		return sqlplan.NewRows(ctx, key.text, cat)
	}
	return sqlplan.NewContext(ctx, key.text, cat)
}

// Connect implements driver.Connector.
func (d *database) Connect(ctx context.Context) (driver.Conn, error) {
	s, err := d.engine.connect(ctx, d.catalogs[0])
	if err != nil {
		return nil, err
	}
	return &conn{db: d, session: s, taken: time.Now()}, nil
}

// Driver implements driver.Connector.
func (d *database) Driver() driver.Driver { return guardedDriver{} }

// guardedDriver answers db.Driver(). It opens nothing: a name registered with database/sql could not carry a guard.
type guardedDriver struct{}

func (guardedDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("sqldb: a guarded database is opened with sqldb.Open, not by a driver's name")
}
