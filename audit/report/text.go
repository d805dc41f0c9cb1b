package report

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxShown is how many characters of a text from the log the page has. It bounds the memory for each, too.
const maxShown = 120

// shown returns a text from the log as the page has it. What is too long ends with a piece of its hash, so that two texts
// which begin alike stay two.
func shown(s string) string {
	if plain(s) {
		return s
	}
	text, cut := visible(s, maxShown)
	if cut {
		hash := sha256.Sum256([]byte(s))
		text += fmt.Sprintf("… (%d bytes, #%x)", len(s), hash[:4])
	}
	return text
}

// clean is a text of this program in which one of the log may stand.
func clean(s string) string {
	text, cut := visible(s, 20*maxShown)
	if cut {
		text += "…"
	}
	return text
}

// visible returns at most so many characters of a text, and whether there are more. What nobody would see, or what changes how
// the text around it reads, is written as its number.
func visible(s string, most int) (text string, cut bool) {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			return b.String(), true
		}
		if r == ' ' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "\\u{%x}", r)
		n += 5
	}
	return b.String(), false
}

// plain tells whether a text is shown as it is: the common case.
func plain(s string) bool {
	if len(s) > maxShown {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= utf8.RuneSelf || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// short returns the beginning of a pseudonym: "p-" under a tenant's key or "log:" under the log's, and 26 letters and digits. Any
// other text it returns as it is.
func short(s string) string {
	for _, prefix := range []string{"p-", "log:"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok && len(rest) == 26 && strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyz") == "" {
			return prefix + rest[:10] + "…"
		}
	}
	return s
}

// number groups digits by thousands.
func number(n int64) string {
	if n < 0 {
		return "unknown"
	}
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// plural is "1 event", "2 events".
func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if s, ok := strings.CutSuffix(one, "y"); ok && !strings.HasSuffix(s, "a") {
		return number(n) + " " + s + "ies"
	}
	if strings.HasSuffix(one, "ss") {
		return number(n) + " " + one + "es"
	}
	if s, ok := strings.CutSuffix(one, "leaf"); ok {
		return number(n) + " " + s + "leaves"
	}
	return number(n) + " " + one + "s"
}
