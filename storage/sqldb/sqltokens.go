package sqldb

import (
	"slices"
	"strings"
)

// sqlToken is a token of a statement that a database gave back. A name is the same token with quotes and without; a string is
// never the same as a name.
type sqlToken struct {
	text  string
	kind  byte // n name or keyword, s string, b blob, o anything else
	start int
	end   int
}

// sqlTokens takes a definition apart: words are folded, comments and white space go. It is not a parser; who uses it compares
// tokens, and takes what it does not find for missing. SQLite folds quoted names too.
func sqlTokens(sql string, foldQuoted bool) []sqlToken {
	var out []sqlToken
	for i := 0; i < len(sql); {
		start := i
		t := sqlToken{kind: 'o'}
		switch c := sql[i]; {
		case strings.IndexByte(" \t\r\n\f\v", c) >= 0:
			i++
			continue
		case strings.HasPrefix(sql[i:], "--"):
			i = after(sql, i, "\n")
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			i = after(sql, i+2, "*/")
			continue
		case c == '\'':
			i = closing(sql, i)
			t.kind, t.text = 's', sql[start:i]
		case (c == 'x' || c == 'X') && i+1 < len(sql) && sql[i+1] == '\'':
			i = closing(sql, i+1)
			t.kind, t.text = 'b', asciiLower(sql[start:i])
		case c == '"' || c == '`' || c == '[':
			i = closing(sql, i)
			t.kind, t.text = 'n', unquoted(sql[start:i])
			if foldQuoted {
				t.text = asciiLower(t.text)
			}
		case isWord(c):
			for i < len(sql) && isWord(sql[i]) {
				i++
			}
			t.kind, t.text = 'n', asciiLower(sql[start:i])
		default:
			i++
			for i < len(sql) && strings.IndexByte("<>=!|", sql[i-1]) >= 0 && strings.IndexByte("<>=|", sql[i]) >= 0 {
				i++
			}
			t.text = sql[start:i]
		}
		t.start, t.end = start, i
		out = append(out, t)
	}
	return out
}

// after is where the text goes on behind the next what.
func after(sql string, i int, what string) int {
	if j := strings.Index(sql[i:], what); j >= 0 {
		return i + j + len(what)
	}
	return len(sql)
}

// closing is where the text goes on behind the quoted token that begins at i, in which a quote is doubled.
func closing(sql string, i int) int {
	quote := sql[i]
	if quote == '[' {
		return after(sql, i, "]")
	}
	for i++; i < len(sql); i++ {
		if sql[i] != quote {
			continue
		}
		if i+1 == len(sql) || sql[i+1] != quote {
			return i + 1
		}
		i++
	}
	return len(sql)
}

func unquoted(token string) string {
	if len(token) < 2 {
		return token
	}
	inner := token[1 : len(token)-1]
	if token[0] == '[' {
		return inner
	}
	return strings.ReplaceAll(inner, token[:1]+token[:1], token[:1])
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// sameTokens compares two token lists, wherever in their texts they stand.
func sameTokens(a, b []sqlToken) bool {
	return slices.EqualFunc(a, b, func(x, y sqlToken) bool { return x.kind == y.kind && x.text == y.text })
}

// is tells a keyword or sign from a name that is quoted only by the place where it stands; callers look at those alone.
func (t sqlToken) is(text string) bool { return t.kind != 's' && t.kind != 'b' && t.text == text }
