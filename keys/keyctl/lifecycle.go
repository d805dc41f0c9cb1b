package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// changedShape is what commands that change one tenant print: what was done, and the tenant's state afterwards.
type changedShape struct {
	Command string `json:"command"`
	Tenant  string `json:"tenant"`
	Status  string `json:"status"`
}

func provisionCommand() command {
	return command{
		name: "provision", args: "TENANT", most: 1, usage: "make a tenant's keys",
		about: `Makes the tenant's keys. It succeeds without effect where they exist and are active. Of a tenant that an earlier version
provisioned it adds what that did not make. A tenant that is suspended or shredded is refused.`,
		examples: []string{`provision acme`},
		run: func(ctx context.Context, c *call) error {
			return c.change(ctx, changing, func(ctx context.Context, s *session, id tenant.ID) error { return s.ring.Provision(ctx, id) })
		},
	}
}

func suspendCommand() command {
	return command{
		name: "suspend", args: "TENANT", most: 1, usage: "take access to a tenant's keys away, until resume",
		about: `Takes access to the tenant's keys away, in every process within the keyring's suspendWithin: nothing of the tenant can be
read or written then. Nothing is lost, and "keyctl resume" gives it back. It needs the store alone: it takes effect while
the key-encryption keys are away, and even where it cannot be recorded, which is an error then: repeat it.`,
		examples: []string{`suspend -reason "ticket 4711: unpaid" acme`},
		flags:    []cli.Flag{reasonFlag("required")},
		run: func(ctx context.Context, c *call) error {
			reason, err := c.reason()
			if err != nil {
				return err
			}
			return c.change(ctx, stopping, func(ctx context.Context, s *session, id tenant.ID) error {
				err := s.ring.Suspend(ctx, id, reason)
				if err != nil && s.unlogged != nil {
					err = fmt.Errorf("%w; why: %v", err, s.unlogged) // its class is the first one's
				}
				return err
			})
		},
	}
}

func resumeCommand() command {
	return command{
		name: "resume", args: "TENANT", most: 1, usage: "give a suspended tenant its keys back",
		about:    `Restores access to a suspended tenant's keys. It succeeds where the tenant is active already.`,
		examples: []string{`resume -reason "ticket 4711: paid" acme`},
		flags:    []cli.Flag{reasonFlag("required")},
		run: func(ctx context.Context, c *call) error {
			reason, err := c.reason()
			if err != nil {
				return err
			}
			return c.change(ctx, changing, func(ctx context.Context, s *session, id tenant.ID) error { return s.ring.Resume(ctx, id, reason) })
		},
	}
}

// change does something to one tenant, and says how it is then.
func (c *call) change(ctx context.Context, what opening, do func(context.Context, *session, tenant.ID) error) error {
	ctx, id, s, err := c.begin(ctx, what)
	if err != nil {
		return err
	}
	if err := do(ctx, s, id); err != nil {
		return err
	}
	status, err := s.ring.StatusNow(ctx, id)
	if err != nil {
		return err
	}
	return c.print(changedShape{c.Name, id.String(), string(status)}, "%s: %s is %s", c.Name, id, status)
}

func rotateCommand() command {
	return command{
		name: "rotate", args: "TENANT", most: 1, usage: "make a new key of one purpose, or a new version of the key-encryption key",
		about: `Makes a new key of one purpose of the tenant, which seals from then on; what older keys sealed opens as before, until
"keyctl reseal" has moved it and "keyctl versions" has taken the older key out of use. It takes a little longer than the
keyring's suspendWithin, since every process has to know the key before any seals with it. Interrupted, it goes on where it
stopped when it is repeated; after it succeeded it makes another key.

With -kek the tenant's key-encryption key gets a new version instead, and the root keyset is wrapped with it. No data is
touched.`,
		examples: []string{`rotate -purpose data acme`, `rotate -purpose index -reason "yearly" acme`, `rotate -kek acme`},
		flags: []cli.Flag{
			&cli.StringFlag{Name: "purpose", Usage: "`PURPOSE` is data, index, blobs, names, audit or pseudonym", OnlyOnce: true},
			&cli.BoolFlag{Name: "kek", Usage: "rotate the key-encryption key"},
			reasonFlag("optional"),
		},
		run: runRotate,
	}
}

// rotatedShape is what rotate -json prints. Purpose is kek, and Key absent, with -kek.
type rotatedShape struct {
	Command string `json:"command"`
	Tenant  string `json:"tenant"`
	Purpose string `json:"purpose"`
	Key     uint32 `json:"key,omitempty"` // that seals now
}

func runRotate(ctx context.Context, c *call) error {
	purpose := keys.Purpose(c.String("purpose"))
	if c.Bool("kek") == (purpose != "") {
		return usagef("rotate needs one of -purpose and -kek")
	}
	if purpose != "" {
		if err := knownPurpose(purpose); err != nil {
			return err
		}
	}
	ctx, id, s, err := c.begin(ctx, changing)
	if err != nil {
		return err
	}
	if c.Bool("kek") {
		c.resume = "repeat it, or have keyctl rewrap complete it"
		if err := s.ring.RotateKEK(ctx, id, c.String("reason")); err != nil {
			return err
		}
		return c.print(rotatedShape{c.Name, id.String(), "kek", 0}, "rotate: the key-encryption key of %s has a new version", id)
	}
	c.resume = "repeat it: it goes on where it stopped"
	if err := s.ring.Rotate(ctx, id, purpose, c.String("reason")); err != nil {
		return err
	}
	all, err := s.keys(ctx, id, []keys.Purpose{purpose})
	if err != nil {
		return err
	}
	for _, k := range all {
		if k.Status == string(keys.KeySeals) {
			return c.print(rotatedShape{c.Name, id.String(), k.Purpose, k.Key}, "rotate: the %s key %d of %s seals", k.Purpose, k.Key, id)
		}
	}
	return nil
}

func knownPurpose(p keys.Purpose) error {
	for _, known := range purposes {
		if p == known {
			return nil
		}
	}
	return usagef("the purpose is data, index, blobs, names, audit or pseudonym")
}
