package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/internal/plainfile"
)

// errIncomplete means that a trail was sealed and had not all that it should have.
var errIncomplete = errors.New("auditctl seal: events of the trail are missing, or rows are not authentic; the log says which, for ever")

// seal takes the rows of a table, or the messages of a stream, into a log.
func seal(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	flags := flag.NewFlagSet("seal", flag.ContinueOnError)
	var signers []note.Signer
	var keyErr error
	flags.Func("stream-key", "a file with a key that the trail's recorders have (repeatable, while they change to another)", func(file string) error {
		signer, err := readKey(file)
		signers, keyErr = append(signers, signer), errors.Join(keyErr, err)
		return nil
	})
	db := flags.String("db", "", `where the table is: a URL or settings as of libpq; what is missing comes from PGHOST, PGUSER, PGPASSFILE and so on.
A password in it can be seen by every user of the machine: use PGPASSFILE`)
	table := flags.String("table", pglog.DefaultTable, "the table, or schema.table")
	cluster := natsFlags(flags)
	origin := flags.String("origin", "", "the name of the log, where it is created")
	once := flags.Bool("once", false, "end when nothing is left")
	retention := retentionFlags(flags)
	dir, err := parse(flags, "directory", args, errs)
	if err != nil {
		return err
	}
	if len(signers) == 0 {
		keyErr = errors.New("auditctl seal: -stream-key is missing; make a key with auditctl stream-key")
	}
	if keyErr != nil {
		return keyErr
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if given["nats"] && (given["db"] || given["table"]) {
		return errors.New("auditctl seal: -nats stands beside -db or -table; a trail is in one of the two")
	}
	config, err := pgx.ParseConfig(*db)
	if err != nil { // withheld: it repeats what it was given
		return errors.New("auditctl seal: -db, or a PG variable of the environment, is not understood")
	}
	policy, err := retention(dir)
	if err != nil {
		return err
	}
	log, err := audit.OpenLog(dir, &audit.Options{Origin: *origin, Retention: policy})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	incomplete := false
	events := 0
	var kept error // that of retention which was told last
	progress := func(s audit.Sealed, err error) {
		if now := log.Stats().Retention; now != nil && (kept == nil || now.Error() != kept.Error()) {
			kept = now
			fmt.Fprintf(errs, "retention: %v\n", now)
		}
		events += s.Events
		incomplete = incomplete || s.Refused > 0 || len(s.Gaps) > 0
		if s.Refused > 0 {
			fmt.Fprintf(errs, "NOT AUTHENTIC: %d rows were left out, and are kept apart where they were\n", s.Refused)
		}
		for _, g := range s.Gaps {
			fmt.Fprintf(errs, "MISSING: %d events from number %d on of stream %s\n", g.Count, g.First, g.Stream)
		}
		if s.OtherKeys > 0 {
			fmt.Fprintf(errs, "LEFT ALONE: %d rows are under another key; give that with -stream-key too, if it is the trail's\n", s.OtherKeys)
		}
		if err != nil {
			fmt.Fprintln(errs, err)
		}
	}
	var sealer interface {
		Round(context.Context) (audit.Sealed, error)
		Run(context.Context) error
		Close() error
	}
	if given["nats"] {
		sealer, err = cluster.open(ctx, log, signers, progress)
	} else {
		sealer, err = pglog.OpenSealer(ctx, config, log, pglog.SealOptions{Signers: signers, Table: *table, Progress: progress})
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sealer.Close()) }()
	if *once {
		for more := true; more && err == nil; {
			var s audit.Sealed
			s, err = sealer.Round(ctx)
			progress(s, nil)
			more = s.More
		}
	} else {
		err = sealer.Run(ctx)
	}
	fmt.Fprintf(out, "sealed  %d events\n", events)
	if err == nil && incomplete {
		err = errIncomplete
	}
	return err
}

// ddl prints the statements that make a trail's table.
func ddl(args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("ddl", flag.ContinueOnError)
	roles := pglog.Roles{}
	flags.StringVar(&roles.Recorder, "recorder", "", "the role of the service's processes, which may insert and nothing else")
	flags.StringVar(&roles.Sealer, "sealer", "", "the role of the sealer")
	table := flags.String("table", pglog.DefaultTable, "the table, or schema.table")
	if err := parseFlags(flags, args, errs); err != nil {
		return err
	}
	if flags.NArg() != 0 {
		return fmt.Errorf("auditctl ddl: give flags alone; got %d arguments", flags.NArg())
	}
	statements, err := pglog.DDL(*table, roles)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, statements)
	return err
}

// streamKey makes a key in a new file that only its owner can read.
func streamKey(args []string, out, errs io.Writer) (err error) {
	flags := flag.NewFlagSet("stream-key", flag.ContinueOnError)
	name := flags.String("name", "", `the trail's name, such as "audit.example.com/clinic"`)
	file, err := parse(flags, "file", args, errs)
	if err != nil {
		return err
	}
	if *name == "" || strings.ContainsAny(*name, "+ \t\n\"\\") {
		return errors.New("auditctl stream-key: -name is missing or unusable; use printable characters without spaces, quotation marks, backslashes and plus signs")
	}
	secret, verifier, err := note.GenerateKey(rand.Reader, *name)
	if err != nil {
		return fmt.Errorf("auditctl stream-key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("auditctl stream-key: %w", err)
	}
	_, err = io.WriteString(f, secret+"\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("auditctl stream-key: %w", errors.Join(err, os.Remove(file)))
	}
	fmt.Fprintf(out, "made    %s; whoever has it can write events that pass for the trail's\npublic  %s\n", file, verifier)
	return nil
}

func readKey(file string) (note.Signer, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("auditctl seal: the key of the streams: %w", err)
	}
	if perm := info.Mode().Perm(); !info.Mode().IsRegular() || perm&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("auditctl seal: %s has mode %v, so others can use the key; run chmod 600 on it, and replace the key if they may have", file, info.Mode())
	}
	data, err := plainfile.Read(file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("auditctl seal: the key of the streams: %w", err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(data)))
	if err != nil { // withheld: it may show what it was given
		return nil, fmt.Errorf("auditctl seal: %s holds no signing key; make one with auditctl stream-key", file)
	}
	return signer, nil
}
