package audit

import "runtime"

// sharing is for how many more batches several callers are taken to record at a time. Where they do, whoever is ready runs first, and if
// it is about to record, shares the write that is to come. Nobody waits for who is not ready. Who is alone gains nothing by it, and
// loses what it costs to wake a thread.
type sharing int

// note notes for how many callers a batch is: where several wait for it, the next ones are taken to be for several, too.
func (s *sharing) note(callers int) {
	const batches = 64
	if *s = max(0, *s-1); callers > 1 {
		*s = batches
	}
}

// yield lets those run that are ready.
func (s sharing) yield() {
	if s > 0 {
		runtime.Gosched()
	}
}
