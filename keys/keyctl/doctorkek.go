package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// kek opens the providers and looks at them. One that is well where another is not opens for the tenants that it has.
func (d *doctor) kek(ctx context.Context) {
	opened := false
	for _, p := range d.s.config.KEK.providers() {
		var kek keys.KEK
		if p.Local != nil {
			kek = d.local(p)
		} else {
			kek = d.vault(ctx, p)
		}
		opened = opened || kek != nil
		if p.name == "" && kek != nil {
			d.s.kek = kek
		}
	}
	if d.s.config.KEK.Route == nil || !opened {
		return
	}
	router, err := d.router(d.s)
	if err != nil {
		d.find("kek", problem, "correct kek.route", "%v", err)
		return
	}
	d.s.kek = router
}

// vault logs in and looks at what the login may do. It returns nil where there is none.
func (d *doctor) vault(ctx context.Context, p provider) keys.KEK {
	v, err := d.openVault(ctx, d.s.config, p)
	if err != nil {
		fix := "see the error: it says what to do"
		if errors.Is(err, keys.ErrUnavailable) {
			fix = "see that Vault runs, is unsealed and can be reached from here"
		}
		d.find("kek", problem, fix, "%sno login at Vault: %v", p.who(), err)
		return nil
	}
	d.s.opened(p.name, v)
	e, err := v.Examine(ctx)
	if err != nil {
		d.find("kek", problem, "see the error: it says what to do", "%s%v", p.who(), err)
		return v
	}
	if e.SkewWithin > 0 {
		d.clock(p.who()+"Vault", e.Skew, e.SkewWithin)
	}
	d.login(p, e)
	d.rights(p, e)
	if shared, ok := v.(*vaultkek.Shared); ok {
		d.sharedKey(ctx, p, shared)
	}
	return v
}

// policy is the file of the operators' policy.
func (p provider) policy() string {
	if p.Vault.SharedKey != "" {
		return "shared-operator.hcl"
	}
	return "operator.hcl"
}

// sharedKey looks at a key that tenants share.
func (d *doctor) sharedKey(ctx context.Context, p provider, shared *vaultkek.Shared) {
	switch err := shared.CheckSharedKey(ctx); {
	case err == nil:
		d.find("kek", fine, "", "%sthe key that tenants share is as it should be", p.who())
	case errors.Is(err, keys.ErrNotFound):
		d.find("kek", problem, `correct the sharedKey's name or the mount, or make the key with "keyctl kek create"`, "%s%v", p.who(), err)
	default:
		d.find("kek", problem, "see the error: it says what to do", "%s%v", p.who(), err)
	}
}

func (d *doctor) local(p provider) keys.KEK {
	local, err := d.openLocal(d.s.config, p, false)
	switch {
	case err == nil:
		d.find("kek", fine, "", "%sthe file of the key-encryption keys opens", p.who())
		return local
	case errors.Is(err, localkek.ErrPassphrase):
		d.find("kek", problem, "correct "+p.field+".local.passphrase", "%s%v", p.who(), err)
	case errors.Is(err, keys.ErrIntegrity):
		d.find("kek", problem, "restore the file from a backup: without it every tenant's data is lost", "%s%v", p.who(), err)
	default:
		d.find("kek", problem, "correct "+p.field+".local.file, its mode or its owner", "%s%v", p.who(), err)
	}
	return nil
}

// soon is how long a login that cannot be had again has to last.
const soon = 24 * time.Hour

// login judges how long the login lasts.
func (d *doctor) login(p provider, e *vaultkek.Examination) {
	switch {
	case slices.Contains(e.Policies, "root"):
		d.find("kek", problem, "use a token, or better an AppRole, with the policy keys/vaultkek/policies/"+p.policy()+" alone", "%sthe token is Vault's root token, which may do everything", p.who())
	case e.TTL == 0:
		d.find("kek", warning, "use AppRole, or a token with a period", "%sthe token never expires: whoever finds it can use it for good", p.who())
	case e.LoginAgain:
		d.find("kek", fine, "", "%sthe token lasts %v, and the login can be repeated", p.who(), e.TTL)
	case !e.Renewable && e.TTL < soon:
		d.find("kek", warning, "put a new token in its place before that, or use AppRole", "%sthe token lasts %v, and can neither be renewed nor had again", p.who(), e.TTL)
	default:
		d.find("kek", fine, "", "%sthe token lasts %v (renewable: %t)", p.who(), e.TTL, e.Renewable)
	}
}

// rights judges what the login may do.
func (d *doctor) rights(p provider, e *vaultkek.Examination) {
	if e.Unknown {
		d.find("kek", warning, `add to the token's policy: path "sys/capabilities-self" { capabilities = ["update"] }`, "%sthe token may not ask what it may do, so that was not checked", p.who())
		return
	}
	if len(e.Lacks) > 0 {
		d.find("kek", problem, "add them; the whole policy is keys/vaultkek/policies/"+p.policy(), "%sthe token's policies lack\n           %s", p.who(), strings.Join(e.Lacks, "\n           "))
	}
	if len(e.Exceeds) > 0 && !slices.Contains(e.Policies, "root") {
		d.find("kek", problem, "take them away: with them keys can leave Vault, or be made or used otherwise than by this library", "%sthe token may do more than it should\n           %s", p.who(), strings.Join(e.Exceeds, "\n           "))
	}
	if len(e.Lacks)+len(e.Exceeds) == 0 {
		d.find("kek", fine, "", "%sthe token may do what the operators' policy says, and no more", p.who())
	}
}
