package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Log reports a log of the audit trail, or a stream. A nil Log is switched off.
type Log struct {
	base
	name    attribute.KeyValue
	commits metric.Float64Histogram
	events  metric.Int64Counter
}

// LogStats is what a log knows by itself.
type LogStats struct {
	Events, Bytes     int
	Oldest            time.Duration
	Refused, TimedOut int64
	Up                bool
}

// NewLog returns nil where c switches everything off.
func NewLog(c *Config, name string, stats func() LogStats) (*Log, error) {
	if c.off() {
		return nil, nil
	}
	l := &Log{base: newBase(c), name: attribute.String(AttrTrail, name)}
	l.commits, l.events = l.histogram(CommitDuration), l.counter(Committed)
	events, bytes, oldest := l.gauge(QueueEvents), l.gauge(QueueBytes), l.level(QueueOldest)
	refused, timedOut, up := l.countedElsewhere(TrailRefused), l.countedElsewhere(TrailTimedOut), l.gauge(TrailUp)
	trail := metric.WithAttributeSet(attribute.NewSet(l.name))
	l.observe(func(_ context.Context, o metric.Observer) error {
		s := stats()
		o.ObserveInt64(events, int64(s.Events), trail)
		o.ObserveInt64(bytes, int64(s.Bytes), trail)
		o.ObserveFloat64(oldest, s.Oldest.Seconds(), trail)
		o.ObserveInt64(refused, s.Refused, trail)
		o.ObserveInt64(timedOut, s.TimedOut, trail)
		recording := int64(0)
		if s.Up {
			recording = 1
		}
		o.ObserveInt64(up, recording, trail)
		return nil
	}, events, bytes, oldest, refused, timedOut, up)
	return l, l.err()
}

// Committed reports a commit of so many events.
func (l *Log) Committed(events int, took time.Duration, class string) {
	if l == nil {
		return
	}
	ctx, attrs := context.Background(), []attribute.KeyValue{l.name}
	if class != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(class))
	} else {
		l.events.Add(ctx, int64(events), metric.WithAttributes(l.name))
	}
	l.commits.Record(ctx, took.Seconds(), metric.WithAttributes(attrs...))
}

// Close has nothing more observed.
func (l *Log) Close() {
	if l != nil {
		l.close()
	}
}
