package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

func listCommand() command {
	return command{
		name: "list", usage: "list tenants and their states",
		about: `Lists the tenants that have a record, in the byte order of their ids, as the store has them now. A record that cannot be
read is listed with what is wrong with it, and the exit status is 1 then. The key-encryption keys are not needed.`,
		examples: []string{`list`, `list -status suspended -json`, `list -after acme`},
		flags: []cli.Flag{
			&cli.StringFlag{Name: "status", Usage: "only tenants in the `STATE` active, suspended or shredded", OnlyOnce: true},
			&cli.StringFlag{Name: "after", Usage: "only tenants whose id is behind `TENANT`", OnlyOnce: true},
		},
		run: runList,
	}
}

// listShape is a line of list -json: Status, or Error.
type listShape struct {
	Tenant string `json:"tenant"`
	Status string `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

func runList(ctx context.Context, c *call) error {
	only, err := statusFlag(c)
	if err != nil {
		return err
	}
	after, err := afterFlag(c)
	if err != nil {
		return err
	}
	s, err := c.open(ctx, looking)
	if err != nil {
		return err
	}
	out, damaged, n := c.table("TENANT", "STATUS"), 0, 0
	bar := c.progress("tenants", -1)
	defer bar.done()
	for l, err := range s.ring.Tenants(ctx, only...) {
		if err != nil && l.ID.IsZero() {
			return joinFlush(out, err)
		}
		if n++; l.ID.String() <= after {
			continue
		}
		c.resume = "go on with keyctl list -after " + l.ID.String()
		bar.at(int64(n), l.ID.String())
		shape, status := listShape{Tenant: l.ID.String(), Status: string(l.Status)}, string(l.Status)
		if err != nil {
			damaged++
			shape.Error, status = c.withheld(err.Error()), "DAMAGED: "+c.withheld(err.Error())
		}
		if err := out.row(shape, l.ID.String(), status); err != nil {
			return err
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	if damaged > 0 {
		return &failure{"findings", fmt.Errorf("%d records are damaged: restore them from a backup of the store", damaged)}
	}
	return nil
}

func joinFlush(out *table, err error) error {
	out.flush() // what is known so far; the error is what counts
	return err
}

func statusFlag(c *call) ([]keys.Status, error) {
	switch s := keys.Status(c.String("status")); s {
	case "":
		return nil, nil
	case keys.StatusActive, keys.StatusSuspended, keys.StatusShredded:
		return []keys.Status{s}, nil
	}
	return nil, usagef("-status is active, suspended or shredded")
}

func afterFlag(c *call) (string, error) {
	text := c.String("after")
	if text == "" {
		return "", nil
	}
	id, err := tenant.Parse(text)
	if err != nil {
		return "", usagef("-after: %w", err)
	}
	return id.String(), nil
}
