package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/otlp"
	"github.com/strongroom-go/strongroom/audit/sink/sqltable"
	"github.com/strongroom-go/strongroom/audit/sink/syslog"
	"github.com/strongroom-go/strongroom/audit/sink/webhook"
	"github.com/strongroom-go/strongroom/internal/canary"
	"github.com/strongroom-go/strongroom/internal/samplelog"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// badKeys fail, and repeat in the error what they were given.
type badKeys struct{}

func (badKeys) Pseudonym(actor string) (string, error) {
	return "", errors.New("no pseudonym for " + actor)
}
func (badKeys) SealDetails(details []byte, _ string) ([]byte, error) {
	return nil, fmt.Errorf("cannot seal %s", details)
}

// withCanaries makes a log with an event of every code, phase and status there is, each field of them with a canary, and
// returns the errors that there were.
func withCanaries(t *testing.T) (dir, key string, errs []error) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Durability: audit.Written, SegmentBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := samplelog.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	record := func(wanted bool, change func(*audit.Event)) {
		t.Helper()
		e := &audit.Event{Code: audit.CodeQuery, Phase: audit.Outcome, Status: audit.Success, Tenant: tenant.MustParse("acme"), Sealer: keys, Rows: 2, Bytes: 3}
		canary.Fill(e)
		change(e)
		if err := l.Record(t.Context(), e); err != nil {
			errs = append(errs, err)
			if wanted {
				t.Fatal(err)
			}
		}
	}
	for _, code := range audit.Codes() {
		if strings.HasPrefix(string(code), "audit.") || strings.HasPrefix(string(code), "stream.") {
			record(false, func(e *audit.Event) { e.Code = code })
			continue
		}
		for _, phase := range []audit.Phase{audit.Single, audit.Intent, audit.Outcome} {
			for _, status := range []audit.Status{audit.Success, audit.Failure, audit.Denied, audit.Unknown} {
				record(true, func(e *audit.Event) { e.Code, e.Phase, e.Status = code, phase, status })
			}
		}
	}
	record(true, func(e *audit.Event) { e.Sealer = nil })
	record(true, func(e *audit.Event) { e.Tenant, e.Sealer = tenant.ID{}, nil })
	record(true, func(e *audit.Event) { e.Sealer = badKeys{} })
	for _, change := range []func(*audit.Event){
		func(e *audit.Event) { e.Sealer, e.Phase = badKeys{}, audit.Intent },
		func(e *audit.Event) { e.Code = audit.Code(e.Actor) },
		func(e *audit.Event) { e.Phase = audit.Phase(e.Actor) },
		func(e *audit.Event) { e.Status = audit.Status(e.Actor) },
		func(e *audit.Event) { e.Correlation = e.Actor },
		func(e *audit.Event) { e.Phase, e.Details["big"] = audit.Intent, strings.Repeat(e.Actor, 4<<10) },
	} {
		before := len(errs)
		if record(false, change); len(errs) == before {
			t.Error("an event that should be refused was not")
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, l.Verifier(), errs
}

// TestCanaries looks for what is personal in everything that comes of a trail: its files, the errors, each command, each sink.
func TestCanaries(t *testing.T) {
	dir, key, refused := withCanaries(t)
	hides := func(what string, data []byte) {
		t.Helper()
		if found := canary.Found(data, canary.Sealed); len(found) > 0 {
			t.Errorf("%s shows %v", what, found)
		}
	}
	for _, err := range refused {
		hides("an error", fmt.Appendf(nil, "%v %+v %#v", err, err, err))
	}
	clear := canary.ClearFields()
	var lines []byte
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		hides(path, data)
		if strings.HasSuffix(path, ".jsonl") {
			lines = append(lines, data...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found := canary.Found(lines, canary.Clear); !slices.Equal(found, clear) { // or what is judged would not be what is written
		t.Errorf("in the clear stand %v, and may %v", found, clear)
	}

	file := func(name string) string { return filepath.Join(t.TempDir(), name) }
	page, bundled := file("page.html"), file("acme.bundle")
	for _, args := range [][]string{
		{"verify", dir}, {"verify", "-key", key, dir}, {"query", dir}, {"query", "-json", dir}, {"query", "-tenant", "acme", "-actor", "nobody", dir},
		{"export", dir}, {"export", "-format", "json", dir}, {"report", "-controls", "-o", page, dir},
		{"bundle", "-tenant", "acme", "-key", key, "-o", bundled, dir}, {"verify-bundle", "-key", key, bundled}, {"retain", "-compress", dir}, {"query", "-json", dir},
	} {
		out, errs := try(t, 0, args...)
		hides("auditctl "+args[0], []byte(out+errs))
	}
	for _, name := range []string{page, bundled} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		hides(name, data)
	}
	// Followed until the last event came: of a log, part of which is compressed.
	last := ""
	for e, err := range audit.Read(t.Context(), dir, nil) {
		if err != nil {
			t.Fatal(err)
		}
		last = e.UID
	}
	for _, args := range [][]string{{"follow", "-json"}, {"follow"}} {
		ctx, cancel := context.WithCancel(t.Context())
		var out locked
		var errs bytes.Buffer
		seen := 0
		status := run(ctx, append(args, "-since", "2020-01-01", dir), writerFunc(func(p []byte) (int, error) {
			if seen++; seen == len(bytes.Split(lines, []byte("\n")))-1 || bytes.Contains(p, []byte(last)) {
				cancel()
			}
			return out.Write(p)
		}), &errs)
		cancel()
		hides("auditctl follow", []byte(out.String()+errs.String()))
		if found := canary.Found([]byte(out.String()), canary.Clear); status != exitOK || len(found) == 0 || len(args) == 2 && !slices.Equal(found, clear) {
			t.Errorf("auditctl %v: exit status %d, in the clear %v: the test looked at too little", args, status, found)
		}
	}
	for name, s := range sinks(t) {
		t.Run(name, func(t *testing.T) {
			hide := func(what string, data []byte) {
				if found := canary.Found(data, canary.Sealed); len(found) > 0 {
					t.Errorf("%s shows %v", what, found)
				}
			}
			shipper, err := sink.Open(dir, file(name+".cursor"), s.sink, &sink.Options{Batch: 50})
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for rounds := 0; ; rounds++ {
				n, err := shipper.Round(t.Context())
				if err != nil {
					hide("an error", []byte(err.Error()))
					if found := canary.Found([]byte(err.Error()), canary.Clear); len(found) > 0 || !s.fails {
						t.Errorf("the error has %v: %v", found, err)
					}
				}
				if total += n; n == 0 || rounds > 1000 {
					break
				}
			}
			if err := shipper.Close(); err != nil {
				t.Error(err)
			}
			got := s.got()
			hide("what was delivered", got)
			if found := canary.Found(got, canary.Clear); !slices.Equal(found, clear) && !s.fails || total == 0 && !s.fails {
				t.Errorf("%d events, and in the clear %v: the test looked at too little", total, found)
			}
		})
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// tried is a sink and what it has handed over.
type tried struct {
	sink  sink.Sink
	got   func() []byte
	fails bool // its receiver refuses what it is given, and repeats it
}

func sinks(t *testing.T) map[string]tried {
	t.Helper()
	must := func(s sink.Sink, err error) sink.Sink {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	all := map[string]tried{}
	for _, name := range []string{"slog text", "slog json"} {
		var b bytes.Buffer
		var h slog.Handler = slog.NewTextHandler(&b, nil)
		if name == "slog json" {
			h = slog.NewJSONHandler(&b, nil)
		}
		all[name] = tried{sink.Slog(h), b.Bytes, false}
	}
	for _, fails := range []bool{false, true} {
		name := map[bool]string{true: " that refuses"}[fails]
		url, got := echo(t, fails)
		secret := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAECAwQ="
		all["webhook"+name] = tried{must(webhook.New(url+"/in", webhook.Options{Secrets: []string{secret}})), got, fails}
		url, got = echo(t, fails)
		all["otlp"+name] = tried{must(otlp.New(url+"/v1/logs", otlp.Options{})), got, fails}
	}
	database := filepath.Join(t.TempDir(), "db")
	db, err := sql.Open("sqlite", database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ddl, err := sqltable.DDL(dialect.SQLite, "")
	if err == nil {
		_, err = db.ExecContext(t.Context(), ddl)
	}
	if err != nil {
		t.Fatal(err)
	}
	all["sqltable"] = tried{must(sqltable.New(db, dialect.SQLite, "")), func() []byte {
		if _, err := db.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			t.Error(err)
		}
		data, err := os.ReadFile(database)
		if err != nil {
			t.Error(err)
		}
		return data
	}, false}
	address, roots, got := collector(t)
	all["syslog"] = tried{must(syslog.New(address, syslog.Options{TLS: &tls.Config{RootCAs: roots, ServerName: "example.com"}})), got, false}
	return all
}

// echo is a server that keeps what it is sent, unpacked, and where it refuses that, sends it back.
func echo(t *testing.T, refuse bool) (url string, got func() []byte) {
	t.Helper()
	var mu sync.Mutex
	var all []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unpacked
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, data...)
		for name, values := range r.Header {
			all = append(all, name+strings.Join(values, " ")...)
		}
		if refuse {
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			w.WriteHeader(http.StatusBadRequest)
			w.Write(data)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []byte {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// collector is a server that reads what it is sent to the end.
func collector(t *testing.T) (address string, roots *x509.CertPool, got func() []byte) {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	certificate, pool := certified.TLS.Certificates[0], x509.NewCertPool()
	pool.AddCert(certified.Certificate())
	certified.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all []byte
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				data, err := io.ReadAll(conn)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, data...)
			})
		}
	})
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	return listener.Addr().String(), pool, func() []byte {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}
