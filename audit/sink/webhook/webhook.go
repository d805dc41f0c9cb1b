// Package webhook delivers the events of an audit log over HTTP, one request for each: the body is
// a CloudEvent 1.0 in the structured mode of its HTTP binding (application/cloudevents+json), and
// the request is signed as Standard Webhooks 1.0 says, so that a receiver checks it with a library
// for either.
//
//	POST /events
//	Content-Type: application/cloudevents+json; charset=UTF-8
//	webhook-id: 01a2046c-…            the event's uid; the same when it is sent again
//	webhook-timestamp: 1795967999     when it was sent
//	webhook-signature: v1,…           HMAC-SHA256 of id, timestamp and body
//
//	{"specversion":"1.0","id":"01a2046c-…","source":"urn:strongroom:audit:example.com%2Fclinic","type":"strongroom.audit.sql.query",
//	 "time":"2026-11-29T15:59:59.999Z","subject":"acme","datacontenttype":"application/json","data":{…}}
//
// Data is the event's line in the log, byte for byte: JSON of OCSF 1.8. Subject is the tenant, and
// absent in the log's own events.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/internal/loopback"
	"github.com/strongroom-go/strongroom/internal/redact"
)

// Options are the settings of [New].
type Options struct {
	// Secrets sign each request: "whsec_" and 24 to 64 random bytes in base64. While a receiver
	// changes from one to another, give both: a request has a signature under each, and the
	// receiver needs one of them. Required.
	Secrets []string
	// Client sends the requests. Redirects are not followed, whatever it says. Default: one with
	// TLS 1.2 or newer that takes no proxy from the environment.
	Client *http.Client
	// Header has further headers of each request, such as Authorization.
	Header http.Header
}

// hook is a [sink.Sink].
type hook struct {
	url     string
	host    string
	signers []*standardwebhooks.Webhook
	header  http.Header
	client  *http.Client
	now     func() time.Time
}

// New returns a sink that sends to a URL, which is https, or http to this machine. An event is
// delivered when the receiver has answered with a status from 200 to 299. After any other the event
// is sent again, also after one that means it will never be taken: no event is passed over. A
// receiver's Retry-After is kept to.
func New(address string, opts Options) (sink.Sink, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("webhook: the address is no URL of the form https://host/path") // withheld: it may hold a secret
	case u.User != nil:
		return nil, errors.New("webhook: the address has a user name or password in it; remove it, and set Options.Header")
	case u.Scheme == "http" && !loopback.Is(u.Hostname()):
		return nil, fmt.Errorf("webhook: the address http://%s would send events in plaintext over the network; use https", u.Host)
	}
	h := &hook{url: u.String(), host: u.Host, header: opts.Header.Clone(), now: time.Now}
	for _, s := range opts.Secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil || len(key) < 24 || len(key) > 64 {
			return nil, errors.New("webhook: one of Options.Secrets is not \"whsec_\" and 24 to 64 bytes in base64")
		}
		signer, err := standardwebhooks.NewWebhookRaw(key)
		if err != nil {
			return nil, errors.New("webhook: one of Options.Secrets is unusable")
		}
		h.signers = append(h.signers, signer)
	}
	if len(h.signers) == 0 {
		return nil, errors.New("webhook: Options.Secrets is empty; a receiver could not tell the log's events from anybody's")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute}}
	if opts.Client != nil {
		c := *opts.Client
		client = &c
	}
	// A redirect could lead the events, and the headers, anywhere.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	h.client = client
	return h, nil
}

func (h *hook) String() string { return "the webhook at " + h.host }

// Close implements [sink.Sink].
func (h *hook) Close() error {
	h.client.CloseIdleConnections()
	return nil
}

// cloudEvent is an event in the JSON format of CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Time            string          `json:"time"`
	Subject         string          `json:"subject,omitempty"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

func encode(e *audit.Entry) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // data is the line's own bytes
	err := enc.Encode(cloudEvent{
		SpecVersion: "1.0", ID: e.UID, Source: "urn:strongroom:audit:" + url.PathEscape(e.Log), Type: "strongroom.audit." + string(e.Code),
		Time: e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), Subject: e.Tenant, DataContentType: "application/json", Data: e.Raw,
	})
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), err
}

// Deliver implements [sink.Sink].
func (h *hook) Deliver(ctx context.Context, events []audit.Entry) (n int, err error) {
	for i := range events {
		if err := h.send(ctx, &events[i]); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

func (h *hook) send(ctx context.Context, e *audit.Entry) error {
	body, err := encode(e)
	if err != nil {
		return fmt.Errorf("the event %s is no JSON", e.UID)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return redact.Error(err)
	}
	for k, v := range h.header {
		r.Header[k] = v
	}
	now := h.now()
	var signatures []string
	for _, s := range h.signers {
		signature, err := s.Sign(e.UID, now, body)
		if err != nil {
			return errors.New("the request cannot be signed")
		}
		signatures = append(signatures, signature)
	}
	r.Header.Set("Content-Type", "application/cloudevents+json; charset=UTF-8")
	r.Header.Set("User-Agent", "strongroom")
	r.Header.Set(standardwebhooks.HeaderWebhookID, e.UID)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	answer, err := h.client.Do(r)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) { // which repeats the URL
			err = wrapped.Err
		}
		return fmt.Errorf("the event %s: %w", e.UID, redact.Error(err))
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return nil
	}
	err = fmt.Errorf("the event %s: the receiver answered with status %d%s", e.UID, answer.StatusCode, remedy(answer.StatusCode))
	if after, ok := retryAfter(answer.Header.Get("Retry-After"), now); ok {
		return &sink.RetryAfter{Err: err, After: after}
	}
	return err
}

func remedy(status int) string {
	switch {
	case status >= 300 && status < 400:
		return "; redirects are not followed: give the URL that it leads to"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "; see whether it has the secret, and that its clock is right"
	case status == http.StatusGone:
		return ": it wants no more; close the shipper"
	case status == http.StatusRequestEntityTooLarge:
		return "; an event has up to 2 MiB"
	}
	return ""
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if s, err := strconv.Atoi(value); err == nil && s >= 0 && s < 1<<31 {
		return time.Duration(s) * time.Second, true
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(0, t.Sub(now)), true
	}
	return 0, false
}
