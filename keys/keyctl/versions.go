package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

func versionsCommand() command {
	return command{
		name: "versions", args: "TENANT", most: 1, usage: "list a tenant's keys, and disable, enable or destroy an older one",
		about: `Lists the keys of the tenant, or of one purpose, in the order in which they were made: next (a rotation is under way), seals,
opens, or disabled.

With -disable an older key is taken out of use: what it sealed does not open, and rows are not searched for under it. With
-enable it is put back. With -destroy a disabled key is removed for good: what it sealed, backups included, can never be
opened again, so the tenant's name has to be typed, or -yes and -confirm given. Where services serve stale while they cannot
reach the store, they seal with a disabled key until their StaleLimit, one hour by default: destroy it no earlier than that.

Before a key is taken away, what needs it is counted in all databases and buckets of the configuration, which has to say with
"complete" that there are no others; "keyctl reseal" moves it to the newest key. Audit trails are not sealed anew: with a key
of audit the details of the events of its time go, and with one of pseudonym who an older pseudonym was.`,
		examples: []string{`versions acme`, `versions -purpose data -disable 3210987654 -reason "resealed" acme`,
			`versions -purpose data -destroy 3210987654 -reason "resealed" acme`},
		flags: append(confirmFlags(),
			&cli.StringFlag{Name: "purpose", Usage: "`PURPOSE` is data, index, blobs, names, audit or pseudonym", OnlyOnce: true},
			&cli.StringFlag{Name: "disable", Usage: "take the `KEY` of this id out of use", OnlyOnce: true},
			&cli.StringFlag{Name: "enable", Usage: "put the `KEY` of this id back", OnlyOnce: true},
			&cli.StringFlag{Name: "destroy", Usage: "remove the `KEY` of this id for good", OnlyOnce: true},
			reasonFlag("required to change something")),
		run: runVersions,
	}
}

// versionShape is what versions -json prints after a change. Status is empty where the key is destroyed. Without a change it
// prints a statusShape's tenant and keys.
type versionShape struct {
	Command string `json:"command"`
	Tenant  string `json:"tenant"`
	Purpose string `json:"purpose"`
	Key     uint32 `json:"key"`
	Status  string `json:"status"` // disabled, opens or destroyed
}

// versionsShape is what versions -json prints without a change.
type versionsShape struct {
	Tenant string     `json:"tenant"`
	Keys   []keyShape `json:"keys"`
}

func runVersions(ctx context.Context, c *call) error {
	purpose, of := keys.Purpose(c.String("purpose")), purposes
	if purpose != "" {
		if err := knownPurpose(purpose); err != nil {
			return err
		}
		of = []keys.Purpose{purpose}
	}
	action, key, err := keyAction(c)
	if err != nil {
		return err
	}
	if action != "" {
		if purpose == "" {
			return usagef("-%s needs -purpose", action)
		}
		return c.changeKey(ctx, action, purpose, key)
	}
	ctx, id, s, err := c.begin(ctx, looking)
	if err != nil {
		return err
	}
	all, err := s.keys(ctx, id, of)
	if err != nil {
		return err
	}
	if c.json {
		return c.print(versionsShape{id.String(), all}, "")
	}
	return printKeys(c, all)
}

// keyAction returns which flag names a key, and the key.
func keyAction(c *call) (action string, key uint32, err error) {
	for _, a := range []string{"disable", "enable", "destroy"} {
		text := c.String(a)
		if text == "" {
			continue
		}
		if action != "" {
			return "", 0, usagef("give one of -disable, -enable and -destroy")
		}
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n == 0 {
			return "", 0, usagef("-%s takes the id of a key, such as keyctl versions lists", a)
		}
		action, key = a, uint32(n)
	}
	return action, key, nil
}

func (c *call) changeKey(ctx context.Context, action string, p keys.Purpose, key uint32) error {
	reason, err := c.reason()
	if err != nil {
		return err
	}
	ctx, id, s, err := c.begin(ctx, changing)
	if err != nil {
		return err
	}
	c.resume = "repeat it"
	shape := versionShape{c.Name, id.String(), string(p), key, ""}
	switch action {
	case "enable":
		shape.Status, err = string(keys.KeyOpens), s.ring.EnableKey(ctx, id, p, key, reason)
	case "disable":
		shape.Status, err = string(keys.KeyDisabled), s.ring.DisableKey(ctx, id, p, key, reason, c.remaining(s, p))
	default:
		if err := c.confirm(ctx, s, id, fmt.Sprintf("This destroys the %s key %d: %s.", p, key, lost(p))); err != nil {
			return err
		}
		shape.Status, err = "destroyed", s.ring.DestroyKey(ctx, id, p, key, reason, c.remaining(s, p))
	}
	if err != nil {
		return err
	}
	return c.print(shape, "versions: the %s key %d of %s: %s", p, key, id, shape.Status)
}

// lost says what goes with a key, beside what was re-sealed before.
func lost(p keys.Purpose) string {
	switch p {
	case keys.PurposeAudit:
		return "the actors and details of the audit events of its time can never be read again"
	case keys.PurposePseudonym:
		return "nobody can tell any more whose pseudonym one of its time is"
	}
	return "what it sealed, in backups too, can never be read again"
}

// remaining counts what needs a key of a purpose besides its newest: [keys.Remaining].
func (c *call) remaining(s *session, p keys.Purpose) keys.Remaining {
	return func(ctx context.Context) (int64, error) {
		switch cfg := s.config; {
		case p == keys.PurposeAudit || p == keys.PurposePseudonym:
			return 0, nil // nothing is sealed anew
		case !cfg.Complete:
			return 0, configf(`it does not say with "complete": true that its databases and buckets are all`)
		}
		return c.needed(ctx, s, p)
	}
}

// needed counts what needs an older key of a purpose in all databases and buckets.
func (c *call) needed(ctx context.Context, s *session, p keys.Purpose) (n int64, err error) {
	if slices.Contains(inDatabases, p) {
		dbs, err := c.databases(ctx, s, "")
		if err != nil {
			return 0, err
		}
		for _, d := range dbs {
			report, err := sqldb.Reseal(ctx, d.db, &sqldb.ResealOptions{DryRun: true, Purposes: []keys.Purpose{p}})
			if err != nil {
				return 0, fmt.Errorf("the database %s: %w", d.name, err)
			}
			left, err := report.Remaining(p)
			if err != nil {
				return 0, fmt.Errorf("the database %s: %w", d.name, err)
			}
			n += left
		}
	}
	if !slices.Contains(inBuckets, p) {
		return n, nil
	}
	bkts, err := c.buckets(ctx, s, "")
	if err != nil {
		return 0, err
	}
	for _, b := range bkts {
		objects, err := inBucket(ctx, b, p)
		if err != nil {
			return 0, fmt.Errorf("the bucket %s: %w", b.label, err)
		}
		n += objects
	}
	return n, nil
}
