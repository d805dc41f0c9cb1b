package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// merge plans a MERGE in place. The tenant predicate stands in the join, so that a foreign row matches nothing, and
// again in the condition of each WHEN MATCHED. WHEN NOT MATCHED BY SOURCE is refused: it is about all rows that the join
// did not find, so the database would read the rows of every tenant.
func (p *planner) merge(s *pg.MergeStmt, l *level, ctes *cte, kind withQueries) []column {
	r, rv := p.writeTarget(s.Relation) // first, so that it keeps its name
	s.Relation = rv
	ctes = p.with(s.WithClause, l, nil, ctes, kind)
	source := []*pg.Node{s.SourceRelation}
	joined := p.from(source, l, nil, ctes)
	s.SourceRelation = source[0]
	for _, q := range joined.relations {
		if p.same(q.name, r.name) {
			refuse("relation named twice in MERGE", r.name, -1, "give each occurrence its own alias")
		}
	}
	r.depth = l.depth
	both := &scope{fragment: fragment{}.plus(joined).plus(show(r)), ctes: ctes, level: l} // in the order of *
	s.JoinCondition = p.where(s.JoinCondition, r, ctx{scope: both, clause: clauseOn})
	r.behind = true // from here on rows have passed the join
	for _, n := range s.MergeWhenClauses {
		when := n.GetMergeWhenClause()
		switch when.MatchKind {
		case pg.MergeMatchKind_MERGE_WHEN_MATCHED:
			p.whenMatched(when, r, ctx{scope: both, clause: clauseMerge})
		case pg.MergeMatchKind_MERGE_WHEN_NOT_MATCHED_BY_TARGET:
			p.whenNotMatched(when, r.base, ctx{scope: &scope{fragment: joined, ctes: ctes, level: l}, clause: clauseMerge})
		default:
			refuse("unsupported clause", "WHEN NOT MATCHED BY SOURCE", -1, "write UPDATE or DELETE … WHERE NOT EXISTS (SELECT … FROM the source)")
		}
	}
	if !p.deletes {
		p.writes = true // DO NOTHING alone counts as a write too
	}
	if len(s.ReturningList) == 0 {
		return nil
	}
	var out []column
	s.ReturningList, out = p.targets(s.ReturningList, ctx{scope: both, clause: clauseReturning})
	return out
}

// whenMatched plans what is done to a row of the target.
func (p *planner) whenMatched(when *pg.MergeWhenClause, r *relation, in ctx) {
	when.Condition = p.where(when.Condition, r, in)
	switch when.CommandType {
	case pg.CmdType_CMD_UPDATE:
		p.writes = true
		when.TargetList = p.assignments(r, when.TargetList, nil, in)
	case pg.CmdType_CMD_DELETE:
		p.deleting(r.base)
	case pg.CmdType_CMD_NOTHING:
	default:
		refuse("unsupported clause", "WHEN MATCHED THEN "+when.CommandType.String(), -1, "use UPDATE, DELETE or DO NOTHING")
	}
}

// whenNotMatched plans what is done for a row of the source, which is all that it sees.
func (p *planner) whenNotMatched(when *pg.MergeWhenClause, t *Table, in ctx) {
	when.Condition, _ = p.optional(when.Condition, in)
	switch when.CommandType {
	case pg.CmdType_CMD_INSERT:
	case pg.CmdType_CMD_NOTHING:
		return
	default:
		refuse("unsupported clause", "WHEN NOT MATCHED THEN "+when.CommandType.String(), -1, "use INSERT or DO NOTHING")
	}
	p.writes = true
	into := p.insertTargets(t, when.TargetList)
	if len(when.TargetList) == 0 && len(when.Values) > 0 {
		into.all(len(when.Values))
	}
	when.Values = into.row(when.Values, in)
	when.TargetList = into.list()
}
