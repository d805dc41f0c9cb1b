package sqlplan

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// MaxParams is the most parameters that a plan may have: the limit of PostgreSQL's protocol. SQLite's default, 32766,
// is lower and is enforced by SQLite.
const MaxParams = 65535

// planner is the state of one call of New.
type planner struct {
	cat  *Catalog
	lite bool // the dialect is SQLite

	params     []Param
	paramIDs   map[paramKey]int32
	callers    map[int]int32 // the caller's parameters that were met, with a position
	tables     map[string]bool
	columns    map[string]bool
	sealed     map[string]bool
	names      map[string]bool // relation names given out, folded
	marks      map[any]bool    // nodes that were visited or made
	barriers   int             // that were put on relations
	suffixes   map[string]int  // how often a relation name was asked for, folded
	uses       map[int]paramUse
	types      map[int]builtin.Type // what the caller's parameters were given for a type, see params.go
	casts      map[int]string       // the cast that gave it
	plain      map[int]string       // the type that a sealed column gave it, of pg_catalog, see params.go
	untyped    map[int][]*pg.Node   // where it stands in places that give it none
	relations  int                  // how many were met
	shown      int                  // how many columns they have together, with those that * and whole rows were written out as
	guarded    int                  // how many comparisons of tenants were put before conditions
	visits     int                  // how many expressions were met
	ctx        context.Context
	engine     builtin.Engine
	tenants    []TenantValue
	once       []Param
	deleted    map[string]bool // tables of which rows are deleted
	changed    map[string]bool // tables whose rows a foreign key changes
	fired      map[string]bool // tables whose triggers were noted
	locks      bool
	effects    bool // something is called whose effect may stand whatever becomes of the statement
	writes     bool // something inserts or updates
	deletes    bool
	nested     bool         // something in WITH writes
	multiplied int          // how many functions were met that return rows for the row of an INSERT
	jsonRows   *pg.FuncCall // an array_agg whose array becomes JSON, so that whole rows may be its elements
	rows       bool         // an INSERT of one row becomes one of many: see NewRows
}

func newPlanner(ctx context.Context, cat *Catalog) *planner {
	engine := builtin.PostgreSQL
	if cat.Dialect == SQLite {
		engine = builtin.SQLite
	}
	return &planner{
		cat: cat, lite: cat.Dialect == SQLite, ctx: ctx, engine: engine,
		suffixes: map[string]int{}, deleted: map[string]bool{}, changed: map[string]bool{}, fired: map[string]bool{}, types: map[int]builtin.Type{}, casts: map[int]string{}, plain: map[int]string{}, untyped: map[int][]*pg.Node{},
		paramIDs: map[paramKey]int32{}, callers: map[int]int32{},
		tables: map[string]bool{}, columns: map[string]bool{}, sealed: map[string]bool{},
		names: map[string]bool{"excluded": true}, marks: map[any]bool{},
	}
}

// mark records that a node was visited. At the end every node that names something must bear a mark.
func (p *planner) mark(node any) { p.marks[node] = true }

// paramKey tells parameters apart that must be separate for the database: slot holds the type where the database is to
// infer different types for one value.
type paramKey struct {
	param Param
	slot  string
}

// param returns a reference to the database parameter for param, the same one for the same param and slot.
func (p *planner) param(param Param, slot string) *pg.Node {
	key := paramKey{param, slot}
	id, ok := p.paramIDs[key]
	if !ok {
		p.params = append(p.params, param)
		if len(p.params) > MaxParams {
			refuse("too many parameters", "", -1, fmt.Sprintf("send it in parts of at most %d parameters", MaxParams))
		}
		id = int32(len(p.params))
		p.paramIDs[key] = id
	}
	ref := &pg.ParamRef{Number: id}
	p.mark(ref)
	return &pg.Node{Node: &pg.Node_ParamRef{ParamRef: ref}}
}

// interrupted ends planning with its context. It is asked for every relation and subquery, and now and then for
// expressions.
func (p *planner) interrupted() {
	if err := p.ctx.Err(); err != nil {
		panic(interruption{err})
	}
}

// tenant returns a reference to the parameter that holds the tenant's id, for comparing with t's tenant column or, if
// store, for writing it. Columns of other types than text get parameters of their own, so that the database can infer
// the type of each.
func (p *planner) tenant(t *Table, store bool) *pg.Node {
	c := t.column(t.TenantColumn)
	if c == nil {
		refuse("table without its tenant column", t.Name, -1, "correct the schema")
	}
	typ, ok := tenantType(p.lite, c.Type)
	if !ok {
		refuse("tenant column of an unsuitable type", t.Name+"."+c.Name, -1, "make it text, varchar, uuid, bigint or integer")
	}
	slot := ""
	if !p.lite && !strings.EqualFold(c.Type, "text") {
		slot = fmt.Sprint(strings.ToLower(c.Type), store)
	}
	return p.param(Param{Source: FromTenant, Use: AsIs, TenantType: typ}, slot)
}

// TenantType is what a table's tenant column holds of a tenant's id. Ok is false where it holds none.
func (c *Catalog) TenantType(t *Table) (typ TenantType, ok bool) {
	column := t.column(t.TenantColumn)
	if column == nil {
		return TenantText, false
	}
	return tenantType(c.Dialect == SQLite, column.Type)
}

// tenantType admits types whose equality is that of the ids: text by its bytes, and UUIDs and integers, of which a tenant's
// id must be the canonical text ([Param.TenantType]). Not citext, not a blank-padded char, and in SQLite no numeric
// affinity, under which '1' equals '01'.
func tenantType(lite bool, name string) (TenantType, bool) {
	name = strings.ToLower(name)
	if lite {
		return TenantText, !strings.Contains(name, "int") &&
			(strings.Contains(name, "text") || strings.Contains(name, "char") || strings.Contains(name, "clob"))
	}
	switch base, _, _ := strings.Cut(name, "("); base {
	case "text", "varchar", "character varying":
		return TenantText, true
	case "uuid":
		return TenantUUID, true
	case "bigint", "integer":
		return TenantInteger, true
	}
	return TenantText, false
}

// scopedTo is the tenant predicate for t under an alias.
func (p *planner) scopedTo(t *Table, alias string) *pg.Node {
	return p.made(eq(p.columnRef(alias, t.TenantColumn), p.bytewise(p.tenant(t, false))))
}

// bytewise has SQLite compare a value byte by byte, whatever collation a column is declared with.
func (p *planner) bytewise(value *pg.Node) *pg.Node {
	if !p.lite {
		return value
	}
	collate := &pg.CollateClause{Arg: value, Collname: strs("binary")}
	p.mark(collate)
	return &pg.Node{Node: &pg.Node_CollateClause{CollateClause: collate}}
}

// made marks a comparison that the planner built.
func (p *planner) made(n *pg.Node) *pg.Node {
	p.mark(n.GetAExpr())
	return n
}

func (p *planner) columnRef(alias, name string) *pg.Node {
	ref := &pg.ColumnRef{Fields: strs(alias, name)}
	p.mark(ref)
	return &pg.Node{Node: &pg.Node_ColumnRef{ColumnRef: ref}}
}

// unique returns a name for a relation that no other relation of the plan has, whatever the case of letters: with it
// the database cannot resolve a name to another relation than the planner did.
func (p *planner) unique(name string) string {
	const limit = 63 - 6 // PostgreSQL cuts names at 63 bytes
	base := name
	for len(base) > limit {
		r := []rune(base)
		base = string(r[:len(r)-1])
	}
	candidate := base
	if len(name) <= 63 {
		candidate = name
	}
	folded := strings.ToLower(base)
	for i := max(2, p.suffixes[folded]); p.names[strings.ToLower(candidate)]; i++ {
		candidate = fmt.Sprintf("%s_%d", base, i)
		p.suffixes[folded] = i
	}
	p.names[strings.ToLower(candidate)] = true
	return candidate
}

// touch records that a statement names a column.
func (p *planner) touch(c *column) {
	if c.table == "" {
		return
	}
	t := p.cat.Tables[c.table]
	if c.column == t.TenantColumn {
		return
	}
	p.columns[c.table+"."+c.column] = true
	if c.sealed {
		p.sealed[c.table+"."+c.column] = true
	}
}

func sorted(set map[string]bool) []string {
	return slices.Sorted(maps.Keys(set))
}

// column returns a table's column, or nil.
func (t *Table) column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}
