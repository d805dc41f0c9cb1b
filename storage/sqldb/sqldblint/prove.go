package sqldblint

import (
	"errors"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// prover decides what can be said of a statement. It knows a set of schemas that may be meant, and makes of each a set
// of worlds, the catalogs that a database with that schema may have. A statement is refused if every world refuses it.
type prover struct {
	known    []schema
	verdicts map[string]verdict
}

func newProver(known *schemas) *prover {
	p := &prover{known: known.All, verdicts: map[string]verdict{}}
	if len(p.known) == 0 {
		p.known = []schema{{}} // nothing is known
	}
	return p
}

// verdict is what is known of a statement; zero if nothing is.
type verdict struct {
	refused error
	// planned tells that some world takes the statement, with inputs parameters. Their number is in the text.
	planned bool
	inputs  int
}

func (p *prover) judge(text string) verdict {
	v, ok := p.verdicts[text]
	if !ok {
		v = p.decide(text)
		p.verdicts[text] = v
	}
	return v
}

func (p *prover) decide(text string) verdict {
	m := mentioned(text)
	var all verdict
	for i := range p.known {
		for _, d := range dialects(p.known[i].Dialect) {
			v := under(&p.known[i], d, &m, text)
			if v.refused == nil {
				return v
			}
			if all.refused == nil {
				all.refused = v.refused
			}
		}
	}
	return all
}

func dialects(name string) []sqlplan.Dialect {
	switch name {
	case "postgresql":
		return []sqlplan.Dialect{sqlplan.PostgreSQL}
	case "sqlite":
		return []sqlplan.Dialect{sqlplan.SQLite}
	}
	return []sqlplan.Dialect{sqlplan.PostgreSQL, sqlplan.SQLite}
}

// under decides for one schema on one engine. The refusals of the worlds where the statement names what is not there
// count only if there are no others: they are not why the statement is refused where its names are right.
func under(s *schema, d sqlplan.Dialect, m *mentions, text string) verdict {
	var reasons, misnamed []*sqlplan.RefusedError
	w := newWorlds(s, d, m)
	for cat := range w.all() {
		plan, err := sqlplan.New(text, cat)
		if err == nil {
			return verdict{planned: true, inputs: plan.NumInput}
		}
		var refused *sqlplan.RefusedError
		if !errors.As(err, &refused) {
			return verdict{}
		}
		if refused.Reason == "unknown column" || refused.Reason == "ambiguous column" {
			misnamed = append(misnamed, refused)
		} else {
			reasons = append(reasons, refused)
		}
	}
	if len(reasons) == 0 && !w.partial {
		reasons = misnamed
	}
	if len(reasons) == 0 {
		return verdict{}
	}
	for _, r := range reasons {
		if r.Reason != reasons[0].Reason || !w.exact && !provable(r.Reason, s, w.partial) {
			return verdict{}
		}
	}
	return verdict{refused: common(reasons)}
}

// common is the refusal that all are, without what they differ in.
func common(all []*sqlplan.RefusedError) error {
	c := *all[0]
	for _, r := range all[1:] {
		if r.Construct != c.Construct {
			c.Construct = ""
		}
		if r.Position != c.Position {
			c.Position = -1
		}
		if r.Hint != c.Hint {
			c.Hint = ""
		}
	}
	return &c
}

// provable tells whether a refusal for that reason, in all worlds that were tried, holds in those that were not, too:
// none of the reasons here depends on the type, order, default or key of a column. Reasons that are not here, new ones
// of the planner's included, are not reported unless the columns are known.
func provable(reason string, s *schema, partial bool) bool {
	in := func(reasons []string) bool {
		return slices.ContainsFunc(reasons, func(r string) bool {
			return r == reason || strings.HasSuffix(r, "…") && strings.HasPrefix(reason, strings.TrimSuffix(r, "…")) ||
				strings.HasPrefix(r, "…") && strings.HasSuffix(reason, strings.TrimPrefix(r, "…"))
		})
	}
	switch {
	case in(ofText):
		return true
	case s.Tables == nil:
		return false
	case in(ofTree):
		return true
	}
	return !partial && in(ofSealed)
}

// ofText are reasons found before any table is looked up.
var ofText = []string{
	"syntax error", "statement over the limit of …", "not one statement", "unsupported statement",
	"query named twice in WITH", "write inside WITH",
}

// ofTree are reasons that lie in what the statement says, whatever the columns are.
var ofTree = []string{
	"unknown table", "write to a shared table", "write to the tenant column", "lock on a shared table",
	"function not in the allowlist", "type not in the allowlist", "operator not in the allowlist", "function in FROM",
	"unsupported in SQLite", "unsupported join", "unsupported clause", "unsupported construct", "unsupported expression",
	"unsupported item in FROM", "unsupported type modifier", "assignment to a list of columns",
	"subquery in FROM without an alias", "relation named twice in FROM", "lock on a subquery",
	"LIKE pattern that ends in its escape character", "LIKE pattern as a parameter with ESCAPE",
	"INSERT without a list of columns", "column named twice", "ON CONFLICT DO UPDATE without a key",
	"VALUES of different lengths", "rows of different lengths", "row value", "OVER", "* as an argument",
	"aggregate's clause on a function that is none", "gap in the parameters", "parameter number out of range",
}

// ofSealed are reasons that lie in which columns are sealed, and in which tables have a column of a name: the worlds are
// made of these.
var ofSealed = []string{
	"unknown column", "system column", "whole row", "ambiguous column", "sealed column beside a function that returns rows",
	"comparison of a sealed column…", "array compared with a sealed column", "sealed column compared with …",
	"comparison of two different sealed columns", "expression over a sealed column", "sealed column in USING",
	"sealed column set from an expression", "copy between sealed columns", "sealed column from a subquery in an expression",
	"ORDER BY a sealed column", "DISTINCT ON a sealed column", "UNION of a sealed column", "INTERSECT of a sealed column",
	"EXCEPT of a sealed column", "ON CONFLICT on a sealed column that is not searchable",
}
