package builtin

// Bound is what makes an operator total that is not by itself.
type Bound uint8

const (
	// Unbounded operators are what [Operator] says.
	Unbounded Bound = iota
	// Nesting: containment of jsonb recurses into both operands and fails where both are nested deeper than the stack. It is
	// total where one operand is a literal or parameter nested at most [MaxNesting] deep, as [Depth] counts.
	Nesting
	// Length: a tsquery of some 30,000 words is deeper than the stack. Search is total where the tsquery is made from a literal
	// or parameter of at most [MaxQuery] bytes, or is a column of a table, which PostgreSQL stores in one page.
	Length
)

const (
	MaxNesting = 1000
	MaxQuery   = 8 << 10
)

// Requires tells within which bound of an operand an operator of PostgreSQL is total that [Operator] calls not total.
func Requires(name string, left, right Type) Bound {
	pair := func(t Type) bool {
		return left == t && (right == t || right == Adapts) || left == Adapts && right == t
	}
	switch {
	case (name == "@>" || name == "<@") && pair("jsonb"):
		return Nesting
	case name == "@@" && (left == "tsvector" && (right == "tsquery" || right == Adapts) || right == "tsvector" && (left == "tsquery" || left == Adapts)):
		return Length
	}
	return Unbounded
}

// Depth returns how deep the text of a JSON value is nested. Of malformed JSON it returns no less than a parser would meet.
func Depth(json string) int {
	depth, deepest := 0, 0
	for i, quoted := 0, false; i < len(json); i++ {
		switch c := json[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}
