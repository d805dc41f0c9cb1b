package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/blobs/s3match"
	"github.com/strongroom-go/strongroom/tenant"
)

// inDatabases and inBuckets are the purposes whose keys seal what is there.
var (
	inDatabases = []keys.Purpose{keys.PurposeData, keys.PurposeIndex}
	inBuckets   = []keys.Purpose{keys.PurposeData, keys.PurposeBlobs, keys.PurposeNames}
)

// resealedBucketShape is a line of reseal -json, for a tenant and a bucket.
type resealedBucketShape struct {
	Command  string            `json:"command"`
	Tenant   string            `json:"tenant"`
	Bucket   string            `json:"bucket"`
	DryRun   bool              `json:"dryRun"`
	Resealed int64             `json:"resealed"` // objects
	Bytes    int64             `json:"bytes"`    // of their contents
	Left     []leftObjectShape `json:"left"`
}

// leftObjectShape counts objects that name an older key; key 0 is those that name none.
type leftObjectShape struct {
	Purpose string `json:"purpose"`
	Key     uint32 `json:"key"`
	Objects int64  `json:"objects"`
}

// bucketPurposes are those of a purpose, or of all, that seal what is in buckets.
func bucketPurposes(p keys.Purpose) []keys.Purpose {
	switch {
	case p == "":
		return inBuckets
	case slices.Contains(inBuckets, p):
		return []keys.Purpose{p}
	}
	return nil
}

// mayReseal tells whether the objects of a bucket can be replaced without losing what services write meanwhile.
func (r *resealing) mayReseal(b bucket) error {
	if b.conditional || r.opts.DryRun || r.Bool("sole-process") {
		return nil
	}
	return usagef("the bucket %s has no conditional writes: what a service writes while an object is replaced would be lost; stop the services and give -sole-process, or leave buckets out with -database", b.label)
}

// bucket re-seals what a tenant has in a bucket.
func (r *resealing) bucket(ctx context.Context, id tenant.ID, b bucket) error {
	opts := blobs.ResealOptions{Purposes: bucketPurposes(r.purpose), DryRun: r.opts.DryRun, ObjectsPerSecond: r.Int("objects-per-second")}
	if b.conditional {
		opts.IfMatch = s3match.IfMatch
	} else {
		opts.SoleProcess = r.Bool("sole-process")
	}
	if !r.Bool("all") {
		bar := r.progress(fmt.Sprintf("reseal %s in %s", id, b.label), -1)
		defer bar.done()
		opts.Progress = func(p blobs.ResealProgress) { bar.at(p.Objects, fmt.Sprintf("pass %d", p.Pass)) }
	}
	report, err := blobs.Reseal(ctx, b.bucket, &opts)
	if report == nil || err != nil && len(report.Left) == 0 && report.Resealed == 0 {
		return err
	}
	shape := resealedBucketShape{r.Name, id.String(), b.label, opts.DryRun, report.Resealed, report.Bytes, []leftObjectShape{}}
	for _, l := range report.Left {
		r.left += l.Objects
		shape.Left = append(shape.Left, leftObjectShape{string(l.Purpose), l.Key, l.Objects})
	}
	return errors.Join(err, r.print(shape, "%s", shape))
}

// String is the shape as text.
func (s resealedBucketShape) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reseal: %s in %s: %d objects moved to the newest keys", s.Tenant, s.Bucket, s.Resealed)
	for _, l := range s.Left {
		fmt.Fprintf(&b, "\n  left: %d objects under the %s key %d", l.Objects, l.Purpose, l.Key)
	}
	return b.String()
}

// inBucket counts the objects of the tenant in ctx that need an older key of a purpose.
func inBucket(ctx context.Context, b bucket, p keys.Purpose) (int64, error) {
	report, err := blobs.Reseal(ctx, b.bucket, &blobs.ResealOptions{DryRun: true, Purposes: []keys.Purpose{p}})
	if err != nil {
		return 0, err
	}
	return report.Remaining(p)
}
