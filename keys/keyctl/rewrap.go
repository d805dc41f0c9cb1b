package main

import (
	"context"
	"iter"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/tenant"
)

func rewrapCommand() command {
	return command{
		name: "rewrap", args: "[TENANT]", most: 1, usage: "wrap root keysets with the newest key-encryption keys",
		about: `Wraps the root keyset of a tenant, or of all, with the newest version of its key-encryption key, however that came to
be. No data is touched. Where the keyset is wrapped with the newest version
already nothing is lost by doing it again. With kek.route in the configuration it also moves what another provider
wrapped to the tenant's own: see "keyctl retire -h". Interrupted over all tenants, it says with which -after it goes on.`,
		examples: []string{`rewrap acme`, `rewrap -all -parallel 8 -reason "yearly"`, `rewrap -all -after acme`},
		flags: append(allFlags(), reasonFlag("optional"),
			&cli.IntFlag{Name: "parallel", Usage: "with -all, `N` tenants at a time; default: 1, and 256 of those that share a key", OnlyOnce: true}),
		run: func(ctx context.Context, c *call) error {
			return c.eachTogether(ctx, changing, func(ctx context.Context, s *session, ids iter.Seq[tenant.ID]) iter.Seq2[tenant.ID, error] {
				return s.ring.RewrapEach(ctx, ids, c.String("reason"))
			}, func(id tenant.ID) error {
				return c.print(rewrappedShape{c.Name, id.String()}, "rewrap: %s is wrapped with the newest key", id)
			})
		},
	}
}

// rewrappedShape is a line of rewrap -json.
type rewrappedShape struct {
	Command string `json:"command"`
	Tenant  string `json:"tenant"`
}
