package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// locked is output that may be looked at while it is written.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func writeSecret(t *testing.T, name, content string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func sealedLines(t *testing.T, dir string) (lines string) {
	t.Helper()
	for e, err := range audit.Read(t.Context(), dir, nil) {
		if err != nil {
			t.Fatal(err)
		}
		lines += string(e.Raw) + "\n"
	}
	return lines
}

// TestShipLines delivers a log's exact lines, each once, and what came since when it is run again.
func TestShipLines(t *testing.T) {
	dir, key, _ := sample(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	want := sealedLines(t, dir)
	out, errs := try(t, 0, "ship", "-to", "stdout", "-cursor", cursor, "-key", key, "-batch", "2", "-once", dir)
	if out != want || !strings.Contains(errs, "0 behind") {
		t.Errorf("delivered:\n%s%s", out, errs)
	}
	if out, _ := try(t, 0, "ship", "-to", "stdout", "-cursor", cursor, "-once", dir); out != "" {
		t.Errorf("delivered again:\n%s", out)
	}
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if out, _ := try(t, 0, "ship", "-to", "stdout", "-cursor", cursor, "-once", dir); want+out != sealedLines(t, dir) || out == "" {
		t.Errorf("what came since:\n%s", out)
	}
	if out, _ := try(t, 0, "ship", "-to", "slog", "-cursor", cursor+"2", "-once", dir); strings.Count(out, `"msg":"sql.query"`) != 4 {
		t.Errorf("as records:\n%s", out)
	}
	// What a receiver has not is kept by retention.
	try(t, 0, "retain", "-age", "1h", "-needed-cursor", cursor, "-needed-cursor", cursor+"2", dir)
	try(t, 2, "retain", "-age", "1h", "-needed-cursor", cursor, "-needed", "3", dir)
	try(t, 2, "retain", "-needed-cursor", cursor, dir)
	other, _, _ := sample(t)
	try(t, 2, "ship", "-to", "stdout", "-cursor", cursor, "-once", other)
	name := filepath.Join(dir, "seg", strings.Repeat("0", 20)+".jsonl")
	data, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, bytes.Replace(data, []byte("patients"), []byte("nobodies"), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := try(t, 1, "ship", "-to", "stdout", "-cursor", cursor+"3", dir); strings.Contains(out, "nobodies") {
		t.Errorf("an event that was changed was delivered:\n%s", out)
	}
}

// TestShipUntilInterrupted has a receiver refuse at first: the command says so, goes on, and ends with its context. What is secret
// is in no line of it.
func TestShipUntilInterrupted(t *testing.T) {
	for _, kind := range []string{"webhook", "otlp"} {
		t.Run(kind, func(t *testing.T) {
			dir, _, _ := sample(t)
			var mu sync.Mutex
			calls, authorized := 0, 0
			enough := make(chan struct{})
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				mu.Lock()
				defer mu.Unlock()
				if r.Header.Get("Authorization") == "Bearer s3cret" && r.URL.Path == "/path-s3cret" {
					authorized++
				}
				if calls++; calls == 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				if kind == "otlp" {
					w.Header().Set("Content-Type", "application/x-protobuf")
				}
			}))
			defer server.Close()
			ca := writeSecret(t, "ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
			args := []string{"ship", "-to", kind, "-ca", ca, "-cursor", filepath.Join(t.TempDir(), "cursor"),
				"-url-file", writeSecret(t, "url", server.URL+"/path-s3cret\n"), "-header-file", writeSecret(t, "header", "Authorization: Bearer s3cret\n")}
			if kind == "webhook" {
				args = append(args, "-secret-file", writeSecret(t, "whsec", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAECAwQ=\n"))
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var errs locked
			status := make(chan int, 1)
			go func() { status <- run(ctx, append(args, dir), io.Discard, &errs) }()
			go func() {
				for !strings.Contains(errs.String(), "takes events again") && ctx.Err() == nil {
					time.Sleep(5 * time.Millisecond)
				}
				close(enough)
			}()
			select {
			case <-enough:
			case got := <-status:
				t.Fatalf("it ended with %d: %s", got, &errs)
			}
			for !strings.Contains(errs.String(), " 0 behind") && kind == "otlp" {
				time.Sleep(5 * time.Millisecond)
			}
			cancel()
			if got := <-status; got != exitOK {
				t.Errorf("exit status %d", got)
			}
			if text := errs.String(); !strings.Contains(text, "did not take events") || strings.Contains(text, "s3cret") || strings.Contains(text, "whsec") {
				t.Errorf("it said:\n%s", text)
			}
			if authorized != calls {
				t.Errorf("%d of %d requests were authorized", authorized, calls)
			}
		})
	}
}

func TestShipSyslog(t *testing.T) {
	dir, _, _ := sample(t)
	server := httptest.NewTLSServer(nil)
	ca := writeSecret(t, "ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	server.Close()
	address, _, got := collector(t)
	try(t, 0, "ship", "-to", "syslog", "-address", address, "-ca", ca, "-service", "clinic", "-cursor", filepath.Join(t.TempDir(), "cursor"), "-once", dir)
	if n := bytes.Count(got(), []byte(" clinic ")); n != strings.Count(sealedLines(t, dir), "\n") {
		t.Errorf("%d messages:\n%s", n, got())
	}
}

// TestShipToClusters: what is missing or wrong is said before anything is sent, and nothing of a file with credentials is repeated. Package
// s3lock and internal/natstest deliver to real servers.
func TestShipToClusters(t *testing.T) {
	dir, _, _ := sample(t)
	keys := writeSecret(t, "aws", "[default]\naws_access_key_id = AKs3cret\naws_secret_access_key = s3cret\n")
	open := writeSecret(t, "open", "aws_access_key_id = AKs3cret\naws_secret_access_key = s3cret\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	s3 := []string{"s3", "-bucket", "b", "-region", "r", "-endpoint", "http://127.0.0.1:1", "-path-style"}
	for want, args := range map[string][]string{
		"needs -bucket":                     {"s3", "-keep", "1d", "-credentials-file", keys, "-region", "r"},
		"needs -servers":                    {"nats", "-stream", "S"},
		"is not for -to nats":               {"nats", "-stream", "S", "-servers", "127.0.0.1:1", "-bucket", "b"},
		"is not for -to s3":                 append(s3, "-stream", "S"),
		"others can read":                   append(s3, "-keep", "1d", "-credentials-file", open),
		"others can":                        {"nats", "-stream", "S", "-servers", "127.0.0.1:1", "-creds", open},
		"several profiles":                  append(s3, "-keep", "1d", "-credentials-file", writeSecret(t, "two", "[a]\n[b]\n")),
		"in line 2 none of":                 append(s3, "-keep", "1d", "-credentials-file", writeSecret(t, "odd", "\ns3cret\n")),
		"has no aws_access_key_id":          append(s3, "-keep", "1d", "-credentials-file", writeSecret(t, "half", "aws_secret_access_key=s3cret")),
		"below an hour":                     append(s3, "-keep", "10m", "-credentials-file", keys),
		"number of days":                    append(s3, "-keep", "long", "-credentials-file", keys),
		"events would be sent in plaintext": {"s3", "-bucket", "b", "-region", "r", "-endpoint", "http://192.0.2.1", "-path-style", "-keep", "1d", "-credentials-file", keys},
	} {
		_, errs := try(t, 2, append(append([]string{"ship", "-cursor", filepath.Join(t.TempDir(), "cursor"), "-once", "-to"}, args...), dir)...)
		if !strings.Contains(errs, want) || strings.Contains(errs, "s3cret") {
			t.Errorf("%v: want %q:\n%s", args, want, errs)
		}
	}
}

// TestShipRefuses: what is asked for and would not be done is refused.
func TestShipRefuses(t *testing.T) {
	dir, _, _ := sample(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	open := writeSecret(t, "open", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAECAwQ=")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	bad := writeSecret(t, "bad", "Authorization s3cret")
	for want, args := range map[string][]string{
		"-to is missing":                   {},
		"unknown":                          {"-to", "kafka"},
		"-cursor is missing":               {"-to", "stdout", "-cursor", ""},
		"in the log's directory":           {"-to", "stdout", "-cursor", filepath.Join(dir, "cursor")},
		"-url or -url-file":                {"-to", "otlp"},
		"-secret-file is not for -to otlp": {"-to", "otlp", "-url", "https://x/v1/logs", "-secret-file", bad},
		"Options.Secrets is empty":         {"-to", "webhook", "-url", "https://x/in"},
		"use https":                        {"-to", "otlp", "-url", "http://collector.example.com/v1/logs"},
		"chmod 600":                        {"-to", "webhook", "-url", "https://x/in", "-secret-file", open},
		"line 1 of":                        {"-to", "otlp", "-url", "https://x/v1/logs", "-header-file", bad},
		"no certificate":                   {"-to", "syslog", "-address", "x", "-ca", bad},
		"go together":                      {"-to", "syslog", "-address", "x", "-cert", bad},
		"-address is missing":              {"-to", "syslog"},
		"-ca is not for -to stdout":        {"-to", "stdout", "-ca", bad},
	} {
		_, errs := try(t, 2, slices.Concat([]string{"ship", "-cursor", cursor}, args, []string{dir})...)
		if !strings.Contains(errs, want) || strings.Contains(errs, "s3cret") {
			t.Errorf("%v: %s", args, errs)
		}
	}
}

// TestHelp compares what the commands say of themselves with files that are read by people.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"ship", "-h"}, {"retain", "-h"}, {"seal", "-h"}} {
		name := filepath.Join("testdata", "help-"+args[0]+".txt")
		out, errs := try(t, 0, args...)
		if *update {
			if err := os.WriteFile(name, []byte(out+errs), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil || out+errs != string(want) {
			t.Errorf("auditctl %q says something else than %s has (%v); go test -update, and read it:\n%s", args, name, err, out+errs)
		}
	}
}
