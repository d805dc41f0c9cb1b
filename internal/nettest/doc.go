// Package nettest has keyrings work over a bad network: Vault and PostgreSQL are real, and between them and the keyring is
// Toxiproxy, in this process. It is a module of its own so that the library does not depend on Toxiproxy and what that depends on.
package nettest
