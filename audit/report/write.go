package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// Write reads all events, oldest first, and writes the page. Opts may be nil. A filter that nothing can match is an error: see [audit.Filter.Check].
//
// Where the sequence ends with an error that wraps [audit.ErrTampered], the page is written with what came before, says so on
// top, and Write returns that error. With any other error nothing is written.
func Write(w io.Writer, events iter.Seq2[audit.Entry, error], opts *Options) error {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.Filter.Check(); err != nil {
		return err
	}
	o.Title = cmp.Or(o.Title, "Access report")
	if o.Made.IsZero() {
		o.Made = time.Now()
	}
	parts, err := loadParts()
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	limits := o.Limits.withDefaults()
	c := newCollector(&o, limits)
	var damage error
	for e, err := range events {
		if errors.Is(err, audit.ErrTampered) {
			damage = err
			break
		}
		if err != nil {
			return err
		}
		c.add(&e)
	}
	p := &page{Style: parts.style, Script: parts.script, Policy: parts.policy}
	p.fill(c, &o, limits, damage)
	if err := parts.template.Execute(w, p); err != nil {
		return fmt.Errorf("report: writing the page: %w", err)
	}
	return damage
}
