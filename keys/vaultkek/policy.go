package vaultkek

import (
	"fmt"
	"strings"
)

// Policy returns the least privileges that a keyring needs which provisions, opens, rotates and shreds tenants, as a
// Vault policy for a Transit engine mounted at mount and keys that begin with prefix; empty for the defaults of
// [Options]. It cannot make keys exportable, export them or back them up.
func Policy(mount, prefix string) string {
	o := policyOptions(mount, prefix)
	return fmt.Sprintf(`# Make, inspect, rotate and destroy the tenants' keys, but never make one exportable.
path "%[1]s/keys/%[2]s*" {
  capabilities        = ["create", "read", "update", "delete"]
  denied_parameters   = { "exportable" = [true, "true", 1, "1"], "allow_plaintext_backup" = [true, "true", 1, "1"] }
}
# "update" alone: with "create", encrypting would make keys that are not there.
path "%[1]s/encrypt/%[2]s*" {
  capabilities = ["update"]
}
`, o.Mount, o.Prefix) + use(o)
}

// UsePolicy returns the least privileges of a keyring that only opens tenants which another process provisions, and rotates
// their purposes: not their KEKs.
func UsePolicy(mount, prefix string) string { return use(policyOptions(mount, prefix)) }

func use(o *Options) string {
	return fmt.Sprintf(`# Open tenants, and bring wrapped keysets to the newest version of their key.
path "%[1]s/decrypt/%[2]s*" {
  capabilities = ["update"]
}
path "%[1]s/rewrap/%[2]s*" {
  capabilities = ["update"]
}
# Keep the login alive.
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
`, o.Mount, o.Prefix)
}

func policyOptions(mount, prefix string) *Options {
	o := &Options{Mount: strings.Trim(mount, "/"), Prefix: prefix}
	if o.Mount == "" {
		o.Mount = "transit"
	}
	if o.Prefix == "" {
		o.Prefix = "strongroom-"
	}
	return o
}

// glob returns the path of a policy's rule for a call's path.
func (o *Options) glob(path string) string {
	for _, what := range []string{"keys", "encrypt", "decrypt", "rewrap"} {
		if p := o.Mount + "/" + what + "/" + o.Prefix; strings.HasPrefix(path, p) {
			return p + "*"
		}
	}
	return path
}

func rule(path string, capabilities []string) string {
	return fmt.Sprintf(`path "%s" { capabilities = ["%s"] }`, path, strings.Join(capabilities, `", "`))
}
