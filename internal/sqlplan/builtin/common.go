package builtin

// Common returns the type that PostgreSQL gives a choice among expressions (CASE, COALESCE, UNION, VALUES, ARRAY, IN), and
// whether each conversion to it is total. It is [Adapts] if all adapt, and [Unknown] where PostgreSQL may refuse the choice.
func Common(types ...Type) (t Type, total bool) {
	t = Adapts
	for _, each := range types {
		switch {
		case each == Unknown:
			return Unknown, false
		case each == Adapts || each == t || t != Adapts && preferredTypes[t]:
			continue
		case t == Adapts || becomes(t, each) && !becomes(each, t):
			t = each
		}
	}
	total = true
	for _, each := range types {
		_, one, ok := convert(each, t)
		if !ok {
			return Unknown, false
		}
		total = total && one
	}
	return t, total
}

// preferredTypes are PostgreSQL's, each of a category of types.
var preferredTypes = set("float8 text timestamptz interval inet varbit bool")

func becomes(from, to Type) bool {
	_, _, ok := convert(from, to)
	return ok
}
