package sqlplan

// deleting notes that rows of a table are deleted, and what foreign keys do to other tables then.
func (p *planner) deleting(t *Table) {
	p.deletes = true
	if p.deleted[t.Name] {
		return
	}
	p.deleted[t.Name] = true
	for _, c := range t.Cascades {
		p.act(c, c.OnDelete)
	}
}

// changing notes that columns of a table are changed, and what foreign keys that refer to them do.
func (p *planner) changing(t *Table, columns map[string]bool) {
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
	all := map[string]bool{}
	for _, column := range child.Columns {
		all[column.Name] = true
	}
	p.changing(child, all)
}
