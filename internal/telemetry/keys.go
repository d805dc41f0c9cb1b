package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Keyring reports a keyring. A nil Keyring is switched off.
type Keyring struct {
	base
	hits, misses, stale, seals atomic.Int64
	age                        peak
	keyring                    attribute.KeyValue
	kek, store                 metric.Float64Histogram
	kekOutage, storeOutage     outage
	errors                     classes
}

// KeyStats is what a keyring counts by itself.
type KeyStats struct {
	Cached  int
	Evicted int64
	Highest float64 // see [SealsHighest]
}

// NewKeyring returns nil where c switches everything off.
func NewKeyring(c *Config, label string, bound time.Duration, stats func() KeyStats) (*Keyring, error) {
	if c.off() {
		return nil, nil
	}
	k := &Keyring{base: newBase(c), keyring: attribute.String(AttrKeyring, label)}
	k.kek, k.store = k.histogram(KEKDuration), k.histogram(StoreDuration)
	requests, evictions, stale, seals := k.countedElsewhere(KeyRequests), k.countedElsewhere(KeyEvictions), k.countedElsewhere(StaleUses), k.countedElsewhere(SealsReserved)
	size := k.gauge(KeySize)
	age, within, highest := k.level(ConfirmationAge), k.level(ConfirmationBound), k.level(SealsHighest)
	ring := metric.WithAttributeSet(attribute.NewSet(k.keyring))
	hit, miss := withResult([]attribute.KeyValue{k.keyring}, "hit"), withResult([]attribute.KeyValue{k.keyring}, "miss")
	k.observe(func(_ context.Context, o metric.Observer) error {
		s := stats()
		o.ObserveInt64(requests, k.hits.Load(), hit)
		o.ObserveInt64(requests, k.misses.Load(), miss)
		o.ObserveInt64(evictions, s.Evicted, ring)
		o.ObserveInt64(stale, k.stale.Load(), ring)
		o.ObserveInt64(seals, k.seals.Load(), ring)
		o.ObserveInt64(size, int64(s.Cached), ring)
		o.ObserveFloat64(age, k.age.value(time.Now()).Seconds(), ring)
		o.ObserveFloat64(within, bound.Seconds(), ring)
		o.ObserveFloat64(highest, s.Highest, ring)
		return nil
	}, requests, evictions, stale, seals, size, age, within, highest)
	return k, k.err()
}

// Used notes keys that were handed out, and the age of the confirmation that says they may be.
func (k *Keyring) Used(hit bool, age time.Duration) {
	if k == nil {
		return
	}
	if hit {
		k.hits.Add(1)
	}
	k.age.note(int64(age))
}

// Miss counts keys that were not at hand.
func (k *Keyring) Miss() {
	if k != nil {
		k.misses.Add(1)
	}
}

// Stale counts keys that were used past their confirmation.
func (k *Keyring) Stale() {
	if k != nil {
		k.stale.Add(1)
	}
}

// Seals counts what was reserved.
func (k *Keyring) Seals(n int64) {
	if k != nil {
		k.seals.Add(n)
	}
}

// Open is a span around the wait for what is not at hand.
func (k *Keyring) Open(ctx context.Context) (context.Context, Span) {
	if k == nil {
		return ctx, Span{}
	}
	return k.span(ctx, spanKeys, trace.SpanKindInternal, k.keyring)
}

// Cause returns by what something is done in the background that more than one may wait for.
func (k *Keyring) Cause(ctx context.Context) trace.SpanContext {
	if k == nil {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(ctx)
}

// Caused returns ctx for what is done in the background on behalf of a cause. Without one it has no span, whatever that of the
// program's start was.
func (k *Keyring) Caused(ctx context.Context, cause trace.SpanContext) context.Context {
	if k == nil {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, cause)
}

// Close has nothing more observed.
func (k *Keyring) Close() {
	if k != nil {
		k.close()
	}
}

// Call is a call of the KEK provider or the key store.
type Call struct {
	ring      *Keyring
	span      Span
	began     time.Time
	operation string
	store     bool
}

// KEK begins a call of the KEK provider.
func (k *Keyring) KEK(ctx context.Context, operation string) (context.Context, Call) {
	return k.call(ctx, spanKEK, operation, false)
}

// Store begins a call of the key store.
func (k *Keyring) Store(ctx context.Context, operation string) (context.Context, Call) {
	return k.call(ctx, spanStore, operation, true)
}

func (k *Keyring) call(ctx context.Context, prefix, operation string, store bool) (context.Context, Call) {
	ctx, span := k.span(ctx, prefix+operation, trace.SpanKindClient, k.keyring)
	return ctx, Call{k, span, time.Now(), operation, store}
}

// End ends the call; class is of its error, and away tells that there was no answer.
func (c Call) End(ctx context.Context, class string, away bool) {
	k := c.ring
	attrs := []attribute.KeyValue{k.keyring, attribute.String(AttrOperation, c.operation)}
	if class != "" {
		class = k.errors.of(class)
		attrs = append(attrs, semconv.ErrorTypeKey.String(class))
	}
	c.span.End(class)
	h, out, what := k.kek, &k.kekOutage, "the KEK provider"
	if c.store {
		h, out, what = k.store, &k.storeOutage, "the key store"
	}
	h.Record(ctx, time.Since(c.began).Seconds(), metric.WithAttributes(attrs...))
	if class != "" && !away && ctx.Err() != nil || !out.is(away, time.Now()) {
		return
	}
	if away {
		k.log.WarnContext(ctx, "strongroom: "+what+" does not answer", "keyring", k.keyring.Value.AsString(), "operation", c.operation)
	} else {
		k.log.InfoContext(ctx, "strongroom: "+what+" answers again", "keyring", k.keyring.Value.AsString())
	}
}

// peak is the greatest value of the last one to two minutes, whoever asks how often.
type peak struct {
	now, before atomic.Int64
	turned      atomic.Int64 // when now began, in nanoseconds since 1970; 0 before the first value is asked for
}

const peakFor = time.Minute

func (p *peak) note(v int64) {
	for {
		seen := p.now.Load()
		if v <= seen || p.now.CompareAndSwap(seen, v) {
			return
		}
	}
}

func (p *peak) value(at time.Time) time.Duration {
	turned := p.turned.Load()
	switch since := at.UnixNano() - turned; {
	case turned == 0:
		p.turned.CompareAndSwap(0, at.UnixNano())
	case since >= int64(peakFor) && p.turned.CompareAndSwap(turned, at.UnixNano()):
		last := p.now.Swap(0)
		if p.before.Store(last); since >= 2*int64(peakFor) {
			// Nobody asked for so long that what was seen may be of any time since.
			return time.Duration(last)
		}
	}
	return time.Duration(max(p.now.Load(), p.before.Load()))
}
