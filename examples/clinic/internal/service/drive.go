package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"gocloud.dev/blob"
	_ "modernc.org/sqlite" // for the checker, which has no guard

	"github.com/strongroom-go/strongroom/examples/clinic/internal/check"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/demo"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/load"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// drive loads services and writes the journal. Of -load self the service is in this process, and its data is accounted for in
// the end.
func drive(ctx context.Context, c *config, out io.Writer, r *reports) (err error) {
	journal, err := os.OpenFile(c.journal, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	if c.load != "self" {
		return c.driveAll(ctx, load.Addresses(c.load), journal, out)
	}
	c.listen = "127.0.0.1:0"
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	said, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := serve(serving, c, w, r.quiet())
		w.CloseWithError(err)
		ended <- err
	}()
	var url string
	if _, err := fmt.Fscanf(said, "clinic: serving at %s\n", &url); err != nil {
		end()
		return errors.Join(errors.New("the service did not begin"), <-ended)
	}
	c.issuer = url + "/issuer"
	err = c.driveAll(ctx, []string{url}, journal, out)
	end()
	if err = errors.Join(err, <-ended); err != nil {
		return err
	}
	return account(context.WithoutCancel(ctx), c, out)
}

func (c *config) driveAll(ctx context.Context, services []string, journal io.Writer, out io.Writer) error {
	if c.issuer == "" {
		c.issuer = services[0] + "/issuer"
	}
	client, err := session.Client(c.issuer, c.plaintext)
	if err != nil {
		return err
	}
	l, err := load.New(load.Options{Services: services, Clinics: []string{demo.Clinics[0].ID.String(), demo.Clinics[1].ID.String()}, Journal: journal, Workers: c.workers, PerSecond: c.perSecond, Requests: c.requests,
		Tokens: func(ctx context.Context, clinic string) (string, error) {
			return session.At(c.issuer, client).Issue(ctx, clinic, demo.People[0].User)
		}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.duration)
	defer cancel()
	err = l.Run(ctx)
	fmt.Fprintln(out, l)
	return err
}

// account runs the checker on what the flags name: -postgres is somebody's who sees all rows.
func account(ctx context.Context, c *config, out io.Writer) (err error) {
	journal, err := os.Open(c.journal)
	if err != nil {
		return err
	}
	defer journal.Close()
	driver, dsn := "sqlite", filepath.Join(c.dir, "clinic.db")
	if c.postgres != "" {
		driver, dsn = "pgx", c.postgres
	}
	db, err := sql.Open(driver, dsn) //sqldblint:raw the checker looks around the guard
	if err != nil {
		return errors.New("-postgres is not a connection string that can be read")
	}
	defer db.Close()
	objects, err := blob.OpenBucket(ctx, c.bucketURL())
	if err != nil {
		return err
	}
	defer objects.Close()
	ring, closeRing, err := checkersKeys(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRing()) }()
	report, err := check.Run(ctx, check.Sources{Journal: journal, DB: db, Bucket: objects, Label: bucket, Trail: []string{c.trailDir()},
		Keys: func(ctx context.Context, clinic, purpose string) (*keyset.Handle, error) {
			id, err := tenant.Parse(clinic)
			if err != nil {
				return nil, err
			}
			return ring.DangerousExport(ctx, id, keys.Purpose(purpose), "the checker of examples/clinic")
		}})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, report)
	if len(report.Problems) > 0 {
		return errors.New(strings.Join(report.Problems, "\n"))
	}
	return nil
}
