package sqlplan

import (
	"context"
	"regexp"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// replacing are the upserts of other databases.
var replacing = regexp.MustCompile(`(?i)^\s*(replace|insert\s+(or\s+\w+|ignore))\s+into\b`)

// New plans one statement, or returns a [*RefusedError].
func New(sql string, cat *Catalog) (*Plan, error) { return NewContext(context.Background(), sql, cat) }

// NewContext is New, and ends with its context's error when that ends first.
func NewContext(ctx context.Context, sql string, cat *Catalog) (*Plan, error) {
	return newPlan(ctx, sql, cat, false)
}

func newPlan(ctx context.Context, sql string, cat *Catalog, rows bool) (plan *Plan, err error) {
	if cat.IndexVersions < 1 || cat.IndexVersions > 8 || cat.Dialect != PostgreSQL && cat.Dialect != SQLite {
		return nil, Refused("invalid catalog", "", -1, "set the dialect, and IndexVersions from 1 to 8")
	}
	defer func() {
		if r := recover(); r != nil {
			switch r := r.(type) {
			case refusal:
				plan, err = nil, r.err
			case interruption:
				plan, err = nil, r.err
			default:
				panic(r)
			}
		}
	}()
	tree, err := pgparse.Parse(sql)
	if err != nil {
		refused := parseRefusal(err)
		if refused.Reason == "syntax error" && hasPlaceholder(sql) {
			refused.Hint = "write parameters as $1, $2, … instead of ?"
		} else if refused.Reason == "syntax error" && replacing.MatchString(sql) {
			refused.Hint = "write INSERT … ON CONFLICT (key) DO UPDATE SET … or DO NOTHING"
		}
		return nil, refused
	}
	if len(tree.Stmts) != 1 {
		refuse("not one statement", "", -1, "send one statement at a time")
	}
	stmt := tree.Stmts[0].Stmt
	checkShape(stmt.ProtoReflect(), -1)
	plan = &Plan{}
	plan.describe(tree)
	p := newPlanner(ctx, cat)
	if p.rows = rows; rows && stmt.GetInsertStmt() == nil {
		p.notRows("")
	}
	if p.lite {
		checkLite(stmt)
	}
	p.uses = countParams(stmt)
	p.statement(stmt, plan)
	p.interrupted()
	p.finish(tree, stmt, plan)
	plan.Barriers = p.barriers
	return plan, nil
}

// statement plans the statement in place and fills in what it is.
func (p *planner) statement(stmt *pg.Node, plan *Plan) {
	var out []column
	switch s := stmt.Node.(type) {
	case *pg.Node_SelectStmt:
		plan.Verb, plan.ReturnsRows = Read, true
		out = p.selectStmt(s.SelectStmt, nil, nil, writesToo, nil).columns
	case *pg.Node_TransactionStmt:
		plan.Verb = Savepoint
		p.savepoint(s.TransactionStmt)
		return
	default:
		out = p.write(stmt, nil, nil, writesToo)
		plan.ReturnsRows = out != nil
	}
	switch {
	case p.writes:
		plan.Verb, plan.AlsoDeletes = Write, p.deletes
	case p.deletes:
		plan.Verb = Delete
	}
	plan.Locks, plan.Effects, plan.WritesInWith = p.locks, p.effects, p.nested
	if !plan.ReturnsRows {
		return
	}
	plan.Outputs = []Output{}
	for _, c := range out {
		plan.Outputs = append(plan.Outputs, Output{Name: c.name, Table: c.table, Column: c.column, Sealed: c.sealed, OriginHidden: c.hidden})
	}
}

// savepoint admits the statements that nested transactions of ORMs send.
func (p *planner) savepoint(t *pg.TransactionStmt) {
	switch t.Kind {
	case pg.TransactionStmtKind_TRANS_STMT_SAVEPOINT, pg.TransactionStmtKind_TRANS_STMT_RELEASE, pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
		return
	}
	refuse("unsupported statement", t.Kind.String()[len("TRANS_STMT_"):], 0, statements["TransactionStmt"])
}
