package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

func sharedKEKCommand() command {
	return command{
		name: "kek", args: "[show|create|rotate|destroy]", most: 1, usage: "look after a key-encryption key that tenants share",
		about: `For a Vault whose configuration has a "sharedKey": one key from which Vault derives each tenant's, for very many small
tenants. "show", the default, tells which versions of it there are, and whether it is as it should be. "create" makes it;
that is done once, before the first tenant. "rotate" adds a version, which wraps from then on: "keyctl rewrap -all" then
brings the tenants to it.

The key cannot be destroyed for one tenant. What "keyctl shred" leaves of a tenant is in backups of the store, and opens
until the versions of the key that there were are destroyed: shred and the certificate of "keyctl offboard" name the newest
of them. "destroy -through N" destroys those up to N. It rotates the key, by which it is told from another one at the same
time, rewraps all tenants that need it, disables the versions, waits for what is being provisioned, and tries whether every
tenant opens: if one does not, the versions are enabled again, and the tenant is named. Tenants are served meanwhile.
Interrupted, it is repeated.

The key must be that of this store alone: tenants of another store that need a version are not seen. keyring.timeout has to be
as the services have it. On a terminal the key's name has to be typed; elsewhere -yes and -confirm have to be given.`,
		examples: []string{`kek`, `kek create`, `kek destroy -through 3 -reason "quarterly"`, `kek destroy -through 3 -reason "quarterly" -yes -confirm strongroom`},
		flags: []cli.Flag{
			&cli.StringFlag{Name: "provider", Usage: "the `NAME` of the provider, where kek.route has several with a sharedKey", OnlyOnce: true},
			&cli.IntFlag{Name: "through", Usage: "with destroy, the newest version, `N`, that is destroyed", OnlyOnce: true},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask; needs -confirm"},
			&cli.StringFlag{Name: "confirm", Usage: "the key's `NAME`, where nobody can be asked to type it", OnlyOnce: true},
			reasonFlag("required with destroy"),
		},
		run: runSharedKEK,
	}
}

// sharedKEKShape is what kek prints.
type sharedKEKShape struct {
	Command   string `json:"command"`
	Action    string `json:"action"`
	Key       string `json:"key"`
	Oldest    int    `json:"oldest"`
	Newest    int    `json:"newest"`
	Tenants   *int64 `json:"tenants,omitempty"`   // with destroy: that were proved to open
	Rewrapped *int64 `json:"rewrapped,omitempty"` // of them, this time
}

// nobodys stands in the contexts of what is about no tenant, for the operator's name.
var nobodys = tenant.MustParse("keyctl")

func runSharedKEK(ctx context.Context, c *call) error {
	action := "show"
	if c.NArg() > 0 {
		action = c.Args().First()
	}
	through := c.Int("through")
	switch {
	case action != "show" && action != "create" && action != "rotate" && action != "destroy":
		return usagef("kek has the actions show, create, rotate and destroy, and not %q", action)
	case action == "destroy" && through < 1:
		return usagef("kek destroy needs -through, the newest version that is destroyed")
	case action != "destroy" && (c.IsSet("through") || c.Bool("yes") || c.IsSet("confirm")):
		return usagef("-through, -yes and -confirm belong to kek destroy")
	}
	ctx, err := c.as(ctx, nobodys)
	if err != nil {
		return err
	}
	need := changing
	if action == "show" {
		need = looking
	}
	s, err := c.open(ctx, need)
	if err != nil {
		return err
	}
	p, err := c.sharing(s.config)
	if err != nil {
		return err
	}
	key, kek, err := c.openShared(ctx, s, p)
	if err != nil {
		return err
	}
	switch action {
	case "create":
		err = s.onSharedKEK(ctx, audit.CodeKeyProvision, "made", key.CreateSharedKey)
	case "rotate":
		err = s.onSharedKEK(ctx, audit.CodeKeyRotate, "rotated", key.RotateSharedKey)
	case "destroy":
		return c.destroyVersions(ctx, s, p, kek, through)
	}
	if err != nil {
		return err
	}
	if err := key.CheckSharedKey(ctx); err != nil {
		return err
	}
	k, err := key.SharedKey(ctx)
	if err != nil {
		return err
	}
	return c.print(sharedKEKShape{Command: c.Name, Action: action, Key: k.Name, Oldest: k.Oldest, Newest: k.Newest},
		"kek: %s is as it should be; it wraps with version %d, and the oldest that was not destroyed is %d", k.Name, k.Newest, k.Oldest)
}

// sharing returns the provider that the command is about.
func (c *call) sharing(cfg *config) (provider, error) {
	var all []provider
	var names []string
	for _, p := range cfg.KEK.providers() {
		if p.shares() {
			all, names = append(all, p), append(names, p.name)
		}
	}
	name := c.String("provider")
	for _, p := range all {
		if p.name == name || name == "" && len(all) == 1 {
			return p, nil
		}
	}
	switch {
	case len(all) == 0:
		return provider{}, configf("no Vault in kek has a sharedKey: every tenant has a key of its own")
	case name == "":
		return provider{}, usagef("several providers have a sharedKey: name one of %s with -provider", strings.Join(names, ", "))
	}
	return provider{}, usagef("%q is none of the providers with a sharedKey", name)
}

// openShared opens a provider, also as the keyring's own provider knows it.
func (c *call) openShared(ctx context.Context, s *session, p provider) (*vaultkek.Shared, keys.SharedKEK, error) {
	of, err := s.kek.(*lazyKEK).get(ctx)
	if err != nil {
		return nil, nil, err
	}
	if key, ok := of.(*vaultkek.Shared); ok {
		return key, key, nil
	}
	k, err := c.openProvider(ctx, s, p)
	if err != nil {
		return nil, nil, err
	}
	kek, err := of.(*routekek.KEK).Shared(p.name, k.(*vaultkek.Shared))
	return k.(*vaultkek.Shared), kek, err
}

// onSharedKEK does something about the key, on record.
func (s *session) onSharedKEK(ctx context.Context, code audit.Code, what string, do func(context.Context) error) error {
	correlation, err := uuid.NewV7()
	if err != nil {
		return err
	}
	access, err := tenant.FromContext(ctx)
	if err != nil {
		return err
	}
	event := func(phase audit.Phase, status audit.Status) *audit.Event {
		return &audit.Event{Code: code, Phase: phase, Status: status, Correlation: correlation.String(), Actor: access.Actor, Purpose: access.Purpose,
			Request: access.Request, Rows: -1, Bytes: -1, Reason: "the KEK that tenants share is " + what}
	}
	if err := s.log.Record(ctx, event(audit.Intent, audit.Success)); err != nil {
		return err
	}
	err = do(ctx)
	status := audit.Success
	if err != nil {
		status = audit.Failure
	}
	return errors.Join(err, s.log.Record(context.WithoutCancel(ctx), event(audit.Outcome, status)))
}

func (c *call) destroyVersions(ctx context.Context, s *session, p provider, kek keys.SharedKEK, through int) error {
	reason, err := c.reason()
	if err != nil {
		return err
	}
	if err := c.confirmKey(ctx, p.Vault.SharedKey, fmt.Sprintf("This destroys the versions up to %d of a key that the tenants share: copies of the store from before open no more.", through)); err != nil {
		return err
	}
	c.resume = "repeat it: the versions may not be destroyed yet"
	total, err := count(ctx, s.store, "")
	if err != nil {
		return err
	}
	bar := c.progress(c.Name+": rewrap", total)
	defer func() { bar.done() }()
	proving := false
	done, err := s.ring.DestroySharedKEK(ctx, kek, through, &keys.DestroySharedOptions{Reason: reason, Progress: func(at keys.DestroySharedProgress) {
		if at.Proving && !proving {
			bar.done()
			proving, bar = true, c.progress(c.Name+": try", total)
		}
		bar.at(at.Tenants, at.Last.String())
	}})
	if err != nil {
		return err
	}
	return c.print(sharedKEKShape{c.Name, "destroy", done.Key.Name, done.Key.Oldest, done.Key.Newest, &done.Tenants, &done.Rewrapped},
		"kek: the versions of %s up to %d are destroyed; %d tenants were tried and open, %d of them were rewrapped", done.Key.Name, through, done.Tenants, done.Rewrapped)
}

// confirmKey makes sure that what cannot be undone is meant for this key.
func (c *call) confirmKey(ctx context.Context, name, what string) error {
	given := c.String("confirm")
	switch {
	case given != "" && given != name:
		return notConfirmed("%+q is not the key %s", given, name)
	case c.Bool("yes") && given == name:
		return nil
	case !isTerminal(c.stdin) || !isTerminal(c.stderr.w):
		return notConfirmed("it cannot be undone, and there is no terminal to ask on: give -yes and -confirm %s", name)
	}
	fmt.Fprintf(c.stderr, "%s\nIt cannot be undone. The key is %s\nType its name to go on: ", what, name)
	typed, err := readLine(ctx, c.stdin)
	if err == nil && typed != name {
		err = notConfirmed("%+q is not the key %s", typed, name)
	}
	return err
}
