package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/keyset"
	tinksignature "github.com/tink-crypto/tink-go/v2/signature"
	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/internal/plainfile"
	"github.com/strongroom-go/strongroom/storage/offboard"
)

func certificateCommand() command {
	return command{
		name: "certificate", args: "FILE", most: 1, usage: "verify a certificate of an offboarding, and show it",
		about: `Verifies a certificate that "keyctl offboard" wrote, with the public half of the keyset that signed it, and shows what it says.
It needs no configuration and nothing but the two files.`,
		examples: []string{`certificate -key signer.json.pub acme.json`},
		flags:    []cli.Flag{&cli.StringFlag{Name: "key", Usage: "the public keyset's `FILE`; required", OnlyOnce: true}},
		run:      runCertificate,
	}
}

// maxCertificate bounds a certificate's file, in bytes.
const maxCertificate = 16 << 20

func runCertificate(_ context.Context, c *call) error {
	if c.NArg() != 1 || c.String("key") == "" {
		return usagef("certificate needs -key, the file of the public keyset, and the certificate's file")
	}
	public, err := plainfile.Read(c.String("key"), maxSecret)
	if err != nil {
		return usagef("-key: %w", err)
	}
	envelope, err := plainfile.Read(c.Args().First(), maxCertificate)
	if err != nil {
		return usagef("%w", err)
	}
	h, err := keyset.ReadWithNoSecrets(keyset.NewJSONReader(bytes.NewReader(public)))
	if err != nil { // its words may repeat the file
		return usagef("-key: %s holds no public Tink keyset in JSON", c.String("key"))
	}
	verifier, err := tinksignature.NewVerifier(h)
	if err != nil {
		return usagef("-key: %s is no keyset for signatures", c.String("key"))
	}
	cert, err := offboard.Verify(envelope, verifier)
	if errors.Is(err, offboard.ErrNotVerified) {
		return &failure{"tampered", err}
	}
	if err != nil {
		return err
	}
	return c.print(cert, "%s", describe(cert))
}

// describe is a certificate as text.
func describe(c *offboard.Certificate) string {
	var b strings.Builder
	fmt.Fprintf(&b, "verified: tenant %s was offboarded by %s, %s to %s\n  reason: %q\n", c.Tenant, c.Actor, c.Began.Format("2006-01-02T15:04:05Z"), c.Finished.Format("2006-01-02T15:04:05Z"), c.Reason)
	fmt.Fprintf(&b, "  %d keys of the keyring %q destroyed, at %s", len(c.Keys.Destroyed), c.Keys.Keyring, c.Keys.ShreddedAt.Format("2006-01-02T15:04:05Z"))
	if c.Keys.Before {
		b.WriteString(", by an earlier run: counts are of what that had left")
	}
	for _, k := range c.Keys.Shared {
		if k.Destroyed {
			fmt.Fprintf(&b, "\n  the versions up to %d of the shared key-encryption key %s were destroyed", k.Through, k.Name)
		} else {
			fmt.Fprintf(&b, "\n  NOT destroyed: the shared key-encryption key %s; backups of the key store open until its versions up to %d are", k.Name, k.Through)
		}
	}
	for _, d := range c.Databases {
		for _, t := range d.Tables {
			fmt.Fprintf(&b, "\n  %d rows of %q in the %s database %q deleted", t.Rows, t.Name, d.Engine, d.Name)
		}
	}
	for _, k := range c.Buckets {
		fmt.Fprintf(&b, "\n  %d objects in the bucket %q deleted", k.Objects, k.Label)
	}
	return b.String()
}
