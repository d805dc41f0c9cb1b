package main

import (
	"context"
	"fmt"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
)

func initCommand() command {
	return command{
		name: "init", usage: "make what the configuration names and is not there yet",
		about: `Makes what the configuration names and is not there yet: the file of the key-encryption keys, the store's directory or
table, the keyset that signs certificates with its public half (.pub), and the audit trail of this tool. What is there
stays as it is, so it can be repeated. Other commands make none of these, so that a wrong path is an error and not an empty
store. Vault's engine and policies, the tenants' tables and buckets are not made here.

The configuration is one JSON file. Paths are relative to its directory. It holds no secret: passphrases, passwords,
tokens and secret ids are in files, {"file": "PATH"}, or in the environment, {"env": "VARIABLE"}. What it has to say:

  {
    "keyring":   {"label": "main", "suspendWithin": "5s", "timeout": "5s"},     as the services have it, or left out
    "kek":       {"local": {"file": "kek.json", "passphrase": SECRET}},
    "store":     {"files": {"dir": "keys"}},
    "audit":     {"dir": "keyctl-audit"},                       this tool's own: a trail is one process's
    "databases": [{"name": "clinics", "sqlite": {"file": "clinics.db"}, "schema": {"patients": {"sealed":
                   {"name": {"type": "text", "index": "name_index"}}}}}],
    "buckets":   [{"label": "scans", "dir": "bucket"}],
    "complete":  true,                                          databases and buckets are all that the keys seal
    "certificates": {"keyset": "signer.json", "passphrase": SECRET, "keyId": ""}      what signs offboardings
  }

and in production, in place of those:

  "kek":       {"vault": {"address": "https://vault.example.com:8200", "mount": "transit", "prefix": "strongroom-",
                 "namespace": "", "caFile": "", "certFile": "", "keyFile": "", "timeout": "5s", "auth": AUTH}}
  "kek":       {"vault": {..., "sharedKey": "strongroom"}}    in place of a prefix: one key for very many small tenants
  "kek":       {"route": {"providers": {"house": {"vault": {...}}, "theirs": {"vault": {...}}},
                 "default": {"provider": "house"}, "tenants": {"acme": {"provider": "theirs", "also": ["house"]}},
                 "unmarked": "house"}}                        where tenants have key-encryption keys of their own
  "store":     {"postgresql": {"url": "postgres://keyctl@db:5432/keys?sslmode=verify-full", "password": SECRET}}
  "databases": [{"name": "clinics", "postgresql": {"url": "...", "password": SECRET}, "schema": {...}}]
  "buckets":   [{"label": "scans", "url": "s3://scans?region=eu-central-1", "leftovers": true}]

AUTH is one of {"token": SECRET}, {"appRole": {"roleId": "...", "secretId": SECRET}}, {"kubernetes": {"role": "..."}} and
{"jwt": {"role": "...", "tokenFile": "..."}}. A schema is what json.Marshal makes of the application's sqldb.Schema.
A database of PostgreSQL may have a "migration", which "keyctl migrate -h" describes. A route is what package routekek
says: the provider that wraps a tenant's keys, further ones that unwrap while it moves, and the one that wrapped before there
were routes. The services have to have the same.`,
		examples: []string{`init -config keyctl.json`},
		run:      func(ctx context.Context, c *call) error { return c.runInit(ctx) },
	}
}

// initShape is what init prints.
type initShape struct {
	Command string `json:"command"`
	Done    bool   `json:"done"`
}

func (c *call) runInit(ctx context.Context) error {
	cfg, err := readConfig(c.String("config"))
	if err != nil {
		return err
	}
	for _, p := range cfg.KEK.providers() {
		if p.Local == nil {
			continue
		}
		if _, err := c.openLocal(cfg, p, true); err != nil {
			return err
		}
	}
	if err := c.initStore(ctx, cfg); err != nil {
		return err
	}
	if cfg.Certificates != nil {
		if err := c.initSigner(cfg); err != nil {
			return err
		}
	}
	log, err := audit.OpenLog(cfg.in(cfg.Audit.Dir), &audit.Options{Origin: cfg.Audit.Origin})
	if err != nil {
		return err
	}
	if err := log.Close(); err != nil {
		return err
	}
	return c.print(initShape{"init", true}, "init: everything that %s names is there", cfg.path)
}

func (c *call) initStore(ctx context.Context, cfg *config) error {
	if f := cfg.Store.Files; f != nil {
		_, err := filestore.Open(cfg.in(f.Dir), nil)
		return err
	}
	db, dialect, table, err := c.storeDB(cfg, "rwc")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := sqlstore.Open(ctx, db, dialect, &sqlstore.Options{Table: table}); err == nil {
		return nil // a role that only uses the table may not make one
	}
	if err := sqlstore.Create(ctx, db, dialect, table); err != nil {
		return fmt.Errorf("make the store's table; if another role owns it, have that one run sqlstore.DDL: %w", err)
	}
	_, err = sqlstore.Open(ctx, db, dialect, &sqlstore.Options{Table: table}) // one that there was may be none for a store
	return err
}
