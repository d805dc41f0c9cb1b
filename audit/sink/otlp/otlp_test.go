package otlp_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/internal/sinktest"
	"github.com/strongroom-go/strongroom/audit/sink/otlp"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newLog(t *testing.T) (dir string, list []audit.Entry) {
	t.Helper()
	return sinktest.NewLog(t, 40, func(i int, e *audit.Event) {
		e.Phase, e.Status, e.Request = audit.Single, audit.Denied, fmt.Sprint("é", i)
	})
}

// receiver decodes what OTLP says that a server gets, and answers as answer says.
func receiver(t *testing.T, answer func(w http.ResponseWriter, call int)) (url string, got func() []*logs.LogRecord) {
	var mu sync.Mutex
	var records []*logs.LogRecord
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := gzip.NewReader(r.Body)
		var data []byte
		if err == nil {
			data, err = io.ReadAll(body)
		}
		var request collector.ExportLogsServiceRequest
		if err := errors.Join(err, proto.Unmarshal(data, &request)); err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		for _, rl := range request.ResourceLogs {
			if a := rl.Resource.Attributes; len(a) != 1 || a[0].Key != "service.name" || a[0].Value.GetStringValue() != "clinic" {
				t.Errorf("the resource is %v", a)
			}
			for _, sl := range rl.ScopeLogs {
				records = append(records, sl.LogRecords...)
			}
		}
		calls++
		answer(w, calls)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/v1/logs", func() []*logs.LogRecord {
		mu.Lock()
		defer mu.Unlock()
		return records
	}
}

func attribute(r *logs.LogRecord, key string) string {
	for _, a := range r.Attributes {
		if a.Key == key {
			if a.Value.GetStringValue() != "" {
				return a.Value.GetStringValue()
			}
			return fmt.Sprint(a.Value.GetIntValue())
		}
	}
	return ""
}

// TestDelivered: every event arrives, through answers that refuse all or reject some, and what
// comes again has its uid.
func TestDelivered(t *testing.T) {
	dir, want := newLog(t)
	url, got := receiver(t, func(w http.ResponseWriter, call int) {
		switch call % 4 {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			data, _ := proto.Marshal(&collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: 1}})
			w.Write(data)
		case 3:
			fmt.Fprint(w, "<html>")
		}
	})
	x, err := otlp.New(url, otlp.Options{Service: "clinic"})
	must(t, err)
	s, err := sink.Open(dir, filepath.Join(t.TempDir(), "cursor"), x, &sink.Options{Batch: 10})
	must(t, err)
	defer s.Close()
	failures := 0
	for n := 1; n > 0 || err != nil; {
		if n, err = s.Round(t.Context()); err != nil {
			failures++
		}
	}
	records := map[string]*logs.LogRecord{}
	for _, r := range got() {
		records[attribute(r, "log.record.uid")] = r
	}
	if len(records) != len(want) || failures != 3*5 || len(got()) != 4*len(want) {
		t.Errorf("%d records, %d of them once, of %d events; %d failures", len(got()), len(records), len(want), failures)
	}
	for _, e := range want {
		r := records[e.UID]
		severity := map[string]logs.SeverityNumber{"Informational": 9, "Medium": 13}[e.Severity]
		if r == nil || r.Body.GetStringValue() != string(e.Raw) || r.EventName != string(e.Code) || r.TimeUnixNano != uint64(e.Time.UnixNano()) || r.SeverityNumber != severity ||
			attribute(r, "strongroom.tenant") != e.Tenant || attribute(r, "strongroom.index") != fmt.Sprint(e.Index) || strings.Contains(r.String(), "okafor") {
			t.Errorf("event %d is %v", e.Index, r)
		}
	}
}

// TestRefused: addresses that would send in the clear or hold secrets; and errors hold none.
func TestRefused(t *testing.T) {
	for address, problem := range map[string]string{
		"http://collector.example.com/v1/logs": "plaintext", "https://collector.example.com": "no URL", "https://u:canary-x@c.example.com/v1/logs": "user name", "grpc://c/v1/logs": "no URL",
	} {
		if _, err := otlp.New(address, otlp.Options{}); err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", address, err)
		}
	}
	_, want := newLog(t)
	url, _ := receiver(t, func(w http.ResponseWriter, _ int) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, "canary-body")
	})
	x, err := otlp.New(url+"?key=canary-query", otlp.Options{Service: "clinic"})
	must(t, err)
	n, err := x.Deliver(t.Context(), want)
	var retry *sink.RetryAfter
	if n != 0 || !errors.As(err, &retry) || retry.After != 9*time.Second || strings.Contains(err.Error(), "canary") {
		t.Errorf("%d, %v", n, err)
	}
}
