package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/report"
)

// writeReport verifies logs and writes what they show as one page. Of a log that was tampered with it writes what stands before the
// first fault, and fails all the same.
func writeReport(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	filter, trusted, opts := filterFlags(flags), trustFlags(flags), &report.Options{}
	name := flags.String("o", "", "the file to write (HTML), which must not exist")
	flags.StringVar(&opts.Title, "title", "", "what stands on top of the page")
	flags.BoolVar(&opts.Controls, "controls", false, "add what the trail proves of SOC 2, ISO 27001, HIPAA, PCI DSS and GDPR")
	dirs, err := directories(flags, args, errs)
	if err != nil {
		return err
	}
	if *name == "" {
		return errors.New("auditctl report: give the file to write with -o")
	}
	if err := errors.Join(filter.Check(), trusted.check("report")); err != nil { // before logs are verified, which may take long
		return err
	}
	file, err := os.OpenFile(*name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("auditctl report: %w", err)
	}
	written := false
	defer func() {
		if !written {
			err = errors.Join(err, file.Close(), os.Remove(*name))
		}
	}()
	if opts.Logs, err = verifyAll(ctx, dirs, trusted, errs); err != nil {
		return err
	}
	var verified []*audit.Report
	var damage []error
	for _, l := range opts.Logs {
		verified = append(verified, l.Report)
		damage = append(damage, l.Err)
	}
	opts.Filter = filter
	all := *filter
	all.Since = time.Time{} // what came before tells what is new
	bar := newProgress(errs, "reading")
	all.Progress = bar.at
	page := bufio.NewWriter(file)
	err = report.Write(page, audit.ReadVerified(ctx, verified, &all), opts)
	bar.done()
	if err != nil && !errors.Is(err, audit.ErrTampered) {
		return err
	}
	damage = append(damage, err)
	if err := errors.Join(page.Flush(), file.Sync()); err != nil {
		return fmt.Errorf("auditctl report: %w", err)
	}
	if written = true; file.Close() != nil {
		return fmt.Errorf("auditctl report: %s could not be written", *name)
	}
	fmt.Fprintf(out, "report  %s\n", *name)
	return errors.Join(damage...)
}
