package sqldb_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

var updateSchema = flag.Bool("update-schema", false, "write testdata/schema.json anew: what operators have written no longer opens where it changes")

// everySchema has everything that can be declared.
func everySchema() sqldb.Schema {
	return sqldb.Schema{
		"patients": {Sealed: sqldb.Columns{
			"a": sqldb.Text(), "b": sqldb.Bytes(), "c": sqldb.Int(), "d": sqldb.Float(), "e": sqldb.Bool(), "f": sqldb.Time(),
			"g": sqldb.Date(), "h": sqldb.Numeric(), "i": sqldb.JSON(), "j": sqldb.UUID(),
			"k": sqldb.Text().Searchable("k_index").FoldCase().TrimSpace().Compatible(), "l": sqldb.Int().Searchable("l_index"),
			"m": sqldb.Text().FoldCase(), "n": sqldb.Text().Searchable(""),
			"Odd \"name\"\u2028": sqldb.Text(),
		}, Triggers: map[string]sqldb.Trigger{"log": {Writes: []string{"visits"}, Deletes: []string{"billing.invoices"}}, "own": {}}},
		"PATIENTS":         {TenantColumn: "t", TenantType: "uuid"},
		"billing.invoices": {},
		"visits":           {},
		"countries":        {Shared: true},
		"tenants":          {TenantColumn: "id"},
	}
}

func TestSchemaJSONIsAsItWas(t *testing.T) {
	got, err := json.MarshalIndent(everySchema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	name := filepath.Join("testdata", "schema.json")
	if *updateSchema {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("a schema is written as\n%s\nand not as in %s", got, name)
	}
	var back sqldb.Schema
	if err := json.Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, everySchema()) {
		t.Errorf("read back it is\n%#v", back)
	}
}

// TestSchemaJSONLosesNothing: what would leave a column undeclared is refused, and names the place.
func TestSchemaJSONLosesNothing(t *testing.T) {
	before := sqldb.Schema{"kept": {}}
	for text, want := range map[string]string{
		`{"p": {"sealed": {"a": {"type": "text"}}, "sealed": {}}}`:      "p.sealed stands there twice",
		`{"p": {"sealed": {"a": {"type": "text"}}}, "p": {}}`:           "p stands there twice",
		`{"p": {"Sealed": {"a": {"type": "text"}}}}`:                    "p.Sealed is not known",
		`{"p": {"sealed": {"a": "text"}}}`:                              "p.sealed.a is a string and has to be an object",
		`{"p": {"sealed": {"a": {}}}}`:                                  `"p": sealed: "a": the type is ""; use one of bool, bytes`,
		`{"p": {"sealed": {"a": {"type": "Text"}}}}`:                    `the type is "Text"`,
		`{"p": {"sealed": {"a": {"type": "text", "searchable": "x"}}}}`: "p.sealed.a.searchable is not known",
		`{"p": {"sealed": ["a"]}}`:                                      "p.sealed is a list and has to be an object",
		`{"p": null}`:                                                   "p is null",
		`{"p": {"triggers": {"t": {"write": ["x"]}}}}`:                  "p.triggers.t.write is not known",
		`null`: "null",
		`[]`:   "is a list and has to be an object",
		`{}x`:  "behind the value",
	} {
		s := before
		err := s.UnmarshalJSON([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
		if _, kept := s["kept"]; !kept {
			t.Errorf("%s: the schema was changed all the same", text)
		}
	}
	if _, err := json.Marshal(sqldb.Schema{"p": {Sealed: sqldb.Columns{"a": {}}}}); err == nil {
		t.Error("a column without a type is written")
	}
}

// What an operator's tool such as keys/keyctl needs to open the database, which the application prints.
func ExampleSchema_MarshalJSON() {
	schema := sqldb.Schema{
		"patients":  {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index").FoldCase(), "born": sqldb.Date()}},
		"countries": {Shared: true},
	}
	data, err := json.Marshal(schema)
	fmt.Println(string(data), err)
	// Output:
	// {"countries":{"shared":true},"patients":{"sealed":{"born":{"type":"date"},"name":{"type":"text","index":"name_index","foldCase":true}}}} <nil>
}
