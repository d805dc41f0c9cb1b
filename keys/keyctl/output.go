package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/strongroom-go/strongroom/internal/redact"
)

// safe returns a text that cannot command a terminal, nor show itself in another order than it has: what is not printable,
// but for line feeds, and what is not ASCII is written as Go's escapes. Names and errors come from files, servers and whoever
// wrote to them.
func safe(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\n', r < utf8.RuneSelf && unicode.IsPrint(r):
			b.WriteRune(r)
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// safeWriter writes texts that are safe.
type safeWriter struct{ w io.Writer }

func (w *safeWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.w, safe(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *safeWriter) json(v any) error { return writeJSON(w.w, v) }

// writeJSON writes one line of JSON in ASCII.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range b.String() {
		switch {
		case r < 0x7f:
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// print writes a result, one at a time: a line of JSON, or the text.
func (t *tool) print(shape any, format string, args ...any) error {
	t.printing.Lock()
	defer t.printing.Unlock()
	if t.json {
		return writeJSON(t.stdout, shape)
	}
	_, err := io.WriteString(t.stdout, safe(fmt.Sprintf(format, args...))+"\n")
	return err
}

// table writes rows in columns, or lines of JSON.
type table struct {
	t *tool
	w *tabwriter.Writer
}

func (t *tool) table(head ...string) *table {
	out := &table{t: t, w: tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)}
	if !t.json {
		out.cells(head)
	}
	return out
}

func (o *table) row(shape any, cells ...string) error {
	if o.t.json {
		return writeJSON(o.t.stdout, shape)
	}
	return o.cells(cells)
}

func (o *table) cells(cells []string) error {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(safe(word(c)), "\n", `\n`)
	}
	_, err := fmt.Fprintln(o.w, strings.Join(cells, "\t"))
	return err
}

func (o *table) flush() error { return o.w.Flush() }

// withheld returns a text without the secrets that were read.
func (t *tool) withheld(text string) string {
	t.printing.Lock()
	secrets := t.secrets
	t.printing.Unlock()
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			return redact.Text(text, secrets...)
		}
	}
	return text
}
