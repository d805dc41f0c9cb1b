package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/otlp"
	"github.com/strongroom-go/strongroom/audit/sink/syslog"
	"github.com/strongroom-go/strongroom/audit/sink/webhook"
	"github.com/strongroom-go/strongroom/internal/plainfile"
)

// receiver is where ship delivers to. Secrets are in files alone: every user of the machine sees a command's arguments.
type receiver struct {
	kind, url, urlFile, headerFile, service string
	secretFiles                             []string
	address, host                           string
	maxMessage                              int
	ca, cert, certKey                       string
	bucket                                  bucketFlags
	stream                                  streamFlags
}

func receiverFlags(flags *flag.FlagSet) *receiver {
	r := &receiver{}
	flags.StringVar(&r.kind, "to", "", "the receiver: stdout, slog, webhook, otlp, syslog, s3 or nats")
	flags.StringVar(&r.url, "url", "", "webhook, otlp: where to send to")
	flags.StringVar(&r.urlFile, "url-file", "", "webhook, otlp: a file with the URL, where that is a secret")
	flags.StringVar(&r.headerFile, "header-file", "", `webhook, otlp: a file with further headers, a line each, as "Authorization: Bearer …"`)
	flags.StringVar(&r.service, "service", "strongroom", "otlp: the resource's service.name; syslog: the APP-NAME")
	flags.Func("secret-file", `webhook: a file with a signing secret, "whsec_…" (repeatable, while the receiver changes to another)`, func(s string) error {
		r.secretFiles = append(r.secretFiles, s)
		return nil
	})
	flags.StringVar(&r.address, "address", "", "syslog: host:port, or host for port 6514")
	flags.StringVar(&r.host, "hostname", "", "syslog: the HOSTNAME of the messages")
	flags.IntVar(&r.maxMessage, "max-message", 0, "syslog: how many bytes a message may have; 0: any number")
	flags.StringVar(&r.ca, "ca", "", "webhook, otlp, syslog, s3, nats: a file with the certificates (PEM) that the server's must come from; default: the system's")
	flags.StringVar(&r.cert, "cert", "", "webhook, otlp, syslog, s3, nats: a file with this client's certificate (PEM)")
	flags.StringVar(&r.certKey, "cert-key", "", "webhook, otlp, syslog, s3, nats: the file with its key")
	r.bucket.add(flags)
	r.stream.add(flags)
	return r
}

// flagsOf returns the flags that a receiver takes beside those of all.
func flagsOf(kind string) ([]string, bool) {
	switch kind {
	case "stdout", "slog":
		return nil, true
	case "webhook":
		return []string{"url", "url-file", "header-file", "secret-file", "ca", "cert", "cert-key"}, true
	case "otlp":
		return []string{"url", "url-file", "header-file", "service", "ca", "cert", "cert-key"}, true
	case "syslog":
		return []string{"address", "hostname", "max-message", "service", "ca", "cert", "cert-key"}, true
	case "s3":
		return []string{"bucket", "region", "endpoint", "path-style", "credentials-file", "keep", "governance", "prefix", "ca", "cert", "cert-key"}, true
	case "nats":
		return []string{"servers", "stream", "subject", "creds", "ca", "cert", "cert-key"}, true
	}
	return nil, false
}

// open opens the receiver. A flag that is another one's is refused: it would do nothing, where somebody relies on it.
func (r *receiver) open(ctx context.Context, flags *flag.FlagSet, out io.Writer) (sink.Sink, error) {
	own, ok := flagsOf(r.kind)
	if !ok {
		return nil, errors.New("auditctl ship: -to is missing or unknown; use stdout, slog, webhook, otlp, syslog, s3 or nats")
	}
	var err error
	flags.Visit(func(f *flag.Flag) {
		all := []string{"to", "cursor", "key", "batch", "gather", "timeout", "once"}
		if !slices.Contains(all, f.Name) && !slices.Contains(own, f.Name) {
			err = errors.Join(err, fmt.Errorf("auditctl ship: -%s is not for -to %s", f.Name, r.kind))
		}
	})
	if err != nil {
		return nil, err
	}
	switch r.kind {
	case "stdout":
		return synced(lineSink{newLines(out)}, out), nil
	case "slog":
		return synced(sink.Slog(slog.NewJSONHandler(newLines(out), nil)), out), nil
	}
	config, err := r.tls()
	if err != nil {
		return nil, err
	}
	switch r.kind {
	case "s3":
		return r.bucket.open(ctx, config)
	case "nats":
		return r.stream.open(ctx, r.ca, r.cert, r.certKey)
	case "syslog":
		if r.address == "" {
			return nil, errors.New("auditctl ship: -address is missing")
		}
		return syslog.New(r.address, syslog.Options{TLS: config, Hostname: r.host, AppName: r.service, MaxMessage: r.maxMessage})
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute}}
	url, header, err := r.http()
	if err != nil {
		return nil, err
	}
	if r.kind == "otlp" {
		return otlp.New(url, otlp.Options{Header: header, Client: client, Service: r.service})
	}
	var secrets []string
	for _, name := range r.secretFiles {
		secret, err := secretFile(name)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, strings.TrimSpace(string(secret)))
	}
	return webhook.New(url, webhook.Options{Secrets: secrets, Header: header, Client: client})
}

// http returns where to send to, and the further headers.
func (r *receiver) http() (url string, header http.Header, err error) {
	if (r.url == "") == (r.urlFile == "") {
		return "", nil, errors.New("auditctl ship: give -url or -url-file")
	}
	if url = r.url; r.urlFile != "" {
		data, err := secretFile(r.urlFile)
		if err != nil {
			return "", nil, err
		}
		url = strings.TrimSpace(string(data))
	}
	header = http.Header{}
	if r.headerFile == "" {
		return url, header, nil
	}
	data, err := secretFile(r.headerFile)
	if err != nil {
		return "", nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" || value == "" {
			return "", nil, fmt.Errorf("auditctl ship: line %d of %s is no header", n, r.headerFile) // withheld: it may hold a secret
		}
		header.Add(name, value)
	}
	return url, header, lines.Err()
}

// tls returns how servers are spoken to.
func (r *receiver) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.ca != "" {
		data, err := plainfile.Read(r.ca, maxFile)
		if err != nil {
			return nil, fmt.Errorf("auditctl ship: %w", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("auditctl ship: %s holds no certificate in PEM", r.ca)
		}
	}
	if (r.cert == "") != (r.certKey == "") {
		return nil, errors.New("auditctl ship: -cert and -cert-key go together")
	}
	if r.cert != "" {
		key, err := secretFile(r.certKey)
		if err != nil {
			return nil, err
		}
		cert, err := plainfile.Read(r.cert, maxFile)
		if err != nil {
			return nil, fmt.Errorf("auditctl ship: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("auditctl ship: %s and %s are no certificate and its key", r.cert, r.certKey)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// maxFile bounds a file of settings, certificates or a secret, in bytes.
const maxFile = 8 << 20

// secretFile reads a file that only its owner may be able to read.
func secretFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("auditctl ship: %w", err)
	}
	if perm := info.Mode().Perm(); !info.Mode().IsRegular() || perm&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("auditctl ship: %s has mode %v, so others can read what is secret in it; run chmod 600 on it, and replace the secret if they may have", name, info.Mode())
	}
	data, err := plainfile.Read(name, maxFile)
	if err != nil {
		return nil, fmt.Errorf("auditctl ship: %w", err)
	}
	return data, nil
}

// synced is a sink that has what it delivered on disk, where it writes into a file: retention may delete what the cursor is
// past. What is at the other end of a pipe is for its reader to keep.
func synced(s sink.Sink, out io.Writer) sink.Sink {
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return syncedSink{s, f}
		}
	}
	return s
}

type syncedSink struct {
	sink.Sink
	file interface{ Sync() error }
}

// Deliver implements [sink.Sink].
func (s syncedSink) Deliver(ctx context.Context, events []audit.Entry) (int, error) {
	n, err := s.Sink.Deliver(ctx, events)
	if n == 0 {
		return n, err
	}
	if failed := s.file.Sync(); failed != nil {
		return 0, errors.Join(err, failed) // nobody knows what is there: they come again
	}
	return n, err
}

// lineSink writes the events' exact lines.
type lineSink struct{ out io.Writer }

func (lineSink) String() string { return "standard output" }
func (lineSink) Close() error   { return nil }

// Deliver implements [sink.Sink].
func (s lineSink) Deliver(ctx context.Context, events []audit.Entry) (int, error) {
	for i := range events {
		if err := ctx.Err(); err != nil {
			return i, err
		}
		if _, err := s.out.Write(append(events[i].Raw, '\n')); err != nil {
			return i, err
		}
	}
	return len(events), nil
}
