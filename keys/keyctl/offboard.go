package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/offboard"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func offboardCommand() command {
	return command{
		name: "offboard", args: "TENANT", most: 1, usage: "destroy a tenant's keys, delete all it has, and certify it",
		about: `Makes a tenant leave: rehearses, so that what cannot be deleted is known before anything is lost; destroys the tenant's
keys; deletes its rows in the databases and its objects in the buckets of the configuration; and writes a certificate of
it, signed with the keyset that certificates.keyset names and verified by anybody who has the public half.

On a terminal the tenant's name has to be typed once more; elsewhere -yes and -confirm have to be given. Interrupted, or
after an error, repeat it: it goes on, and the certificate says that the keys were destroyed before. With -dry-run it
counts what there is, and nothing is changed.

The reason stands in the certificate in the clear: put no personal data in it.`,
		examples: []string{`offboard -dry-run acme`, `offboard -reason "contract 4711 ended" -certificate acme.json acme`},
		flags: append(confirmFlags(),
			&cli.BoolFlag{Name: "dry-run", Usage: "count what would be deleted"},
			&cli.StringFlag{Name: "certificate", Usage: "write the certificate to `FILE`, which is not there yet; required", OnlyOnce: true},
			reasonFlag("and in the certificate, in the clear; required")),
		run: runOffboard,
	}
}

// offboardedShape is what offboard -json prints. Certificate and Keys are absent with -dry-run.
type offboardedShape struct {
	Command     string     `json:"command"`
	Tenant      string     `json:"tenant"`
	DryRun      bool       `json:"dryRun"`
	Certificate string     `json:"certificate,omitempty"` // the file
	Before      bool       `json:"shreddedBefore"`
	Keys        []keyShape `json:"keys,omitempty"`

	Shared    []sharedVersionsShape `json:"shared,omitempty"`
	Databases []rowsShape           `json:"databases"`
	Buckets   []objectsShape        `json:"buckets"`
}

// rowsShape counts the rows of a database that were deleted, or would be.
type rowsShape struct {
	Name   string       `json:"name"`
	Tables []tableShape `json:"tables"`
}

// objectsShape counts the objects of a bucket that were deleted, or would be, and the bytes that they had in the store.
type objectsShape struct {
	Name    string `json:"name"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
}

type tableShape struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
}

func runOffboard(ctx context.Context, c *call) error {
	dry, file := c.Bool("dry-run"), c.String("certificate")
	reason := c.String("reason")
	if !dry {
		var err error
		if reason, err = c.reason(); err != nil {
			return err
		}
		if file == "" {
			return usagef("offboard needs a -certificate, the file to write it to, or -dry-run")
		}
		if err := absent(file); err != nil {
			return usagef("-certificate: %w", err)
		}
	}
	ctx, id, s, err := c.begin(ctx, changing)
	if err != nil {
		return err
	}
	o := offboarding{call: c, id: id, plan: &offboard.Plan{Guard: s.guard, Reason: reason}}
	if err := o.open(ctx, s); err != nil {
		return err
	}
	if dry {
		return o.rehearse(ctx)
	}
	if o.plan.Signer, err = c.signer(s.config); err != nil {
		return err
	}
	o.plan.KeyID = s.config.Certificates.KeyID
	status, err := s.ring.StatusNow(ctx, id)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("This destroys the keys of a tenant that is %s, and deletes all that it has in %s.", status, o.where())
	if err := c.confirm(ctx, s, id, what); err != nil {
		return err
	}
	return o.run(ctx, file)
}

// offboarding is what offboard does.
type offboarding struct {
	*call
	id   tenant.ID
	plan *offboard.Plan
	dbs  []database
	bkts []bucket
}

func (o *offboarding) open(ctx context.Context, s *session) (err error) {
	if o.dbs, err = o.databases(ctx, s, ""); err != nil {
		return err
	}
	if o.bkts, err = o.buckets(ctx, s, ""); err != nil {
		return err
	}
	if len(o.dbs)+len(o.bkts) == 0 {
		return configf("it names no database and no bucket; keyctl shred destroys the keys alone")
	}
	for _, d := range o.dbs {
		o.plan.Databases = append(o.plan.Databases, d.db)
	}
	for _, b := range o.bkts {
		o.plan.Buckets = append(o.plan.Buckets, offboard.Bucket{Bucket: b.bucket, Leftovers: b.leftovers})
	}
	return nil
}

func (o *offboarding) where() string {
	var all []string
	for _, d := range o.dbs {
		all = append(all, "the database "+d.name)
	}
	for _, b := range o.bkts {
		all = append(all, "the bucket "+b.label)
	}
	return strings.Join(all, ", ")
}

// rehearse counts what there is.
func (o *offboarding) rehearse(ctx context.Context) error {
	shape := offboardedShape{Command: o.Name, Tenant: o.id.String(), DryRun: true, Databases: []rowsShape{}, Buckets: []objectsShape{}}
	var failed []error
	for _, d := range o.dbs {
		report, err := sqldb.Offboard(ctx, d.db, o.id, &sqldb.OffboardOptions{DryRun: true})
		if err != nil {
			failed = append(failed, fmt.Errorf("the database %s: %w", d.name, err))
			continue
		}
		cleared := rowsShape{Name: d.name, Tables: []tableShape{}}
		for _, t := range report.Tables {
			cleared.Tables = append(cleared.Tables, tableShape{t.Table, t.Rows})
		}
		shape.Databases = append(shape.Databases, cleared)
	}
	for _, b := range o.bkts {
		report, err := blobs.Offboard(ctx, b.bucket, o.id, &blobs.OffboardOptions{DryRun: true, Leftovers: b.leftovers})
		if err != nil {
			failed = append(failed, fmt.Errorf("the bucket %s: %w", b.label, err))
			continue
		}
		shape.Buckets = append(shape.Buckets, objectsShape{b.label, report.Objects, report.Bytes})
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return o.print(shape, "%s", shape)
}

// run does it.
func (o *offboarding) run(ctx context.Context, file string) error {
	o.resume = "repeat it: it goes on with what is left"
	bar := o.progress("offboard "+o.id.String(), -1)
	defer bar.done()
	o.plan.Progress = func(p offboard.Progress) { bar.at(p.Done, o.place(p)) }
	done, err := offboard.Run(ctx, o.id, o.plan)
	if err != nil {
		return err
	}
	if err := writeFile(file, done.Envelope, 0o600, false); err != nil {
		return fmt.Errorf("everything is deleted, and the certificate could not be written; repeat it with another -certificate: %w", err)
	}
	cert := done.Certificate
	shape := offboardedShape{Command: o.Name, Tenant: o.id.String(), Certificate: file, Before: cert.Keys.Before, Databases: []rowsShape{}, Buckets: []objectsShape{}}
	for _, k := range cert.Keys.Destroyed {
		shape.Keys = append(shape.Keys, keyShape{Purpose: k.Purpose, Key: k.ID})
	}
	for _, k := range cert.Keys.Shared {
		shape.Shared = append(shape.Shared, sharedVersionsShape(k))
	}
	for i, d := range cert.Databases {
		cleared := rowsShape{Name: o.dbs[i].name, Tables: []tableShape{}}
		for _, t := range d.Tables {
			cleared.Tables = append(cleared.Tables, tableShape{t.Name, t.Rows})
		}
		shape.Databases = append(shape.Databases, cleared)
	}
	for _, b := range cert.Buckets {
		shape.Buckets = append(shape.Buckets, objectsShape{b.Label, b.Objects, b.Bytes})
	}
	return o.print(shape, "%s", shape)
}

// place says where an offboarding is.
func (o *offboarding) place(p offboard.Progress) string {
	switch {
	case p.Table != "":
		return fmt.Sprintf("%s: %s, %s", p.Stage, o.dbs[p.Store].name, p.Table)
	case p.Stage == offboard.Objects:
		return fmt.Sprintf("%s: %s", p.Stage, o.bkts[p.Store].label)
	}
	return string(p.Stage)
}

// String is the shape as text.
func (s offboardedShape) String() string {
	var b strings.Builder
	verb := "deleted"
	if s.DryRun {
		verb = "there are"
		fmt.Fprintf(&b, "offboard: %s, rehearsed: nothing was changed", s.Tenant)
	} else {
		fmt.Fprintf(&b, "offboard: %s has left; the certificate is in %s\n  %d keys destroyed", s.Tenant, s.Certificate, len(s.Keys))
		if s.Before {
			b.WriteString(", before")
		}
		for _, k := range s.Shared {
			b.WriteString(k.warning())
		}
	}
	for _, d := range s.Databases {
		for _, t := range d.Tables {
			fmt.Fprintf(&b, "\n  %s %d rows of %s in %s", verb, t.Rows, t.Table, d.Name)
		}
	}
	for _, k := range s.Buckets {
		fmt.Fprintf(&b, "\n  %s %d objects in %s", verb, k.Objects, k.Name)
	}
	return b.String()
}
