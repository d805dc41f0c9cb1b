package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

func bundle(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	flags := flag.NewFlagSet("bundle", flag.ContinueOnError)
	opts := &audit.BundleOptions{}
	var id tenant.ID
	flags.Func("tenant", "the tenant whose events to write", func(s string) error { return id.UnmarshalText([]byte(s)) })
	flags.Func("key", "a trusted verifier key of the log, name+hash+key (repeatable); without one, those in log.json are used",
		func(s string) error { opts.Verifiers = append(opts.Verifiers, s); return nil })
	name := flags.String("o", "", "the file to write, which must not exist")
	dir, err := parse(flags, "directory", args, errs)
	if err != nil {
		return err
	}
	if id.IsZero() || *name == "" {
		return errors.New("auditctl bundle: give the tenant with -tenant and the file to write with -o")
	}
	file, err := os.OpenFile(*name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("auditctl bundle: %w", err)
	}
	about, err := audit.WriteBundle(ctx, file, dir, id, opts)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(*name))
	}
	fmt.Fprint(out, about)
	return nil
}

func verifyBundle(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("verify-bundle", flag.ContinueOnError)
	var keys []string
	flags.Func("key", "a trusted verifier key of the log, name+hash+key (repeatable, at least one)",
		func(s string) error { keys = append(keys, s); return nil })
	name, err := parse(flags, "file", args, errs)
	if err != nil {
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("auditctl verify-bundle: %w", err)
	}
	defer file.Close()
	about, err := audit.VerifyBundle(ctx, bufio.NewReader(file), keys)
	if err != nil {
		return err
	}
	fmt.Fprint(out, about)
	from := ""
	if about.After > 0 {
		from = fmt.Sprintf("from the tenant's number %d on ", about.After+1)
	}
	fmt.Fprintf(out, "result  unchanged, and complete %sup to event %d of the log\n", from, about.Index)
	return nil
}
