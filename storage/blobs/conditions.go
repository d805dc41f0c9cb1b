package blobs

import (
	"context"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// versions is how this bucket's operations change the version that they read, and no other; nil where neither the store nor the
// caller sees to that. See [Options.IfMatch] and [Options.SoleProcess].
func (b *bucket) versions() replacement {
	switch {
	case b.ifMatch != nil:
		return &conditional{bucket: b, ifMatch: b.ifMatch}
	case b.soleProcess:
		return sole{b}
	}
	return nil
}

// unchanged returns errReplaced unless what is at a name still is the version that was read.
func (b *bucket) unchanged(ctx context.Context, name string, read *blob.Attributes) error {
	now, err := b.inner.Attributes(ctx, name)
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound:
		return errReplaced
	case err != nil:
		return fromStore(err)
	case !same(now, read):
		return errReplaced
	}
	return nil
}

// deleteVersion deletes the version that was read, if there is anything. It returns errReplaced where that is another by now.
func (b *bucket) deleteVersion(ctx context.Context, how replacement, name string, read *blob.Attributes) error {
	done, err := how.alone(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	now, err := b.inner.Attributes(ctx, name)
	if err == nil && !same(now, read) {
		return errReplaced
	}
	if err == nil {
		del := func() error { return b.inner.DeleteWithOptions(ctx, name, how.deletion(read)) }
		if _, conditional := how.(*conditional); conditional {
			err = del()
		} else {
			err = b.exclusion.keeping(name, del)
		}
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return nil
	case gcerrors.FailedPrecondition:
		return errReplaced
	}
	return fromStore(err)
}
