package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// maxFailures is how many tenants may fail one after the other before a command over all of them gives up.
const maxFailures = 10

func allFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "all", Usage: "all tenants that are not shredded, in place of one"},
		&cli.StringFlag{Name: "after", Usage: "with -all, only tenants whose id is behind `TENANT`", OnlyOnce: true},
	}
}

// doneShape is the last line of a command over all tenants.
type doneShape struct {
	Command string `json:"command"`
	Done    int    `json:"done"`
	Failed  int    `json:"failed"`
}

// failedShape is the line of a tenant that failed.
type failedShape struct {
	Command string `json:"command"`
	Tenant  string `json:"tenant"`
	Error   string `json:"error"`
	Class   string `json:"class"`
}

// maxParallel bounds how many tenants are worked on at a time.
const maxParallel = 64

// each does something for the tenant that is named, or with -all for all. A tenant that fails does not keep the others from
// their turn. Do prints what it did, and is called concurrently where there is a flag -parallel.
func (c *call) each(ctx context.Context, what opening, do func(ctx context.Context, s *session, id tenant.ID) error) error {
	return c.eachOf(ctx, &overAll{call: c, do: do}, what)
}

// eachTogether is each for what many tenants can have done by few calls to the provider that has their key. Said prints what was done.
func (c *call) eachTogether(ctx context.Context, what opening, together func(context.Context, *session, iter.Seq[tenant.ID]) iter.Seq2[tenant.ID, error], said func(tenant.ID) error) error {
	do := func(ctx context.Context, s *session, id tenant.ID) error {
		for _, err := range together(ctx, s, slices.Values([]tenant.ID{id})) {
			if err != nil {
				return err
			}
		}
		return said(id)
	}
	return c.eachOf(ctx, &overAll{call: c, do: do, together: together, said: said}, what)
}

func (c *call) eachOf(ctx context.Context, run *overAll, what opening) error {
	after, err := afterFlag(c)
	parallel := c.Int("parallel")
	switch {
	case err != nil:
		return err
	case c.Bool("all") == (c.NArg() > 0):
		return usagef("%s needs a tenant's id or -all", c.Name)
	case (after != "" || parallel != 0) && !c.Bool("all"):
		return usagef("-after and -parallel belong to -all")
	case parallel < 0 || parallel > maxParallel:
		return usagef("-parallel is 1 to %d", maxParallel)
	case !c.Bool("all"):
		ctx, id, s, err := c.begin(ctx, what)
		if err != nil {
			return err
		}
		return run.do(ctx, s, id)
	}
	s, err := c.open(ctx, what)
	if err != nil {
		return err
	}
	total, err := count(ctx, s.store, after)
	if err != nil {
		return err
	}
	if run.together != nil && parallel == 0 && s.openSharing(ctx) {
		parallel = keys.MaxBatch
	}
	run.s, run.bar, run.parallel = s, c.progress(c.Name, total), max(1, parallel)
	defer run.bar.done()
	if err := run.all(ctx, after); err != nil {
		return err
	}
	if err := c.print(doneShape{c.Name, run.done, run.failed}, "%s: %d tenants are done, %d failed", c.Name, run.done, run.failed); err != nil {
		return err
	}
	if run.failed > 0 {
		return fmt.Errorf("%d tenants failed: see above, and repeat the command for them", run.failed)
	}
	return nil
}

// overAll is a command over all tenants under way.
type overAll struct {
	*call
	s            *session
	do           func(context.Context, *session, tenant.ID) error
	together     func(context.Context, *session, iter.Seq[tenant.ID]) iter.Seq2[tenant.ID, error] // in place of do, or nil
	said         func(tenant.ID) error
	bar          *progress
	parallel     int
	n            int64 // that have had their turn
	done, failed int
	inARow       int
}

// turn is a tenant's.
type turn struct {
	keys.Listed
	err error
}

func (r *overAll) all(ctx context.Context, after string) error {
	var turns []turn
	for l, err := range r.s.ring.Tenants(ctx) {
		if err != nil && l.ID.IsZero() {
			return err
		}
		if l.ID.String() <= after {
			continue
		}
		if turns = append(turns, turn{l, err}); len(turns) == r.parallel {
			if err := r.take(ctx, turns); err != nil {
				return err
			}
			turns = turns[:0]
		}
	}
	return r.take(ctx, turns)
}

// take gives tenants their turns, all at a time. Where one goes on after an interruption is behind the last of those whose
// neighbours have had theirs too.
func (r *overAll) take(ctx context.Context, turns []turn) error {
	var due []*turn
	for i := range turns {
		if t := &turns[i]; t.err == nil && t.Status != keys.StatusShredded {
			due = append(due, t)
		}
	}
	if err := r.turns(ctx, due); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, t := range turns {
		r.n++
		r.bar.at(r.n, t.ID.String())
		r.resume = fmt.Sprintf("go on with keyctl %s -all -after %s and the other flags", r.Name, t.ID)
		if err := r.settle(t.Listed, t.err); err != nil {
			return err
		}
	}
	return nil
}

// turns gives tenants their turns.
func (r *overAll) turns(ctx context.Context, due []*turn) error {
	if r.together == nil {
		var wait sync.WaitGroup
		for _, t := range due {
			wait.Go(func() { t.err = r.one(ctx, t.ID) })
		}
		wait.Wait()
		return nil
	}
	ctx, err := r.as(ctx, nobodys)
	if err != nil {
		return err
	}
	n := 0
	for id, err := range r.together(ctx, r.s, func(yield func(tenant.ID) bool) {
		for _, t := range due {
			if !yield(t.ID) {
				return
			}
		}
	}) {
		if id.IsZero() { // it ended before its time
			return err
		}
		if t := due[n]; err != nil {
			t.err = err
		} else {
			t.err = r.said(id)
		}
		n++
	}
	return nil
}

func (r *overAll) one(ctx context.Context, id tenant.ID) error {
	ctx, err := r.as(ctx, id)
	if err != nil {
		return err
	}
	return r.do(ctx, r.s, id)
}

// settle counts a tenant, and reports a failure. It gives up where nothing can succeed any more.
func (r *overAll) settle(l keys.Listed, err error) error {
	var f *failure
	switch {
	case errors.As(err, &f) && (f.class == "usage" || f.class == "config"):
		return err // it is not about the tenant
	case err == nil && l.Status == keys.StatusShredded:
	case err == nil:
		r.done++
		r.inARow = 0
	default:
		r.failed++
		r.inARow++
		text := r.withheld(err.Error())
		if err := r.print(failedShape{r.Name, l.ID.String(), text, classOf(err)}, "%s: %s: FAILED: %s", r.Name, l.ID, text); err != nil {
			return err
		}
	}
	if r.inARow >= maxFailures {
		return fmt.Errorf("gave up after %d tenants in a row failed, at last %s; %s", r.inARow, l.ID, r.resume)
	}
	return nil
}

// count returns how many tenants the store has behind one.
func count(ctx context.Context, store keys.Store, after string) (n int64, err error) {
	const page = 10_000
	var last tenant.ID
	if after != "" {
		last = tenant.MustParse(after)
	}
	for {
		ids, err := store.List(ctx, last, page)
		if err != nil {
			return n, err
		}
		if n += int64(len(ids)); len(ids) == 0 {
			return n, nil
		}
		last = ids[len(ids)-1]
	}
}
