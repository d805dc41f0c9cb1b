package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// planShape is a line of migrate plan -json, and the first of migrate run -json.
type planShape struct {
	Command  string         `json:"command"`
	Action   string         `json:"action"` // plan
	Database string         `json:"database"`
	Stage    string         `json:"stage"` // that is reached; empty before the beginning
	Tables   []tableShape   `json:"tables"`
	Problems []problemShape `json:"problems"`
	Notes    []string       `json:"notes"`
	Steps    []stepShape    `json:"steps"`
}

type problemShape struct {
	Table  string `json:"table"`
	Column string `json:"column"`
	What   string `json:"what"`
	Fix    string `json:"fix"`
}

// stepShape is a statement, or one that stands for all its batches. Rows are about how many it goes through.
type stepShape struct {
	Stage string `json:"stage"`
	Table string `json:"table"`
	SQL   string `json:"sql"`
	Lock  string `json:"lock"`
	Rows  int64  `json:"rows"`
}

// migratedShape is what migrate run and migrate rollback did.
type migratedShape struct {
	Command  string        `json:"command"`
	Action   string        `json:"action"`
	Database string        `json:"database"`
	Stage    string        `json:"stage"`
	Tenanted int64         `json:"tenanted"`
	Sealed   int64         `json:"sealed"`
	Verified int64         `json:"verified"`
	Unsealed int64         `json:"unsealed"`
	LockedMS int64         `json:"lockedMs"`
	Rows     []tenantShape `json:"rows"` // that verification found
	Notes    []string      `json:"notes"`
}

// tenantShape counts a tenant's rows of a table.
type tenantShape struct {
	Table  string `json:"table"`
	Tenant string `json:"tenant"`
	Rows   int64  `json:"rows"`
}

// migrationShape is what migrate status prints. Problems are what keeps the services' role from opening the database.
type migrationShape struct {
	Command  string         `json:"command"`
	Action   string         `json:"action"`
	Database string         `json:"database"`
	Stage    string         `json:"stage"`
	Opens    bool           `json:"opens"`
	Problems []problemShape `json:"problems"`
}

func planShapeOf(m *migrating, p *sqldb.MigrationPlan) planShape {
	shape := planShape{Command: m.Name, Action: "plan", Database: m.name, Stage: string(p.Stage), Tables: []tableShape{}, Problems: problemShapes(p.Problems), Notes: append([]string{}, p.Notes...), Steps: []stepShape{}}
	for _, t := range p.Tables {
		shape.Tables = append(shape.Tables, tableShape{t.Table, t.Rows})
	}
	for _, s := range p.Steps {
		shape.Steps = append(shape.Steps, stepShape{string(s.Stage), s.Table, s.SQL, s.Lock, s.Rows})
	}
	return shape
}

func problemShapes(problems []sqldb.Problem) []problemShape {
	out := []problemShape{}
	for _, p := range problems {
		out = append(out, problemShape{p.Table, p.Column, p.What, p.Fix})
	}
	return out
}

func migratedShapeOf(m *migrating, r *sqldb.MigrateReport) migratedShape {
	shape := migratedShape{Command: m.Name, Action: m.action, Database: m.name, Stage: string(r.Stage), Tenanted: r.Tenanted, Sealed: r.Sealed, Verified: r.Verified, Unsealed: r.Unsealed,
		LockedMS: r.Locked.Milliseconds(), Rows: []tenantShape{}, Notes: append([]string{}, r.Notes...)}
	for table, tenants := range r.Rows {
		for id, n := range tenants {
			shape.Rows = append(shape.Rows, tenantShape{table, id.String(), n})
		}
	}
	slices.SortFunc(shape.Rows, func(a, b tenantShape) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Tenant, b.Tenant))
	})
	return shape
}

// String is the shape as text.
func (s migratedShape) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "migrate %s: %s is at the stage %s; %d rows were given their tenant, %d values sealed, %d verified, %d put back", s.Action, s.Database, cmp.Or(s.Stage, "none"), s.Tenanted, s.Sealed, s.Verified, s.Unsealed)
	for _, r := range s.Rows {
		fmt.Fprintf(&b, "\n  %d rows of %s are %s's", r.Rows, r.Table, r.Tenant)
	}
	for _, n := range s.Notes {
		b.WriteString("\n  " + n)
	}
	return b.String()
}

// String is the shape as text.
func (s migrationShape) String() string {
	var b strings.Builder
	opens := "the services' role can open it"
	if !s.Opens {
		opens = fmt.Sprintf("the services' role cannot open it, for %d problems", len(s.Problems))
	}
	fmt.Fprintf(&b, "migrate status: %s has the stage %s; %s", s.Database, cmp.Or(s.Stage, "none"), opens)
	for _, p := range s.Problems {
		b.WriteString("\n  " + sqldb.Problem{Table: p.Table, Column: p.Column, What: p.What, Fix: p.Fix}.String())
	}
	return b.String()
}
