package sqldb

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/strictjson"
)

// logicalNames are the types of sealed columns in a schema's JSON form, by the names of the functions that declare them.
var logicalNames = map[envelope.Logical]string{
	envelope.Text: "text", envelope.Bytes: "bytes", envelope.Int: "int", envelope.Float: "float", envelope.Bool: "bool",
	envelope.Time: "time", envelope.Date: "date", envelope.Numeric: "numeric", envelope.JSON: "json", envelope.UUID: "uuid",
}

type tableJSON struct {
	Sealed       map[string]columnJSON  `json:"sealed,omitempty"`
	Shared       bool                   `json:"shared,omitempty"`
	TenantColumn string                 `json:"tenantColumn,omitempty"`
	TenantType   string                 `json:"tenantType,omitempty"`
	Triggers     map[string]triggerJSON `json:"triggers,omitempty"`
}

type columnJSON struct {
	Type       string  `json:"type"`
	Index      *string `json:"index,omitempty"`
	FoldCase   bool    `json:"foldCase,omitempty"`
	TrimSpace  bool    `json:"trimSpace,omitempty"`
	Compatible bool    `json:"compatible,omitempty"`
}

type triggerJSON struct {
	Writes  []string `json:"writes,omitempty"`
	Deletes []string `json:"deletes,omitempty"`
}

// MarshalJSON returns the schema in JSON, for programs that open the database without the application's code:
//
//	{
//	  "patients": {"sealed": {"name": {"type": "text", "index": "name_index", "foldCase": true}, "born": {"type": "date"}}},
//	  "tenants": {"tenantColumn": "id"},
//	  "countries": {"shared": true}
//	}
//
// Types are text, bytes, int, float, bool, time, date, numeric, json and uuid. Beside foldCase a column has trimSpace and
// compatible; beside tenantColumn a table has tenantType, and triggers by name, each with the lists writes and deletes. What
// is left out is the zero value. The same schema always is the same text.
func (s Schema) MarshalJSON() ([]byte, error) {
	out := make(map[string]tableJSON, len(s))
	for name, t := range s {
		j := tableJSON{Shared: t.Shared, TenantColumn: t.TenantColumn, TenantType: t.TenantType}
		for column, c := range t.Sealed {
			logical, ok := logicalNames[c.logical]
			if !ok {
				return nil, fmt.Errorf("sqldb: the column %s of the table %s has no logical type; use sqldb.Text(), sqldb.Date() and the like", column, name)
			}
			cj := columnJSON{Type: logical, FoldCase: c.fold, TrimSpace: c.trim, Compatible: c.compat}
			if c.searchable {
				cj.Index = &c.index
			}
			if j.Sealed == nil {
				j.Sealed = map[string]columnJSON{}
			}
			j.Sealed[column] = cj
		}
		for trigger, d := range t.Triggers {
			if j.Triggers == nil {
				j.Triggers = map[string]triggerJSON{}
			}
			j.Triggers[trigger] = triggerJSON(d)
		}
		out[name] = j
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what [Schema.MarshalJSON] describes. Nothing is passed over: an unknown member, a name that stands
// twice or in another case, null, and an unknown type are errors, which name the place. So a sealed column that the text
// declares is declared; one that the text forgets is a problem when the database is opened, which bears a mark of it.
func (s *Schema) UnmarshalJSON(data []byte) error {
	var in map[string]tableJSON
	if err := strictjson.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("sqldb: the schema: %w", err)
	}
	out := make(Schema, len(in))
	for _, name := range sortedKeys(in) {
		j := in[name]
		t := Table{Shared: j.Shared, TenantColumn: j.TenantColumn, TenantType: j.TenantType}
		for _, column := range sortedKeys(j.Sealed) {
			c, err := j.Sealed[column].column()
			if err != nil {
				return fmt.Errorf("sqldb: the schema: %q: sealed: %q: %w", name, column, err)
			}
			if t.Sealed == nil {
				t.Sealed = Columns{}
			}
			t.Sealed[column] = c
		}
		for trigger, d := range j.Triggers {
			if t.Triggers == nil {
				t.Triggers = map[string]Trigger{}
			}
			t.Triggers[trigger] = Trigger(d)
		}
		out[name] = t
	}
	*s = out
	return nil
}

func (j columnJSON) column() (Column, error) {
	c := Column{fold: j.FoldCase, trim: j.TrimSpace, compat: j.Compatible}
	var known []string
	for logical, name := range logicalNames {
		if known = append(known, name); name == j.Type {
			c.logical = logical
		}
	}
	if c.logical == 0 {
		slices.Sort(known)
		return c, fmt.Errorf("the type is %q; use one of %s", j.Type, strings.Join(known, ", "))
	}
	if j.Index != nil {
		c = c.Searchable(*j.Index)
	}
	return c, nil
}
