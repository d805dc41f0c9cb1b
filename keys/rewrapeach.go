package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// RewrapEach is [Keyring.Rewrap] for many tenants: where the KEK provider is a [BatchKEK], by two of its calls for up to
// [MaxBatch] of them, one that rewraps and one that tries whether what it returned opens; those that were stored more than a second
// later are tried by a third. Each tenant is yielded in the order of
// ids, with its own error, once its turn is over, and each has its own two events. It may be repeated, and interrupted at any
// time. Where ctx ends, or the keyring is closed, the last error is yielded without a tenant.
func (r *Keyring) RewrapEach(ctx context.Context, ids iter.Seq[tenant.ID], reason string) iter.Seq2[tenant.ID, error] {
	return func(yield func(tenant.ID, error) bool) {
		together := make([]tenant.ID, 0, MaxBatch)
		do := func() bool {
			err := ctx.Err()
			if r.book.closed.Load() {
				err = ErrClosed
			}
			if err != nil {
				yield(tenant.ID{}, err)
				return false
			}
			for i, d := range r.rewrapTogether(ctx, together, reason, nil) {
				if !yield(together[i], d.err) {
					return false
				}
			}
			together = together[:0]
			return true
		}
		for id := range ids {
			if together = append(together, id); len(together) == MaxBatch && !do() {
				return
			}
		}
		if len(together) > 0 {
			do()
		}
	}
}

// rewrapping is a tenant whose root keyset is being rewrapped with those of others.
type rewrapping struct {
	id    tenant.ID
	trail *trail
	about *inflight
	a     answer
	rec   envelope.Record // as it is to be stored
	begun time.Duration   // before it was wrapped
	asked bool            // the KEK provider was asked to
	alone bool            // it could not be done together
	moved bool            // it is stored
	done  bool            // there is nothing more to do, and err says how it went
	err   error
}

// end settles how it went.
func (d *rewrapping) end(err error) { d.done, d.err = true, err }

// maxStorers is how many records are read, or stored, at a time.
const maxStorers = 8

// rewrapTogether rewraps up to MaxBatch tenants: those of whose record needed is true, or all where it is nil.
func (r *Keyring) rewrapTogether(ctx context.Context, ids []tenant.ID, reason string, needed func(*envelope.Record) bool) []*rewrapping {
	all := make([]*rewrapping, len(ids))
	for i, id := range ids {
		d := &rewrapping{id: id}
		all[i] = d
		if err := r.usable(ctx, id); err != nil {
			d.end(err)
		} else if err := checkReason(reason); err != nil {
			d.end(err)
		}
	}
	r.joinedAll(all, func() {
		within, cancel := context.WithTimeout(ctx, r.opts.storedWithin())
		defer cancel()
		pending(all, func(d *rewrapping) { r.readToRewrap(within, d, needed) })
		r.recordIntents(ctx, all, reason)
		within, cancel = context.WithTimeout(ctx, r.opts.storedWithin())
		defer cancel()
		r.rewrapGroups(within, all)
		pending(all, func(d *rewrapping) {
			if !d.alone {
				r.storeRewrapped(within, d)
			}
		})
		r.rewrappedLate(ctx, all)
	})
	pending(all, func(d *rewrapping) {
		err := r.rewrap(ctx, d.id) // alone, or after a conflict
		d.moved = err == nil
		d.end(err)
	})
	within, cancel := r.lookBack(ctx) // for all
	defer cancel()
	each(all, func(d *rewrapping) {
		if d.err = r.notInTime(ctx, d.err); d.err != nil && d.asked {
			d.err = r.leftBehind(within, d.id, d.err)
		}
		if d.trail != nil {
			d.err = d.trail.outcome(ctx, d.err)
		}
	})
	return all
}

// each does something for each, several at a time.
func each(all []*rewrapping, do func(*rewrapping)) {
	var wait sync.WaitGroup
	turns := make(chan struct{}, maxStorers)
	for _, d := range all {
		turns <- struct{}{}
		wait.Go(func() {
			defer func() { <-turns }()
			do(d)
		})
	}
	wait.Wait()
}

// pending is each, of those that are not done.
func pending(all []*rewrapping, do func(*rewrapping)) {
	var left []*rewrapping
	for _, d := range all {
		if !d.done {
			left = append(left, d)
		}
	}
	each(left, do)
}

// joinedAll is joined for all that are not done.
func (r *Keyring) joinedAll(all []*rewrapping, do func()) {
	b := r.book
	b.mu.Lock()
	for _, d := range all {
		if !d.done {
			d.about = b.join(d.id)
		}
	}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, d := range all {
			if d.about != nil {
				b.leave(d.about)
			}
		}
	}()
	do()
}

// readToRewrap reads the record, as swapOnce does.
func (r *Keyring) readToRewrap(ctx context.Context, d *rewrapping, needed func(*envelope.Record) bool) {
	d.a = r.ask(ctx, d.about, nil)
	switch {
	case d.a.verdict == late:
		d.alone = true
	case d.a.err != nil:
		d.end(d.a.err)
	case d.a.rec.State == envelope.StateShredded:
		d.end((&entry{id: d.id, state: d.a.rec.State}).refusal())
	case needed != nil && !needed(d.a.rec):
		d.end(nil)
	default:
		d.rec = *d.a.rec // the entry keeps the one that was read
	}
}

// recordIntents records what is about to be done. The sealers of the events are opened together.
func (r *Keyring) recordIntents(ctx context.Context, all []*rewrapping, reason string) {
	if r.opts.Audit != nil {
		var ids []tenant.ID
		for _, d := range all {
			if !d.done {
				ids = append(ids, d.id)
			}
		}
		r.openAhead(ids)
	}
	pending(all, func(d *rewrapping) {
		t, err := r.trail(audit.CodeKeyRotate, d.id, r.quickSealer(ctx, d.id), reason)
		if err == nil {
			t.about = "root"
			err = t.intend(ctx)
		}
		if err != nil {
			d.end(err)
			return
		}
		d.trail = t
	})
}

// rewrapGroups asks the KEK provider, by two calls for all of a group: what it rewrapped must open before it is stored.
func (r *Keyring) rewrapGroups(ctx context.Context, all []*rewrapping) {
	for _, of := range r.groupRewrapped(ctx, all) {
		for _, d := range of {
			d.begun, d.asked = r.opts.clock(), true
		}
		r.rewrapGroup(ctx, of)
	}
}

// groupRewrapped returns those that can be asked about together, by their groups, and notes of the others that they cannot.
func (r *Keyring) groupRewrapped(ctx context.Context, all []*rewrapping) map[string][]*rewrapping {
	var left []*rewrapping
	var wrapped []Wrapped
	for _, d := range all {
		if !d.done && !d.alone {
			left, wrapped = append(left, d), append(wrapped, Wrapped{d.id, d.rec.WrappedRoot})
		}
	}
	groups := map[string][]*rewrapping{}
	for i, group := range r.groupsOf(ctx, wrapped) {
		d := left[i]
		if d.alone = group == ""; !d.alone {
			groups[group] = append(groups[group], d)
		}
	}
	return groups
}

func (r *Keyring) rewrapGroup(ctx context.Context, all []*rewrapping) {
	all = r.askTogether(ctx, "rewrap", r.rewrapBatch, all, func(d *rewrapping, wrapped []byte) error {
		if len(wrapped) == 0 {
			return fmt.Errorf("%w: the KEK provider returned nothing for tenant %s", ErrIntegrity, d.id)
		}
		d.rec.WrappedRoot = wrapped
		if bytes.Equal(wrapped, d.a.rec.WrappedRoot) {
			d.end(nil)
		}
		return nil
	})
	r.askTogether(ctx, "unwrap", r.unwrapBatch, all, func(d *rewrapping, payload []byte) error {
		root, err := rootOf(&d.rec, Result{Bytes: payload})
		if err != nil {
			return err
		}
		return opens(root, &d.rec)
	})
}

// askTogether asks the KEK provider about all, and returns those to go on with.
func (r *Keyring) askTogether(ctx context.Context, what string, ask func(context.Context, []Wrapped) ([]Result, error),
	all []*rewrapping, take func(*rewrapping, []byte) error) (left []*rewrapping) {
	if len(all) == 0 {
		return nil
	}
	wrapped := make([]Wrapped, len(all))
	for i, d := range all {
		wrapped[i] = Wrapped{d.id, d.rec.WrappedRoot}
	}
	results, err := ask(ctx, wrapped)
	for i, d := range all {
		switch {
		case errors.Is(err, ErrUnavailable), err != nil && ctx.Err() != nil:
			d.end(fmt.Errorf("keys: %s the root keyset of tenant %s: %w", what, d.id, err))
		case err != nil:
			d.alone = true // one may be why there was no answer for all
		case results[i].Err != nil:
			d.end(fmt.Errorf("keys: %s the root keyset of tenant %s: %w", what, d.id, results[i].Err))
		default:
			if err := take(d, results[i].Bytes); err != nil {
				d.end(err)
			}
		}
		if !d.done && !d.alone {
			left = append(left, d)
		}
	}
	return left
}

// storeRewrapped stores the record, unless somebody has changed it since.
func (r *Keyring) storeRewrapped(ctx context.Context, d *rewrapping) {
	_, err := r.put(ctx, d.about, &d.rec, d.a.version, opened{}, 0)
	if errors.Is(err, ErrConflict) {
		d.alone = true
		return
	}
	d.moved = err == nil
	d.end(err)
}
