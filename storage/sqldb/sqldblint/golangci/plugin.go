// Package golangci makes sqldblint a linter of golangci-lint, as a module plugin: golangci-lint custom builds a golangci-lint that
// has it, of a file .custom-gcl.yml such as
//
//	version: v2.15.0
//	plugins:
//	  - module: github.com/strongroom-go/strongroom/storage/sqldb/sqldblint/golangci
//	    version: v0.1.0
//
// and .golangci.yml turns it on:
//
//	version: "2"
//	linters:
//	  enable: [sqldblint]
//	  settings:
//	    custom:
//	      sqldblint:
//	        type: module
//	        settings:
//	          schema: columns.json # optional: see the package sqldblint
//	          tests: true          # optional: test files too
//
// It is a module of its own, so that programs that use Strongroom depend on nothing of golangci-lint's.
package golangci

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/golangci/plugin-module-register/register"
	"golang.org/x/tools/go/analysis"

	"github.com/strongroom-go/strongroom/storage/sqldb/sqldblint"
)

// Name is the linter's in golangci-lint's configuration.
const Name = "sqldblint"

// A module plugin is found by this call, and by nothing else.
func init() { register.Plugin(Name, New) }

// Settings are the linter's in golangci-lint's configuration. One that is not known is an error.
type Settings struct {
	// Schema is the path of a JSON file with the tables' columns ([sqldblint.File]), absolute or relative to where golangci-lint runs.
	// Default: none.
	Schema string `json:"schema"`
	// Tests has test files looked at too.
	Tests bool `json:"tests"`
}

// New returns the linter with its settings, which may be nil.
func New(settings any) (register.LinterPlugin, error) {
	s, err := register.DecodeSettings[Settings](settings)
	if err != nil {
		return nil, fmt.Errorf("%s: its settings are schema, a path, and tests, true or false: %w", Name, err)
	}
	if s.Schema != "" {
		if s.Schema, err = filepath.Abs(s.Schema); err != nil {
			return nil, fmt.Errorf("%s: schema: %w", Name, err)
		}
	}
	return plugin{s}, nil
}

type plugin struct{ Settings }

// BuildAnalyzers implements [register.LinterPlugin].
func (p plugin) BuildAnalyzers() ([]*analysis.Analyzer, error) {
	a := sqldblint.New()
	for name, value := range map[string]string{"schema": p.Schema, "tests": strconv.FormatBool(p.Tests)} {
		if err := a.Flags.Set(name, value); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", Name, name, err)
		}
	}
	return []*analysis.Analyzer{a}, nil
}

// GetLoadMode implements [register.LinterPlugin]: what statements are called on is known by types.
func (plugin) GetLoadMode() string { return register.LoadModeTypesInfo }
