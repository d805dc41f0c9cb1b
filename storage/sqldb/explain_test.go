package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/tenant"
)

// ErrExplained is what every statement of an explaining handle ends with.
var ErrExplained = errors.New("explained, and not run")

// Explaining returns a handle on the same guarded PostgreSQL whose statements are explained in place of being run: just
// what would have been sent, in the session and with the values that it would have been sent with. The function gets
// each explanation as JSON.
func Explaining(ctx context.Context, db *sql.DB, explained func(text, plan string)) (*sql.DB, error) {
	one, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer one.Close()
	var d database
	if err := one.Raw(func(c any) error { d = *c.(*conn).db; return nil }); err != nil {
		return nil, err
	}
	d.engine = explainingEngine{d.engine, explained}
	return sql.OpenDB(&d), nil
}

type explainingEngine struct {
	engine
	explained func(text, plan string)
}

func (e explainingEngine) connect(ctx context.Context, cat *sqlplan.Catalog) (session, error) {
	s, err := e.engine.connect(ctx, cat)
	return explainingSession{s, e.explained}, err
}

type explainingSession struct {
	session
	explained func(text, plan string)
}

func (s explainingSession) query(ctx context.Context, id tenant.ID, text string, args []driver.Value) (cursor, error) {
	c, err := s.session.query(ctx, id, "EXPLAIN (FORMAT JSON) "+text, args)
	if err != nil {
		return nil, err
	}
	plan := []driver.Value{nil}
	if err := errors.Join(c.next(plan), c.close()); err != nil {
		return nil, err
	}
	if bytes, ok := plan[0].([]byte); ok {
		plan[0] = string(bytes)
	}
	s.explained(text, fmt.Sprint(plan[0]))
	return nil, ErrExplained
}

func (s explainingSession) exec(ctx context.Context, id tenant.ID, text string, args []driver.Value) (int64, error) {
	_, err := s.query(ctx, id, text, args)
	return 0, err
}
