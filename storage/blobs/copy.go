package blobs

import (
	"context"
	"errors"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/tenant"
)

// Copy implements driver.Bucket. The key is part of what authenticates an object, so a copy is opened and sealed
// again, streaming, in this process. It passes the gate twice: to read the source and to write the destination.
func (b *bucket) Copy(ctx context.Context, dstKey, srcKey string, opts *driver.CopyOptions) error {
	details := map[string]string{"from": srcKey, "to": dstKey}
	readOp, writeOp := b.op(audit.CodeBlobCopy, tenant.Read, srcKey), b.op(audit.CodeBlobCopy, tenant.Write, dstKey)
	readOp.Details, writeOp.Details = details, details
	from, srcPlace, err := b.enterOp(ctx, readOp)
	if err != nil {
		return err
	}
	to, dstPlace, err := b.enterOp(ctx, writeOp)
	if err != nil {
		return b.leave(ctx, from, srcKey, gate.Result{Rows: -1, Bytes: 0, Err: err})
	}
	ctx = to.Context(ctx)
	if err = hook(opts.BeforeCopy); err != nil {
		return b.leaveCopy(ctx, from, to, srcKey, 0, false, err)
	}
	n, unknown, err := b.copy(ctx, from, to, srcKey, srcPlace, dstKey, dstPlace)
	return b.leaveCopy(ctx, from, to, srcKey, n, unknown, err)
}

func (b *bucket) copy(ctx context.Context, from, to *gate.Pass, srcKey string, srcPlace place, dstKey string, dstPlace place) (n int64, unknown bool, err error) {
	var src *object
	err = b.find(ctx, from, srcKey, srcPlace, func(k tenantkeys.Keys, p place) (err error) {
		src, err = b.open(ctx, k, srcKey, p, 0, -1)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	attrs := *src.stat.sealed
	attrs.Imported = nil
	dst, err := b.create(ctx, to, dstKey, dstPlace, &attrs, &blob.WriterOptions{})
	if err != nil {
		return 0, false, errors.Join(err, src.close())
	}
	if _, err = io.CopyBuffer(dst, struct{ io.Reader }{src}, make([]byte, segmentSize)); err != nil && dst.err == nil {
		dst.err = err
	}
	if closed := src.close(); dst.err == nil {
		dst.err = closed
	}
	if err := dst.commit(); err != nil {
		return 0, dst.unknown, err
	}
	return dst.written, false, nil
}

// leaveCopy leaves both passes; unknown is whether the destination came to be. One cause is one alert, of the source, since nothing of the destination is opened.
func (b *bucket) leaveCopy(ctx context.Context, from, to *gate.Pass, srcKey string, n int64, unknown bool, err error) error {
	r := gate.Result{Rows: -1, Bytes: n, Err: err}
	left := b.leave(ctx, from, srcKey, r)
	r.Unknown = unknown
	if unrecorded := to.Leave(ctx, r); unrecorded != nil {
		if left == nil {
			return unrecorded
		}
		return errors.Join(unrecorded, left)
	}
	return left
}
