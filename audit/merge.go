package audit

import (
	"context"
	"fmt"
	"iter"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// ReadAll returns the entries of several logs as one sequence by time, as [Read] does those of one: the logs of a service's
// processes. Entries of one log stay in its order, whatever its clock did; [Entry.Log] tells them apart, but for events that a [Stream] brought, which name their trail. Two directories
// with one log in them are an error, since every event would be there twice.
func ReadAll(ctx context.Context, dirs []string, filter *Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		names := map[string]string{}
		var logs []iter.Seq2[Entry, error]
		filters := filter.share(len(dirs))
		for i, dir := range dirs {
			c, err := readConfig(vfs.OS{}, dir)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if other, twice := names[c.Origin]; twice {
				yield(Entry{}, sameLog(other, dir, c.Origin))
				return
			}
			names[c.Origin] = dir
			logs = append(logs, Read(ctx, dir, filters[i]))
		}
		merge(logs, yield)
	}
}

func sameLog(dir, other, origin string) error {
	return fmt.Errorf("audit: %s and %s hold one log, %s; give each log once", dir, other, origin)
}

// merge yields the entries of several logs by time, and the first error there is.
func merge(all []iter.Seq2[Entry, error], yield func(Entry, error) bool) {
	var logs []*reading
	defer func() {
		for _, l := range logs {
			l.stop()
		}
	}()
	for _, entries := range all {
		l := &reading{}
		l.next, l.stop = iter.Pull2(entries)
		logs = append(logs, l)
		if !l.advance() && l.err != nil {
			yield(Entry{}, l.err)
			return
		}
	}
	for {
		var first *reading
		for _, l := range logs {
			if !l.done && (first == nil || l.entry.Time.Before(first.entry.Time)) {
				first = l
			}
		}
		if first == nil || !yield(first.entry, nil) {
			return
		}
		if !first.advance() && first.err != nil {
			yield(Entry{}, first.err)
			return
		}
	}
}

// reading is one log on its way into the sequence.
type reading struct {
	next  func() (Entry, error, bool)
	stop  func()
	entry Entry
	done  bool
	err   error
}

func (l *reading) advance() bool {
	e, err, ok := l.next()
	l.entry, l.err, l.done = e, err, !ok || err != nil
	return !l.done
}
