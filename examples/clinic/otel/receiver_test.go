package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	logscollector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricscollector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracecollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// receiver takes OTLP, over HTTP or gRPC, and keeps it.
type receiver struct {
	tracecollector.UnimplementedTraceServiceServer
	mu       sync.Mutex
	messages []proto.Message // as they came
	spans    []*trace.Span
	metrics  map[string]*metrics.Metric // by its name, as it came last
	logs     []*logs.LogRecord
	header   http.Header // of the last request, over HTTP
}

// The services' methods have one name, so that each but one needs a type of its own.
type (
	metricsReceiver struct {
		metricscollector.UnimplementedMetricsServiceServer
		*receiver
	}
	logsReceiver struct {
		logscollector.UnimplementedLogsServiceServer
		*receiver
	}
)

func (r *receiver) Export(_ context.Context, m *tracecollector.ExportTraceServiceRequest) (*tracecollector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	for _, resource := range m.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
	return &tracecollector.ExportTraceServiceResponse{}, nil
}

func (r metricsReceiver) Export(_ context.Context, m *metricscollector.ExportMetricsServiceRequest) (*metricscollector.ExportMetricsServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	for _, resource := range m.ResourceMetrics {
		for _, scope := range resource.ScopeMetrics {
			for _, metric := range scope.Metrics {
				r.metrics[metric.Name] = metric
			}
		}
	}
	return &metricscollector.ExportMetricsServiceResponse{}, nil
}

func (r logsReceiver) Export(_ context.Context, m *logscollector.ExportLogsServiceRequest) (*logscollector.ExportLogsServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	for _, resource := range m.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			r.logs = append(r.logs, scope.LogRecords...)
		}
	}
	return &logscollector.ExportLogsServiceResponse{}, nil
}

// receive starts a receiver, and has the environment name it.
func receive(t *testing.T, protocol string) *receiver {
	t.Helper()
	r := &receiver{metrics: map[string]*metrics.Metric{}}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
	t.Setenv("OTEL_SERVICE_NAME", "clinic-of-the-test")
	if protocol == "grpc" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		tracecollector.RegisterTraceServiceServer(server, r)
		metricscollector.RegisterMetricsServiceServer(server, metricsReceiver{receiver: r})
		logscollector.RegisterLogsServiceServer(server, logsReceiver{receiver: r})
		go server.Serve(listener)
		t.Cleanup(server.Stop)
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
		return r
	}
	mux := http.NewServeMux()
	handle(r, mux, "POST /v1/traces", r.Export)
	handle(r, mux, "POST /v1/metrics", metricsReceiver{receiver: r}.Export)
	handle(r, mux, "POST /v1/logs", logsReceiver{receiver: r}.Export)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	return r
}

func handle[M any, P interface {
	*M
	proto.Message
}, A proto.Message](to *receiver, mux *http.ServeMux, pattern string, export func(context.Context, P) (A, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		to.mu.Lock()
		to.header = r.Header
		to.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		m := P(new(M))
		if err == nil {
			err = proto.Unmarshal(body, m)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, _ := export(r.Context(), m)
		text, _ := proto.Marshal(answer)
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(text)
	})
}

// text is all that came, as JSON, a line for each message.
func (r *receiver) text(t *testing.T) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all strings.Builder
	for _, m := range r.messages {
		b, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(append(b, '\n'))
	}
	return all.String()
}

// attr is the text of an attribute, "" where there is none.
func attr(of []*common.KeyValue, key string) string {
	for _, a := range of {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// measured returns how many measurements a metric has with all of some attributes, as key=value.
func (r *receiver) measured(name string, want ...string) (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.metrics[name]
	has := func(of []*common.KeyValue) bool {
		for _, w := range want {
			key, value, _ := strings.Cut(w, "=")
			if attr(of, key) != value {
				return false
			}
		}
		return true
	}
	for _, p := range m.GetHistogram().GetDataPoints() {
		if has(p.Attributes) {
			n += p.Count
		}
	}
	for _, p := range m.GetSum().GetDataPoints() {
		if has(p.Attributes) {
			n += uint64(p.GetAsInt())
		}
	}
	return n
}
