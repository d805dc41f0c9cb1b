// Package otlp delivers the events of an audit log as OpenTelemetry log records, to whatever takes
// OTLP over HTTP in its binary form (OTLP 1.x, POST of application/x-protobuf to …/v1/logs): the
// OpenTelemetry Collector and what stands behind it.
//
// A record's body is the event's line in the log, JSON of OCSF 1.8; its event name is the code; its
// attributes are log.record.uid, which is the event's uid and what to know a record again by, and
// under strongroom. the index, tenant, actor (a pseudonym), phase and status. The resource's
// service.name is "strongroom" unless Options says other, and the instrumentation scope's name is
// that of the log's format.
package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/internal/loopback"
	"github.com/strongroom-go/strongroom/internal/redact"
)

// Options are the settings of [New].
type Options struct {
	// Header has further headers of each request, such as Authorization.
	Header http.Header
	// Client sends the requests. Redirects are not followed, whatever it says. Default: one with
	// TLS 1.2 or newer that takes no proxy from the environment.
	Client *http.Client
	// Service is the resource's service.name. Default: "strongroom".
	Service string
}

// exporter is a [sink.Sink].
type exporter struct {
	url      string
	host     string
	header   http.Header
	client   *http.Client
	resource *resource.Resource
	now      func() time.Time
}

// New returns a sink that sends to a URL, such as https://collector.example.com:4318/v1/logs; http
// is for this machine alone. Events are delivered when the receiver has answered 200 and has
// rejected none of them. Where it rejects some for good, all are sent again, without end: no event
// is passed over.
func New(address string, opts Options) (sink.Sink, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Path == "" || u.Path == "/":
		return nil, errors.New("otlp: the address is no URL of the form https://host:port/v1/logs") // withheld: it may hold a secret
	case u.User != nil:
		return nil, errors.New("otlp: the address has a user name or password in it; remove it, and set Options.Header")
	case u.Scheme == "http" && !loopback.Is(u.Hostname()):
		return nil, fmt.Errorf("otlp: the address http://%s would send events in plaintext over the network; use https", u.Host)
	}
	if opts.Service == "" {
		opts.Service = "strongroom"
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute}}
	if opts.Client != nil {
		c := *opts.Client
		client = &c
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &exporter{url: u.String(), host: u.Host, header: opts.Header.Clone(), client: client, now: time.Now,
		resource: &resource.Resource{Attributes: []*common.KeyValue{text("service.name", opts.Service)}}}, nil
}

func (x *exporter) String() string { return "the OTLP receiver at " + x.host }

// Close implements [sink.Sink].
func (x *exporter) Close() error {
	x.client.CloseIdleConnections()
	return nil
}

// Deliver implements [sink.Sink].
func (x *exporter) Deliver(ctx context.Context, events []audit.Entry) (int, error) {
	now := x.now()
	records := make([]*logs.LogRecord, len(events))
	for i := range events {
		records[i] = record(&events[i], now)
	}
	body, err := proto.Marshal(&collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource: x.resource, ScopeLogs: []*logs.ScopeLogs{{Scope: &common.InstrumentationScope{Name: "github.com/strongroom-go/strongroom/audit"}, LogRecords: records}},
	}}})
	if err != nil {
		return 0, errors.New("the events cannot be encoded")
	}
	if err := x.post(ctx, body, now); err != nil {
		return 0, err
	}
	return len(events), nil
}

func (x *exporter) post(ctx context.Context, body []byte, now time.Time) error {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	zip.Write(body)
	if err := zip.Close(); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url, &packed)
	if err != nil {
		return redact.Error(err)
	}
	for k, v := range x.header {
		r.Header[k] = v
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "gzip")
	r.Header.Set("User-Agent", "strongroom")
	answer, err := x.client.Do(r)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) { // which repeats the URL
			err = wrapped.Err
		}
		return redact.Error(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if answer.StatusCode != http.StatusOK {
		refused := fmt.Errorf("the receiver answered with status %d", answer.StatusCode)
		if s, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && s >= 0 && s < 1<<31 {
			return &sink.RetryAfter{Err: refused, After: time.Duration(s) * time.Second}
		}
		return refused
	}
	var response collector.ExportLogsServiceResponse
	if err != nil || proto.Unmarshal(data, &response) != nil {
		return errors.New("the receiver's answer is not one of OTLP; see whether the address is that of its logs")
	}
	if n := response.GetPartialSuccess().GetRejectedLogRecords(); n > 0 { // its message may repeat what it was given
		return fmt.Errorf("the receiver has rejected %d of the records; see its log", n)
	}
	return nil
}

// record returns an event as a log record.
func record(e *audit.Entry, now time.Time) *logs.LogRecord {
	number := logs.SeverityNumber_SEVERITY_NUMBER_INFO
	switch e.Severity {
	case "Low", "Medium":
		number = logs.SeverityNumber_SEVERITY_NUMBER_WARN
	case "High", "Critical", "Fatal":
		number = logs.SeverityNumber_SEVERITY_NUMBER_ERROR
	}
	attributes := []*common.KeyValue{
		text("log.record.uid", e.UID), text("strongroom.log", e.Log),
		{Key: "strongroom.index", Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: e.Index}}},
	}
	for _, a := range []struct{ key, value string }{
		{"tenant", e.Tenant}, {"actor", e.Actor}, {"phase", string(e.Phase)}, {"status", string(e.Status)},
	} {
		if a.value != "" {
			attributes = append(attributes, text("strongroom."+a.key, a.value))
		}
	}
	return &logs.LogRecord{
		TimeUnixNano: uint64(max(0, e.Time.UnixNano())), ObservedTimeUnixNano: uint64(max(0, now.UnixNano())), SeverityNumber: number, SeverityText: e.Severity,
		Body:       &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: string(e.Raw)}},
		Attributes: attributes, EventName: string(e.Code),
	}
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}
