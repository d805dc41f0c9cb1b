package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/strongroom-go/strongroom/audit"
)

// filterFlags adds the flags by which events are selected.
func filterFlags(flags *flag.FlagSet) *audit.Filter {
	filter := &audit.Filter{}
	flags.Func("tenant", "only events of this tenant", func(s string) error { return filter.Tenant.UnmarshalText([]byte(s)) })
	flags.Func("code", `only this event code, or a kind of them: "sql.query", "sql.", "key."`, textFlag((*string)(&filter.Code)))
	flags.Func("status", "only success, failure, denied or unknown", func(s string) error {
		filter.Status = audit.Status(s)
		if !slices.Contains([]audit.Status{audit.Success, audit.Failure, audit.Denied, audit.Unknown}, filter.Status) {
			return errors.New("use success, failure, denied or unknown")
		}
		return nil
	})
	flags.Func("actor", "only events of this actor, a pseudonym as the log has it", textFlag(&filter.Actor))
	flags.Func("purpose", "only events with this purpose", textFlag(&filter.Purpose))
	flags.Func("object", "only events about this table, database or bucket", textFlag(&filter.Object))
	flags.Func("since", "only events from this time on, as 2026-01-31 or 2026-01-31T15:04:05Z", timeFlag(&filter.Since))
	flags.Func("until", "only events before this time", timeFlag(&filter.Until))
	return filter
}

// listFlags adds to the flags by which events are selected those that say what is read for them.
func listFlags(flags *flag.FlagSet) *audit.Filter {
	filter := filterFlags(flags)
	flags.BoolVar(&filter.Whole, "whole", false, "read every segment, also those of which a signed summary says that nothing in them is selected")
	flags.Func("key", "a trusted verifier key of a log, name+hash+key, by which summaries must be signed (repeatable); without one, those in log.json are used",
		func(s string) error { filter.Verifiers = append(filter.Verifiers, s); return nil })
	return filter
}

// checkKeys refuses keys that are for none of the logs, and a log that none of them is for: it would be read as though none were given.
func checkKeys(command string, dirs, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	given := &trust{keys: keys}
	used := 0
	for _, dir := range dirs {
		origin, err := audit.Origin(dir)
		if err != nil {
			return err
		}
		mine := given.of(origin)
		if len(mine.keys) == 0 {
			return fmt.Errorf("auditctl %s: none of the given keys is for %s, the log in %s", command, origin, dir)
		}
		used += len(mine.keys)
	}
	if used < len(keys) {
		return fmt.Errorf("auditctl %s: one of the given keys is for none of the logs", command)
	}
	return nil
}

// noteSkipped returns what says in the end how much was not read, and what vouches for it.
func noteSkipped(filter *audit.Filter, errs io.Writer) func() {
	skipped, all := 0, 0
	filter.Skipped = func(segments, of int) { skipped, all = skipped+segments, all+of }
	return func() {
		if skipped == 0 {
			return
		}
		keys := "a key in log.json"
		if len(filter.Verifiers) > 0 {
			keys = "a given key"
		}
		fmt.Fprintf(errs, "%d of %d segments were not read: their summaries, signed by %s, say that nothing in them is selected. \"auditctl verify\" compares summaries with events; -whole reads all\n",
			skipped, all, keys)
	}
}

// textFlag refuses an empty text, as of a variable that is not set: it would select the events of everybody.
func textFlag(text *string) func(string) error {
	return func(s string) error {
		if *text = s; s == "" {
			return errors.New("it is empty, which would select everything; leave the flag out for that")
		}
		return nil
	}
}

func timeFlag(t *time.Time) func(string) error {
	return func(s string) (err error) {
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if *t, err = time.Parse(layout, s); err == nil {
				return nil
			}
		}
		return errors.New("use 2026-01-31 or 2026-01-31T15:04:05Z")
	}
}

// directories parses flags and returns the arguments, of which there must be one.
func directories(flags *flag.FlagSet, args []string, errs io.Writer) ([]string, error) {
	if err := parseFlags(flags, args, errs); err != nil {
		return nil, err
	}
	if flags.NArg() == 0 {
		return nil, fmt.Errorf("auditctl %s: give one directory or more, after the flags", flags.Name())
	}
	return flags.Args(), nil
}

// events are those of all logs by time.
func events(ctx context.Context, dirs []string, filter *audit.Filter) iter.Seq2[audit.Entry, error] {
	if len(dirs) == 1 {
		return audit.Read(ctx, dirs[0], filter)
	}
	return audit.ReadAll(ctx, dirs, filter)
}

func query(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("query", flag.ContinueOnError)
	filter := listFlags(flags)
	asJSON := flags.Bool("json", false, "print the events' exact lines (OCSF) instead of a table")
	dirs, err := directories(flags, args, errs)
	if err != nil {
		return err
	}
	if err := errors.Join(filter.Check(), checkKeys("query", dirs, filter.Verifiers)); err != nil { // before anything is printed, which would be an empty table
		return err
	}
	bar := listingProgress(out, errs)
	filter.Progress = bar.at
	noteDeleted(dirs, errs)
	skipped := noteSkipped(filter, errs)
	buffered := bufio.NewWriter(out)
	table := tabwriter.NewWriter(buffered, 0, 0, 2, ' ', 0)
	if !*asJSON {
		row(table, "INDEX", "TIME", "CODE", "PHASE", "STATUS", "TENANT", "ACTOR", "PURPOSE", "WHAT", "ROWS", "REASON")
	}
	n := 0
	for e, rerr := range events(ctx, dirs, filter) {
		if err = rerr; err != nil {
			break
		}
		if *asJSON {
			if _, err = buffered.Write(append(e.Raw, '\n')); err != nil {
				break
			}
			continue
		}
		row(table, cellsOf(&e)...)
		if n++; n%block == 0 {
			if err = table.Flush(); err != nil {
				break
			}
		}
	}
	bar.done()
	err = errors.Join(err, table.Flush(), buffered.Flush())
	skipped()
	return err
}

// block is how many rows of a table are aligned with each other, and so kept in memory.
const block = 1000

// cellsOf are an event's cells of a table.
func cellsOf(e *audit.Entry) []string {
	rows := ""
	if e.Rows >= 0 && e.Phase == audit.Outcome {
		rows = fmt.Sprint(e.Rows)
	}
	what := e.Name
	if len(e.Tables) > 0 {
		what += ":" + strings.Join(e.Tables, ",")
	}
	return []string{fmt.Sprint(e.Index), e.Time.Format("2006-01-02T15:04:05.000Z"), string(e.Code), string(e.Phase), string(e.Status),
		e.Tenant, e.Actor, e.Purpose, what, rows, e.Reason}
}

// row prints one line of a table.
func row(w io.Writer, cells ...string) {
	quote(cells)
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// quote quotes what could forge cells or command the terminal in a text from the log.
func quote(cells []string) {
	for i, c := range cells {
		if quoted := fmt.Sprintf("%+q", c); quoted != `"`+c+`"` {
			cells[i] = quoted
		}
	}
}

// columns are those of an export. They are only added to.
var columns = []struct {
	name string
	of   func(*audit.Entry) string
}{
	{"log", func(e *audit.Entry) string { return e.Log }},
	{"index", func(e *audit.Entry) string { return strconv.FormatInt(e.Index, 10) }},
	{"time", func(e *audit.Entry) string { return e.Time.Format("2006-01-02T15:04:05.000Z") }},
	{"code", func(e *audit.Entry) string { return string(e.Code) }},
	{"phase", func(e *audit.Entry) string { return string(e.Phase) }},
	{"status", func(e *audit.Entry) string { return string(e.Status) }},
	{"severity", func(e *audit.Entry) string { return e.Severity }},
	{"tenant", func(e *audit.Entry) string { return e.Tenant }},
	{"sequence", func(e *audit.Entry) string { return number(e.Sequence, 1) }},
	{"actor", func(e *audit.Entry) string { return e.Actor }},
	{"purpose", func(e *audit.Entry) string { return e.Purpose }},
	{"request", func(e *audit.Entry) string { return e.Request }},
	{"transaction", func(e *audit.Entry) string { return e.Transaction }},
	{"store", func(e *audit.Entry) string { return e.Store }},
	{"name", func(e *audit.Entry) string { return e.Name }},
	{"tables", func(e *audit.Entry) string { return strings.Join(e.Tables, " ") }},
	{"columns", func(e *audit.Entry) string { return strings.Join(e.Columns, " ") }},
	{"sealed_columns", func(e *audit.Entry) string { return strings.Join(e.SealedColumns, " ") }},
	{"statement", func(e *audit.Entry) string { return e.Statement }},
	{"fingerprint", func(e *audit.Entry) string { return e.Fingerprint }},
	{"key_version", func(e *audit.Entry) string { return number(int64(e.KeyVersion), 1) }},
	{"rows", func(e *audit.Entry) string { return number(e.Rows, 0) }},
	{"bytes", func(e *audit.Entry) string { return number(e.Bytes, 0) }},
	{"reason", func(e *audit.Entry) string { return e.Reason }},
	{"uid", func(e *audit.Entry) string { return e.UID }},
	{"correlation", func(e *audit.Entry) string { return e.Correlation }},
}

// number leaves out one that says nothing.
func number(n, least int64) string {
	if n < least {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// export prints events for other programs.
func export(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	filter := listFlags(flags)
	format := flags.String("format", "csv", `csv (RFC 4180, with a header), or json (the events' exact lines, OCSF)`)
	dirs, err := directories(flags, args, errs)
	if err != nil {
		return err
	}
	if err := errors.Join(filter.Check(), checkKeys("export", dirs, filter.Verifiers)); err != nil { // before anything is printed, which would be an empty table
		return err
	}
	noteDeleted(dirs, errs)
	if *format != "csv" && *format != "json" {
		return errors.New("auditctl export: use -format csv or -format json")
	}
	bar := listingProgress(out, errs)
	filter.Progress = bar.at
	skipped := noteSkipped(filter, errs)
	buffered := bufio.NewWriter(out)
	table := csv.NewWriter(buffered)
	table.UseCRLF = true
	record := make([]string, len(columns))
	if *format == "csv" {
		for i, c := range columns {
			record[i] = c.name
		}
		table.Write(record)
	}
	for e, rerr := range events(ctx, dirs, filter) {
		if err = rerr; err != nil {
			break
		}
		if *format == "json" {
			buffered.Write(append(e.Raw, '\n'))
			continue
		}
		for i, c := range columns {
			record[i] = cell(c.of(&e))
		}
		if err = table.Write(record); err != nil {
			break
		}
	}
	bar.done()
	table.Flush()
	err = errors.Join(err, table.Error(), buffered.Flush())
	skipped()
	return err
}

// cell neutralizes what a spreadsheet would take for a formula (OWASP, "CSV Injection"): where one begins, an apostrophe is
// put before it, which spreadsheets take for the mark of a text. That is at the beginning of a text, and behind what a
// spreadsheet may split the text at, whatever the file does: many expect semicolons, and then go by no quotation marks here.
// Characters that command a terminal, or that programs drop and so may begin a text with what is behind them, become U+FFFD;
// -format json has them.
func cell(s string) string {
	var b strings.Builder
	begins := true
	for _, r := range s {
		if unicode.In(r, unicode.Cc, unicode.Cf) && !strings.ContainsRune("\t\r\n\u200c\u200d", r) { // and what Persian and Hindi are written with
			r = unicode.ReplacementChar
		}
		if begins && strings.ContainsRune("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20", r) && (b.Len() == 0 || !separates(r)) {
			b.WriteByte('\'')
		}
		b.WriteRune(r)
		begins = separates(r) || begins && (r == ' ' || r == '"')
	}
	return b.String()
}

func separates(r rune) bool { return strings.ContainsRune(";\t\r\n", r) }
