package audit

import "unicode/utf8"

// appendString appends s as a JSON string (RFC 8259). Control characters and the line separators that some viewers
// obey are escaped, so that no text can forge or break a line; bytes that are not UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if 0x20 <= c && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			if printableWide(r) && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		if r == '"' || r == '\\' {
			dst = append(dst, '\\', byte(r))
		} else { // never beyond the Basic Multilingual Plane: see printableWide
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// printableWide tells whether a rune from U+0080 may stand as it is: not the C1 controls, the separators U+2028 and
// U+2029, nor the marks that reorder the text around them.
func printableWide(r rune) bool {
	switch {
	case r < 0xa0, 0x200e <= r && r <= 0x200f, 0x2028 <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069, r == 0xfeff:
		return false
	}
	return true
}

// appendStrings appends a JSON array of strings.
func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// clip returns at most limit bytes of s, cut between characters, and whether anything was cut.
func clip(s string, limit int) (string, bool) {
	if len(s) <= limit {
		return s, false
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit], true
}

// clipList returns the leading strings of list that have at most limit bytes together, the quotation marks and the
// comma of each included, and whether any was cut off.
func clipList(list []string, limit int) ([]string, bool) {
	total := 0
	for i, s := range list {
		if total += len(s) + 3; total > limit {
			return list[:i], true
		}
	}
	return list, false
}
