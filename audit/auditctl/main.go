// Command auditctl verifies and searches audit logs, offline and without changing them, compresses and deletes old events by
// policy, on record, delivers events elsewhere, and seals the trails of services that have no disk of their own.
//
//	auditctl verify [-key KEY]... [-pin FILE]... [-witness KEY]... DIR
//	auditctl query [FILTERS] [-json] [-whole] [-key KEY]... DIR...
//	auditctl follow [FILTERS] [-json] DIR...
//	auditctl report -o FILE [-controls] [-title TEXT] [-key KEY]... [-pin FILE]... [-witness KEY]... [FILTERS] DIR...
//	auditctl export [-format csv|json] [FILTERS] [-whole] [-key KEY]... DIR...
//	auditctl ship -to RECEIVER -cursor FILE [-key KEY]... [-once] DIR
//	auditctl retain [-compress] [-age AGE] [-size BYTES] [-drop-hashes] [-needed INDEX] DIR
//	auditctl bundle -tenant ID -o FILE [-key KEY]... DIR
//	auditctl verify-bundle -key KEY... FILE
//	auditctl witness -url URL -witness KEY [-key KEY]... [-every DURATION] DIR
//	auditctl stream-key -name NAME FILE
//	auditctl ddl -recorder ROLE -sealer ROLE [-table TABLE]
//	auditctl nats [-stream NAME] [-gib N]
//	auditctl seal -stream-key FILE [-db CONNECTION] [-table TABLE] [-origin NAME] [-once] [RETENTION] DIR
//	auditctl seal -stream-key FILE -nats SERVERS [-stream NAME] [-creds FILE] [-ca FILE] [-origin NAME] [-once] [RETENTION] DIR
//
// FILTERS are -tenant ID, -code CODE, -status STATUS, -actor PSEUDONYM, -purpose TEXT, -object NAME, -since TIME and -until TIME.
// RETENTION is -compress, -age AGE, -size BYTES, -drop-hashes and, for each cursor of auditctl ship, -needed-cursor FILE.
// What takes long shows a bar on a terminal. Query and export read no segment of which a summary, signed by the log's key, says that
// nothing in it is selected, and say how many those were; -whole reads all. Which summaries tell the truth, verify says.
//
// Exit status: 0 when all is well; 1 when a log was tampered with or is damaged, or when events were missing or not
// authentic in what was sealed; 2 when the command line is wrong or
// something could not be read.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

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
  auditctl query [flags] DIR...                      list events of the log in DIR, or of several as one
  auditctl follow [flags] DIR...                     the same for what comes, until interrupted
  auditctl report -o FILE [flags] DIR...             verify logs and write what they show as one page for a browser
  auditctl export [flags] DIR...                     print them as CSV or JSON, for other programs
  auditctl ship -to RECEIVER -cursor FILE DIR        deliver events elsewhere as they are sealed, until interrupted
  auditctl retain [flags] DIR                        compress old events, or delete them on record; the log must not be in use
  auditctl bundle -tenant ID -o FILE DIR             write one tenant's events, with the proof that none is missing
  auditctl verify-bundle -key KEY FILE               check such a bundle; it needs no log
  auditctl witness -url URL -witness KEY DIR         have a witness sign what the log has, as a pin
  auditctl stream-key -name NAME FILE                make the key that recorders and sealer of a trail share
  auditctl ddl -recorder ROLE -sealer ROLE           print the SQL that makes a trail's table in PostgreSQL
  auditctl nats [-stream NAME]                       print the settings of a trail's stream in NATS, and its users' rights
  auditctl seal -stream-key FILE [flags] DIR         seal the trail in PostgreSQL or NATS into the log in DIR, until interrupted
Run "auditctl COMMAND -h" for the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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
	case "report":
		err = writeReport(ctx, args[1:], out, errs)
	case "follow":
		err = follow(ctx, args[1:], out, errs)
	case "export":
		err = export(ctx, args[1:], out, errs)
	case "ship":
		err = ship(ctx, args[1:], out, errs)
	case "retain":
		err = retain(ctx, args[1:], out, errs)
	case "bundle":
		err = bundle(ctx, args[1:], out, errs)
	case "verify-bundle":
		err = verifyBundle(ctx, args[1:], out, errs)
	case "witness":
		err = submit(ctx, args[1:], out, errs)
	case "stream-key":
		err = streamKey(args[1:], out, errs)
	case "ddl":
		err = ddl(args[1:], out, errs)
	case "nats":
		err = natsSetup(args[1:], out, errs)
	case "seal":
		err = seal(ctx, args[1:], out, errs)
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
	if errors.Is(err, audit.ErrTampered) || errors.Is(err, errIncomplete) {
		return exitTampered
	}
	return exitError
}

var errUsage = errors.New("auditctl: wrong usage")

// parse parses flags and returns the one argument, the log's directory or a file.
func parse(flags *flag.FlagSet, what string, args []string, errs io.Writer) (dir string, err error) {
	if err := parseFlags(flags, args, errs); err != nil {
		return "", err
	}
	if flags.NArg() != 1 {
		return "", fmt.Errorf("auditctl %s: give one %s, after the flags; got %d arguments", flags.Name(), what, flags.NArg())
	}
	return flags.Arg(0), nil
}

func parseFlags(flags *flag.FlagSet, args []string, errs io.Writer) error {
	flags.SetOutput(errs)
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return errUsage
	}
	return err
}
