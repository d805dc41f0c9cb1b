package golangci_test

import (
	"path/filepath"
	"testing"

	"github.com/golangci/plugin-module-register/register"

	"github.com/strongroom-go/strongroom/storage/sqldb/sqldblint/golangci"
)

func TestSettings(t *testing.T) {
	build, err := register.GetPlugin(golangci.Name)
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("columns.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		settings      any
		schema, tests string
	}{
		{nil, "", "false"},
		{map[string]any{"tests": true}, "", "true"},
		{map[string]any{"schema": "columns.json"}, here, "false"},
		{map[string]any{"schema": "/etc/columns.json", "tests": false}, "/etc/columns.json", "false"},
	} {
		p, err := build(c.settings)
		if err != nil {
			t.Fatal(err)
		}
		all, err := p.BuildAnalyzers()
		if err != nil || len(all) != 1 || p.GetLoadMode() != register.LoadModeTypesInfo {
			t.Fatal(all, err, p.GetLoadMode())
		}
		if schema, tests := all[0].Flags.Lookup("schema").Value.String(), all[0].Flags.Lookup("tests").Value.String(); schema != c.schema || tests != c.tests {
			t.Errorf("%v: -schema=%s -tests=%s", c.settings, schema, tests)
		}
	}
	for _, wrong := range []any{map[string]any{"shcema": "x"}, map[string]any{"tests": "yes"}, "x"} {
		if _, err := build(wrong); err == nil {
			t.Errorf("%v is taken", wrong)
		}
	}
}
