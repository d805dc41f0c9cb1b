package keys

import (
	"bytes"
	"context"
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
	return fmt.Errorf("%w: the keys of tenant %s took long to be stored, and open no more: %w", ErrUnavailable, id, err)
}

// provisionedLate deletes the first record of a tenant if it does not open.
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
	if derr := r.store.Delete(within, f.id, version); derr != nil {
		r.book.mu.Lock()
		r.book.doubt(f)
		r.book.mu.Unlock()
		return fmt.Errorf("%w; their record could not be deleted: delete it, and provision the tenant anew: %w", err, derr)
	}
	r.ask(within, f, nil) // that it is gone
	return fmt.Errorf("%w; their record was deleted: repeat the call", err)
}

// rewrappedLate tries those that were stored late, and puts back what was wrapped before where one does not open: where the tenant
// came from another KEK, that one still opens.
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
			d.end(r.putBack(ctx, &d.rec, d.a.rec.WrappedRoot, storedLate(d.id, x.err)))
		}
	})
}

// putBack puts back what was wrapped before, unless somebody has wrapped it anew, and returns the error that is given with what came
// of that.
func (r *Keyring) putBack(ctx context.Context, rec *envelope.Record, before []byte, err error) error {
	within, cancel := r.afterwards(ctx)
	defer cancel()
	late := rec.WrappedRoot
	serr := r.swap(within, rec.Tenant, func(now *envelope.Record) (bool, error) {
		same := bytes.Equal(now.WrappedRoot, late)
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
