package audit

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/strongroom-go/strongroom/internal/telemetry"
)

// Telemetry says where spans, metrics and log lines go, for who operates a service; the trail is for who has to answer for it. It
// is given to [Options], keys.Options and storage.Guard; one value may serve all. Each field is optional, nil switches its kind
// off, and a nil *Telemetry everything: no global provider is ever asked. examples/TELEMETRY.md lists every span and metric.
//
// No value, parameter, literal, key, object's name, actor, purpose or error text is in any of it. Statements are in spans as
// they are in the trail, without their literals; errors are classes of a few words. Tenants' ids are not in it unless TenantIDs
// says so, and never in metrics.
type Telemetry struct {
	// TracerProvider gets spans around accesses and their parts. Optional.
	TracerProvider trace.TracerProvider
	// MeterProvider gets metrics. Optional.
	MeterProvider metric.MeterProvider
	// Logger gets a line for what operators should hear: denials (a warning each, which whoever sends requests can bring about;
	// a handler may sample them), alerts, changes of keys, and what does not answer, once when it goes away and once when it is
	// back. A handler that hangs is waited for a second, and not at all while it has 64 lines, which loses more; one that panics loses
	// the line. It is called by goroutines of its own. Optional.
	Logger *slog.Logger
	// TenantIDs adds tenants' ids to spans and log lines. In some services they are personal data, and traces are commonly read by
	// more people, and kept by others, than a trail. Without it, spans carry the correlation id of the access, by which the trail
	// tells whose it was.
	TenantIDs bool
}

// observe has a log or stream of that name reported, where telemetry is on.
func (l *intake) observe(t *Telemetry, name string) (err error) {
	l.telemetry, err = telemetry.NewLog((*telemetry.Config)(t), name, l.observed)
	return err
}

func (l *intake) observed() telemetry.LogStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := telemetry.LogStats{Events: l.taken.events, Bytes: l.waiting + l.taken.bytes, Refused: l.stats.Refused, TimedOut: l.stats.TimedOut,
		Up: l.up && (l.err == nil || l.err == errClosed)}
	oldest := l.taken.oldest
	earlier := func(it *item) {
		if oldest.IsZero() || it.came.Before(oldest) {
			oldest = it.came
		}
	}
	for _, q := range l.active {
		if waiting := q.items[q.head:]; len(waiting) > 0 {
			s.Events += len(waiting)
			earlier(waiting[0])
		}
	}
	for _, q := range l.full {
		if len(q.blocked) > 0 {
			s.Events += len(q.blocked)
			earlier(q.blocked[0])
		}
	}
	if !oldest.IsZero() {
		s.Oldest = time.Since(oldest)
	}
	return s
}

// taken is what the writer has taken from the queues and not committed yet.
type taken struct {
	began, oldest time.Time
	events, bytes int
}

// takes notes that the writer takes items. l.mu is held.
func (l *intake) takes(items []*item) {
	if l.telemetry == nil || len(items) == 0 {
		return
	}
	l.taken = taken{began: time.Now(), events: len(items)}
	for _, it := range items {
		l.taken.bytes += it.room
		if l.taken.oldest.IsZero() || it.came.Before(l.taken.oldest) {
			l.taken.oldest = it.came
		}
	}
}

// committed reports what became of the items that were taken.
func (l *intake) committed(err error) {
	if l.telemetry == nil {
		return
	}
	l.mu.Lock()
	t := l.taken
	l.taken = taken{}
	l.up = err == nil
	l.mu.Unlock()
	class := ""
	if err != nil {
		class = "not durable"
	}
	if t.events > 0 {
		l.telemetry.Committed(t.events, time.Since(t.began), class)
	}
}
