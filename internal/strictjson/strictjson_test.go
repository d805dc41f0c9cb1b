package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/strictjson"
)

type inner struct {
	Sealed map[string]string `json:"sealed"`
	Shared bool              `json:"shared"`
	Rows   int               `json:"rows"`
}

type outer struct {
	Tables map[string]inner `json:"tables"`
	List   []inner          `json:"list"`
	One    *inner           `json:"one"`
	Raw    json.RawMessage  `json:"raw"`
	Hidden int              `json:"-"`
}

func TestUnmarshal(t *testing.T) {
	var o outer
	text := `{"tables": {"a": {"sealed": {"x": "text", "X": "int"}}, "A": {"shared": true}}, "list": [{}, {"rows": 3}], "one": {}, "raw": {"any": ["thing", 1.5, true]}}`
	if err := strictjson.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Tables["a"].Sealed) != 2 || !o.Tables["A"].Shared || o.List[1].Rows != 3 || o.One == nil || string(o.Raw) != `{"any": ["thing", 1.5, true]}` {
		t.Errorf("%+v", o)
	}
}

// TestNothingIsPassedOver: each text is one that encoding/json reads without a word, losing a part of it, or nearly so.
func TestNothingIsPassedOver(t *testing.T) {
	for text, want := range map[string]string{
		`{"tables": {"a": {"seald": {"x": "text"}}}}`:                "tables.a.seald is not known here; known are rows, sealed, shared",
		`{"tables": {"a": {"Sealed": {"x": "text"}}}}`:               "tables.a.Sealed is not known here",
		`{"tables": {"a": {"sealed": {"x": "text"}, "sealed": {}}}}`: "tables.a.sealed stands there twice",
		`{"tables": {"a": {"sealed": {"x": "text", "x": "int"}}}}`:   "tables.a.sealed.x stands there twice",
		`{"tables": {"a": {"sealed": {"x": "text"}}, "\u0061": {}}}`: "tables.a stands there twice",
		`{"tables": {}, "tables": {}}`:                               "tables stands there twice",
		`{"tables": null}`:                                           "tables is null",
		`{"tables": {"a": null}}`:                                    "tables.a is null",
		`{"list": [{}, null]}`:                                       "list[1] is null",
		`{"raw": {"a": 1, "a": 2}}`:                                  "raw.a stands there twice",
		`{"raw": [null]}`:                                            "raw[0] is null",
		`{"Hidden": 1}`:                                              "Hidden is not known here",
		`{} {}`:                                                      "behind the value",
		`null`:                                                       "the whole is null",
		`{"one": {"shared": "canary"}}`:                              "one.shared is a string and has to be true or false",
		`{"one": {"rows": 17.5}}`:                                    "one.rows is a number and has to be an integer",
		`{"one": [{"sealed": {}}]}`:                                  "one is a list and has to be an object",
		`{"tables": {"a b\u001b[2J": {"x": 1}}}`:                     `tables."a b\x1b[2J".x is not known here`,
		"{\"tables\": {\"\xff\": {}}}":                               "not UTF-8",
		`{"tables": {"a": {}`:                                        "ends too early",
		`{"tables": {"a": {},}}`:                                     "is no JSON, at byte",
		`{"raw": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`: "nested more than",
	} {
		var o outer
		err := strictjson.Unmarshal([]byte(text), &o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "17.5") {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}
