// Command clinic is a small service of many tenants: clinics with patients, visits and scans, as an application developer would
// write it on Strongroom. README.md shows what to look at.
//
//	go run ./examples/clinic                    # by itself: SQLite, files, a temporary directory
//	go run ./examples/clinic -dir clinic-data   # the same, kept
//	docker compose -f examples/clinic/compose.yaml up    # three instances on PostgreSQL, Vault and S3
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	// SIGTERM is how orchestrators end a service; a second signal ends it at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "clinic:", err)
		os.Exit(1)
	}
}

// run does what the flags say. Logs go to errs, what a mode has to tell to out.
func run(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	c, err := parse(args, errs)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(errs, nil))
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
	switch c.mode {
	case "setup":
		return setUp(ctx, c, log)
	case "issue":
		return issue(ctx, c, out, log)
	case "load":
		return drive(ctx, c, out, log)
	case "check":
		return account(ctx, c, out)
	default:
		return serve(ctx, c, out, log)
	}
}
