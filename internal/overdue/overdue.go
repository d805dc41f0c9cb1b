// Package overdue keeps questions to the application that never end from adding up. Such a question is asked on a goroutine of its own,
// which nobody can end. Whoever stops waiting for one says so, and until it ends nobody asks about the same again: so there is one goroutine
// for each that hangs, and not one for each time that somebody wants to know.
package overdue

import "sync"

// Questions are those that are asked of one part of the application, each about an ID. The zero value is ready for use.
type Questions[ID comparable] struct {
	mu   sync.Mutex
	lost map[ID]int // for which nobody waits any more, and that have not ended
}

// Question is one that is asked.
type Question[ID comparable] struct {
	of          *Questions[ID]
	about       ID
	ended, lost bool // under mu
}

// Begin notes a question that is about to be asked. It is not to be where ok is false: an earlier one about the same does not end.
func (all *Questions[ID]) Begin(about ID) (q *Question[ID], ok bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.lost[about] > 0 {
		return nil, false
	}
	return &Question[ID]{of: all, about: about}, true
}

// End notes that it has ended.
func (q *Question[ID]) End() {
	q.of.mu.Lock()
	defer q.of.mu.Unlock()
	if q.ended = true; !q.lost {
		return
	}
	if q.of.lost[q.about]--; q.of.lost[q.about] == 0 {
		delete(q.of.lost, q.about)
	}
}

// GiveUp notes that nobody waits for it any more.
func (q *Question[ID]) GiveUp() {
	q.of.mu.Lock()
	defer q.of.mu.Unlock()
	if q.ended || q.lost {
		return
	}
	q.lost = true
	if q.of.lost == nil {
		q.of.lost = map[ID]int{}
	}
	q.of.lost[q.about]++
}
