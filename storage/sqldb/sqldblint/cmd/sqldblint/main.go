// Command sqldblint checks uses of package sqldb, as a tool of go vet. See package sqldblint.
package main

import (
	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/strongroom-go/strongroom/storage/sqldb/sqldblint"
)

func main() { unitchecker.Main(sqldblint.New()) }
