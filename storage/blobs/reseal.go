package blobs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/keys"
)

// ResealOptions are the settings of [Reseal]. One of IfMatch and SoleProcess is required, but for a dry run.
type ResealOptions struct {
	// Purposes are the keys of which the newest is to have sealed every object: [keys.PurposeBlobs] seals content,
	// [keys.PurposeData] attributes, [keys.PurposeNames] names, where they are sealed. Default all. An object is sealed anew as
	// a whole, under the newest key of both, if it is not under the newest one of any of these. On files, where only its
	// attributes are to be moved, its content stays as it is. On S3 that would take a copy of the object onto itself on the
	// condition that the destination still is the version that was read, which stores that speak S3 may ignore; so the content is
	// read and written again there too.
	Purposes []keys.Purpose
	// IfMatch makes a write conditional on the version that was read, as the store's own driver has it: as is what gocloud.dev
	// hands to WriterOptions.BeforeWrite, and to DeleteOptions.BeforeDelete where names are sealed. Use s3match.IfMatch (storage/blobs/s3match) for S3. Reseal tries it first, and
	// refuses a store that takes a write whose condition does not hold. No writer in any process loses an object then.
	IfMatch func(as func(any) bool, read *blob.Attributes) error
	// SoleProcess says that all that writes the tenant's objects, or deletes them, does so through the very bucket that Reseal
	// is given, in this process. It is for stores that have no conditional writes, which are files and memory: Reseal then
	// keeps those writers apart itself. If it is not so, what another process writes while an object is being replaced is lost: in
	// memory, and on files where that process still writes under an older key of names.
	SoleProcess bool
	// Concurrency is how many objects are worked on at a time, 1 to 64. Default 4. Each takes two segments of 64 KiB of memory,
	// beside what the store's driver buffers.
	Concurrency int
	// BytesPerSecond bounds what is read of objects' contents. Default: no limit.
	BytesPerSecond int64
	// ObjectsPerSecond bounds how many objects are looked at. Default: no limit.
	ObjectsPerSecond int
	// DryRun changes nothing and counts what is left.
	DryRun bool
	// Checkpoint is where to begin: the last [ResealProgress].Checkpoint of a run that ended early. Default: at the beginning. The
	// count at the end is of all objects nevertheless.
	Checkpoint []byte
	// Progress, if set, is called after each page of the store's listing, up to 1,000 objects.
	Progress func(ResealProgress)
}

// ResealProgress is how far [Reseal] has come.
type ResealProgress struct {
	// Pass counts from 1: what others changed in one pass is looked at again in the next.
	Pass int
	// Counting tells that the pass changes nothing: it establishes what is left.
	Counting bool
	// Objects have been looked at in this pass.
	Objects int64
	// Resealed objects, and the bytes of their contents, so far.
	Resealed, Bytes int64
	// Checkpoint is where a later run can begin. It is sealed with the tenant's data key, is of this bucket's, and is good for as
	// long as the store takes its own page tokens; nil while counting.
	Checkpoint []byte
}

// ResealReport is what [Reseal] did and what is left.
type ResealReport struct {
	Resealed int64 // objects that were moved to the newest keys
	Bytes    int64 // of their contents
	Changed  int64 // times that an object was left to somebody else who wrote or deleted it meanwhile
	// Objects and Left are what the last complete count found: how many objects there are, and those that are not under the newest key,
	// by purpose and key. Counted are the purposes that it was about; empty where there was none.
	Counted []keys.Purpose
	Objects int64
	Left    []ResealLeft
}

// ResealLeft counts the objects that name one older key.
type ResealLeft struct {
	Purpose keys.Purpose
	// Key is the key's id, as [keys.Keyring.Versions] lists it; 0 for objects that name no key.
	Key     uint32
	Objects int64
}

// Remaining returns how many objects are not under the newest key of a purpose; an error where that was not counted to the
// end, lest a key be destroyed for a count that was not made.
func (r *ResealReport) Remaining(p keys.Purpose) (n int64, err error) {
	if r == nil || !slices.Contains(r.Counted, p) {
		return 0, fmt.Errorf("blobs: the objects that need an older key of the purpose %q were not counted; call Reseal with that purpose, and see what its error says", string(p))
	}
	for _, l := range r.Left {
		if l.Purpose == p {
			n += l.Objects
		}
	}
	return n, nil
}

// Reseal moves the objects of the tenant in ctx to its newest keys, after [keys.Keyring.Rotate], while others read and write
// them: contents to that of [keys.PurposeBlobs], attributes to that of [keys.PurposeData], and names that are sealed to that of
// [keys.PurposeNames]. B is what [Open] or [Wrap] returned.
// The report is there with an error too, but for one about the arguments.
//
// An object is opened, sealed anew and sent back as a stream; plaintext does not leave the process. What is sealed anew is
// opened once more, segment by segment, before the store gets it, and its SHA-256 compared with that of what was read: the
// object is replaced only if all is as it was. It keeps its content type, metadata, MD5 and cache headers, and where it was
// imported from; its ETag and modification time become new ones. Who is reading it goes on reading the version that it was.
//
// An object is replaced only if it still is the version that was read, so that what somebody else writes meanwhile stands, and
// what is deleted stays so: on S3 by the store's own conditional writes, on files by locks among all processes, in memory by one in this: see
// [ResealOptions]. Neither holds up readers, nor writers longer than the last look and the replacement take. On files the new
// version is written beside the object and renamed into its place. An object that gets another name is at one of the two for
// readers at all times, and in listings once.
//
// It goes through the store's listing and asks for each object what keys it names, which are one or two small requests, and
// then moves those that have to be. What is moved names its key itself: after a crash, or an error, call it again, and what is
// done is not done again. To not look at it again either, keep [ResealProgress].Checkpoint. At the end it counts what is left,
// in two requests for each object, which is nothing unless others changed an object again and again, an object does not open, or processes still seal with an older key: those see a
// rotation within [keys.Options].SuspendWithin, and writers that began before that seal with the older key until they are closed.
// If something is left that others were in the way of it goes through all again, up to five times.
//
// Each object that is moved passes the authorizer as a write, and is in the audit trail before it is read
// ([audit.CodeBlobReseal]); to look at a page of objects is a listing. Nothing is released to the caller. The tenant's keys are
// asked for anew with each page and object: a suspension ends it.
//
// An object that does not open stays as it is, raises an alert and is counted; the rest goes on, and in the end the error wraps
// [storage.ErrIsolation], or [keys.ErrKeyDisabled] where its key is a disabled one of the tenant. Too many of them end it.
// An older version of an object that somebody with access to the store puts back is moved like any other.
//
// A process that is killed may leave a version that was not finished: on files in a directory that no listing shows, as every
// writer that is killed, and a Reseal an hour later deletes it; on S3 the parts of an upload, as every writer that is killed, which a lifecycle rule of the bucket's
// (AbortIncompleteMultipartUpload) or package s3leftovers clears. They are sealed. Where names are sealed it may leave a mark at an
// object's newest name, which nobody sees, and which is counted with those that need its keys; if the object is deleted before
// the next Reseal takes the mark away, IfNotExist is refused there until then, but for a bucket with [Options].IfMatch or SoleProcess.
func Reseal(ctx context.Context, b *blob.Bucket, opts *ResealOptions) (*ResealReport, error) {
	var o ResealOptions
	if opts != nil {
		o = *opts
	}
	inner := guarded(b)
	if inner == nil {
		return nil, errors.New("blobs: Reseal needs a bucket that Open or Wrap returned")
	}
	if o.IfMatch == nil && !o.SoleProcess {
		o.IfMatch, o.SoleProcess = inner.ifMatch, inner.soleProcess
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	r := newResealer(inner, o)
	err := r.run(ctx)
	return &r.report, err
}

func (o *ResealOptions) complete() error {
	var problems []error
	if o.Purposes == nil {
		o.Purposes = []keys.Purpose{keys.PurposeData, keys.PurposeBlobs, keys.PurposeNames}
	}
	for _, p := range o.Purposes {
		if p != keys.PurposeData && p != keys.PurposeBlobs && p != keys.PurposeNames {
			problems = append(problems, fmt.Errorf("blobs: Reseal does not move the purpose %q; use keys.PurposeData, keys.PurposeBlobs and keys.PurposeNames", string(p)))
		}
	}
	if len(o.Purposes) == 0 {
		problems = append(problems, errors.New("blobs: ResealOptions.Purposes names none; leave it nil for all"))
	}
	switch {
	case o.IfMatch != nil && o.SoleProcess:
		problems = append(problems, errors.New("blobs: ResealOptions has IfMatch and SoleProcess; a store with conditional writes needs IfMatch alone"))
	case o.IfMatch == nil && !o.SoleProcess && !o.DryRun:
		problems = append(problems, errors.New("blobs: Reseal could destroy what others write meanwhile; set ResealOptions.IfMatch (s3match.IfMatch on S3), "+
			"or SoleProcess on files and memory if all writers use this bucket in this process"))
	}
	if o.Concurrency == 0 {
		o.Concurrency = 4
	}
	if o.Concurrency < 1 || o.Concurrency > 64 {
		problems = append(problems, fmt.Errorf("blobs: ResealOptions.Concurrency is %d; use 1 to 64", o.Concurrency))
	}
	if o.BytesPerSecond < 0 || o.ObjectsPerSecond < 0 {
		problems = append(problems, errors.New("blobs: ResealOptions.BytesPerSecond or ObjectsPerSecond is negative; leave it zero for no limit"))
	}
	return errors.Join(problems...)
}
