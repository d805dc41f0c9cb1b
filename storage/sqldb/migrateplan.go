package sqldb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
)

// migration is what was found when a migration began: what it goes by, and what a rollback restores.
type migration struct {
	Declared string // the declaration's fingerprint
	Tables   []*migrateTable
}

// parentsFirst are the tables so that one which others take their tenants from comes before them: once their foreign keys
// are there, a row can only follow.
func (p *migration) parentsFirst() []*migrateTable {
	var out []*migrateTable
	var add func(*migrateTable)
	add = func(t *migrateTable) {
		if slices.Contains(out, t) {
			return
		}
		for _, parent := range p.Tables {
			if slices.ContainsFunc(parent.Children, func(c migrateChild) bool { return c.Table == t.Table }) {
				add(parent)
			}
		}
		out = append(out, t)
	}
	for _, t := range p.Tables {
		add(t)
	}
	return out
}

// migrateTable is one table of tenants.
type migrateTable struct {
	Name     string // as it is declared
	Table    string // qualified and quoted
	Schema   string
	Relation string
	Rows     int64 // about
	Tenant   migrateTenant
	Columns  []migrateColumn
	Added    []string // columns of ciphertexts that have no plaintexts, by their names
	Indexes  []migrateIndex
	Keys     []migrateKey
	Foreign  []migrateForeign
	Checks   []migrateDef // constraints over plaintexts
	Grants   []migrateGrant
	Plain    []string // the columns that a switch leaves as they are
	RLS      bool
	Force    bool
	Children []migrateChild // tables whose rows take their tenant from this one's
}

// migrateTenant is the tenant column.
type migrateTenant struct {
	Column, Type string
	Add          bool   // it is not there yet
	NotNull      bool   // it was
	Of           string // the tenant of the row r, and in the trigger NEW
}

// of is the tenant of a row under an alias. In what was read the alias stands as a word that no identifier is, for it
// is not quoted.
func (t migrateTenant) of(alias string) string { return strings.ReplaceAll(t.Of, rowAlias, alias) }

// rowAlias stands for the row in migrateTenant.Of.
const rowAlias = "\x01row\x01"

// migrateColumn is a column of plaintexts that are to be sealed.
type migrateColumn struct {
	Name    string
	New     string // the sealed copy's name before the switch
	Old     string // the plaintexts' after it
	Index   string // the blind index column, if any
	Type    string // of the plaintexts
	Value   string // the plaintext as it is sealed, as an expression
	NotNull bool
	Default string
}

// migrateIndex is a blind index column's index.
type migrateIndex struct{ Column, Name, SQL string }

// migrateKey is a unique key without the tenant column, and the one that takes its place.
type migrateKey struct {
	Name       string // of the index
	Constraint string // and the constraint that it belongs to, if any
	Primary    bool
	Over       bool   // it has plaintexts in it
	Def        string // of the constraint, or CREATE UNIQUE INDEX
	IndexDef   string
	New        string // the new index's name until the switch
	SQL        string // what makes that
	Back       string // the old index's name while it is built anew
	BackSQL    string
	Deferrable string
}

// migrateForeign is a foreign key without the tenant column.
type migrateForeign struct{ Name, Def, New, SQL string }

type migrateDef struct{ Name, Def string }

// migrateGrant is a privilege on the table as a whole.
type migrateGrant struct {
	Privilege, Grantee string // quoted, or PUBLIC
	Grantable          bool
}

type migrateChild struct {
	Table, Tenant   string
	Columns, Parent []string
}

// MigrationPlan is what [Migrate] will do.
type MigrationPlan struct {
	// Stage is what the database has reached; empty before the beginning, and [MigrateDrop] where nothing is to be done.
	Stage  MigrateStage
	Tables []MigrationTable
	// Steps are the statements, in their order. Those that go through a table row by row stand for all their batches.
	Steps []MigrationStep
	// Problems keep the migration from beginning.
	Problems []Problem
	// Notes are what to know.
	Notes []string
}

// MigrationTable is a table and how large it is.
type MigrationTable struct {
	Table string
	Rows  int64 // as the database estimates
}

// MigrationStep is one statement, or one kind of batch.
type MigrationStep struct {
	Stage MigrateStage
	Table string
	SQL   string
	// Lock is the strongest lock on the table, and for how long.
	Lock string
	Rows int64 // about how many it goes through; 0 for none
}

// WriteTo prints the plan. The SQL is what will be sent, with comments.
func (p *MigrationPlan) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, p.String())
	return int64(n), err
}

func (p *MigrationPlan) String() string {
	var b strings.Builder
	for _, t := range p.Tables {
		fmt.Fprintf(&b, "-- table %s: about %d rows\n", oneLine(t.Table), t.Rows)
	}
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "-- PROBLEM %s\n", oneLine(problem.String()))
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "-- note: %s\n", oneLine(note))
	}
	stage := MigrateStage("")
	for _, s := range p.Steps {
		if s.Stage != stage {
			stage = s.Stage
			fmt.Fprintf(&b, "\n-- stage %s\n", stage)
		}
		about := s.Lock
		if s.Rows > 0 {
			about += fmt.Sprintf("; about %d rows", s.Rows)
		}
		if about != "" {
			fmt.Fprintf(&b, "-- %s\n", about)
		}
		fmt.Fprintf(&b, "%s;\n", s.SQL)
	}
	return b.String()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// PlanMigration reads the database and says what [Migrate] would do, with the SQL of every stage, and what keeps it
// from that. It changes nothing. It counts rows by tenant, which reads each table once.
func PlanMigration(ctx context.Context, m Migration) (*MigrationPlan, error) {
	var plan *MigrationPlan
	err := m.with(ctx, func(g moving) (err error) {
		plan, err = g.makePlan(ctx)
		return err
	})
	return plan, err
}

func (g *migrator) makePlan(ctx context.Context) (*MigrationPlan, error) {
	p := &MigrationPlan{Stage: g.stage}
	if g.plan == nil && g.fits(ctx) == nil { // it is over, as Migrate finds too
		p.Stage = MigrateDrop
		return p, nil
	}
	if g.plan == nil {
		var err error
		if g.plan, p.Problems, p.Notes, err = g.survey(ctx); err != nil {
			return nil, err
		}
	}
	for _, t := range g.plan.Tables {
		p.Tables = append(p.Tables, MigrationTable{t.Name, t.Rows})
	}
	if len(p.Problems) == 0 {
		p.Steps = g.steps()
	}
	return p, nil
}

// Names of the migration's own. Those that begin with asideMark are what Open leaves alone.
const (
	migrateMark = "strongroom_migrate_"
	asideMark   = "strongroom_old_"
	// Triggers of a kind fire in the order of their names: the one that looks at what is stored comes last, and the one
	// that hands a tenant on to other rows before those of foreign keys, RI_….
	lastTrigger  = "~strongroom_migrate"
	firstTrigger = "!strongroom_migrate"
	// tenantKnown is the constraint under which a tenant column becomes NOT NULL without a lock for long.
	tenantKnown = migrateMark + "tenant"
)

// own is a name of the migration's own for something of a table.
func own(kind, relation, of string) string {
	sum := sha256.Sum256([]byte(relation + "\x00" + of))
	return migrateMark + kind + "_" + hex.EncodeToString(sum[:6])
}
