package vaultkek

import (
	_ "embed"
	"fmt"
	"strings"
)

// The policies are files, for those who keep such things under version control; they are for the default mount and prefix.
var (
	//go:embed policies/operator.hcl
	operatorPolicy string
	//go:embed policies/service.hcl
	servicePolicy string
	//go:embed policies/read-only.hcl
	readOnlyPolicy string
	//go:embed policies/shared-operator.hcl
	sharedOperatorPolicy string
	//go:embed policies/shared-service.hcl
	sharedServicePolicy string
	//go:embed policies/shared-read-only.hcl
	sharedReadOnlyPolicy string
	//go:embed policies/audit-signer.hcl
	signerPolicy string
)

// Policy returns the least privileges that a keyring needs which provisions, opens, rotates and shreds tenants, as a
// Vault policy for a Transit engine mounted at mount and keys that begin with prefix; empty for the defaults of
// [Options]. It cannot make keys exportable, export them, back them up, import any, or take away their older versions.
// It is the file policies/operator.hcl.
func Policy(mount, prefix string) string { return policyFor(operatorPolicy, mount, prefix) }

// UsePolicy returns the least privileges of a keyring that only opens tenants which another process provisions, and rotates
// their purposes: not their KEKs. It is the file policies/service.hcl.
func UsePolicy(mount, prefix string) string { return policyFor(servicePolicy, mount, prefix) }

// ReadOnlyPolicy returns the least privileges of somebody who sees which KEKs there are and what they may be used for
// ([KEK.Check]), and opens nothing. It is the file policies/read-only.hcl.
func ReadOnlyPolicy(mount, prefix string) string { return policyFor(readOnlyPolicy, mount, prefix) }

// SharedPolicy returns the least privileges of an operator of a key that tenants share ([OpenShared]), for an engine mounted at
// mount and a key of this name; empty for "transit" and "strongroom". It can make, rotate and rewrap, and alone can take away
// older versions; it cannot delete the key. It is the file policies/shared-operator.hcl.
func SharedPolicy(mount, key string) string { return policyOfKey(sharedOperatorPolicy, mount, key) }

// SharedUsePolicy returns the least privileges of a keyring that provisions and opens tenants with a key that they share. It is the
// file policies/shared-service.hcl.
func SharedUsePolicy(mount, key string) string { return policyOfKey(sharedServicePolicy, mount, key) }

// SharedReadOnlyPolicy returns the least privileges of somebody who sees what a shared key may be used for
// ([Shared.CheckSharedKey]), and opens nothing. It is the file policies/shared-read-only.hcl.
func SharedReadOnlyPolicy(mount, key string) string {
	return policyOfKey(sharedReadOnlyPolicy, mount, key)
}

func policyOfKey(policy, mount, key string) string {
	if key == "" {
		key = "strongroom"
	}
	return strings.NewReplacer(`path "transit/`, `path "`+policyOptions(mount, "").Mount+`/`, `/strongroom"`, `/`+key+`"`, `/strongroom/`, `/`+key+`/`).Replace(policy)
}

// SignerPolicy returns the least privileges of a process that signs its audit log with a Transit key ([KEK.Signer]), for an
// engine mounted at mount and a key of this name; empty for "transit" and "audit". It is the file
// policies/audit-signer.hcl.
func SignerPolicy(mount, key string) string {
	if key == "" {
		key = "audit"
	}
	return strings.NewReplacer(`path "transit/`, `path "`+policyOptions(mount, "").Mount+`/`, `/audit"`, `/`+key+`"`).Replace(signerPolicy)
}

func policyFor(policy, mount, prefix string) string {
	o := policyOptions(mount, prefix)
	return strings.NewReplacer(`path "transit/`, `path "`+o.Mount+`/`, `/strongroom-*"`, `/`+o.Prefix+`*"`).Replace(policy)
}

func policyOptions(mount, prefix string) *Options {
	o := &Options{Mount: strings.Trim(mount, "/"), Prefix: prefix}
	if o.Mount == "" {
		o.Mount = "transit"
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
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
