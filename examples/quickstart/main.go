// Command quickstart tells, in a few seconds and without any service, what Strongroom does: three clinics share one
// SQLite database and one bucket of files. Every line it prints has been checked; it exits with status 0 only if all
// held.
//
//	go run ./examples/quickstart            # in a temporary directory, removed at the end
//	go run ./examples/quickstart -dir demo  # in demo, which is kept
//
// How everything is opened is in open.go; what happens then is in examples/internal/story.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/strongroom-go/strongroom/examples/internal/story"
)

func main() {
	dir := flag.String("dir", "", "an empty or new directory for all files, which are kept (default: a temporary one, removed at the end)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *dir, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run tells the story in dir, or in a temporary directory where dir is empty.
func run(ctx context.Context, dir string, out *os.File) (err error) {
	began := time.Now()
	where := "kept in " + dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "strongroom-quickstart-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		where = "removed; -dir DIRECTORY keeps it"
	} else if err := emptyDir(dir); err != nil {
		return err
	}
	fmt.Fprintln(out, "Strongroom: three clinics, one database, one bucket, and a room of its own for each.")
	if err := tell(ctx, dir, out, progress(out)); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nAll of this held, in %.1f s. What was written is %s.\n", time.Since(began).Seconds(), where)
	return nil
}

// tell opens everything in dir, tells the story and closes everything again.
func tell(ctx context.Context, dir string, out io.Writer, bars func(int, string) story.Bar) (err error) {
	if err := makeTables(ctx, dir); err != nil {
		return err
	}
	opened, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.close()) }()
	raw, err := openRaw(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	return story.Run(ctx, world(opened, raw, dir, out, bars))
}

// emptyDir makes dir, readable for its owner alone, or makes sure that there is nothing in it yet.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty; name a directory that is empty or does not exist", dir)
	}
	return err
}

// progress shows bars where out is a terminal.
func progress(out *os.File) func(int, string) story.Bar {
	if !term.IsTerminal(int(out.Fd())) {
		return nil
	}
	return func(total int, what string) story.Bar {
		return progressbar.NewOptions(total, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription("   "+what),
			progressbar.OptionSetWidth(40), progressbar.OptionClearOnFinish())
	}
}
