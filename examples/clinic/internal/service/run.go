// Package service is the clinic's program: its flags, what it opens, and how it begins and ends.
package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Main runs the program with its process's arguments, and returns its exit status. It reports to what telemetry makes; nil is standard
// error alone.
func Main(telemetry NewTelemetry) int {
	// SIGTERM is how orchestrators end a service; a second signal ends it at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := Run(ctx, os.Args[1:], os.Stdout, os.Stderr, telemetry)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "clinic:", err)
		return 1
	}
	return 0
}

// Run does what the flags in args say. Logs go to errs, what a mode has to tell to out.
func Run(ctx context.Context, args []string, out, errs io.Writer, telemetry NewTelemetry) (err error) {
	c, err := parse(args, errs)
	if err != nil {
		return err
	}
	if c.dir == "" && (c.mode == "serve" || c.load == "self") {
		if c.dir, err = os.MkdirTemp("", "strongroom-clinic-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	}
	if c.dir != "" {
		if c.dir, err = filepath.Abs(c.dir); err != nil { // a bucket's URL has no relative paths
			return err
		}
	}
	if c.mode != "serve" && c.load != "self" {
		telemetry = nil
	}
	r, err := newReports(ctx, errs, telemetry)
	if err != nil {
		return err
	}
	defer r.end()
	switch c.mode {
	case "setup":
		return setUp(ctx, c, r)
	case "issue":
		return issue(ctx, c, out, r.log)
	case "load":
		return drive(ctx, c, out, r)
	case "check":
		return account(ctx, c, out)
	default:
		return serve(ctx, c, out, r)
	}
}
