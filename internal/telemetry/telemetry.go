// Package telemetry holds the spans, the instruments and the log lines of the library, and what they are called. It knows no
// other package of the module but gets from them names, numbers and classes of errors: never a value, a key, an error's text or,
// unless [Config].TenantIDs says so, who it is about.
//
// Telemetry that is switched off is a nil pointer: every method takes a nil receiver, returns at once and allocates nothing.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	meternoop "go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	tracernoop "go.opentelemetry.io/otel/trace/noop"
)

// Scope is the name of the library's instrumentation scope.
const Scope = "github.com/strongroom-go/strongroom"

// Config has the fields of audit.Telemetry, which documents them.
type Config struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	Logger         *slog.Logger
	TenantIDs      bool
}

// base is what every part of the library reports through.
type base struct {
	tracer  trace.Tracer
	meter   metric.Meter
	log     *slog.Logger
	tenants bool

	errs     []error // of making instruments
	observed metric.Registration
}

// newBase fills in what is switched off. No global provider is asked.
func newBase(c *Config) base {
	b := base{tracer: tracernoop.Tracer{}, meter: meternoop.Meter{}, log: slog.New(slog.DiscardHandler), tenants: c.TenantIDs}
	if c.TracerProvider != nil {
		b.tracer = c.TracerProvider.Tracer(Scope, trace.WithSchemaURL(semconv.SchemaURL))
	}
	if c.MeterProvider != nil {
		b.meter = c.MeterProvider.Meter(Scope, metric.WithSchemaURL(semconv.SchemaURL))
	}
	if c.Logger != nil {
		b.log = newLogger(c.Logger)
	}
	return b
}

// off tells that there is nothing to report to.
func (c *Config) off() bool {
	return c == nil || c.TracerProvider == nil && c.MeterProvider == nil && c.Logger == nil
}

// Span is a part of an operation. The zero Span is none.
type Span struct{ span trace.Span }

// End ends the span; class is of the error that it ended with, empty for none.
func (s Span) End(class string) {
	if s.span == nil {
		return
	}
	fail(s.span, class)
	s.span.End()
}

// fail sets the span's status: its description is a class, and no error's text.
func fail(s trace.Span, class string) {
	if class == "" {
		return
	}
	s.SetAttributes(semconv.ErrorTypeKey.String(class))
	s.SetStatus(codes.Error, class)
}

func (b *base) span(ctx context.Context, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (context.Context, Span) {
	ctx, span := b.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
	return ctx, Span{span}
}

func (b *base) counter(name string) metric.Int64Counter {
	m := metricOf(name)
	i, err := b.meter.Int64Counter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Description))
	return made(b, m, i, err)
}

func (b *base) histogram(name string) metric.Float64Histogram {
	m := metricOf(name)
	i, err := b.meter.Float64Histogram(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Description), metric.WithExplicitBucketBoundaries(seconds...))
	return made(b, m, i, err)
}

func (b *base) countedElsewhere(name string) metric.Int64ObservableCounter {
	m := metricOf(name)
	i, err := b.meter.Int64ObservableCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Description))
	return made(b, m, i, err)
}

func (b *base) gauge(name string) metric.Int64ObservableGauge {
	m := metricOf(name)
	i, err := b.meter.Int64ObservableGauge(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Description))
	return made(b, m, i, err)
}

func (b *base) level(name string) metric.Float64ObservableGauge {
	m := metricOf(name)
	i, err := b.meter.Float64ObservableGauge(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Description))
	return made(b, m, i, err)
}

// made notes why an instrument could not be made.
func made[I any](b *base, m Metric, i I, err error) I {
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("telemetry: the meter provider refuses %s: %w", m.Name, err))
	}
	return i
}

// observe has the meter call back when it collects.
func (b *base) observe(f metric.Callback, instruments ...metric.Observable) {
	if len(b.errs) > 0 {
		return // an instrument that could not be made may be nil
	}
	var err error
	if b.observed, err = b.meter.RegisterCallback(f, instruments...); err != nil {
		b.errs = append(b.errs, fmt.Errorf("telemetry: the meter provider refuses a callback: %w", err))
	}
}

// Close has nothing more observed.
func (b *base) close() {
	if b.observed != nil {
		b.observed.Unregister() // the SDK returns nil, and nothing here depends on it
	}
}

// seconds are the bounds of the histograms of durations: those that the semantic conventions advise for database clients, with
// finer ones below, since a key from the cache and a commit of the trail take less than a millisecond.
// https://opentelemetry.io/docs/specs/semconv/db/database-metrics/
var seconds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// outage notices when something goes away and when it comes back, so that each is told once. What comes and goes is told of no
// more often than every outagePause.
type outage struct {
	told atomic.Bool
	last atomic.Int64 // when it was told last, in nanoseconds since 1970
}

const outagePause = 10 * time.Second

// is tells whether what was asked for is away, and returns whether that is to be told.
func (o *outage) is(away bool, now time.Time) bool {
	if o.told.Load() == away {
		return false
	}
	last := o.last.Load()
	if away && now.UnixNano()-last < int64(outagePause) || !o.told.CompareAndSwap(!away, away) {
		return false
	}
	if away {
		o.last.Store(now.UnixNano())
	}
	return true
}

// classes keeps an attribute's values few: what would be one more than its limit is "other".
type classes struct {
	seen [maxClasses]atomic.Pointer[string]
}

const (
	maxClasses     = 100
	maxClassLength = 80
	otherClass     = "other"
)

func (c *classes) of(class string) string {
	if len(class) > maxClassLength {
		return otherClass
	}
	for i := range c.seen {
		for {
			known := c.seen[i].Load()
			if known != nil && *known == class {
				return class
			}
			if known != nil {
				break
			}
			own := class
			if c.seen[i].CompareAndSwap(nil, &own) {
				return class
			}
		}
	}
	return otherClass
}

func (b *base) err() error { return errors.Join(b.errs...) }
