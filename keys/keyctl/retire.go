package main

import (
	"context"
	"fmt"
)

func retireCommand() command {
	return command{
		name: "retire", args: "TENANT PROVIDER", most: 2, usage: "destroy a tenant's key-encryption key at a provider that it has left",
		about: `The last step of moving a tenant to another provider of key-encryption keys, with kek.route in the configuration. First
every service, and the configuration, names the new provider in the tenant's "also". Then they name it as its "provider", and
the old one in "also", and "keyctl rewrap TENANT" moves the tenant's root keyset; no data is touched. Then this command,
which wraps it once more at the new provider, to be sure, and destroys the key at the old one: copies of the record from
before, in backups, open no more. After that no route needs to name the old provider.`,
		examples: []string{`retire -reason "acme brings its own key" acme house`, `retire -reason "own key" -yes -confirm acme acme house`},
		flags:    append(confirmFlags(), reasonFlag("required")),
		run:      runRetire,
	}
}

// retiredShape is what retire -json prints.
type retiredShape struct {
	Command  string `json:"command"`
	Tenant   string `json:"tenant"`
	Provider string `json:"provider"`
}

func runRetire(ctx context.Context, c *call) error {
	reason, err := c.reason()
	if err != nil {
		return err
	}
	if c.NArg() != 2 {
		return usagef("retire needs the tenant's id and the provider that it has left; %q shows how", "keyctl retire -h")
	}
	ctx, id, s, err := c.begin(ctx, changing)
	if err != nil {
		return err
	}
	name := c.Args().Get(1)
	route := s.config.KEK.Route
	switch {
	case route == nil:
		return configf("kek has no route: there is no provider that a tenant could have left")
	case route.Providers[name] == nil:
		return usagef("%q is none of kek.route.providers", name)
	case route.of(id).Provider == name:
		return usagef("the route of %s wraps at %q: that is not one that it has left", id, name)
	}
	if err := c.confirm(ctx, s, id, fmt.Sprintf("This destroys the key-encryption key of a tenant at %q: older copies of its record open no more.", name)); err != nil {
		return err
	}
	c.resume = "repeat it: the key may not be destroyed yet"
	if err := s.ring.RetireKEK(ctx, id, name, reason); err != nil {
		return err
	}
	return c.print(retiredShape{c.Name, id.String(), name}, "retire: %s has no key-encryption key at %s any more", id, name)
}
