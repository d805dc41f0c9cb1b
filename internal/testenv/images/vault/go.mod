// The Vault server that the container tests run where its public image cannot be had: see ../build. A module of its
// own, so that nothing of Vault enters the library's go.mod.
//
// Vault replaces its sdk with its own source tree, which a module that requires it does not inherit. These two are a
// published pair that compiles together. go.sum holds what building github.com/hashicorp/vault needs and no more;
// to move to another pair, edit here and build once with -mod=mod.
module github.com/strongroom-go/strongroom/internal/testenv/images/vault

go 1.26.0

require (
	github.com/hashicorp/vault v1.21.0
	github.com/hashicorp/vault/sdk v0.20.0
)

// A plugin of its own in the image that is built, in the version that Vault names.
require github.com/hashicorp/vault-plugin-auth-kubernetes v0.23.0

// From before modules: the packages that import them say no version.
require (
	github.com/godbus/dbus v4.1.0+incompatible // indirect
	github.com/gsterjov/go-libsecret v0.0.0-20161001094733-a6f4afe4910c // indirect
)
