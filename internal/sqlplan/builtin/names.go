package builtin

import (
	"maps"
	"slices"
)

// Names are the functions that statements may call on an engine, sorted.
func Names(e Engine) []string { return slices.Sorted(maps.Keys(functions[e])) }
