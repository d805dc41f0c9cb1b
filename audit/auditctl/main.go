// Command auditctl verifies and searches audit logs, offline and without changing them.
//
//	auditctl verify [-key KEY]... [-pin FILE]... DIR
//	auditctl query [-tenant ID] [-code CODE] [-status STATUS] [-since TIME] [-until TIME] [-json] DIR
//
// Exit status: 0 when all is well; 1 when a log was tampered with or is damaged; 2 when the command line is wrong or
// something could not be read.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// The exit statuses.
const (
	exitOK       = 0
	exitTampered = 1
	exitError    = 2
)

const usage = `usage:
  auditctl verify [-key KEY]... [-pin FILE]... DIR   check every byte of the log in DIR
  auditctl query [flags] DIR                         list events of the log in DIR
Run "auditctl verify -h" or "auditctl query -h" for the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(errs, usage)
		return exitError
	}
	var err error
	switch args[0] {
	case "verify":
		err = verify(ctx, args[1:], out, errs)
	case "query":
		err = query(ctx, args[1:], out, errs)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(out, usage)
	default:
		err = fmt.Errorf("auditctl: there is no command %q\n%s", args[0], usage)
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsage): // the flag package has printed it
		return exitError
	}
	fmt.Fprintln(errs, err)
	if errors.Is(err, audit.ErrTampered) {
		return exitTampered
	}
	return exitError
}

var errUsage = errors.New("auditctl: wrong usage")

// parse parses flags and returns the one argument, the log's directory.
func parse(flags *flag.FlagSet, args []string, errs io.Writer) (dir string, err error) {
	flags.SetOutput(errs)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return "", err
		}
		return "", errUsage
	}
	if flags.NArg() != 1 {
		return "", fmt.Errorf("auditctl %s: give one directory, after the flags; got %d arguments", flags.Name(), flags.NArg())
	}
	return flags.Arg(0), nil
}

func verify(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	opts := &audit.VerifyOptions{}
	var pins []string
	flags.Func("key", "a trusted verifier key of the log, name+hash+key (repeatable); without one, those in log.json are used",
		func(s string) error { opts.Verifiers = append(opts.Verifiers, s); return nil })
	flags.Func("pin", "a file with a checkpoint that the log is known to have had (repeatable); needs -key",
		func(s string) error { pins = append(pins, s); return nil })
	dir, err := parse(flags, args, errs)
	if err != nil {
		return err
	}
	if len(pins) > 0 && len(opts.Verifiers) == 0 {
		return errors.New("auditctl verify: -pin needs -key, the key that the pin is signed with")
	}
	for _, name := range pins {
		msg, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("auditctl verify: the pin: %w", err)
		}
		pin, err := audit.ParseCheckpoint(msg, opts.Verifiers)
		if err != nil {
			// A pin that is none says nothing about the log.
			return fmt.Errorf("auditctl verify: %s is no checkpoint under the given keys", name)
		}
		opts.Pins = append(opts.Pins, pin)
	}
	report, err := audit.Verify(ctx, dir, opts)
	if report != nil {
		fmt.Fprint(out, report)
		if err == nil && len(report.Unauthenticated) > 0 {
			fmt.Fprintln(out, "result  intact, but for the events that nothing authenticates: see the findings")
		} else if err == nil {
			fmt.Fprintln(out, "result  intact")
		} else {
			fmt.Fprintln(out, "result  NOT INTACT: what stands above holds up to the first fault")
		}
	}
	return err
}

func query(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("query", flag.ContinueOnError)
	filter := &audit.Filter{}
	flags.Func("tenant", "only events of this tenant", func(s string) error { return filter.Tenant.UnmarshalText([]byte(s)) })
	flags.Func("code", `only this event code, or a kind of them: "sql.query", "sql.", "key."`,
		func(s string) error { filter.Code = audit.Code(s); return nil })
	flags.Func("status", "only success, failure, denied or unknown", func(s string) error {
		filter.Status = audit.Status(s)
		if !slices.Contains([]audit.Status{audit.Success, audit.Failure, audit.Denied, audit.Unknown}, filter.Status) {
			return errors.New("use success, failure, denied or unknown")
		}
		return nil
	})
	flags.Func("since", "only events from this time on, as 2026-01-31 or 2026-01-31T15:04:05Z", timeFlag(&filter.Since))
	flags.Func("until", "only events before this time", timeFlag(&filter.Until))
	asJSON := flags.Bool("json", false, "print the events' exact lines (OCSF) instead of a table")
	dir, err := parse(flags, args, errs)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(out)
	table := tabwriter.NewWriter(buffered, 0, 0, 2, ' ', 0)
	if !*asJSON {
		row(table, "INDEX", "TIME", "CODE", "PHASE", "STATUS", "TENANT", "ACTOR", "PURPOSE", "WHAT", "ROWS", "REASON")
	}
	for e, rerr := range audit.Read(ctx, dir, filter) {
		if err = rerr; err != nil {
			break
		}
		if *asJSON {
			buffered.Write(append(e.Raw, '\n'))
			continue
		}
		rows := ""
		if e.Rows >= 0 && e.Phase == audit.Outcome {
			rows = fmt.Sprint(e.Rows)
		}
		what := e.Name
		if len(e.Tables) > 0 {
			what += ":" + strings.Join(e.Tables, ",")
		}
		row(table, fmt.Sprint(e.Index), e.Time.Format("2006-01-02T15:04:05.000Z"), string(e.Code), string(e.Phase), string(e.Status),
			e.Tenant, e.Actor, e.Purpose, what, rows, e.Reason)
	}
	return errors.Join(err, table.Flush(), buffered.Flush())
}

// row prints one line of a table. A text from the log that could forge cells or command the terminal is quoted.
func row(w io.Writer, cells ...string) {
	for i, c := range cells {
		if quoted := fmt.Sprintf("%+q", c); quoted != `"`+c+`"` {
			cells[i] = quoted
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
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
