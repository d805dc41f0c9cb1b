package audit

// Stats are what a service watches of a log, beside [Log.Err].
type Stats struct {
	Waiting      int   // tenants with events that wait for the disk
	WaitingBytes int   // of those events
	Tenants      int   // whose events the log numbers and proves complete
	Refused      int64 // events refused since the log was opened, because their tenant's share of the queue was full
	TimedOut     int64 // events given up after Options.Timeout; they may be in the log
	Unnumbered   int64 // events of tenants that the log does not number: see [Options.Tenants]
	HeadsDue     int64 // tenants that wait for a head leaf
	Retention    error // why Options.Retention was not done the last time; nil where it was
}

// Stats returns what the log counts. It does not touch the disk.
func (l *Log) Stats() Stats {
	s := l.counters()
	s.HeadsDue = l.headsDue.Load()
	return s
}
