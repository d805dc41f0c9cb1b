package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/report"
)

// reviewPage writes what the logs show of one tenant as a page with names. Of a log that was tampered with it has what stands before the
// first fault, says so on top, and fails all the same.
func (c *call) reviewPage(ctx context.Context, name string, filter *audit.Filter, opener audit.Opener, reason string) error {
	opts := &report.Options{
		Title: fmt.Sprintf("Review of %s: %s", filter.Tenant, reason), Filter: filter,
		Actor: func(e *audit.Entry) (string, error) {
			p, err := audit.Reveal(e, opener)
			return p.Actor, err
		},
	}
	var verified []*audit.Report
	var damage []error
	for _, dir := range c.Args().Slice()[1:] {
		bar := c.progress("verifying "+dir, -1)
		found, err := audit.Verify(ctx, dir, &audit.VerifyOptions{Progress: func(done, _ int64) { bar.at(done, dir) }})
		bar.done()
		if found == nil || err != nil && !errors.Is(err, audit.ErrTampered) {
			return err
		}
		opts.Logs = append(opts.Logs, report.Log{Report: found, Err: err})
		verified, damage = append(verified, found), append(damage, err)
	}
	all := *filter
	all.Since = time.Time{} // what came before tells what is new
	var page bytes.Buffer
	err := report.Write(&page, audit.ReadVerified(ctx, verified, &all), opts)
	if err != nil && !errors.Is(err, audit.ErrTampered) {
		return err
	}
	damage = append(damage, err)
	if err := writeFile(name, page.Bytes(), 0o600, false); err != nil {
		return err
	}
	out := c.table("PAGE")
	if err := out.row(struct {
		Page string `json:"page"`
	}{name}, name); err != nil {
		return err
	}
	if err := out.flush(); err != nil {
		return err
	}
	if err := errors.Join(damage...); err != nil {
		return &failure{"findings", err}
	}
	return nil
}
