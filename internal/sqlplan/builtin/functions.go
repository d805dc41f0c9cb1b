package builtin

import (
	"slices"
	"strings"
)

// Kind is what a function is.
type Kind uint8

const (
	Scalar       Kind = iota + 1
	Aggregate         // takes DISTINCT, ORDER BY, FILTER and OVER
	Window            // needs OVER
	Ordered           // needs WITHIN GROUP
	SetReturning      // returns rows
)

// Facts are what is known of a call.
type Facts struct {
	Kind    Kind
	Both    bool // a window function that is an ordered-set aggregate too, such as rank
	Returns Type
	Total   bool
	// Volatile functions must be computed for each row anew: random(), clock_timestamp(), txid_current().
	Volatile bool
	// Columns are those of a set-returning function in FROM, where they have names of their own or are several.
	Columns []string
	// Definition tells that the function needs a list of columns and types in FROM: jsonb_to_recordset(…) AS x(a int).
	Definition bool
}

// function is a name with all that may be meant by it.
type function struct {
	facts      Facts
	signatures []signature
}

var functions = map[Engine]map[string]function{
	PostgreSQL: parseFunctions(textFunctions, numberFunctions, timeFunctions, arrayFunctions, jsonFunctions, otherFunctions,
		aggregateFunctions, setFunctions),
	SQLite: parseFunctions(sqliteFunctions),
}

// Function says what a call of a name without schema is. ok is false where statements may not use the function at all.
func Function(e Engine, name string, args []Type) (f Facts, ok bool) {
	fn, ok := functions[e][name]
	if !ok {
		return Facts{Returns: Unknown}, false
	}
	f = fn.facts
	f.Columns = slices.Clone(f.Columns)
	m, found := choose(fn.signatures, args)
	if !found {
		f.Returns = Unknown
		return f, true
	}
	f.Returns, f.Total = m.returns, m.total
	return f, true
}

// parseFunctions reads tables with a line for each signature: name(argument types) type flags. The flags are of the name
// as a whole, but for total, and stand in the first of its lines.
func parseFunctions(tables ...string) map[string]function {
	all := map[string]function{}
	for _, table := range tables {
		for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
			head, tail, _ := strings.Cut(line, ")")
			name, args, _ := strings.Cut(strings.TrimSpace(head), "(")
			fields := strings.Fields(tail)
			fn, again := all[name]
			if !again {
				fn.facts = parseFlags(fields[1:])
			}
			fn.signatures = append(fn.signatures, parseSignature(args, fields[0], slices.Contains(fields, "total")))
			all[name] = fn
		}
	}
	return all
}

func parseFlags(flags []string) Facts {
	f := Facts{Kind: Scalar}
	for _, flag := range flags {
		switch flag {
		case "aggregate":
			f.Kind = Aggregate
		case "window":
			f.Kind = Window
		case "ordered":
			f.Kind = Ordered
		case "set":
			f.Kind = SetReturning
		case "both":
			f.Both = true
		case "volatile":
			f.Volatile = true
		case "definition":
			f.Definition = true
		}
		if names, ok := strings.CutPrefix(flag, "columns:"); ok {
			f.Columns = strings.Split(names, ",")
		}
	}
	return f
}
