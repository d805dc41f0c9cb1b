package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/audit"
)

func reviewCommand() command {
	return command{
		name: "review", args: "TENANT DIR...", most: 1 + 256, usage: "show who did what of a tenant, by name",
		about: `Lists the tenant's events in the audit logs in the directories, several as one by time, with the actors and details that
are sealed under the tenant's keys. That is an access of its own: it is recorded, with who looks and why, before anything is
shown. A suspended tenant can be reviewed; of a shredded one nobody can be named again, and "auditctl query" shows the rest.
Whether a log is intact is what "auditctl verify" says. With -html the logs are verified, and a page for a browser is written in
place of the list: that of "auditctl report", with names.`,
		examples: []string{
			`review -reason "complaint 7" acme /var/lib/clinic/audit`,
			`review -reason "complaint 7" -html acme.html acme logs/node-1 logs/node-2`,
			`review -reason "complaint 7" -since 2026-11-01 -code sql. -json acme logs/node-1 logs/node-2`,
		},
		flags: []cli.Flag{
			reasonFlag("required"),
			&cli.StringFlag{Name: "code", Usage: "only events with the `CODE`, or of a kind: sql.query, sql.", OnlyOnce: true},
			&cli.StringFlag{Name: "since", Usage: "only events from `TIME` on, as 2026-01-31 or 2026-01-31T15:04:05Z", OnlyOnce: true},
			&cli.StringFlag{Name: "until", Usage: "only events before `TIME`", OnlyOnce: true},
			&cli.StringFlag{Name: "html", Usage: "write a page for a browser to `FILE`, which must not exist", OnlyOnce: true},
		},
		run: runReview,
	}
}

// reviewedShape is a line of review -json: the event's exact line, and what was sealed in it.
type reviewedShape struct {
	Log     string            `json:"log"`
	Index   int64             `json:"index"`
	Actor   string            `json:"actor,omitempty"`
	Details map[string]string `json:"details,omitempty"`
	Error   string            `json:"error,omitempty"` // why nothing could be opened
	Event   json.RawMessage   `json:"event"`
}

func runReview(ctx context.Context, c *call) error {
	reason, err := c.reason()
	if err != nil {
		return err
	}
	if c.NArg() < 2 {
		return usagef("review needs the tenant's id and the directory of an audit log, or of several; %q shows how", "keyctl review -h")
	}
	filter := &audit.Filter{Code: audit.Code(c.String("code"))}
	if filter.Since, err = timeFlag(c, "since"); err != nil {
		return err
	}
	if filter.Until, err = timeFlag(c, "until"); err != nil {
		return err
	}
	page := c.String("html")
	if page != "" {
		if err := absent(page); err != nil {
			return err
		}
	}
	ctx, id, s, err := c.begin(ctx, changing)
	if err != nil {
		return err
	}
	filter.Tenant = id
	opener, err := s.ring.Review(ctx, id, reason)
	if err != nil {
		return err
	}
	if page != "" {
		return c.reviewPage(ctx, page, filter, opener, reason)
	}
	out, closed := c.table("TIME", "CODE", "PHASE", "STATUS", "ACTOR", "PURPOSE", "WHAT", "ROWS", "DETAILS"), 0
	for e, err := range audit.ReadAll(ctx, c.Args().Slice()[1:], filter) {
		if err != nil {
			return joinFlush(out, err)
		}
		p, err := audit.Reveal(&e, opener)
		shape := reviewedShape{Log: e.Log, Index: e.Index, Actor: p.Actor, Details: p.Details, Event: e.Raw}
		details := ""
		if err != nil {
			closed++
			shape.Error = c.withheld(err.Error())
			p.Actor, details = e.Actor, "NOT OPENED"
		}
		for _, k := range slices.Sorted(maps.Keys(p.Details)) {
			details += fmt.Sprintf("%s=%q ", k, p.Details[k])
		}
		what, rows := e.Name, ""
		if len(e.Tables) > 0 {
			what += ":" + strings.Join(e.Tables, ",")
		}
		if e.Rows >= 0 && e.Phase == audit.Outcome {
			rows = fmt.Sprint(e.Rows)
		}
		err = out.row(shape, e.Time.Format("2006-01-02T15:04:05.000Z"), string(e.Code), string(e.Phase), string(e.Status), p.Actor, e.Purpose, what, rows, strings.TrimSpace(details))
		if err != nil {
			return err
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	if closed > 0 {
		return &failure{"findings", fmt.Errorf("%d events did not open with the tenant's keys: the key that sealed them is disabled or destroyed, or they are not as they were written; %q says which", closed, "auditctl verify")}
	}
	return nil
}

func timeFlag(c *call, name string) (time.Time, error) {
	text := c.String(name)
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("-%s is a time, as 2026-01-31 or 2026-01-31T15:04:05Z", name)
}
