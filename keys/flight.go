package keys

import "time"

// flight is a question under way, or about to be asked, which every caller that wants the same shares.
type flight struct {
	landed chan struct{} // closed when e and err are there
	e      *entry        // what was known when it landed
	err    error         // why there was no answer

	// Under the book's lock.
	queued   bool     // it waits for its turn
	question question // that was asked last
	job      func()   // until it was started
	given    bool     // up: nobody waits for it any more, though the call has not returned
}

func newFlight() *flight { return &flight{landed: make(chan struct{}), queued: true} }

// start starts a flight that was not started yet.
func (r *Keyring) start(f *flight) {
	if f != nil && f.job != nil {
		r.workers.start(f.take())
	}
}

// take returns what the flight does, for the caller to do it.
func (f *flight) take() func() {
	job := f.job
	f.job = nil
	return job
}

// patience is how long a call is waited for that should have ended after a time, because it does not listen to its
// context: one to a file system that hangs cannot. It keeps its turn until it does return.
func patience(timeout time.Duration) time.Duration {
	return timeout + max(timeout/8, 10*time.Millisecond)
}

// workers are goroutines that are used again, because opening a tenant grows a new goroutine's stack several times, and
// that costs as much as a keyset.
type workers struct {
	idle chan func() // unbuffered: received from by goroutines that have nothing to do
	done <-chan struct{}
}

// idleTime is how long a goroutine waits for another flight.
const idleTime = 10 * time.Second

func newWorkers(done <-chan struct{}) *workers { return &workers{make(chan func()), done} }

func (w *workers) start(job func()) {
	select {
	case w.idle <- job:
	default:
		go w.work(job)
	}
}

func (w *workers) work(job func()) {
	timer := time.NewTimer(idleTime)
	defer timer.Stop()
	for {
		job()
		timer.Reset(idleTime)
		select {
		case job = <-w.idle:
		case <-timer.C:
			return
		case <-w.done:
			return
		}
	}
}
