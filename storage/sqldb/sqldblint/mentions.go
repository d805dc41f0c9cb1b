package sqldblint

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// mentions are the names that a statement uses, each once.
type mentions struct {
	// named are columns that are named so that their table is certain, or is certain to lack them: with a qualifier, or
	// as the targets of a write. Bare are named without one, and may belong to any table in reach.
	named, bare []string
	tables      []string
	qualifiers  []string // schemas
	functions   []string
	types       []string   // as they are written
	keys        [][]string // the columns of ON CONFLICT
	star        bool
}

func mentioned(text string) mentions {
	var m mentions
	tree, err := pgparse.Parse(text)
	if err != nil {
		return m
	}
	for _, stmt := range tree.Stmts {
		m.walk(stmt.ProtoReflect())
	}
	return m
}

func once(list *[]string, name string) {
	if name != "" && !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}

func (m *mentions) walk(msg protoreflect.Message) {
	switch n := msg.Interface().(type) {
	case *pg.ColumnRef:
		last := n.Fields[len(n.Fields)-1]
		switch name := last.GetString_().GetSval(); {
		case last.GetAStar() != nil:
			m.star = true
		case len(n.Fields) == 1:
			once(&m.bare, name)
		default:
			once(&m.named, name)
		}
	case *pg.JoinExpr:
		for _, c := range n.UsingClause {
			once(&m.bare, c.GetString_().GetSval())
		}
	case *pg.ResTarget:
		once(&m.named, n.Name)
	case *pg.InferClause:
		var key []string
		for _, e := range n.IndexElems {
			once(&key, e.GetIndexElem().GetName())
			once(&m.named, e.GetIndexElem().GetName())
		}
		m.keys = append(m.keys, key)
	case *pg.RangeVar:
		once(&m.tables, n.Relname)
		once(&m.qualifiers, n.Schemaname)
	case *pg.FuncCall:
		if len(n.Funcname) == 1 {
			once(&m.functions, n.Funcname[0].GetString_().GetSval())
		}
	case *pg.TypeName:
		var name []string
		for _, part := range n.Names {
			name = append(name, part.GetString_().GetSval())
		}
		once(&m.types, strings.Join(name, "."))
	}
	msg.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				m.walk(v.List().Get(i).Message())
			}
		case f.Message() != nil:
			m.walk(v.Message())
		}
		return true
	})
}
