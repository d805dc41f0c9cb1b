//go:build cgo

package pgparse

import (
	"errors"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
)

func parse(sql string) (*Tree, error) { return pg.Parse(sql) }

func deparse(tree *Tree) (string, error) { return pg.Deparse(tree) }

func scan(sql string) (*pg.ScanResult, error) { return pg.Scan(sql) }

func normalize(sql string) (string, error) { return pg.Normalize(sql) }

func fingerprint(sql string) (string, error) { return pg.Fingerprint(sql) }

// cursorOf returns the position of a parser's error in characters from 1, or 0.
func cursorOf(err error) int {
	var detail *parser.Error
	if errors.As(err, &detail) {
		return detail.Cursorpos
	}
	return 0
}
