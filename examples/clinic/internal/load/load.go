package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Options say how a service is driven.
type Options struct {
	Services  []string // addresses such as http://127.0.0.1:8080; each request goes to one of them, in turn
	Clinics   []string
	Tokens    func(ctx context.Context, clinic string) (string, error)
	Journal   io.Writer
	Workers   int
	PerSecond int
	Requests  int64 // ends the load when so many were answered as they should be; 0: it goes on
}

// Load is a load that goes on.
type Load struct {
	opts    Options
	client  *http.Client
	journal *journal
	limit   *rate.Limiter
	turn    atomic.Int64
	counts  counts

	// strangers are patients whom the workers of a clinic admitted, for those of the other one to ask for: clinic → patient's id.
	strangers sync.Map

	mu     sync.Mutex
	tokens map[string]string
}

// counts are of requests.
type counts struct{ acknowledged, failed atomic.Int64 }

// New checks the options. Only services on this machine are driven: what this does to a service is an attack on one of others'.
func New(opts Options) (*Load, error) {
	for _, s := range opts.Services {
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" {
			return nil, errors.New("load: a service is no address as in http://127.0.0.1:8080")
		}
		if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
			return nil, fmt.Errorf("load: %s is not on this machine; give a loopback address", u.Hostname())
		}
	}
	if len(opts.Services) == 0 || len(opts.Clinics) < 2 || opts.Workers < 1 || opts.PerSecond < 1 || opts.Requests < 0 {
		return nil, errors.New("load: give services, two clinics, workers and a rate")
	}
	return &Load{opts: opts, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: opts.Workers}},
		journal: newJournal(opts.Journal), limit: rate.NewLimiter(rate.Limit(opts.PerSecond), opts.Workers), tokens: map[string]string{}}, nil
}

// Acknowledged returns how many requests were answered as they should be.
func (l *Load) Acknowledged() int64 { return l.counts.acknowledged.Load() }

func (l *Load) enough() bool { return l.opts.Requests > 0 && l.Acknowledged() >= l.opts.Requests }

// String tells what has been done.
func (l *Load) String() string {
	return fmt.Sprintf("%d requests acknowledged, %d failed or refused", l.counts.acknowledged.Load(), l.counts.failed.Load())
}

// Run drives the services until ctx ends, or Requests were answered. Requests that fail are no error: the journal has them. An answer that must never be
// given is one, such as another clinic's patient.
func (l *Load) Run(ctx context.Context) error {
	errs := make([]error, l.opts.Workers)
	var group sync.WaitGroup
	for i := range l.opts.Workers {
		group.Go(func() {
			w := &worker{load: l, clinic: l.opts.Clinics[i%len(l.opts.Clinics)], other: l.opts.Clinics[(i+1)%len(l.opts.Clinics)]}
			errs[i] = w.run(ctx)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// send sends one request, and returns the status and body of the answer; 0 where there was none.
func (l *Load) send(ctx context.Context, request, method, path, token, contentType string, body []byte) (int, []byte) {
	service := l.opts.Services[int(l.turn.Add(1))%len(l.opts.Services)]
	r, err := http.NewRequestWithContext(ctx, method, service+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("X-Request-Id", request)
	r.Header.Set("Content-Type", contentType)
	answer, err := l.client.Do(r)
	if err != nil {
		return 0, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return 0, nil
	}
	return answer.StatusCode, text
}

// token returns a token for a clinic. It is asked for once: a load is shorter than a token's life.
func (l *Load) token(ctx context.Context, clinic string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tokens[clinic]; t != "" {
		return t, nil
	}
	t, err := l.opts.Tokens(ctx, clinic)
	if err == nil {
		l.tokens[clinic] = t
	}
	return t, err
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of texts and numbers
	}
	return b
}

// Addresses takes a list apart.
func Addresses(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
