package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/tenant"
)

// routeConfig names several providers and which tenants have their keys where, as the services' router has it.
type routeConfig struct {
	Providers map[string]*providerConfig `json:"providers"`
	Default   tenantRoute                `json:"default"`
	Tenants   map[string]*tenantRoute    `json:"tenants"`
	Unmarked  string                     `json:"unmarked"`
}

// tenantRoute is a [routekek.Route].
type tenantRoute struct {
	Provider string   `json:"provider"`
	Also     []string `json:"also"`
}

// provider is one that the configuration names.
type provider struct {
	name  string // of a route's; empty where there is one alone
	field string
	*providerConfig
}

// providers returns all, in order.
func (k *kekConfig) providers() (all []provider) {
	if k.Route == nil {
		return []provider{{"", "kek", &providerConfig{k.Local, k.Vault}}}
	}
	for _, name := range slices.Sorted(maps.Keys(k.Route.Providers)) {
		all = append(all, provider{name, fmt.Sprintf("kek.route.providers[%q]", name), k.Route.Providers[name]})
	}
	return all
}

// who is how findings name it.
func (p provider) who() string {
	if p.name == "" {
		return ""
	}
	return p.name + ": "
}

func (k *kekConfig) check(p *problems) {
	p.one("kek", "local, vault and route", k.Local != nil, k.Vault != nil, k.Route != nil)
	for _, one := range k.providers() {
		if k.Route != nil {
			p.add(len(one.name) == 0 || len(one.name) > routekek.MaxName, "%s has a name of %d bytes; use 1 to %d", one.field, len(one.name), routekek.MaxName)
			p.one(one.field, "local and vault", one.Local != nil, one.Vault != nil)
		}
		if l := one.Local; l != nil {
			p.add(l.File == "", "%s.local.file is empty; name the file of the key-encryption keys", one.field)
			p.secret(one.field+".local.passphrase", l.Passphrase, false)
		}
		if v := one.Vault; v != nil {
			v.check(p, one.field+".vault")
		}
	}
	if k.Route != nil {
		k.Route.check(p)
	}
}

func (r *routeConfig) check(p *problems) {
	named := func(field, name string) {
		p.add(r.Providers[name] == nil, "%s is %q, which is none of kek.route.providers", field, name)
	}
	route := func(field string, t *tenantRoute) {
		named(field+".provider", t.Provider)
		for i, name := range t.Also {
			named(fmt.Sprintf("%s.also[%d]", field, i), name)
		}
	}
	route("kek.route.default", &r.Default)
	for _, id := range slices.Sorted(maps.Keys(r.Tenants)) {
		field := fmt.Sprintf("kek.route.tenants[%q]", id)
		_, err := tenant.Parse(id)
		p.add(err != nil, "%s is no tenant's id", field)
		route(field, r.Tenants[id])
	}
	if r.Unmarked != "" {
		named("kek.route.unmarked", r.Unmarked)
	}
}

// of returns the route of a tenant.
func (r *routeConfig) of(id tenant.ID) *tenantRoute {
	if t := r.Tenants[id.String()]; t != nil {
		return t
	}
	return &r.Default
}

// openProvider opens one of the providers, which the session closes.
func (t *tool) openProvider(ctx context.Context, s *session, p provider) (keys.KEK, error) {
	if p.Vault == nil {
		return t.openLocal(s.config, p, false)
	}
	v, err := t.openVault(ctx, s.config, p)
	if err != nil {
		return nil, err
	}
	s.opened(p.name, v)
	return v, nil
}

// opened remembers a login at Vault.
func (s *session) opened(name string, v login) {
	s.mu.Lock()
	if s.vaults == nil {
		s.vaults = map[string]login{}
	}
	s.vaults[name] = v
	s.mu.Unlock()
	s.closes(v.Close)
}

// vaultOf returns the login at the Vault that has a tenant's key, or nil if it was not needed yet, or the key is elsewhere.
func (s *session) vaultOf(id tenant.ID) login {
	name := ""
	if r := s.config.KEK.Route; r != nil {
		name = r.of(id).Provider
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vaults[name]
}

// shares tells whether it has one key for all its tenants.
func (p provider) shares() bool { return p.Vault != nil && p.Vault.SharedKey != "" }

// openSharing opens the providers whose tenants share a key, and reports whether there are any: until one is open, it is asked about each
// tenant alone. One that cannot be opened is told by the tenants that need it.
func (s *session) openSharing(ctx context.Context) bool {
	if !slices.ContainsFunc(s.config.KEK.providers(), provider.shares) {
		return false
	}
	if _, err := s.kek.(*lazyKEK).get(ctx); err == nil {
		for _, l := range s.sharing {
			l.get(ctx)
		}
	}
	return true
}

// router returns the provider of a configuration with routes. Each of its providers is opened when a tenant needs it: one
// customer's Vault that is away is not the others' concern.
func (t *tool) router(s *session) (*routekek.KEK, error) {
	r := s.config.KEK.Route
	providers := map[string]keys.KEK{}
	for _, p := range s.config.KEK.providers() {
		lazy := &lazyKEK{open: func(ctx context.Context) (keys.KEK, error) { return t.openProvider(ctx, s, p) }}
		if providers[p.name] = lazy; p.shares() {
			s.sharing = append(s.sharing, lazy)
		}
	}
	return routekek.New(providers, func(_ context.Context, id tenant.ID) (routekek.Route, error) {
		of := r.of(id)
		return routekek.Route{Provider: of.Provider, Also: of.Also}, nil
	}, &routekek.Options{Unmarked: r.Unmarked})
}
