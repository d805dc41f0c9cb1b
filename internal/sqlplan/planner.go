package sqlplan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// MaxParams is the most parameters that a plan may have: the limit of PostgreSQL's protocol. SQLite's default, 32766,
// is lower and is enforced by SQLite.
const MaxParams = 65535

// planner is the state of one call of New.
type planner struct {
	cat  *Catalog
	lite bool // the dialect is SQLite

	params   []Param
	paramIDs map[paramKey]int32
	callers  map[int]int32 // the caller's parameters that were met, with a position
	tables   map[string]bool
	columns  map[string]bool
	sealed   map[string]bool
	names    map[string]bool // relation names given out, folded
	marks    map[any]bool    // nodes that were visited or made
	scoped   []*pg.SelectStmt
	raises   bool // something that may fail stands where it could see a foreign row
	locks    bool
	writes   bool // something inserts or updates
	deletes  bool
	nested   bool // something in WITH writes
}

func newPlanner(cat *Catalog) *planner {
	return &planner{
		cat: cat, lite: cat.Dialect == SQLite,
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

// caller returns a reference to the caller's parameter as it is.
func (p *planner) caller(ref *pg.ParamRef, slot string) *pg.Node {
	return p.param(Param{Source: FromCaller, Caller: p.callerNumber(ref), Use: AsIs}, slot)
}

func (p *planner) callerNumber(ref *pg.ParamRef) int {
	n := int(ref.Number)
	if n < 1 || n > MaxParams {
		refuse("parameter number out of range", "", ref.Location, fmt.Sprintf("number parameters from $1 to $%d", MaxParams))
	}
	if _, ok := p.callers[n]; !ok {
		p.callers[n] = ref.Location
	}
	return n
}

// tenant returns a reference to the parameter that holds the tenant's id, for comparing with t's tenant column or, if
// store, for writing it. Columns of other types than text get parameters of their own, so that the database can infer
// the type of each.
func (p *planner) tenant(t *Table, store bool) *pg.Node {
	c := t.column(t.TenantColumn)
	if c == nil {
		refuse("table without its tenant column", t.Name, -1, "correct the schema")
	}
	if !p.tenantType(c.Type) {
		refuse("tenant column of an unsuitable type", t.Name+"."+c.Name, -1, "make it text, varchar or uuid")
	}
	slot := ""
	if !p.lite && !strings.EqualFold(c.Type, "text") {
		slot = fmt.Sprint(strings.ToLower(c.Type), store)
	}
	return p.param(Param{Source: FromTenant, Use: AsIs}, slot)
}

// tenantType admits types whose equality is that of the text's bytes: not citext, not a blank-padded char, and in
// SQLite no numeric affinity, under which '1' equals '01'.
func (p *planner) tenantType(name string) bool {
	name = strings.ToLower(name)
	if p.lite {
		return !strings.Contains(name, "int") &&
			(strings.Contains(name, "text") || strings.Contains(name, "char") || strings.Contains(name, "clob"))
	}
	base, _, _ := strings.Cut(name, "(")
	return contains("text varchar uuid", base) || base == "character varying"
}

// scopedTo is the tenant predicate for t under an alias.
func (p *planner) scopedTo(t *Table, alias string) *pg.Node {
	value := p.tenant(t, false)
	if p.lite { // a column may be declared with COLLATE NOCASE, which an explicit collation overrides
		collate := &pg.CollateClause{Arg: value, Collname: strs("binary")}
		p.mark(collate)
		value = &pg.Node{Node: &pg.Node_CollateClause{CollateClause: collate}}
	}
	return p.made(eq(p.columnRef(alias, t.TenantColumn), value))
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
	for i := 2; p.names[strings.ToLower(candidate)]; i++ {
		candidate = fmt.Sprintf("%s_%d", base, i)
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
