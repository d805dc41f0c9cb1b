package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func resealCommand() command {
	return command{
		name: "reseal", args: "[TENANT]", most: 1, usage: "move values in databases and objects in buckets to the newest keys",
		about: `Moves the sealed values of a tenant, or of all, to the newest data key and their blind indexes to the newest index key, in
the databases of the configuration, and the objects in its buckets to the newest keys of blobs, data and names, while
services go on. It works in batches, and can be interrupted and repeated: what is done is not done again. At the end it
counts what is left under older keys; where that is something, the exit status is 1. With -dry-run it only counts.

Buckets that are no S3 have no conditional writes: what a service writes while an object is replaced would be lost there, so
they are refused unless the services were stopped and -sole-process says so.

The tenants have to be active. Rows that another row keeps from being indexed, since a unique key admits their value once,
are named by their primary key: change or delete them, and repeat it.`,
		examples: []string{`reseal -dry-run acme`, `reseal -purpose data -rows-per-second 1000 acme`, `reseal -all -database clinics`, `reseal -bucket scans acme`},
		flags: append(allFlags(),
			&cli.StringFlag{Name: "database", Usage: "only the database of this `NAME`", OnlyOnce: true},
			&cli.StringFlag{Name: "bucket", Usage: "only the bucket of this `LABEL`", OnlyOnce: true},
			&cli.BoolFlag{Name: "sole-process", Usage: "nothing else writes to buckets that are no S3 meanwhile"},
			&cli.IntFlag{Name: "objects-per-second", Usage: "look at no more than `N` objects in a second", OnlyOnce: true},
			&cli.StringFlag{Name: "purpose", Usage: "`PURPOSE` is data, index, blobs or names; default: all", OnlyOnce: true},
			&cli.StringFlag{Name: "table", Usage: "only the `TABLE` of this name", OnlyOnce: true},
			&cli.IntFlag{Name: "batch", Usage: "read and write `ROWS` at a time", OnlyOnce: true},
			&cli.IntFlag{Name: "rows-per-second", Usage: "read no more than `ROWS` in a second", OnlyOnce: true},
			&cli.BoolFlag{Name: "dry-run", Usage: "change nothing, and count what is left"}),
		run: runReseal,
	}
}

// resealedShape is a line of reseal -json, for a tenant and a database.
type resealedShape struct {
	Command    string           `json:"command"`
	Tenant     string           `json:"tenant"`
	Database   string           `json:"database"`
	DryRun     bool             `json:"dryRun"`
	Resealed   int64            `json:"resealed"`
	Reindexed  int64            `json:"reindexed"`
	Left       []leftShape      `json:"left"`
	Duplicates []duplicateShape `json:"duplicates"`
}

// leftShape counts values of a column under an older key; key 0 is index values that no enabled key made.
type leftShape struct {
	Table   string `json:"table"`
	Column  string `json:"column"`
	Purpose string `json:"purpose"`
	Key     uint32 `json:"key"`
	Values  int64  `json:"values"`
}

// duplicateShape is a row that could not be indexed, by the values of its primary key.
type duplicateShape struct {
	Table string   `json:"table"`
	Key   []string `json:"key"`
}

func runReseal(ctx context.Context, c *call) error {
	opts := sqldb.ResealOptions{BatchSize: c.Int("batch"), RowsPerSecond: c.Int("rows-per-second"), DryRun: c.Bool("dry-run")}
	if t := c.String("table"); t != "" {
		opts.Tables = []string{t}
	}
	p := keys.Purpose(c.String("purpose"))
	switch {
	case slices.Contains(inDatabases, p):
		opts.Purposes = []keys.Purpose{p}
	case p != "" && !slices.Contains(inBuckets, p):
		return usagef("-purpose is data, index, blobs or names: what else is sealed is not sealed anew")
	}
	r := resealing{call: c, opts: opts, purpose: p}
	c.resume = "repeat it: what is done is not done again"
	err := c.each(ctx, changing, r.tenant)
	if err == nil && r.left > 0 && !opts.DryRun {
		err = &failure{"findings", fmt.Errorf("%d values are left under older keys, since rows were locked or services still seal with those: repeat it", r.left)}
	}
	return err
}

// resealing is what reseal does.
type resealing struct {
	*call
	opts sqldb.ResealOptions
	// purpose is the only one, if any.
	purpose keys.Purpose
	opened  bool
	dbs     []database
	bkts    []bucket
	left    int64
}

// open opens what is to be re-sealed: the database or the bucket that is named, or all.
func (r *resealing) open(ctx context.Context, s *session) (err error) {
	database, bucket := r.String("database"), r.String("bucket")
	if (database != "" || bucket == "") && (r.purpose == "" || slices.Contains(inDatabases, r.purpose)) {
		if r.dbs, err = r.databases(ctx, s, database); err != nil {
			return err
		}
	}
	if (bucket != "" || database == "" && r.String("table") == "") && len(bucketPurposes(r.purpose)) > 0 {
		if r.bkts, err = r.buckets(ctx, s, bucket); err != nil {
			return err
		}
	}
	for _, b := range r.bkts {
		if err := r.mayReseal(b); err != nil {
			return err
		}
	}
	if len(r.dbs)+len(r.bkts) == 0 {
		return configf("nothing of it holds what is to be re-sealed")
	}
	r.opened = true
	return nil
}

// tenant re-seals what one tenant has.
func (r *resealing) tenant(ctx context.Context, s *session, id tenant.ID) error {
	if !r.opened {
		if err := r.open(ctx, s); err != nil {
			return err
		}
	}
	var failed []error
	for _, d := range r.dbs {
		if err := r.database(ctx, id, d); err != nil {
			failed = append(failed, fmt.Errorf("the database %s: %w", d.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	for _, b := range r.bkts {
		if ctx.Err() != nil {
			break
		}
		if err := r.bucket(ctx, id, b); err != nil {
			failed = append(failed, fmt.Errorf("the bucket %s: %w", b.label, err))
		}
	}
	return errors.Join(failed...)
}

func (r *resealing) database(ctx context.Context, id tenant.ID, d database) error {
	opts := r.opts
	if !r.Bool("all") {
		bar := r.progress(fmt.Sprintf("reseal %s in %s", id, d.name), -1)
		defer bar.done()
		table := ""
		opts.Progress = func(p sqldb.ResealProgress) {
			if place := fmt.Sprintf("%s, pass %d", p.Table, p.Pass); place != table {
				table = place
				bar.begin(p.Total)
			}
			bar.at(p.Rows, table)
		}
	}
	report, err := sqldb.Reseal(ctx, d.db, &opts)
	shape := resealedShape{r.Name, id.String(), d.name, opts.DryRun, report.Resealed, report.Reindexed, []leftShape{}, []duplicateShape{}}
	for _, l := range report.Left {
		r.left += l.Values
		shape.Left = append(shape.Left, leftShape{l.Table, l.Column, string(l.Purpose), l.Key, l.Values})
	}
	for _, dup := range report.Duplicates {
		key := make([]string, len(dup.Key))
		for i, v := range dup.Key {
			if b, ok := v.([]byte); ok {
				v = fmt.Sprintf("%x", b)
			}
			key[i] = fmt.Sprint(v)
		}
		shape.Duplicates = append(shape.Duplicates, duplicateShape{dup.Table, key})
	}
	if err != nil && len(shape.Left)+len(shape.Duplicates) == 0 && shape.Resealed+shape.Reindexed == 0 {
		return err
	}
	return errors.Join(err, r.print(shape, "%s", shape))
}

// String is the shape as text.
func (s resealedShape) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reseal: %s in %s: %d values moved to the newest data key, %d indexes to the newest index key", s.Tenant, s.Database, s.Resealed, s.Reindexed)
	for _, l := range s.Left {
		fmt.Fprintf(&b, "\n  left: %d of %s.%s under the %s key %d", l.Values, l.Table, l.Column, l.Purpose, l.Key)
	}
	for _, d := range s.Duplicates {
		fmt.Fprintf(&b, "\n  not indexed, since another row has the value: %s (%s)", d.Table, strings.Join(d.Key, ", "))
	}
	return b.String()
}
