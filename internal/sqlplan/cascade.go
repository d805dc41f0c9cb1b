package sqlplan

// deleting notes that rows of a table are deleted, and what foreign keys do to other tables then.
func (p *planner) deleting(t *Table) {
	p.deletes = true
	if p.deleted[t.Name] {
		return
	}
	p.deleted[t.Name] = true
	p.fires(t)
	for _, c := range t.Cascades {
		p.act(c, c.OnDelete)
	}
}

// changing notes that columns of a table are changed, and what foreign keys that refer to them do.
func (p *planner) changing(t *Table, columns map[string]bool) {
	p.fires(t)
	for _, c := range t.Cascades {
		if p.changed[c.Table] {
			continue
		}
		for _, column := range c.Columns {
			if columns[column] {
				p.changed[c.Table] = c.OnUpdate != 0
				p.act(c, map[Action]Action{Cascades: SetsColumns, SetsColumns: SetsColumns}[c.OnUpdate])
				break
			}
		}
	}
}

// fires notes what a table's triggers do to other tables when a row of it is written.
func (p *planner) fires(t *Table) {
	if p.fired[t.Name] {
		return
	}
	p.fired[t.Name] = true
	for _, trigger := range t.Triggers {
		for _, name := range trigger.Writes {
			if other := p.cat.Tables[name]; other != nil {
				p.tables[other.Name] = true
				p.writes = true
				p.changing(other, allColumns(other))
			}
		}
		for _, name := range trigger.Deletes {
			if other := p.cat.Tables[name]; other != nil {
				p.tables[other.Name] = true
				p.deleting(other)
			}
		}
	}
}

func allColumns(t *Table) map[string]bool {
	all := map[string]bool{}
	for _, column := range t.Columns {
		all[column.Name] = true
	}
	return all
}

// act notes what a foreign key does to its table's rows.
func (p *planner) act(c Cascade, action Action) {
	child := p.cat.Tables[c.Table]
	if action == 0 || child == nil {
		return
	}
	p.tables[child.Name] = true
	if action == Cascades {
		p.deleting(child)
		return
	}
	// Which columns are set is the foreign key's to say; others may refer to any of them.
	p.writes = true
	p.changing(child, allColumns(child))
}
