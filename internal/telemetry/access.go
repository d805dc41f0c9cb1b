package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Gate reports the accesses to one store. A nil Gate is switched off.
type Gate struct {
	base
	store      Store
	common     []attribute.KeyValue // of all spans
	statements metric.Float64Histogram
	objects    metric.Float64Histogram
	errors     classes
}

// Store is what is guarded: a database, or a bucket by the application's name for it.
type Store struct {
	System    string // of the semantic conventions; empty for a bucket
	Namespace string // the database's name, or the bucket's
}

func (s Store) attributes() []attribute.KeyValue {
	if s.System == "" {
		return []attribute.KeyValue{attribute.String(AttrBucket, s.Namespace)}
	}
	return []attribute.KeyValue{semconv.DBSystemNameKey.String(s.System), semconv.DBNamespace(s.Namespace)}
}

// NewGate returns nil where c switches everything off.
func NewGate(c *Config, s Store) (*Gate, error) {
	if c.off() {
		return nil, nil
	}
	g := &Gate{base: newBase(c), store: s, common: s.attributes()}
	g.statements, g.objects = g.histogram(StatementDuration), g.histogram(ObjectDuration)
	return g, g.err()
}

// Access is one access to the store, from before its admission until its outcome is recorded. A nil Access is not reported.
type Access struct {
	gate      *Gate
	span      trace.Span
	began     time.Time
	attrs     []attribute.KeyValue // of its measurement
	statement bool
	ended     atomic.Bool
}

// Statement begins a statement, about which nothing is known yet.
func (g *Gate) Statement(ctx context.Context) (context.Context, *Access) {
	if g == nil {
		return ctx, nil
	}
	ctx, span := g.span(ctx, g.store.System, trace.SpanKindClient, g.common...)
	return ctx, &Access{gate: g, span: span.span, began: time.Now(), attrs: g.common, statement: true}
}

// Command begins a statement that is not planned, such as COMMIT.
func (g *Gate) Command(ctx context.Context, operation string) (context.Context, *Access) {
	ctx, a := g.Statement(ctx)
	a.Planned(operation, "", "")
	return ctx, a
}

// Planned says what the statement is: its text has no literals.
func (a *Access) Planned(operation, table, text string) {
	if a == nil {
		return
	}
	name, attrs := operation, []attribute.KeyValue{semconv.DBOperationName(operation)}
	if table != "" {
		name += " " + table
		attrs = append(attrs, semconv.DBCollectionName(table))
	}
	a.attrs = append(a.attrs[:len(a.attrs):len(a.attrs)], attrs...)
	if text != "" {
		attrs = append(attrs, semconv.DBQueryText(text))
	}
	a.span.SetName(name)
	a.span.SetAttributes(attrs...)
}

// Other begins an access that is no statement of the application's, by its event's code: one to an object, or to a database a batch
// of what the library does there by itself.
func (g *Gate) Other(ctx context.Context, code string) (context.Context, *Access) {
	if g == nil {
		return ctx, nil
	}
	database := g.store.System != ""
	operation := attribute.String(AttrOperation, code)
	if database {
		operation = semconv.DBOperationName(strings.ToUpper(strings.TrimPrefix(code, "sql.")))
	}
	attrs := append(g.common[:len(g.common):len(g.common)], operation)
	ctx, span := g.span(ctx, spanObject+code, trace.SpanKindInternal, attrs...)
	return ctx, &Access{gate: g, span: span.span, began: time.Now(), attrs: attrs, statement: database}
}

// Admission is a span around the gate.
func (g *Gate) Admission(ctx context.Context) (context.Context, Span) {
	return g.part(ctx, spanGate)
}

// Plan is a span around the planner.
func (g *Gate) Plan(ctx context.Context) (context.Context, Span) { return g.part(ctx, spanPlan) }

// Send is a span around what the database does with a statement.
func (g *Gate) Send(ctx context.Context) (context.Context, Span) { return g.part(ctx, spanSend) }

func (g *Gate) part(ctx context.Context, name string) (context.Context, Span) {
	if g == nil {
		return ctx, Span{}
	}
	return g.span(ctx, name, trace.SpanKindInternal)
}

// Batch begins a batch of so many statements, which have spans of their own.
func (g *Gate) Batch(ctx context.Context, size int) (context.Context, Span) {
	if g == nil {
		return ctx, Span{}
	}
	return g.span(ctx, spanBatch, trace.SpanKindClient,
		append(g.common[:len(g.common):len(g.common)], semconv.DBOperationName(spanBatch), semconv.DBOperationBatchSize(size))...)
}

// Admitted says under which id the access is in the trail, and for which tenant.
func (a *Access) Admitted(correlation, tenant string) {
	if a == nil {
		return
	}
	a.span.SetAttributes(attribute.String(AttrCorrelation, correlation))
	a.tenant(tenant)
}

func (a *Access) tenant(id string) {
	if a.gate.tenants && id != "" {
		a.span.SetAttributes(attribute.String(AttrTenant, id))
	}
}

// Context returns ctx with the access's span, for what is done after the admission.
func (a *Access) Context(ctx context.Context) context.Context {
	if a == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, a.span)
}

// Outcome is how an access went. Rows and Bytes are -1 where they are not known.
type Outcome struct {
	Class       string // of the error; empty for none
	Rows, Bytes int64
	Unknown     bool
	Code        string // the database's own, such as PostgreSQL's SQLSTATE; empty for none
}

// End ends the access. The first call counts.
func (a *Access) End(ctx context.Context, o Outcome) {
	if a == nil || !a.ended.CompareAndSwap(false, true) {
		return
	}
	took, attrs := time.Since(a.began).Seconds(), a.attrs
	if o.Class = a.gate.classOf(o.Class); o.Class != "" {
		attrs = append(attrs[:len(attrs):len(attrs)], semconv.ErrorTypeKey.String(o.Class))
		fail(a.span, o.Class)
	}
	if o.Rows >= 0 {
		a.span.SetAttributes(attribute.Int64(AttrRows, o.Rows))
	}
	if o.Bytes >= 0 {
		a.span.SetAttributes(attribute.Int64(AttrBytes, o.Bytes))
	}
	if o.Unknown {
		a.span.SetAttributes(attribute.Bool(AttrUnknown, true))
	}
	if o.Code != "" {
		a.span.SetAttributes(semconv.DBResponseStatusCode(o.Code))
	}
	a.span.End()
	h := a.gate.objects
	if a.statement {
		h = a.gate.statements
	}
	// With the span's context, so that an exemplar leads to it.
	h.Record(trace.ContextWithSpan(ctx, a.span), took, metric.WithAttributes(attrs...))
}

func (g *Gate) classOf(class string) string {
	if class == "" {
		return ""
	}
	return g.errors.of(class)
}

// Plans reports a database's cache of plans. A nil Plans is switched off.
type Plans struct {
	base
	hits, misses, evicted, barriers atomic.Int64
}

// NewPlans returns nil where c switches everything off; size is how many plans there are.
func NewPlans(c *Config, s Store, size func() int) (*Plans, error) {
	if c.off() {
		return nil, nil
	}
	p := &Plans{base: newBase(c)}
	requests, evictions, held, barriers := p.countedElsewhere(PlanRequests), p.countedElsewhere(PlanEvictions), p.gauge(PlanSize), p.countedElsewhere(Barriers)
	store := attribute.NewSet(s.attributes()...)
	hit, miss := withResult(s.attributes(), "hit"), withResult(s.attributes(), "miss")
	p.observe(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(requests, p.hits.Load(), hit)
		o.ObserveInt64(requests, p.misses.Load(), miss)
		o.ObserveInt64(evictions, p.evicted.Load(), metric.WithAttributeSet(store))
		o.ObserveInt64(held, int64(size()), metric.WithAttributeSet(store))
		o.ObserveInt64(barriers, p.barriers.Load(), metric.WithAttributeSet(store))
		return nil
	}, requests, evictions, held, barriers)
	return p, p.err()
}

func withResult(attrs []attribute.KeyValue, result string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(attrs, attribute.String(AttrResult, result))...))
}

// Hit counts a plan from the cache.
func (p *Plans) Hit() {
	if p != nil {
		p.hits.Add(1)
	}
}

// Miss counts a plan that has to be made.
func (p *Plans) Miss() {
	if p != nil {
		p.misses.Add(1)
	}
}

// Evicted counts a plan that made room.
func (p *Plans) Evicted() {
	if p != nil {
		p.evicted.Add(1)
	}
}

// Barriers counts those of a statement that was admitted.
func (p *Plans) Barriers(n int) {
	if p != nil && n > 0 {
		p.barriers.Add(int64(n))
	}
}

// Close has nothing more observed.
func (p *Plans) Close() {
	if p != nil {
		p.close()
	}
}

// Trail reports what goes into the audit trail, and with it what it tells of: denials, alerts and the life cycle of keys. A nil
// Trail is switched off.
type Trail struct {
	base
	denials, alerts, operations metric.Int64Counter
	waits                       metric.Float64Histogram
	reasons                     classes
	outage                      outage
}

// NewTrail returns nil where c switches everything off.
func NewTrail(c *Config) (*Trail, error) {
	if c.off() {
		return nil, nil
	}
	t := &Trail{base: newBase(c)}
	t.denials, t.alerts, t.operations, t.waits = t.counter(Denials), t.counter(Alerts), t.counter(KeyOperations), t.histogram(TrailWait)
	return t, t.err()
}

// Wait begins the wait for an event.
func (t *Trail) Wait(ctx context.Context) (context.Context, Waiting) {
	if t == nil {
		return ctx, Waiting{}
	}
	ctx, span := t.span(ctx, spanCommit, trace.SpanKindInternal)
	return ctx, Waiting{t, span, time.Now()}
}

// Waiting is a wait for an event. The zero Waiting is none.
type Waiting struct {
	trail *Trail
	span  Span
	began time.Time
}

// End ends the wait; class is of the error, and away tells that the trail does not record.
func (w Waiting) End(ctx context.Context, class string, away bool) {
	if w.trail == nil {
		return
	}
	w.span.End(class)
	var attrs []attribute.KeyValue
	if class != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(class))
	}
	w.trail.waits.Record(ctx, time.Since(w.began).Seconds(), metric.WithAttributes(attrs...))
	if class != "" && !away {
		return // the caller gave up, which says nothing of the trail
	}
	if !w.trail.outage.is(away, time.Now()) {
		return
	}
	if away {
		w.trail.log.ErrorContext(ctx, "strongroom: the audit trail does not record, and nothing is admitted")
	} else {
		w.trail.log.InfoContext(ctx, "strongroom: the audit trail records again")
	}
}

// Event is what is reported of an event.
type Event struct {
	Code, Store, Reason, Correlation, Tenant string
	Columns                                  []string
}

func (t *Trail) attrs(e *Event) []any {
	attrs := []any{slog.String("operation", e.Code)}
	for _, a := range []struct{ key, value string }{{"store", e.Store}, {"reason", e.Reason}, {"correlation", e.Correlation}} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if t.tenants && e.Tenant != "" {
		attrs = append(attrs, slog.String("tenant", e.Tenant))
	}
	return attrs
}

// Denied reports an access that was denied.
func (t *Trail) Denied(ctx context.Context, e Event) {
	e.Reason = t.reasons.of(e.Reason)
	t.denials.Add(ctx, 1, metric.WithAttributes(attribute.String(AttrStore, e.Store), attribute.String(AttrReason, e.Reason)))
	t.log.WarnContext(ctx, "strongroom: an access was denied", t.attrs(&e)...)
}

// Alert reports a value that did not open where it was found, or a tenant's id that was another's.
func (t *Trail) Alert(ctx context.Context, e Event) {
	t.alerts.Add(ctx, 1, metric.WithAttributes(attribute.String(AttrStore, e.Store)))
	attrs := t.attrs(&e)
	if len(e.Columns) > 0 {
		attrs = append(attrs, slog.Any("columns", e.Columns))
	}
	t.log.ErrorContext(ctx, "strongroom: an alert", attrs...)
}

// Operation reports an operation of keys' life cycle.
func (t *Trail) Operation(ctx context.Context, e Event) {
	attrs := []attribute.KeyValue{attribute.String(AttrOperation, e.Code)}
	if e.Reason == "" {
		t.log.InfoContext(ctx, "strongroom: keys were changed", t.attrs(&e)...)
	} else {
		e.Reason = t.reasons.of(e.Reason)
		attrs = append(attrs, semconv.ErrorTypeKey.String(e.Reason))
		t.log.WarnContext(ctx, "strongroom: an operation on keys failed", t.attrs(&e)...)
	}
	t.operations.Add(ctx, 1, metric.WithAttributes(attrs...))
}
