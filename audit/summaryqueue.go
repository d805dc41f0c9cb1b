package audit

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const (
	// maxSummaries bounds the bytes of summaries that wait to be signed, and of those that wait until they can be written.
	maxSummaries = 16 << 20
	// signingSummaries is how long the writer signs summaries at a time, and atOnce how many it signs at most. They are many where the
	// log was opened without its state, and a signer may be a service that takes long for each.
	signingSummaries = 25 * time.Millisecond
	atOnce           = 64
)

// summaryQueue are summaries that wait to be signed, the oldest first. What is too much for it goes, the oldest first: Retain makes it.
type summaryQueue struct {
	waiting []*packedSummary
	bytes   int
}

// weight is about what a summary takes.
func (p *packedSummary) weight() int { return 256 + len(p.Tenants) + len(p.Nodes) + 32*len(p.Codes) }

// add takes in one, nil for one that cannot be made.
func (q *summaryQueue) add(p *packedSummary) {
	if p == nil {
		return
	}
	q.waiting, q.bytes = append(q.waiting, p), q.bytes+p.weight()
	for q.bytes > maxSummaries {
		q.take()
	}
}

func (q *summaryQueue) take() *packedSummary {
	p := q.waiting[0]
	q.waiting[0] = nil
	q.waiting, q.bytes = q.waiting[1:], q.bytes-p.weight()
	return p
}

// due tells whether there is one of a segment behind which events are sealed.
func (q *summaryQueue) due(sealed int64) bool {
	return len(q.waiting) > 0 && q.waiting[0].end() < sealed
}

// sign signs some of those that are due, for about so long.
func (q *summaryQueue) sign(signer note.Signer, sealed int64, long time.Duration) (files []summaryFile) {
	for began := time.Now(); q.due(sealed); {
		if f, err := q.take().sign(signer); err == nil {
			files = append(files, f)
		}
		if len(files) == atOnce || time.Since(began) > long {
			break
		}
	}
	return files
}

// stuckSummaries are signed summaries that could not be written. Making them means to read the log, so they are kept until they can be.
type stuckSummaries struct {
	mu    sync.Mutex
	files map[int64]summaryFile
	bytes int
	over  map[int64]bool // those for which there was no room, which are made anew once one of the others could be written
}

// put keeps one, of which there is nothing to be kept if it has no content.
func (s *stuckSummaries) put(f summaryFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files, s.over = map[int64]summaryFile{}, map[int64]bool{}
	}
	if _, there := s.files[f.first]; there {
		return // a segment has one
	}
	if f.content == nil || s.bytes+len(f.content) > maxSummaries && len(s.files) > 0 {
		s.over[f.first] = true
		return
	}
	s.files[f.first], s.bytes = f, s.bytes+len(f.content)
}

// retry writes those of segments before an index, and takes out of missing the ones whose summaries need not be made, since they are
// there now or could not be written either. It returns why the first could not.
func (s *stuckSummaries) retry(missing map[int64]bool, before int64, write func(summaryFile) error) (stuck error) {
	files, over := s.take(before)
	healed := len(files) == 0
	for _, f := range files {
		if !missing[f.first] {
			continue // it has one, or is deleted
		}
		delete(missing, f.first)
		err := write(f)
		if err != nil {
			s.put(f)
		}
		if healed = healed || err == nil; stuck == nil {
			stuck = err
		}
	}
	for _, first := range over {
		if missing[first] && !healed {
			delete(missing, first)
			s.put(summaryFile{first: first})
		}
	}
	return stuck
}

// take takes those of segments before an index, the oldest first.
func (s *stuckSummaries) take(before int64) (files []summaryFile, over []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for first, f := range s.files {
		if first < before {
			files = append(files, f)
			delete(s.files, first)
			s.bytes -= len(f.content)
		}
	}
	for first := range s.over {
		if first < before {
			over = append(over, first)
			delete(s.over, first)
		}
	}
	slices.SortFunc(files, func(a, b summaryFile) int { return cmp.Compare(a.first, b.first) })
	return files, over
}
