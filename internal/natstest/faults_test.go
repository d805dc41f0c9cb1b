package natstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/natslog"
)

// TestNodesKilled kills nodes under load, the stream's leader first, and all of them at last, while
// a sealer runs. Every event is acknowledged in the end or reported as not recorded; of those that
// were acknowledged each is there once.
func TestNodesKilled(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	s := tr.open(t, tr.recorder(), 5*time.Second)
	stop := tr.sealWhile(t, dir)
	l := startLoad(t, s)
	for round := range 4 {
		l.recorded(t, 100)
		i := tr.leader(t, tr.name)
		if round%2 == 1 { // not the leader
			i = (i + 1) % nodes
		}
		tr.kill(t, i)
		l.recorded(t, 100)
		tr.restart(t, i)
	}
	// Without a majority nothing is acknowledged.
	l.recorded(t, 100)
	i := tr.leader(t, tr.name)
	tr.kill(t, i)
	tr.kill(t, (i+1)%nodes)
	before := l.failures()
	for l.failures() == before {
		time.Sleep(10 * time.Millisecond)
	}
	n := l.count()
	if err := s.Record(t.Context(), event("acme", "without a majority")); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("without a majority: %v", err)
	}
	if l.count() != n {
		t.Errorf("%d events were acknowledged by a minority", l.count()-n)
	}
	for j := range nodes {
		if tr.procs[j] == nil {
			tr.restart(t, j)
		}
	}
	l.recorded(t, 100)
	for j := range nodes {
		tr.kill(t, j)
	}
	for j := range nodes {
		tr.restart(t, j)
	}
	l.recorded(t, 100)
	acked := l.end()
	must(t, s.Close())
	tr.heal(t)
	stop()
	tr.allSealed(t, dir, acked)
}

// sealWhile runs a sealer until what it returns is called.
func (tr *trail) sealWhile(t *testing.T, dir string) (stop func()) {
	t.Helper()
	log := openLog(t, dir)
	opts := tr.sealOptions()
	failures := 0
	opts.Progress = func(_ natslog.Sealed, err error) {
		if err != nil {
			failures++
		}
	}
	s, err := natslog.OpenSealer(t.Context(), tr.sealer(), log, opts)
	must(t, err)
	done := make(chan error, 1)
	ctx, cancel := contextOf(t)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		must(t, errors.Join(<-done, s.Close(), log.Close()))
		t.Logf("%d rounds failed", failures)
	}
}

// TestPartition cuts the stream's leader off from the two others while the recorder's only server
// is that one. What it cannot replicate it acknowledges to nobody. A recorder that comes to it, since
// the majority has no leader yet, goes on to another: it refuses at once what it has taken before.
func TestPartition(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	acked := map[string]bool{}
	for round := range 2 {
		i := tr.leader(t, tr.name)
		servers := strings.Split(tr.recorder(), ",")
		one := servers[i]
		ordered := tr.options(time.Second)
		ordered.Connect = append(ordered.Connect, nats.DontRandomize())
		alone := tr.open(t, one, 2*time.Second)
		all, err := natslog.Open(t.Context(), strings.Join([]string{servers[(i+1)%nodes], one, servers[(i+2)%nodes]}, ","), ordered)
		must(t, err)
		t.Cleanup(func() { all.Close() })
		there, everywhere := startLoad(t, named{alone, fmt.Sprint("alone", round, " ")}), startLoad(t, named{all, fmt.Sprint("all", round, " ")})
		there.recorded(t, 50)
		everywhere.recorded(t, 50)
		tr.cut(i, true)
		// The majority has a leader of its own and goes on.
		before := there.failures()
		for there.failures() == before {
			time.Sleep(10 * time.Millisecond)
		}
		n := there.count()
		everywhere.recorded(t, 50)
		if got := there.count(); got != n {
			t.Errorf("round %d: %d events were acknowledged by a node that is cut off", round, got-n)
		}
		tr.cut(i, false)
		there.recorded(t, 50)
		for prefix, l := range map[string]*load{"alone": there, "all": everywhere} {
			for request := range l.end() {
				acked[fmt.Sprint(prefix, round, " ", request)] = true
			}
		}
		must(t, errors.Join(alone.Close(), all.Close()))
		tr.heal(t)
	}
	tr.allSealed(t, dir, acked)
}

// TestFrozen stops a node's process without ending it: its connections stay, and nothing comes.
func TestFrozen(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	s := tr.open(t, tr.recorder(), 5*time.Second)
	l := startLoad(t, s)
	for range 2 {
		l.recorded(t, 100)
		i := tr.leader(t, tr.name)
		must(t, tr.procs[i].Process.Signal(syscall.SIGSTOP))
		l.recorded(t, 100)
		must(t, tr.procs[i].Process.Signal(syscall.SIGCONT))
	}
	acked := l.end()
	must(t, s.Close())
	tr.heal(t)
	tr.allSealed(t, dir, acked)
}

// TestFullStream: a full stream refuses, nothing of what is in it is dropped, and it goes on when
// the sealer has made room.
func TestFullStream(t *testing.T) {
	c, dir := startCluster(t), newDir(t)
	tr := c.trail(t, func(s *jetstream.StreamConfig) { s.MaxBytes = 256 << 10 })
	s := tr.open(t, tr.recorder(), time.Second)
	acked := map[string]bool{}
	fill := func(prefix string) {
		t.Helper()
		for i := range 10_000 {
			request := prefix + strings.Repeat("x", i%7)
			err := s.Record(t.Context(), event("acme", request))
			if err != nil {
				if !errors.Is(err, audit.ErrUnavailable) || s.Err() == nil || !strings.Contains(s.Err().Error(), "see that its sealer runs") {
					t.Errorf("a full stream: %v; %v", err, s.Err())
				}
				return
			}
			acked[request] = true
		}
		t.Fatal("the stream is never full")
	}
	// What is not authentic has no room to be kept aside, and does not keep the sealer from making some.
	fill("a")
	n := len(tr.messages(t))
	forged := 0
	for err := error(nil); err == nil; forged++ {
		_, err = tr.js.Publish(t.Context(), "strongroom."+tr.name+".event.x", nil)
	}
	forged--
	sealed, _ := tr.seal(t, dir)
	if sealed.Events < n || len(sealed.Gaps) != 0 || sealed.Refused != forged {
		t.Errorf("of %d messages: %+v", n, sealed)
	}
	for s.Err() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	record(t, s, "later")
	must(t, s.Close())
	if _, report := tr.seal(t, dir); report.Missing != 0 || report.OpenStreams != 0 {
		t.Errorf("the log has gaps:\n%s", report)
	}
	seen := requests(t, dir)
	if seen["later"] != 1 || seen["a"] == 0 {
		t.Errorf("the log has %v", seen)
	}
	var numbers []int64
	for _, e := range read(t, dir, &audit.Filter{Code: audit.CodeQuery}) {
		numbers = append(numbers, e.Sequence)
	}
	if !slices.IsSorted(numbers) || len(numbers) < n-1 {
		t.Errorf("%d events are sealed, in the order %v", len(numbers), numbers)
	}
}
