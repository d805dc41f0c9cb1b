package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// Whoever destroys versions of a KEK that tenants share waits for those who have wrapped a keyset and are about to store it
// ([Options.storedWithin]). A process that was stopped in between, or has a store that does not end when its time is over, or more time
// than the other knows of, stores what may open no more, and nobody looks at it again. So it does itself: what was stored and opens
// afterwards was stored before the versions were disabled, and is seen by whoever disabled them.

// promptly is how long it may take from before a root keyset is wrapped until it is stored without being tried once more.
const promptly = time.Second

// late reports whether a record that is stored now is to be tried once more.
func (r *Keyring) late(begun time.Duration) bool {
	return r.opts.clock()-begun >= min(promptly, r.opts.storedWithin())
}

// afterwards is the time for what must be done about such a record, whether somebody still waits or not.
func (r *Keyring) afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), r.opts.Timeout)
}

func storedLate(id tenant.ID, err error) error {
	return fmt.Errorf("%w: the keys of tenant %s took long to be stored, and do not open: %w", ErrUnavailable, id, err)
}

// provisionedLate tries the first record of a tenant. It deletes one that was wrapped by a version that is destroyed, which nobody can
// have opened; any other stays, for somebody may have sealed with its keys already.
func (r *Keyring) provisionedLate(ctx context.Context, f *inflight, rec *envelope.Record, version int64) error {
	within, cancel := r.afterwards(ctx)
	defer cancel()
	_, err := r.unwrapRoot(within, rec)
	if err == nil {
		return nil
	}
	err = storedLate(f.id, err)
	within, cancel = r.afterwards(ctx)
	defer cancel()
	gone, derr := r.destroyed(within, rec)
	if gone {
		derr = r.store.Delete(within, f.id, version)
	}
	r.book.mu.Lock()
	r.book.doubt(f)
	r.book.mu.Unlock()
	switch {
	case derr != nil:
		return fmt.Errorf("%w; repeat the call, and if that does not help, delete the tenant's record: %w", err, derr)
	case !gone:
		return fmt.Errorf("%w; repeat the call, and if that does not help, delete the tenant's record", err)
	}
	r.ask(within, f, nil) // that it is gone
	return fmt.Errorf("%w; their record was deleted: repeat the call", err)
}

// destroyed reports whether the version of a shared KEK that wrapped the record is destroyed. Whoever destroyed it has not seen the
// record, so that was stored after the version was disabled. A provider that does not return where it is asked has not said so,
// nor one that cannot tell: such a one says that even versions up to 0 are needed, of which there are none.
func (r *Keyring) destroyed(ctx context.Context, rec *envelope.Record) (bool, error) {
	if r.sharedOf == nil {
		return false, nil
	}
	shared, wrapped, err := r.sharedOf(ctx, Wrapped{rec.Tenant, rec.WrappedRoot})
	if err != nil || shared == nil {
		return false, err
	}
	key, err := guardedShared{shared}.SharedKey(ctx)
	if err != nil || key.Oldest <= 1 {
		return false, err
	}
	gone := false
	err = guarded(theKEK, func() error { gone = shared.Needs(wrapped, key.Oldest-1) && !shared.Needs(wrapped, 0); return nil })
	return gone && err == nil, err
}

// rewrappedLate tries those that were stored late. What was wrapped before is put back where that opens and the other does not, as
// where the tenant came from another KEK.
func (r *Keyring) rewrappedLate(ctx context.Context, all []*rewrapping) {
	var late []*rewrapping
	of := map[*rewrapping]*rewrapping{}
	for _, d := range all {
		if d.moved && r.late(d.begun) {
			x := &rewrapping{id: d.id, rec: d.rec}
			late, of[x] = append(late, x), d
		}
	}
	if len(late) == 0 {
		return
	}
	within, cancel := r.afterwards(ctx)
	defer cancel()
	r.unwrapAll(within, late)
	each(late, func(x *rewrapping) {
		if d := of[x]; x.err != nil {
			d.moved = false
			d.end(r.putBack(ctx, &d.rec, d.a.rec.WrappedRoot, x.err))
		}
	})
}

// putBack puts back what was wrapped before where the KEK provider refused what is stored now, unless somebody has wrapped that anew, and
// returns what is to be said of it. Where there was no answer nothing is put back: the versions that others need no more are those of
// before.
func (r *Keyring) putBack(ctx context.Context, rec *envelope.Record, before []byte, cause error) error {
	err := storedLate(rec.Tenant, cause)
	if !errors.Is(cause, ErrIntegrity) && !errors.Is(cause, ErrNotFound) {
		return fmt.Errorf("%w; repeat the call", err)
	}
	within, cancel := r.afterwards(ctx)
	defer cancel()
	was := *rec
	was.WrappedRoot = before
	if _, berr := r.unwrapRoot(within, &was); berr != nil {
		return fmt.Errorf("%w; nor does what was wrapped before: repeat the call, or restore the tenant's record: %w", err, berr)
	}
	serr := r.swap(within, rec.Tenant, func(now *envelope.Record) (bool, error) {
		same := bytes.Equal(now.WrappedRoot, rec.WrappedRoot)
		if same {
			now.WrappedRoot = before
		}
		return same, nil
	})
	if serr != nil {
		return fmt.Errorf("%w; what was wrapped before could not be put back: repeat the call, or restore the tenant's record: %w", err, serr)
	}
	return fmt.Errorf("%w; what was wrapped before was put back: repeat the call", err)
}
