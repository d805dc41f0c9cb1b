package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/strongroom-go/strongroom/audit"
)

// follow prints events as they are written, until ctx ends.
func follow(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("follow", flag.ContinueOnError)
	filter := filterFlags(flags)
	asJSON := flags.Bool("json", false, "print the events' exact lines (OCSF)")
	dirs, err := directories(flags, args, errs)
	if err != nil {
		return err
	}
	if !filter.Until.IsZero() {
		return errors.New("auditctl follow: what comes has no end; use auditctl query with -until")
	}
	opts := &audit.WatchOptions{Filter: filter, Cut: func(dir string, from int64) {
		fmt.Fprintf(errs, "auditctl follow: %s was opened again after a crash: its events from index %d on were acknowledged to nobody and are gone; what stands there now follows\n", dir, from)
	}}
	for e, err := range audit.Watch(ctx, dirs, opts) {
		if err != nil {
			return err
		}
		if *asJSON {
			_, err = out.Write(append(e.Raw, '\n'))
		} else {
			_, err = io.WriteString(out, followed(&e))
		}
		if err != nil {
			return fmt.Errorf("auditctl follow: %w", err)
		}
	}
	return nil
}

// followed is an event as one line. Its columns are as wide as what they mostly hold, for nobody knows what comes.
func followed(e *audit.Entry) string {
	cells := cellsOf(e)
	quote(cells)
	widths := []int{8, 24, 16, 7, 7, 12, 32, 12, 24, 4}
	line := ""
	for i, c := range cells {
		if i < len(widths) {
			c = fmt.Sprintf("%-*s  ", widths[i], c)
		}
		line += c
	}
	return line + "\n"
}
