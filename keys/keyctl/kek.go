package main

import (
	"context"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

func (v *vaultConfig) check(p *problems, field string) {
	p.add(v.Address == "", "%s.address is empty; it is such as https://vault.example.com:8200", field)
	p.add(v.Prefix != "" && v.SharedKey != "", "%s has a prefix, of keys that each tenant has for itself, and a sharedKey; name one", field)
	p.add(v.Timeout.wrong, "%s.timeout is no time such as 5s", field)
	a := v.Auth
	p.one(field+".auth", "token, appRole, kubernetes and jwt", a.Token != nil, a.AppRole != nil, a.Kubernetes != nil, a.JWT != nil)
	if a.Token != nil {
		p.secret(field+".auth.token", a.Token, true)
	}
	if a.AppRole != nil {
		p.add(a.AppRole.RoleID == "", "%s.auth.appRole.roleId is empty", field)
		p.secret(field+".auth.appRole.secretId", a.AppRole.SecretID, true)
	}
	if a.Kubernetes != nil {
		p.add(a.Kubernetes.Role == "", "%s.auth.kubernetes.role is empty", field)
	}
	if a.JWT != nil {
		p.add(a.JWT.Role == "", "%s.auth.jwt.role is empty", field)
		p.add(a.JWT.TokenFile == "", "%s.auth.jwt.tokenFile is empty; name the file of the JSON Web Token", field)
	}
}

// auth returns how to log in.
func (t *tool) auth(c *config, p provider) (api.AuthMethod, error) {
	a, field := p.Vault.Auth, p.field+".vault.auth"
	switch {
	case a.Token != nil:
		token, err := t.read(c, field+".token", a.Token)
		return vaultkek.Token(token), err
	case a.AppRole != nil:
		id, err := t.read(c, field+".appRole.secretId", a.AppRole.SecretID)
		if err != nil {
			return nil, err
		}
		return vaultkek.AppRole(a.AppRole.RoleID, id, a.AppRole.Mount)
	case a.Kubernetes != nil:
		return vaultkek.Kubernetes(a.Kubernetes.Role, tokenFile(c.in(a.Kubernetes.TokenFile)), a.Kubernetes.Mount)
	}
	return vaultkek.JWT(a.JWT.Role, tokenFile(c.in(a.JWT.TokenFile)), a.JWT.Mount)
}

func tokenFile(path string) vaultkek.TokenSource {
	if path == "" {
		return nil
	}
	return vaultkek.TokenFile(path)
}

// login is one at a Vault: a [vaultkek.KEK] or a [vaultkek.Shared].
type login interface {
	keys.KEK
	Examine(context.Context) (*vaultkek.Examination, error)
	Close() error
}

// openVault logs in.
func (t *tool) openVault(ctx context.Context, c *config, p provider) (login, error) {
	auth, err := t.auth(c, p)
	if err != nil {
		return nil, err
	}
	v := p.Vault
	opts := &vaultkek.Options{
		Mount: v.Mount, Prefix: v.Prefix, Namespace: v.Namespace, CAFile: c.in(v.CAFile), CertFile: c.in(v.CertFile), KeyFile: c.in(v.KeyFile),
		Timeout: v.Timeout.Duration, InsecureAllowPlaintext: v.InsecureAllowPlaintext,
	}
	if v.SharedKey != "" {
		k, err := vaultkek.OpenShared(ctx, v.Address, auth, v.SharedKey, opts)
		if err != nil {
			return nil, err // and no login that is a nil pointer
		}
		return k, nil
	}
	k, err := vaultkek.Open(ctx, v.Address, auth, opts)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// openLocal opens the file of the key-encryption keys, and makes it only where that is asked for.
func (t *tool) openLocal(c *config, p provider, create bool) (*localkek.KEK, error) {
	passphrase, err := t.read(c, p.field+".local.passphrase", p.Local.Passphrase)
	if err != nil {
		return nil, err
	}
	return localkek.Open(c.in(p.Local.File), &localkek.Options{Passphrase: passphrase, MustExist: !create})
}
