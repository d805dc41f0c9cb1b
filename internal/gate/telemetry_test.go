package gate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/telemetry"
)

// spans is a provider of spans that keep what is said of them.
type spans struct {
	noop.TracerProvider
	said *strings.Builder
}

type spanMaker struct {
	noop.Tracer
	said *strings.Builder
}

type saidSpan struct {
	noop.Span
	said *strings.Builder
}

func (s spans) Tracer(string, ...trace.TracerOption) trace.Tracer { return spanMaker{said: s.said} }

func (s spanMaker) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	return ctx, saidSpan{said: s.said}
}

func (s saidSpan) SetAttributes(attrs ...attribute.KeyValue) {
	for _, a := range attrs {
		fmt.Fprintf(s.said, "%s=%s\n", a.Key, a.Value.String())
	}
}

// stated is a database's error, or one of an application's with its method.
type stated string

func (stated) Error() string      { return "of the application's" }
func (s stated) SQLState() string { return string(s) }

func TestAnApplicationsErrorDoesNotWriteIntoSpans(t *testing.T) {
	for state, wanted := range map[string]bool{"23505": true, "P0001": true, "Ada Lovelace": false, "born1": false, "": false} {
		g, _, _ := newGate(t, nil)
		s := spans{said: &strings.Builder{}}
		if err := g.Observe(&audit.Telemetry{TracerProvider: s}, telemetry.Store{Namespace: "app"}); err != nil {
			t.Fatal(err)
		}
		pass, err := g.Enter(request(alpha), &op)
		if err != nil {
			t.Fatal(err)
		}
		if err := pass.Leave(request(alpha), gate.Result{Rows: -1, Bytes: -1, Err: stated(state)}); err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(s.said.String(), "db.response.status_code="+state); told != wanted {
			t.Errorf("%q: the span has\n%s", state, s.said)
		}
	}
}
