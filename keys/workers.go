package keys

import "time"

// workers are goroutines that are used again, because opening a tenant grows a new goroutine's stack several times, and
// that costs as much as a keyset.
type workers struct {
	idle chan func() // unbuffered: received from by goroutines that have nothing to do
	done <-chan struct{}
}

// idleTime is how long a goroutine waits for another flight.
const idleTime = 10 * time.Second

func newWorkers(done <-chan struct{}) *workers { return &workers{make(chan func()), done} }

// start has a goroutine run the job; nil is none.
func (w *workers) start(job func()) {
	if job == nil {
		return
	}
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
