//go:build !cgo

package pgparse

import (
	"errors"

	pg "github.com/pganalyze/pg_query_go/v6"
	wasm "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
)

func parse(sql string) (*Tree, error) { return wasm.Parse(sql) }

func deparse(tree *Tree) (string, error) { return wasm.Deparse(tree) }

func scan(sql string) (*pg.ScanResult, error) { return wasm.Scan(sql) }

func normalize(sql string) (string, error) { return wasm.Normalize(sql) }

func fingerprint(sql string) (string, error) { return wasm.Fingerprint(sql) }

// cursorOf returns the position of a parser's error in characters from 1, or 0.
func cursorOf(err error) int {
	var detail *parser.Error
	if errors.As(err, &detail) {
		return detail.Cursorpos
	}
	return 0
}
