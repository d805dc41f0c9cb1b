package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/report"
	"github.com/strongroom-go/strongroom/audit/witness"
)

// trust is whom a reviewer believes: keys of logs, checkpoints that were kept elsewhere, and witnesses.
type trust struct{ keys, pins, witnesses []string }

func trustFlags(flags *flag.FlagSet) *trust {
	t := &trust{}
	flags.Func("key", "a trusted verifier key of the log, name+hash+key (repeatable); without one, those in log.json are used",
		func(s string) error { t.keys = append(t.keys, s); return nil })
	flags.Func("pin", "a file with a checkpoint that the log is known to have had (repeatable); needs -key",
		func(s string) error { t.pins = append(t.pins, s); return nil })
	flags.Func("witness", "the verifier key of a witness that must have signed the log (repeatable); needs -key. What it signed is a pin",
		func(s string) error { t.witnesses = append(t.witnesses, s); return nil })
	return t
}

// check refuses what cannot be believed.
func (t *trust) check(command string) error {
	if len(t.pins)+len(t.witnesses) > 0 && len(t.keys) == 0 {
		return fmt.Errorf("auditctl %s: -pin and -witness need -key, the key that the log signs with", command)
	}
	return nil
}

// of returns what of it is about the log with this name, which a key's name is too.
func (t *trust) of(origin string) *trust {
	mine := &trust{pins: t.pins, witnesses: t.witnesses}
	for _, k := range t.keys {
		if strings.HasPrefix(k, origin+"+") {
			mine.keys = append(mine.keys, k)
		}
	}
	return mine
}

// pinned adds the pins to opts, and returns the names of the files that are about this log.
func (t *trust) pinned(opts *audit.VerifyOptions) (used map[string]bool, err error) {
	used = map[string]bool{}
	for _, name := range t.pins {
		msg, err := readPin(name)
		if err != nil {
			return nil, fmt.Errorf("the pin: %w", err)
		}
		pin, err := audit.ParseCheckpoint(msg, opts.Verifiers)
		if err != nil {
			continue // a pin that is none says nothing about the log
		}
		used[name] = true
		opts.Pins = append(opts.Pins, pin)
	}
	return used, nil
}

func verify(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	trusted := trustFlags(flags)
	dir, err := parse(flags, "directory", args, errs)
	if err != nil {
		return err
	}
	if err := trusted.check("verify"); err != nil {
		return err
	}
	opts := &audit.VerifyOptions{Verifiers: trusted.keys}
	used, err := trusted.pinned(opts)
	if err != nil {
		return fmt.Errorf("auditctl verify: %w", err)
	}
	if err := unused("verify", trusted.pins, used); err != nil {
		return err
	}
	signed, err := witnessed(dir, opts, trusted.witnesses)
	if err != nil {
		return err
	}
	bar := newProgress(errs, "verifying")
	opts.Progress = bar.at
	found, err := audit.Verify(ctx, dir, opts)
	bar.done()
	if found != nil {
		fmt.Fprint(out, found)
		if err == nil {
			for _, c := range signed {
				fmt.Fprintf(out, "witness  %s\n", witnessLine(c, found.Events))
			}
		}
		fmt.Fprintf(out, "result  %s\n", result(found, err))
	}
	return err
}

// result is what verification found in one line.
func result(found *audit.Report, err error) string {
	switch {
	case err != nil:
		return "NOT INTACT: what stands above holds up to the first fault"
	case len(found.Unauthenticated) > 0:
		return "intact, but for the events that nothing authenticates: see the findings"
	case found.Missing > 0 || found.Refusals > 0:
		return "intact, but not whole: events were missing, or not authentic, before they came to it; see the findings"
	}
	return "intact"
}

// unused refuses pins that are about none of the logs.
func unused(command string, pins []string, used map[string]bool) error {
	for _, name := range pins {
		if !used[name] {
			return fmt.Errorf("auditctl %s: %s is no checkpoint under the given keys", command, name)
		}
	}
	return nil
}

func witnessLine(c witness.Cosigned, events int64) string {
	return fmt.Sprintf("%s signed %d events at %s; %d events are behind them", c.Witness, c.Head.Size, c.Time.Format(time.RFC3339), events-c.Head.Size)
}

// witnessed returns what witnesses signed of a log, which are pins.
func witnessed(dir string, opts *audit.VerifyOptions, keys []string) ([]witness.Cosigned, error) {
	signed, err := witness.Load(dir, opts.Verifiers, keys)
	for _, c := range signed {
		opts.Pins = append(opts.Pins, c.Head)
	}
	return signed, err
}

// verifyAll verifies several logs for a report. A log that was tampered with is no error of its: the report says so.
func verifyAll(ctx context.Context, dirs []string, trusted *trust, errs io.Writer) ([]report.Log, error) {
	used := map[string]bool{}
	var logs []report.Log
	for _, dir := range dirs {
		origin, err := audit.Origin(dir)
		if err != nil {
			return nil, err
		}
		mine := trusted.of(origin)
		if len(trusted.keys) > 0 && len(mine.keys) == 0 {
			return nil, fmt.Errorf("auditctl report: none of the given keys is for %s, the log in %s", origin, dir)
		}
		opts := &audit.VerifyOptions{Verifiers: mine.keys}
		own, err := mine.pinned(opts)
		if err != nil {
			return nil, fmt.Errorf("auditctl report: %w", err)
		}
		for name := range own {
			used[name] = true
		}
		signed, err := witnessed(dir, opts, mine.witnesses)
		if err != nil {
			return nil, err
		}
		bar := newProgress(errs, "verifying "+origin)
		opts.Progress = bar.at
		found, err := audit.Verify(ctx, dir, opts)
		bar.done()
		if found == nil || err != nil && !errors.Is(err, audit.ErrTampered) {
			return nil, err
		}
		log := report.Log{Report: found, Err: err}
		for _, p := range opts.Pins {
			log.Pinned = max(log.Pinned, p.Size)
		}
		for _, c := range signed {
			log.Witnesses = append(log.Witnesses, witnessLine(c, found.Events))
		}
		logs = append(logs, log)
	}
	return logs, unused("report", trusted.pins, used)
}

// readPin reads a file that is a checkpoint, which takes some hundred bytes.
func readPin(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64<<10))
}
