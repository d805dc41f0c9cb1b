// Package ent is generated from the package schema beside it: `go generate` in this directory.
package ent

//go:generate go run -mod=mod entgo.io/ent/cmd/ent generate --feature sql/upsert,sql/lock,sql/modifier ./schema
