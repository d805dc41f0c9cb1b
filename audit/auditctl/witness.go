package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/strongroom-go/strongroom/audit/witness"
)

// submit has a log's newest checkpoint signed by a witness, once or again and again.
func submit(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("witness", flag.ContinueOnError)
	opts := &witness.Options{}
	prefix := flags.String("url", "", "the witness's submission prefix")
	key := flags.String("witness", "", "the witness's verifier key, name+hash+key")
	flags.Func("key", "a trusted verifier key of the log, name+hash+key (repeatable); without one, those in log.json are used",
		func(s string) error { opts.LogKeys = append(opts.LogKeys, s); return nil })
	every := flags.Duration("every", 0, "submit again and again, this often, until interrupted; a witness that does not answer is asked the next time")
	dir, err := parse(flags, "directory", args, errs)
	if err != nil {
		return err
	}
	if *prefix == "" || *key == "" || *every < 0 {
		return errors.New("auditctl witness: give the witness's submission prefix with -url and its verifier key with -witness")
	}
	s, err := witness.NewSubmitter(dir, *prefix, *key, opts)
	if err != nil {
		return err
	}
	for {
		c, err := s.Submit(ctx)
		switch {
		case err == nil:
			fmt.Fprintf(out, "%s signed %d events at %s\n", c.Witness, c.Head.Size, c.Time.Format(time.RFC3339))
		case *every > 0 && errors.Is(err, witness.ErrUnavailable):
			fmt.Fprintln(errs, err)
		case *every > 0 && ctx.Err() != nil:
			return nil
		default:
			return err
		}
		if *every == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(*every):
		}
	}
}
