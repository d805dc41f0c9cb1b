package sqldb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// migrateRun is what a run is on either engine.
type migrateRun struct {
	Migration
	dialect dialect.Dialect
	name    string // the database's
	gate    *gate.Gate
	limiter *rate.Limiter // nil for no bound
	report  MigrateReport
	stage   MigrateStage // that was reached
	back    bool         // it is rolled back
}

// moving is a run on one of the engines.
type moving interface {
	run() *migrateRun
	// forward does what is left of the stages up to one.
	forward(ctx context.Context, until int) error
	rollback(ctx context.Context) error
	makePlan(ctx context.Context) (*MigrationPlan, error)
}

func (g *migrateRun) run() *migrateRun { return g }

// with connects, keeps others out and reads the state.
func (m Migration) with(ctx context.Context, do func(moving) error) error {
	if err := m.complete(); err != nil {
		return err
	}
	g, err := gate.New(m.Guard.Keys, m.Guard.Audit, m.Guard.Authorizer)
	if err != nil {
		return err
	}
	run := migrateRun{Migration: m, dialect: dialect.PostgreSQL, gate: g}
	if m.RowsPerSecond > 0 {
		run.limiter = rate.NewLimiter(rate.Limit(m.RowsPerSecond), m.BatchSize)
	}
	if strings.HasPrefix(m.DSN, "sqlite:") {
		run.dialect = dialect.SQLite
		return run.withSQLite(ctx, do)
	}
	return run.withPostgres(ctx, do)
}

// of says which database it is.
func (g *migrateRun) of(name string) error {
	g.name = name
	return g.gate.Observe(g.Guard.Telemetry, telemetry.Store{System: string(g.dialect), Namespace: name})
}

func (g *migrateRun) progress(table, what string, rows, total int64) {
	if g.Progress == nil {
		return
	}
	stage := MigrateExpand
	if i := slices.Index(migrateStages, g.stage); i >= 0 {
		stage = migrateStages[min(i+1, len(migrateStages)-1)]
	}
	if g.back {
		stage = migrateBack
	}
	g.Progress(MigrateProgress{Stage: stage, Table: table, What: what, Rows: rows, Total: total})
}

// as is the context of an access to a tenant's rows.
func (g *migrateRun) as(ctx context.Context, id tenant.ID) context.Context {
	return tenant.NewContext(ctx, tenant.Access{Tenant: id, Actor: g.Actor, Purpose: g.Purpose, Request: g.Request})
}

func (g *migrateRun) allow(ctx context.Context) error {
	if g.limiter == nil {
		return ctx.Err()
	}
	return g.limiter.WaitN(ctx, g.BatchSize)
}

// op is what a batch is to the authorizer and in the trail.
func (g *migrateRun) op(t *migrateTable, verb tenant.Verb) *gate.Op {
	op := &gate.Op{Code: audit.CodeMigrate, Statement: "MIGRATE", Action: tenant.Action{Verb: verb, Store: string(g.dialect), Name: g.name, Tables: []string{t.Name}}}
	for _, c := range t.Columns {
		op.Action.Columns = append(op.Action.Columns, t.Name+"."+c.Name)
	}
	op.SealedColumns = op.Action.Columns
	return op
}

// place is what the values of a table are bound to.
func (g *migrateRun) place(t *migrateTable) string { return g.Options.bound(g.dialect, t.Name) }

func (g *migrateRun) sealValue(pass *gate.Pass, t *migrateTable, c migrateColumn, v any) (sealed, index []byte, err error) {
	if v == nil {
		return nil, nil, nil
	}
	decl := g.Schema[t.Name].Sealed[c.Name]
	if sealed, err = envelope.SealField(pass.Keys().Data(), pass.Tenant(), g.place(t), c.Name, decl.logical, v); err != nil || c.Index == "" {
		return sealed, nil, err
	}
	made, err := decl.blindIndex(pass, sqlplan.Param{Table: g.place(t), Column: c.Name}, v)
	if err != nil {
		return nil, nil, err
	}
	return sealed, made.([]byte), nil
}

// same tells whether a sealed value and its index value are those of a plaintext.
func (g *migrateRun) same(pass *gate.Pass, t *migrateTable, c migrateColumn, plain, sealed, index any) (bool, error) {
	if plain == nil {
		return sealed == nil && index == nil, nil
	}
	decl := g.Schema[t.Name].Sealed[c.Name]
	opened, err := envelope.OpenField(pass.Keys().Data(), pass.Tenant(), g.place(t), c.Name, decl.logical, sealed.([]byte))
	if errors.Is(err, envelope.ErrDecrypt) || errors.Is(err, envelope.ErrMalformed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	want, err := envelope.AppendValue(nil, decl.logical, plain)
	if err != nil {
		return false, fmt.Errorf("sqldb: Migrate: %s.%s: %w", t.Name, c.Name, err)
	}
	got, err := envelope.AppendValue(nil, decl.logical, opened)
	if err != nil || !bytes.Equal(want, got) {
		return false, err
	}
	if c.Index == "" {
		return true, nil
	}
	have, _ := index.([]byte)
	for n := range pass.Keys().IndexKeyIDs() {
		made, err := decl.blindIndex(pass, sqlplan.Param{Table: g.place(t), Column: c.Name, IndexVersion: n}, plain)
		if err != nil {
			return false, err
		}
		if bytes.Equal(made.([]byte), have) {
			return true, nil
		}
	}
	return false, nil
}

// logicalOf is the type of a column's values.
func (g *migrateRun) logicalOf(t *migrateTable, column string) envelope.Logical {
	return g.Schema[t.Name].Sealed[column].logical
}

// declaration tells one declaration from another.
func (g *migrateRun) declaration() string {
	var b strings.Builder
	for _, name := range sortedKeys(g.Schema) {
		t := g.Schema[name]
		fmt.Fprintf(&b, "%q %v %q %q %q", name, t.Shared, t.TenantColumn, t.TenantType, g.Options.Schema)
		for _, column := range sortedKeys(t.Sealed) {
			fmt.Fprintf(&b, " %q %+v", column, t.Sealed[column])
		}
		s := g.Tenants[name]
		fmt.Fprintf(&b, " %q %q %q\n", s.column, s.parent, s.constant.String())
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}
