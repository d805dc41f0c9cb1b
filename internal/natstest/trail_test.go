package natstest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/natslog"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestMain is also the process that TestSealerKilled kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(sealDir); dir != "" {
		sealUntilKilled(dir)
	}
	status := m.Run()
	if shared != nil {
		shared.close()
	}
	os.Exit(status)
}

// trail is a stream and its key.
type trail struct {
	*cluster
	name   string
	secret string
	signer note.Signer
}

func newTrail(t testing.TB) *trail {
	t.Helper()
	return startCluster(t).trail(t, nil)
}

// trail makes a stream, with other settings than it should have where change is given.
func (c *cluster) trail(t testing.TB, change func(*jetstream.StreamConfig)) *trail {
	t.Helper()
	i := int(used.Add(1)) - 1
	if i >= streams-1 { // the last is that of TestOpenRefusesUsers
		t.Fatal("there are no more users: raise the constant streams")
	}
	return c.trailNamed(t, streamName(i), change)
}

func (c *cluster) trailNamed(t testing.TB, name string, change func(*jetstream.StreamConfig)) *trail {
	t.Helper()
	tr := &trail{cluster: c, name: name}
	config := natslog.Config(tr.name, 128<<20)
	if change != nil {
		change(&config)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := c.js.CreateStream(ctx, config)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c.js.DeleteStream(ctx, tr.name) // where the cluster is whole
	})
	tr.newKey(t)
	return tr
}

func (tr *trail) newKey(t testing.TB) {
	t.Helper()
	var err error
	tr.secret, _, err = note.GenerateKey(rand.Reader, "example.com/trail")
	must(t, err)
	tr.signer, err = note.NewSigner(tr.secret)
	must(t, err)
}

func (tr *trail) recorder() string { return tr.servers("recorder-" + tr.name) }
func (tr *trail) sealer() string   { return tr.servers("sealer-" + tr.name) }

func (tr *trail) options(timeout time.Duration) natslog.Options {
	return natslog.Options{Stream: tr.name, StreamOptions: audit.StreamOptions{Signer: tr.signer, Service: "clinic", Timeout: timeout}}
}

func (tr *trail) open(t testing.TB, servers string, timeout time.Duration) *audit.Stream {
	t.Helper()
	s, err := natslog.Open(t.Context(), servers, tr.options(timeout))
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// messages returns what the stream has, in its order.
func (tr *trail) messages(t testing.TB) (list []*jetstream.RawStreamMsg) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := tr.js.Stream(ctx, tr.name)
	must(t, err)
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err == nil {
			list = append(list, m)
		} else if err != jetstream.ErrMsgNotFound {
			t.Fatal(err)
		}
	}
	return list
}

// lines returns the events of the stream, each id once as a sealer takes them.
func (tr *trail) lines(t testing.TB) (list [][]byte) {
	for _, m := range tr.messages(t) {
		list = append(list, m.Data)
	}
	return list
}

func openLog(t testing.TB, dir string) *audit.Log {
	t.Helper()
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Timeout: time.Minute})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func (tr *trail) sealOptions() natslog.SealOptions {
	return natslog.SealOptions{Stream: tr.name, Signers: []note.Signer{tr.signer}, Lease: time.Second}
}

// emptyRounds is how many rounds in a row have to find nothing: the replica that hands messages out may have what was
// acknowledged, which two of three nodes have, a moment later.
const emptyRounds = 5

// roundsFor seals until as many events were sealed, or nothing comes any more.
func roundsFor(t testing.TB, s *natslog.Sealer, events int) (all natslog.Sealed) {
	t.Helper()
	for empty := 0; all.Events < events && empty < 10*emptyRounds; {
		sealed, err := s.Round(t.Context())
		must(t, err)
		all.Events += sealed.Events
		if empty++; sealed.Events > 0 {
			empty = 0
		} else {
			time.Sleep(40 * time.Millisecond)
		}
	}
	return all
}

// seal takes what is in the stream into the log in dir, and returns what Verify says of that.
func (tr *trail) seal(t testing.TB, dir string) (all natslog.Sealed, report *audit.Report) {
	t.Helper()
	l := openLog(t, dir)
	s, err := natslog.OpenSealer(t.Context(), tr.sealer(), l, tr.sealOptions())
	// A cluster that has just lost all its nodes takes longer to notice that a sealer has ended.
	for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); {
		t.Log(err)
		s, err = natslog.OpenSealer(t.Context(), tr.sealer(), l, tr.sealOptions())
	}
	must(t, err)
	for empty, failures := 0, 0; empty < emptyRounds; {
		sealed, err := s.Round(t.Context())
		if err != nil {
			if failures++; failures > 100 {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			continue
		}
		all.Events += sealed.Events
		all.Repeated += sealed.Repeated
		all.Refused += sealed.Refused
		all.OtherKeys = sealed.OtherKeys
		all.Gaps = append(all.Gaps, sealed.Gaps...)
		if empty++; sealed.More || sealed.Events+sealed.Repeated+sealed.Refused > 0 {
			empty = 0
		} else {
			time.Sleep(40 * time.Millisecond)
		}
	}
	must(t, s.Close())
	must(t, l.Close())
	report, err = audit.Verify(t.Context(), dir, nil)
	must(t, err)
	return all, report
}

func read(t testing.TB, dir string, filter *audit.Filter) (list []audit.Entry) {
	t.Helper()
	for e, err := range audit.Read(context.Background(), dir, filter) {
		must(t, err)
		list = append(list, e)
	}
	return list
}

// requests counts the queries in a log by their request.
func requests(t testing.TB, dir string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, e := range read(t, dir, &audit.Filter{Code: audit.CodeQuery}) {
		seen[e.Request]++
	}
	return seen
}

// allSealed seals what is left, and compares the log with what was acknowledged.
func (tr *trail) allSealed(t *testing.T, dir string, acked map[string]bool) {
	t.Helper()
	_, report := tr.seal(t, dir)
	// A node that was away may lead the sealer's consumer, and know of fewer messages than the stream has until it has caught up.
	for deadline := time.Now().Add(2 * time.Minute); len(tr.messages(t)) > 0 && time.Now().Before(deadline); time.Sleep(time.Second) {
		t.Logf("%d messages are left in the stream", len(tr.messages(t)))
		_, report = tr.seal(t, dir)
	}
	if report.Missing != 0 || report.Refusals != 0 {
		t.Errorf("the log has gaps:\n%s", report)
	}
	seen := requests(t, dir)
	for request := range acked {
		if seen[request] != 1 {
			t.Errorf("%q was acknowledged and is there %d times", request, seen[request])
		}
	}
	for request, n := range seen {
		if n != 1 {
			t.Errorf("%q is there %d times", request, n)
		}
	}
	if left := len(tr.messages(t)); left != 0 {
		t.Errorf("%d messages are left in the stream", left)
	}
	t.Logf("%d events were acknowledged, %d are sealed", len(acked), len(seen))
}

func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "log") }

func event(id, request string) *audit.Event {
	return &audit.Event{Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success, Tenant: tenant.MustParse(id), Actor: "dr.okafor@example.org",
		Request: request, Store: "postgresql", Name: "clinic", Tables: []string{"patients"}, Rows: -1, Bytes: -1}
}

func record(t testing.TB, r audit.Recorder, requests ...string) {
	t.Helper()
	for _, request := range requests {
		if err := r.Record(t.Context(), event("acme", request)); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", request, err))
		}
	}
}

// load is callers that record until they are told to stop, each going on after a failure.
type load struct {
	mu     sync.Mutex
	acked  map[string]bool
	failed int
	last   error // of those
	stop   chan struct{}
	wg     sync.WaitGroup
}

func startLoad(t *testing.T, s audit.Recorder) *load {
	l := &load{acked: map[string]bool{}, stop: make(chan struct{})}
	for c := range 8 {
		l.wg.Go(func() {
			for i := 0; ; i++ {
				request := fmt.Sprint(c, " ", i)
				err := s.Record(t.Context(), event(fmt.Sprint("tenant-", c%3), request))
				l.mu.Lock()
				if err == nil {
					l.acked[request] = true
				} else {
					l.failed++
					l.last = err
				}
				l.mu.Unlock()
				select {
				case <-l.stop:
					return
				default:
				}
			}
		})
	}
	return l
}

// recorded waits until so many more were acknowledged.
func (l *load) recorded(t *testing.T, more int) {
	t.Helper()
	goal, deadline := l.count()+more, time.Now().Add(90*time.Second)
	for l.count() < goal {
		if time.Now().After(deadline) {
			l.mu.Lock()
			defer l.mu.Unlock()
			t.Fatalf("no %d events were acknowledged in 90 s; %d were, and %d failed, the last with: %v", more, len(l.acked), l.failed, l.last)
		}
		time.Sleep(time.Millisecond)
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *load) end() map[string]bool {
	close(l.stop)
	l.wg.Wait()
	return l.acked
}

func (l *load) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

func contextOf(t testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// named gives its events' requests a prefix.
type named struct {
	audit.Recorder
	prefix string
}

func (n named) Record(ctx context.Context, e *audit.Event) error {
	e.Request = n.prefix + e.Request
	return n.Recorder.Record(ctx, e)
}
