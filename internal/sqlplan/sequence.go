package sqlplan

import (
	"regexp"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Sequence is one that a table's column draws its default or identity from.
type Sequence struct{ Schema, Name string }

// nextval plans nextval of a declared table's own sequence, which is named by a literal, as the database finds it under its
// schema. The numbers that other tenants drew are missing, as they are in identity columns. currval and lastval stay
// refused: they return what the session drew last, and sessions are pooled.
func (p *planner) nextval(n *pg.Node, f *pg.FuncCall) expr {
	text := ""
	if len(f.Args) == 1 {
		arg := f.Args[0]
		if cast := arg.GetTypeCast(); cast != nil {
			fields, _ := names(cast.TypeName.GetNames())
			if name := strings.Join(fields, "."); (name == "regclass" || name == "pg_catalog.regclass") && len(cast.TypeName.ArrayBounds) == 0 {
				arg = cast.Arg
			}
		}
		text = arg.GetAConst().GetSval().GetSval()
	}
	s := p.sequence(text)
	if s == nil {
		refuse("sequence that is no declared table's", "nextval", f.Location,
			"name as a literal the sequence that belongs to a column of a declared table; or leave the column out of the INSERT and read it with RETURNING")
	}
	p.effects = true
	f.Funcname = p.builtinName("nextval")
	f.Args = []*pg.Node{stringConst(quoted(s.Schema) + "." + quoted(s.Name))}
	return expr{node: n, typ: "int8", volatile: true}
}

// sequenceName is a name with a schema or without, each part in quotes or plain.
var sequenceName = regexp.MustCompile(`^(?:("(?:[^"]|"")+"|[A-Za-z_][A-Za-z0-9_$]*)\.)?("(?:[^"]|"")+"|[A-Za-z_][A-Za-z0-9_$]*)$`)

// sequence finds the sequence of a scoped table that a text names as PostgreSQL reads it: it folds the case of what is not
// quoted, in the default schema where the text names none. It is nil where there is none, or several.
func (p *planner) sequence(text string) *Sequence {
	parts := sequenceName.FindStringSubmatch(text)
	if parts == nil {
		return nil
	}
	schema, name := unquoted(parts[1]), unquoted(parts[2])
	var found []Sequence
	for _, t := range p.cat.Tables {
		for _, s := range t.Sequences {
			// Without a schema it is in the default one, as the table is then.
			unqualified := t.Name == t.Relation() && s.Schema == t.Schema
			if !t.Shared && s.Name == name && (schema == "" && unqualified || s.Schema == schema) {
				found = append(found, s)
			}
		}
	}
	if len(found) != 1 {
		return nil
	}
	return &found[0]
}

func unquoted(name string) string {
	if inner, ok := strings.CutPrefix(name, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`)
	}
	return strings.ToLower(name)
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
