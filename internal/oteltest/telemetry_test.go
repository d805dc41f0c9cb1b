package oteltest

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/tenant"
)

func each(t *testing.T, change func(*stack.Config, *audit.Telemetry), test func(t *testing.T, w *world, d dialect.Dialect)) {
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			w := newWorld(t, d, change)
			w.use(t)
			test(t, w, d)
		})
	}
}

// Nothing that is anybody's is exported: literals, parameters, comments, actors, purposes, requests, objects' names, reasons, the
// texts of errors, and tenants' ids.
func TestNothingIsGivenAway(t *testing.T) {
	each(t, nil, func(t *testing.T, w *world, _ dialect.Dialect) {
		all := w.exported(t)
		for line := range strings.Lines(all) {
			if strings.Contains(strings.ToLower(line), canary) {
				t.Errorf("exported: %s", line)
			}
		}
		// What has to be there for the test to see anything.
		for _, want := range []string{"db.query.text", "INSERT INTO patients", "strongroom.blob.write", "an access was denied", "an alert", "keys were changed", "unauthorized"} {
			if !strings.Contains(all, want) {
				t.Errorf("there is no %q in what was exported", want)
			}
		}
		for _, s := range w.spans.GetSpans() {
			if len(s.Events) > 0 {
				t.Errorf("%s has events: an error's text is in them", s.Name)
			}
		}
	})
}

// With TenantIDs they are on spans and in log lines, and in no metric.
func TestTenantIDs(t *testing.T) {
	w := newWorld(t, dialect.SQLite, func(_ *stack.Config, telemetry *audit.Telemetry) { telemetry.TenantIDs = true })
	w.use(t)
	found := false
	for _, s := range w.spans.GetSpans() {
		for _, a := range s.Attributes {
			found = found || string(a.Key) == telemetry.AttrTenant && a.Value.AsString() == ours
		}
	}
	if !found || !strings.Contains(w.lines.String(), ours) {
		t.Error("there is no tenant's id on spans, or in log lines")
	}
	for _, m := range w.collect(t) {
		sets, _ := points(t, m)
		for _, s := range sets {
			for _, a := range s.ToSlice() {
				if strings.Contains(a.Value.String(), canary) {
					t.Errorf("%s has %v", m.Name, a)
				}
			}
		}
	}
}

// All that is listed is measured, with the attributes that are listed and no others, and nothing else is.
func TestMetricsAreThoseListed(t *testing.T) {
	each(t, nil, func(t *testing.T, w *world, d dialect.Dialect) {
		found := w.collect(t)
		for _, m := range telemetry.Metrics() {
			got, ok := found[m.Name]
			if delete(found, m.Name); !ok {
				t.Errorf("%s is listed and was not measured", m.Name)
				continue
			}
			if got.Unit != m.Unit || got.Description != m.Description {
				t.Errorf("%s: unit %q, %q", m.Name, got.Unit, got.Description)
			}
			sets, _ := points(t, got)
			for _, s := range sets {
				for _, a := range s.ToSlice() {
					if !slices.Contains(m.Attributes, string(a.Key)) {
						t.Errorf("%s has an attribute %s that is not listed", m.Name, a.Key)
					}
				}
			}
		}
		for name := range found {
			t.Errorf("%s is measured and not listed", name)
		}
	})
}

// What is measured is what happened.
func TestMetricsCount(t *testing.T) {
	each(t, nil, func(t *testing.T, w *world, d dialect.Dialect) {
		found := w.collect(t)
		system := "db.system.name=" + string(d)
		statements, plans := found[telemetry.StatementDuration], found[telemetry.PlanRequests]
		for _, c := range []struct {
			what  string
			got   float64
			least float64
		}{
			{"inserts", sum(t, statements, system, "db.operation.name=INSERT", "db.collection.name=patients"), 2},
			{"selects of WITH", sum(t, statements, system, "db.operation.name=SELECT"), 3},
			{"commits", sum(t, statements, system, "db.operation.name=COMMIT"), 1},
			{"rollbacks", sum(t, statements, system, "db.operation.name=ROLLBACK"), 1},
			{"savepoints", sum(t, statements, system, "db.operation.name=SAVEPOINT"), 2},
			{"refused statements", sum(t, statements, "error.type=refused: syntax error"), 1},
			{"objects written", sum(t, found[telemetry.ObjectDuration], telemetry.AttrOperation+"=blob.write"), 1},
			{"absent objects", sum(t, found[telemetry.ObjectDuration], telemetry.AttrOperation+"=blob.read", "error.type=not found"), 1},
			{"denials of curiosity", sum(t, found[telemetry.Denials], telemetry.AttrReason+"=unauthorized", telemetry.AttrStore+"="+string(d)), 1},
			{"denials of nobody", sum(t, found[telemetry.Denials], telemetry.AttrReason+"=not provisioned"), 2},
			{"denials of a suspended tenant", sum(t, found[telemetry.Denials], telemetry.AttrReason+"=suspended"), 1},
			{"refusals", sum(t, found[telemetry.Denials], telemetry.AttrReason+"=refused: syntax error"), 1},
			{"alerts", sum(t, found[telemetry.Alerts]), 2},
			{"plans made", sum(t, plans, telemetry.AttrResult+"=miss", system), 5},
			{"plans found", sum(t, plans, telemetry.AttrResult+"=hit", system), 1},
			{"plans evicted", sum(t, found[telemetry.PlanEvictions], system), 1},
			{"plans held", sum(t, found[telemetry.PlanSize], system), 2},
			{"barriers", sum(t, found[telemetry.Barriers], system), 1},
			{"keys found", sum(t, found[telemetry.KeyRequests], telemetry.AttrResult+"=hit"), 1},
			{"keys opened", sum(t, found[telemetry.KeyRequests], telemetry.AttrResult+"=miss"), 2},
			{"keys evicted", sum(t, found[telemetry.KeyEvictions]), 1},
			{"seals", sum(t, found[telemetry.SealsReserved]), 1},
			{"unwraps", sum(t, found[telemetry.KEKDuration], telemetry.AttrOperation+"=unwrap"), 2},
			{"wraps", sum(t, found[telemetry.KEKDuration], telemetry.AttrOperation+"=wrap"), 2},
			{"rewraps", sum(t, found[telemetry.KEKDuration], telemetry.AttrOperation+"=rewrap"), 1},
			{"reads of records", sum(t, found[telemetry.StoreDuration], telemetry.AttrOperation+"=get"), 2},
			{"writes of records", sum(t, found[telemetry.StoreDuration], telemetry.AttrOperation+"=put"), 2},
			{"rotations", sum(t, found[telemetry.KeyOperations], telemetry.AttrOperation+"=key.rotate"), 1},
			{"shreddings", sum(t, found[telemetry.KeyOperations], telemetry.AttrOperation+"=key.shred"), 1},
			{"commits of the trail", sum(t, found[telemetry.CommitDuration]), 10},
			{"events", sum(t, found[telemetry.Committed]), 20},
			{"waits", sum(t, found[telemetry.TrailWait]), 10},
			{"a trail that records", sum(t, found[telemetry.TrailUp]), 1},
			{"the bound of a suspension", sum(t, found[telemetry.ConfirmationBound]), 5},
		} {
			if c.got < c.least {
				t.Errorf("%s: %v, want %v at least", c.what, c.got, c.least)
			}
		}
		if size := sum(t, found[telemetry.KeySize]); size != 1 {
			t.Errorf("%v tenants in a cache of one", size)
		}
		if age := sum(t, found[telemetry.ConfirmationAge]); age <= 0 || age > 5 {
			t.Errorf("a confirmation was %v s old, of 5 at most", age)
		}
		// All that is asked of provider and store here is answered, with no record too.
		for _, m := range []string{telemetry.KEKDuration, telemetry.StoreDuration} {
			sets, values := points(t, found[m])
			for i, s := range sets {
				if class, failed := s.Value("error.type"); failed && class.AsString() != "not found" {
					t.Errorf("%s: %v calls failed: %v", m, values[i], s.ToSlice())
				}
			}
		}
		if sum(t, found[telemetry.TrailRefused])+sum(t, found[telemetry.TrailTimedOut]) != 0 {
			t.Error("events were refused or given up")
		}
	})
}

// names are the patterns of the spans that are listed.
func names() []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, s := range telemetry.Spans() {
		p := regexp.QuoteMeta(s.Name)
		for _, r := range []struct{ from, to string }{
			{"<OPERATION> <table>", `(?:[A-Z]+(?: [a-z.]+)?|postgresql|sqlite)`}, {"<call>", `[a-z_]+`}, {"<code>", `(?:blob|sql)\.[a-z]+`},
		} {
			p = strings.ReplaceAll(p, r.from, r.to)
		}
		all = append(all, regexp.MustCompile("^"+p+"$"))
	}
	return all
}

func TestSpansAreThoseListed(t *testing.T) {
	each(t, nil, func(t *testing.T, w *world, d dialect.Dialect) {
		seen := map[int]bool{}
		patterns := names()
		for _, s := range w.spans.GetSpans() {
			listed := false
			for i, p := range patterns {
				if p.MatchString(s.Name) {
					listed, seen[i] = true, true
					if kind := telemetry.Spans()[i].Kind; !slices.ContainsFunc(patterns[i+1:], func(p *regexp.Regexp) bool { return p.MatchString(s.Name) }) && s.SpanKind.String() != kind {
						t.Errorf("%s is of kind %v, and listed as %s", s.Name, s.SpanKind, kind)
					}
				}
			}
			if !listed {
				t.Errorf("%s is not listed", s.Name)
			}
			if s.InstrumentationScope.Name != telemetry.Scope {
				t.Errorf("%s is of scope %q", s.Name, s.InstrumentationScope.Name)
			}
			if s.EndTime.IsZero() {
				t.Errorf("%s has not ended", s.Name)
			}
		}
		for i, s := range telemetry.Spans() {
			if !seen[i] && (s.Name != "BATCH" || d == dialect.PostgreSQL) {
				t.Errorf("there is no span %s", s.Name)
			}
		}
	})
}

// A statement's span holds what became of it, down to the KEK provider, in the trace of its caller.
func TestAStatementIsOneTrace(t *testing.T) {
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			w := newWorld(t, d, nil)
			must(t, w.Keys.Provision(t.Context(), tenant.MustParse(ours)))
			must(t, w.Keys.Provision(t.Context(), tenant.MustParse(theirs))) // takes the cache's only place
			must(t, func() error {
				_, err := w.DB["clinic"].ExecContext(as(t.Context(), theirs), `DELETE FROM visits`)
				return err
			}())
			w.spans.Reset()
			ctx, root := w.tracer.Tracer("test").Start(t.Context(), "request")
			_, err := w.DB["clinic"].ExecContext(as(ctx, ours), `INSERT INTO patients (id, name) VALUES ($1, $2)`, 1, value)
			must(t, err)
			root.End()

			spans := w.spans.GetSpans()
			statement := one(t, spans, "INSERT patients")
			if statement.Parent.SpanID() != root.SpanContext().SpanID() {
				t.Error("the statement is not its caller's")
			}
			want := map[string]string{
				"db.system.name": string(d), "db.operation.name": "INSERT", "db.collection.name": "patients",
				"db.query.text": `INSERT INTO patients (id, name) VALUES ($1, $2)`, telemetry.AttrRows: "1",
			}
			for key, value := range want {
				if got := attr(statement, key); got != value {
					t.Errorf("%s is %q, want %q", key, got, value)
				}
			}
			if attr(statement, telemetry.AttrCorrelation) == "" {
				t.Error("nothing leads from the span to the trail")
			}
			for _, name := range []string{"strongroom.plan", "strongroom.gate", "strongroom.send"} {
				if s := one(t, spans, name); s.Parent.SpanID() != statement.SpanContext.SpanID() {
					t.Errorf("%s is not the statement's", name)
				}
			}
			// Who asked is waited for by others too, so that what is asked has an end of its own; it is in the same trace.
			for _, name := range []string{"strongroom.kek.unwrap", "strongroom.key_store.get", "strongroom.keys.open", "strongroom.audit.commit"} {
				if !slices.ContainsFunc(spans, func(s tracetest.SpanStub) bool {
					return s.Name == name && s.SpanContext.TraceID() == root.SpanContext().TraceID()
				}) {
					t.Errorf("there is no %s in the trace", name)
				}
			}
		})
	}
}

// What fails says so, by a class and by the database's code.
func TestFailuresHaveClasses(t *testing.T) {
	each(t, nil, func(t *testing.T, w *world, d dialect.Dialect) {
		classes := map[string]bool{}
		states := map[string]bool{}
		for _, s := range w.spans.GetSpans() {
			class := attr(s, "error.type")
			classes[class] = true
			states[attr(s, "db.response.status_code")] = true
			if (s.Status.Code == codes.Error) != (class != "") || s.Status.Description != class {
				t.Errorf("%s: status %v, error.type %q", s.Name, s.Status, class)
			}
		}
		for _, want := range []string{"unauthorized", "not provisioned", "suspended", "refused: syntax error", "no tenant in the context", "not found"} {
			if !classes[want] {
				t.Errorf("no span failed with %q", want)
			}
		}
		if d == dialect.PostgreSQL && (!states["23505"] || !states["22012"]) {
			t.Errorf("the database's codes are %v", states)
		}
	})
}

// What is closed is not observed any more, and nothing is started by who is switched off.
func TestClosedIsNotObserved(t *testing.T) {
	w := newWorld(t, dialect.SQLite, nil)
	must(t, w.Keys.Provision(t.Context(), tenant.MustParse(ours)))
	if m := w.collect(t); len(m[telemetry.KeySize].Name) == 0 || len(m[telemetry.TrailUp].Name) == 0 || len(m[telemetry.PlanSize].Name) == 0 {
		t.Fatal("nothing is observed")
	}
	must(t, w.Close())
	m := w.collect(t)
	for _, name := range []string{telemetry.KeySize, telemetry.TrailUp, telemetry.PlanSize} {
		if sets, _ := points(t, m[name]); len(sets) > 0 {
			t.Errorf("%s is observed after it was closed", name)
		}
	}
}

func one(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("there is no span %s", name)
	}
	return spans[i]
}

func attr(s tracetest.SpanStub, key string) string {
	for _, a := range s.Attributes {
		if a.Key == attribute.Key(key) {
			return a.Value.String()
		}
	}
	return ""
}

var (
	_ context.Context
	_ trace.Span
)
