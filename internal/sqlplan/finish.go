package sqlplan

import (
	"errors"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// describe sets the statement's normalised text and fingerprint, from the canonical text, which has no comments.
func (plan *Plan) describe(tree *pgparse.Tree) {
	text, err := pgparse.Deparse(tree)
	if err != nil {
		refuse("unsupported construct", "", -1, "write the statement in another form")
	}
	plan.Statement, err = pgparse.Normalize(text)
	if err == nil {
		plan.Fingerprint, err = pgparse.Fingerprint(text)
	}
	if err == nil {
		err = withoutText(plan.Statement)
	}
	if err != nil {
		refuseLimit(err)
		refuse("statement that cannot be described without its literals", "", -1, "bind the values as parameters")
	}
}

var errText = errors.New("sqlplan: a literal or a comment is left")

// withoutText fails where a text still holds a string literal or a comment.
func withoutText(sql string) error {
	tokens, err := pgparse.Scan(sql)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		switch t.Token {
		case pg.Token_SCONST, pg.Token_USCONST, pg.Token_BCONST, pg.Token_XCONST, pg.Token_SQL_COMMENT, pg.Token_C_COMMENT:
			return errText
		}
	}
	return nil
}

// refuseLimit refuses a statement that was within the limits as it was written, and is not with what the plan adds.
func refuseLimit(err error) {
	var limit *pgparse.LimitError
	if errors.As(err, &limit) {
		refused := parseRefusal(limit)
		refused.Position = -1
		panic(refusal{refused})
	}
}

// finish checks the rewritten tree, turns it into text, and checks that the text means the tree.
func (p *planner) finish(tree *pgparse.Tree, stmt *pg.Node, plan *Plan) {
	visit(stmt.ProtoReflect(), p.checkMark)
	for i := range len(p.callers) {
		if _, ok := p.callers[i+1]; !ok {
			refuse("gap in the parameters", "$"+itoa(i+1), -1, "number the parameters from $1 without gaps")
		}
	}
	plan.NumInput = len(p.callers)
	plan.Params, plan.Tenants, plan.Unique = p.params, p.tenants, p.once
	plan.Tables, plan.Columns, plan.SealedColumns = sorted(p.tables), sorted(p.columns), sorted(p.sealed)
	text, err := pgparse.Deparse(&pgparse.Tree{Version: tree.Version, Stmts: []*pg.RawStmt{{Stmt: stmt}}})
	if err != nil {
		refuse("unsupported construct", "", -1, "write the statement in another form")
	}
	again, err := pgparse.Parse(text)
	refuseLimit(err)
	if err != nil || len(again.Stmts) != 1 {
		refuse("construct that is not read as it is written", "", -1, "write the statement in another form")
	}
	if !sameTree(stmt, again.Stmts[0].Stmt) {
		construct, position := difference(stmt.ProtoReflect(), again.Stmts[0].Stmt.ProtoReflect(), "statement", 0)
		refuse("construct that is not read as it is written", construct, position, "write it in another form")
	}
	if p.lite {
		text = liteParams(text)
	}
	plan.SQL = text
}

// checkMark refuses a node that the planner neither visited nor made, of those kinds that name something or bring others in.
// It is there for the field that is in the list of shapes and that no visit looks at.
func (p *planner) checkMark(m protoreflect.Message) {
	switch node := m.Interface().(type) {
	case *pg.RangeVar, *pg.RangeSubselect, *pg.RangeFunction, *pg.JoinExpr, *pg.ColumnRef, *pg.ParamRef, *pg.FuncCall,
		*pg.TypeName, *pg.TypeCast, *pg.A_Expr, *pg.SubLink, *pg.SQLValueFunction, *pg.RowExpr, *pg.SelectStmt, *pg.CollateClause:
		if !p.marks[node] {
			refuse("construct that the planner did not visit", string(m.Descriptor().Name()), locationOf(m), "write the statement in another form")
		}
	}
}

// sameTree compares two trees but for the positions in the text.
func sameTree(a, b *pg.Node) bool {
	a, b = proto.Clone(a).(*pg.Node), proto.Clone(b).(*pg.Node)
	visit(a.ProtoReflect(), withoutLocations)
	visit(b.ProtoReflect(), withoutLocations)
	return proto.Equal(a, b)
}

// difference returns the kind and place of the innermost node that has a counterpart of its kind in b and is not like it.
func difference(a, b protoreflect.Message, kind string, position int32) (string, int32) {
	if name := string(a.Descriptor().Name()); name != "Node" && name != "String" && name != "List" {
		kind = name
	}
	if p := locationOf(a); p > 0 {
		position = p
	}
	if a.Descriptor() != b.Descriptor() {
		return kind, position
	}
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Message() == nil || f.IsMap() || a.Has(f) != b.Has(f) {
			continue
		}
		pairs := [][2]protoreflect.Message{}
		if f.IsList() {
			for j := range min(a.Get(f).List().Len(), b.Get(f).List().Len()) {
				pairs = append(pairs, [2]protoreflect.Message{a.Get(f).List().Get(j).Message(), b.Get(f).List().Get(j).Message()})
			}
		} else if a.Has(f) {
			pairs = append(pairs, [2]protoreflect.Message{a.Get(f).Message(), b.Get(f).Message()})
		}
		for _, pair := range pairs {
			x, y := proto.Clone(pair[0].Interface()), proto.Clone(pair[1].Interface())
			visit(x.ProtoReflect(), withoutLocations)
			visit(y.ProtoReflect(), withoutLocations)
			if !proto.Equal(x, y) {
				return difference(pair[0], pair[1], kind, position)
			}
		}
	}
	return kind, position
}

func withoutLocations(m protoreflect.Message) {
	if f := m.Descriptor().Fields().ByName("location"); f != nil && f.Kind() == protoreflect.Int32Kind {
		m.Clear(f)
	}
}

// liteParams writes $n as ?n, token by token.
func liteParams(sql string) string {
	tokens, err := pgparse.Scan(sql)
	if err != nil {
		refuse("construct that is not read as it is written", "", -1, "write the statement in another form")
	}
	var b strings.Builder
	last := 0
	for _, t := range tokens {
		if t.Token == pg.Token_PARAM {
			b.WriteString(sql[last:t.Start])
			b.WriteByte('?')
			last = int(t.Start) + 1
		}
	}
	b.WriteString(sql[last:])
	return b.String()
}
