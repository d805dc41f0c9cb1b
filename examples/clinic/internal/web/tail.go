package web

import (
	"context"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// Tail keeps the newest events of an audit log in memory, for the page that shows them.
type Tail struct {
	mu      sync.Mutex
	newest  []audit.Entry
	seen    int           // how many there were, also those that are gone from newest
	changed chan struct{} // closed when there are more
}

// kept is how many events a page may show.
const kept = 400

// NewTail returns an empty tail.
func NewTail() *Tail { return &Tail{changed: make(chan struct{})} }

// Follow reads the log in dir as it is written, until ctx ends. A log that is not there yet is waited for.
func (t *Tail) Follow(ctx context.Context, dir string, log *slog.Logger) {
	since := time.Now().Add(-time.Hour)
	for ctx.Err() == nil {
		opts := &audit.WatchOptions{Filter: &audit.Filter{Since: since}, Every: 100 * time.Millisecond, Cut: func(_ string, from int64) { t.cut(from) }}
		for e, err := range audit.Watch(ctx, []string{dir}, opts) {
			if err != nil {
				log.Warn("the trail cannot be read yet", slog.Any("error", err))
				break
			}
			t.add(e)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// add adds an event that is not there yet. Whoever has to begin anew reads events again: their times are no place to go on from, since many
// have the same one, and some come behind others that are newer.
func (t *Tail) add(e audit.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := sort.Search(len(t.newest), func(i int) bool { return t.newest[i].Index >= e.Index })
	if i < len(t.newest) {
		switch at := t.newest[i]; {
		case at.Index > e.Index, at.UID == e.UID:
			return
		}
		t.newest = t.newest[:i] // it was cut off since
	}
	t.newest = append(t.newest, e)
	if len(t.newest) > 2*kept {
		t.newest = append([]audit.Entry(nil), t.newest[kept:]...)
	}
	t.seen++
	close(t.changed)
	t.changed = make(chan struct{})
}

// cut forgets events that a crash left behind and that were never acknowledged.
func (t *Tail) cut(from int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, e := range t.newest {
		if e.Index >= from {
			t.newest = t.newest[:i]
			return
		}
	}
}

// Newest returns the newest events, oldest first, and how many were seen so far.
func (t *Tail) Newest() ([]audit.Entry, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]audit.Entry(nil), t.newest[max(0, len(t.newest)-kept):]...), t.seen
}

// Wait returns when more than so many events have been seen, or ctx has ended.
func (t *Tail) Wait(ctx context.Context, after int) {
	for ctx.Err() == nil {
		t.mu.Lock()
		seen, changed := t.seen, t.changed
		t.mu.Unlock()
		if seen > after {
			return
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}
