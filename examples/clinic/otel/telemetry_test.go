package main

import (
	"bytes"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/otlptranslator"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.yaml.in/yaml/v3"
	_ "modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/service"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
)

// TestByItself: the clinic on the embedded default, with OTLP over HTTP.
func TestByItself(t *testing.T) {
	got := receive(t, "http/protobuf")
	dir := filepath.Join(t.TempDir(), "data")
	c := begin(t, "-dir", dir)
	patient := c.use(c.url + "/issuer")
	steal(t, filepath.Join(dir, "clinic.db"), patient)
	token, err := http.PostForm(c.url+"/issuer/token", url.Values{"clinic": {"harbor"}, "user": {"dr.adams"}})
	if err != nil {
		t.Fatal(err)
	}
	doctor, _ := io.ReadAll(token.Body)
	token.Body.Close()
	c.expect(http.StatusInternalServerError, http.MethodGet, "/api/patients/"+patient, string(doctor), "", "")
	c.end()

	nothingGivenAway(t, got, patient)
	oneTrace(t, got, "sqlite")
	if n := got.measured("strongroom.access.alerts"); n == 0 {
		t.Error("a value of another patient's raised no alert")
	}
	if !slices.ContainsFunc(lines(got), func(l string) bool { return strings.HasPrefix(l, "strongroom: an alert") }) {
		t.Error("no log line tells of it")
	}
	askedFor(t, got)
}

// TestOnServers: the clinic on PostgreSQL, Vault and S3, with OTLP over gRPC.
func TestOnServers(t *testing.T) {
	postgres, vault, s3 := testenv.Postgres(t).NewDatabase(t), testenv.Vault(t), s3env.Server(t)
	s3.Setenv(t)
	super, err := sql.Open("pgx", postgres.SuperURL)
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close()
	roles, err := os.ReadFile("../roles.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := super.Exec(string(roles)); err != nil {
		t.Fatal(err)
	}
	role := func(name string) string {
		u, err := url.Parse(postgres.SuperURL)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("clinic_"+name, name)
		return u.String()
	}
	args := []string{"-postgres", role("app"), "-keys", role("keys"), "-trail-db", role("audit"), "-vault", vault.Addr,
		"-s3", s3.BucketURL(s3.NewBucket(t)), "-secrets", filepath.Join(t.TempDir(), "secrets")}
	t.Setenv("VAULT_TOKEN", vault.RootToken)
	var said bytes.Buffer
	if err := service.Run(t.Context(), append([]string{"-setup", "-owner", role("owner")}, args...), io.Discard, &said, nil); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	t.Setenv("VAULT_TOKEN", "")

	got := receive(t, "grpc")
	c := begin(t, args...)
	patient := c.use(c.url + "/issuer")
	c.end()

	nothingGivenAway(t, got, patient)
	oneTrace(t, got, "postgresql")
	for _, want := range [][]string{
		{"strongroom.kek.call.duration", "strongroom.operation=unwrap"},
		{"strongroom.key_store.call.duration", "strongroom.operation=get"},
		{"db.client.operation.duration", "db.system.name=postgresql", "db.operation.name=SELECT", "db.collection.name=patients"},
		{"strongroom.blob.operation.duration", "strongroom.operation=blob.write"},
		{"strongroom.audit.events", "strongroom.trail=clinic.example.com/trail"},
	} {
		if got.measured(want[0], want[1:]...) == 0 {
			t.Errorf("%q was not measured", want)
		}
	}
}

// A collector that is away neither keeps the service from serving nor makes its end a failure.
func TestCollectorAway(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	c := begin(t, "-dir", filepath.Join(t.TempDir(), "data"))
	c.expect(http.StatusOK, http.MethodGet, "/readyz", "", "", "")
	c.end()
	if text := c.errs.String(); !strings.Contains(text, "telemetry was not sent to its end") || !strings.Contains(text, "telemetry is not sent") {
		t.Errorf("it says:\n%s", text)
	}
}

// The SDK repeats headers that it cannot read, and a collector's token is in one.
func TestHeadersAreNotRepeated(t *testing.T) {
	for _, text := range []string{canary, "api-key=" + canary + ",", "api key=" + canary, "api-key=%zz" + canary, "a=1," + canary} {
		for _, of := range []string{"", "_TRACES", "_METRICS", "_LOGS"} {
			variable := "OTEL_EXPORTER_OTLP" + of + "_HEADERS"
			t.Run(variable+" "+text, func(t *testing.T) {
				receive(t, "http/protobuf")
				t.Setenv(variable, text)
				var errs bytes.Buffer
				err := service.Run(t.Context(), []string{"-listen", "127.0.0.1:0", "-dir", filepath.Join(t.TempDir(), "data")}, io.Discard, &errs, telemetry)
				if err == nil || !strings.Contains(err.Error(), variable) || strings.Contains(err.Error()+errs.String(), canary) {
					t.Errorf("%v\n%s", err, &errs)
				}
			})
		}
	}
}

// Headers that can be read arrive, and what else the SDK says of them is nothing.
func TestHeadersAreSent(t *testing.T) {
	got := receive(t, "http/protobuf")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key="+canary+"%20x, other=1")
	c := begin(t, "-dir", filepath.Join(t.TempDir(), "data"))
	c.end()
	if key := got.header.Get("Api-Key"); key != canary+" x" {
		t.Errorf("the collector was sent the key %q", key)
	}
	if text := c.errs.String(); strings.Contains(text, canary) || strings.Contains(text, "telemetry") {
		t.Errorf("it says:\n%s", text)
	}
}

// What OTEL_ variables say and nobody understands is refused before anything is opened.
func TestEnvironmentIsHeeded(t *testing.T) {
	for _, v := range []string{"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"} {
		t.Run(v, func(t *testing.T) {
			receive(t, "http/protobuf")
			t.Setenv(v, "carrier-pigeon")
			dir := filepath.Join(t.TempDir(), "data")
			if err := service.Run(t.Context(), []string{"-listen", "127.0.0.1:0", "-dir", dir}, io.Discard, io.Discard, telemetry); err == nil || !strings.Contains(err.Error(), v) {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Error("something was opened before")
			}
		})
	}
}

// nothingGivenAway: no text that a client sent or stored, no tenant's, patient's or person's id, and no statement but the program's own.
func nothingGivenAway(t *testing.T, got *receiver, patient string) {
	t.Helper()
	text := got.text(t)
	for line := range strings.Lines(text) {
		for _, word := range []string{canary, patient, "harbor", "hillside", "dr.adams", "m.bell", "treatment", "Adams", "127.0.0.1:"} {
			if i := strings.Index(strings.ToLower(line), strings.ToLower(word)); i >= 0 && !(word == "127.0.0.1:" && strings.Contains(line, `"serving"`)) {
				t.Errorf("%s is exported: …%s…", word, line[max(0, i-300):min(len(line), i+100)])
			}
		}
	}
	for _, want := range []string{"clinic-of-the-test", "INSERT INTO patients", "strongroom.blob.write", "an access was denied", "refused or failed"} {
		if !strings.Contains(text, want) { // or the test sees nothing
			t.Errorf("there is no %q in what was exported", want)
		}
	}
	program := bare(statementsOf(t))
	statements := 0
	for _, s := range got.spans {
		if query := attr(s.Attributes, "db.query.text"); query != "" {
			statements++
			if !strings.Contains(program, "`"+bare(query)+"`") {
				t.Errorf("a span has a statement that the program does not: %s", query)
			}
		}
		if hex.EncodeToString(s.TraceId) == foreignTrace {
			t.Error("a client's trace was taken up")
		}
		if len(s.Events) > 0 {
			t.Errorf("%s has events: an error's text is in them", s.Name)
		}
	}
	if statements < 5 {
		t.Errorf("only %d statements were seen", statements)
	}
}

// bare is SQL without the numbers of its parameters, of which a literal has become one.
func bare(statement string) string {
	return regexp.MustCompile(`\$\d+|LIMIT \d+`).ReplaceAllStringFunc(statement, func(s string) string {
		if strings.HasPrefix(s, "LIMIT") {
			return "LIMIT $"
		}
		return "$"
	})
}

// lines are the texts of the log lines, with the attribute that tells requests apart.
func lines(got *receiver) (all []string) {
	for _, l := range got.logs {
		all = append(all, l.Body.GetStringValue()+" "+attr(l.Attributes, "route"))
	}
	return all
}

// oneTrace: a request, its statements, their parts down to the KEK provider, and its line in the log are one trace.
func oneTrace(t *testing.T, got *receiver, system string) {
	t.Helper()
	const route = "PUT /api/patients/{id}"
	i := slices.IndexFunc(got.spans, func(s *trace.Span) bool { return s.Name == route })
	if i < 0 {
		t.Fatalf("no request %s has a span", route)
	}
	request := got.spans[i] // the first, for which the keys were opened unless something else came before
	if request.Kind != trace.Span_SPAN_KIND_SERVER || len(request.ParentSpanId) > 0 || attr(request.Attributes, "http.route") != "/api/patients/{id}" {
		t.Errorf("the request's span is %v", request)
	}
	names := map[string]*trace.Span{}
	for _, s := range got.spans {
		if bytes.Equal(s.TraceId, request.TraceId) {
			names[s.Name] = s
		}
	}
	for _, want := range []string{"BEGIN", "INSERT patients", "INSERT visits", "COMMIT", "strongroom.gate", "strongroom.send", "strongroom.audit.commit"} {
		if names[want] == nil {
			t.Errorf("the request's trace has no %s", want)
		}
	}
	if s := names["INSERT patients"]; s != nil && attr(s.Attributes, "db.system.name") != system {
		t.Errorf("the statement's span is %v", s)
	}
	if !slices.ContainsFunc(got.spans, func(s *trace.Span) bool { return s.Name == "strongroom.kek.unwrap" || s.Name == "strongroom.kek.wrap" }) {
		t.Error("no call of the KEK provider has a span")
	}
	for _, l := range got.logs {
		if l.Body.GetStringValue() == "request" && bytes.Equal(l.TraceId, request.TraceId) {
			return
		}
	}
	t.Error("the request's line in the log is in no trace of its")
}

// steal puts another patient's sealed notes into a patient's row.
func steal(t *testing.T, file, patient string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := db.Exec(`UPDATE patients SET notes = (SELECT notes FROM patients p WHERE p.tenant_id = 'hillside' LIMIT 1) WHERE id = ?`, patient)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := r.RowsAffected(); n != 1 {
		t.Fatalf("%d rows were changed", n)
	}
}

var (
	series   = regexp.MustCompile(`\b(?:strongroom|db)_[a-z0-9_]+\b`)
	noSeries = regexp.MustCompile(`\{[^}]*\}|\b(?:by|on)\s*\([^)]*\)`)
)

// askedFor: each series that the dashboard or an alert asks for is what Prometheus makes of a metric that the running clinic exports.
func askedFor(t *testing.T, got *receiver) {
	t.Helper()
	there := map[string]bool{}
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	for _, m := range got.metrics {
		kind := otlptranslator.MetricType(otlptranslator.MetricTypeGauge)
		suffixes := []string{""}
		switch {
		case m.GetSum() != nil:
			kind = otlptranslator.MetricTypeMonotonicCounter
		case m.GetHistogram() != nil:
			kind, suffixes = otlptranslator.MetricTypeHistogram, []string{"_bucket", "_sum", "_count"}
		}
		name, err := namer.Build(otlptranslator.Metric{Name: m.Name, Unit: m.Unit, Type: kind})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range suffixes {
			there[name+s] = true
		}
	}
	expressions := 0
	var find func(where string, v any)
	find = func(where string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if text, ok := value.(string); ok && key == "expr" {
					expressions++
					for _, name := range series.FindAllString(noSeries.ReplaceAllString(text, " "), -1) {
						if !there[name] {
							t.Errorf("%s asks for %s, which the clinic does not export: %s", where, name, text)
						}
					}
				}
				find(where, value)
			}
		case []any:
			for _, value := range v {
				find(where, value)
			}
		}
	}
	for name, unmarshal := range map[string]func([]byte, any) error{"dashboard.json": json.Unmarshal, "alerts.yml": yaml.Unmarshal} {
		text, err := os.ReadFile("../observability/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		find(name, v)
	}
	if expressions < 30 {
		t.Errorf("only %d expressions were found", expressions)
	}
}
