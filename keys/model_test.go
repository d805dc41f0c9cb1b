package keys_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
)

// The model of a keyring, by which TestTheModel judges the real one while answers are late, lost and overtake each
// other. It knows what was true when, and what the keyring was told; what it allows is:
//
//   - Keys are handed out only if the tenant was active at some moment of the last SuspendWithin, or, with ServeStale,
//     if a question that was asked within that time had no answer.
//   - Nothing is undone: an answer agrees with a version no older than the newest that the keyring was told of before.
//   - A tenant that has a record, of which the keyring was told, is not "not provisioned".
//   - Nor are they if the KEK provider has refused to open them for as long as ReopenAfter, unless, with ServeStale, a
//     question to it that was asked within that time had no answer, or one to the store within SuspendWithin.
//   - With ServeStale a tenant whose keys were handed out, and of which nothing has changed and nothing was refused since,
//     is never unavailable: however long answers are in coming, and however the bounds compare with the timeout.
//   - A failure has a cause that was no older than a second when the operation began, and for a state it is the store's.
//   - There is at most one read of a record under way, beside those of life-cycle operations and those that do not end in
//     time; and no lookup waits for one that does not.
//   - When all is well again every operation tells the truth, and a change elsewhere is seen within SuspendWithin; and
//     while the KEK provider alone hangs, keys in use stay in use.
const modelMemory = time.Second // how long a failure is remembered

// modelBounds are the settings that a world is played with.
type modelBounds struct{ suspend, reopen, timeout time.Duration }

// modelSettings are the usual ones, and those whose bounds are as short as the timeout, or shorter.
var modelSettings = []modelBounds{
	{5 * time.Second, 40 * time.Second, 3 * time.Second},
	{5 * time.Second, 40 * time.Second, 5 * time.Second},
	{5 * time.Second, 4 * time.Second, 5 * time.Second},
	{2 * time.Second, 3 * time.Second, time.Minute},
	{10 * time.Second, 300 * time.Millisecond, 2 * time.Second},
	{200 * time.Millisecond, 20 * time.Second, 10 * time.Second},
}

// patience is how long a call may take that does not listen to its context: a question whose answer comes when it is of no
// use any more is not waited for.
func (m modelBounds) patience(kind string) time.Duration {
	bound := m.suspend
	if kind == "unwrap" {
		bound = m.reopen
	}
	timeout := min(m.timeout, bound*17/20)
	return timeout + max(timeout/8, 10*time.Millisecond)
}

// worldOperation is one call of the keyring's, and what came of it.
type worldOperation struct {
	name       string
	begun, end time.Time
	seq        int // when it began
	status     keys.Status
	err        error
}

// TestTheModel plays random worlds, each named by its number. STRONGROOM_TEST_WORLDS is how many, or "=n" for one.
func TestTheModel(t *testing.T) {
	first, worlds := 0, 400
	if s := os.Getenv("STRONGROOM_TEST_WORLDS"); s != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(s, "="))
		if err != nil {
			t.Fatal(err)
		}
		if worlds = n; s[0] == '=' {
			first, worlds = n, n+1
		}
	}
	l := newLocal(t)
	setup := openRing(t, l.kek, l.store, nil)
	provision(t, setup, idA)
	rec, err := l.store.Get(t.Context(), idA)
	must(t, err)
	for n := first; n < worlds && !t.Failed(); n++ {
		synctest.Test(t, func(t *testing.T) { playWorld(t, n, l, rec.Data) })
	}
}

type modelGame struct {
	*modelWorld
	n     int
	ring  *keys.Keyring
	stale bool // the policy
	held  int  // when keys were handed out for the last time; 0 for never

	mu      sync.Mutex
	done    []worldOperation
	running sync.WaitGroup
	live    int
}

func playWorld(t *testing.T, n int, l *local, record []byte) {
	w := &modelWorld{t: t, rng: rand.New(rand.NewPCG(uint64(n), 1)), kek: l.kek, truth: []worldEpoch{{}}}
	if n%4 >= 2 {
		w.modelBounds = modelSettings[n/4%len(modelSettings)]
	} else {
		w.modelBounds = modelSettings[0]
	}
	g := &modelGame{modelWorld: w, n: n, stale: n%2 == 1}
	o := &keys.Options{SuspendWithin: w.suspend, ReopenAfter: w.reopen, Timeout: w.timeout}
	if g.stale {
		o.WhenUnavailable = keys.ServeStale
	}
	g.ring = openRing(t, worldKEK{l.kek, w}, w.store(n%3 == 0), o)
	if n%5 != 0 {
		w.become(record)
	}
	for range 60 + w.rng.IntN(60) {
		g.step()
		synctest.Wait()
		if !g.judge() {
			break
		}
	}
	g.settle()
	if !t.Failed() {
		g.wellAgain()
	}
	g.settle()
	if t.Failed() {
		t.Logf("world %d (STRONGROOM_TEST_WORLDS==%d):\n%s", n, n, strings.Join(w.log, "\n"))
	}
}

// step does one thing at random.
func (g *modelGame) step() {
	g.modelWorld.mu.Lock()
	defer g.modelWorld.mu.Unlock()
	switch p := g.rng.IntN(100); {
	case p < 30:
		if g.live < 6 {
			names := []string{"tenant", "tenant", "tenant", "tenant", "status", "status", "sealer", "suspend", "resume", "provision"}
			g.begin(names[g.rng.IntN(len(names))])
		}
	case p < 72:
		if len(g.calls) > 0 {
			hows := []string{"now", "now", "then", "then", "away", "refused"}
			g.answer(g.rng.IntN(len(g.calls)), hows[g.rng.IntN(len(hows))])
		}
	case p < 76:
		for _, c := range g.calls {
			if c.kind == "put" && !c.applied {
				g.apply(c)
				break
			}
		}
	case p < 81:
		g.elsewhere()
	case p < 82:
		g.refuse(!g.withdrawn)
	case p < 97:
		g.sleep(time.Duration(1+g.rng.IntN(3000)) * time.Millisecond)
	default:
		g.sleep(time.Duration(5+g.rng.IntN(60)) * time.Second)
	}
}

func (g *modelGame) sleep(d time.Duration) {
	g.modelWorld.mu.Unlock()
	defer g.modelWorld.mu.Lock()
	time.Sleep(d)
}

// begin starts an operation.
func (g *modelGame) begin(name string) {
	g.notef("begins: %s", name)
	op := worldOperation{name: name, begun: time.Now(), seq: g.seq}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.live++
	change := name == "suspend" || name == "resume" || name == "provision"
	if change {
		g.changing++
	}
	g.running.Go(func() {
		g.do(&op)
		op.end = time.Now()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.done = append(g.done, op)
		g.live--
		if change {
			g.changing--
		}
	})
}

func (g *modelGame) do(op *worldOperation) {
	ctx := context.Background()
	switch op.name {
	case "tenant":
		_, op.err = g.ring.Tenant(ctx, idA)
	case "status":
		op.status, op.err = g.ring.Status(ctx, idA)
	case "sealer":
		_, op.err = g.ring.AuditSealer(ctx, idA)
	case "suspend":
		op.err = g.ring.Suspend(ctx, idA, "")
	case "resume":
		op.err = g.ring.Resume(ctx, idA, "")
	case "provision":
		op.err = g.ring.Provision(ctx, idA)
	}
}

// judge judges what has ended.
func (g *modelGame) judge() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.modelWorld.mu.Lock()
	defer g.modelWorld.mu.Unlock()
	g.overtime()
	reads := 0
	for _, c := range g.calls {
		if c.kind == "get" && !c.overdue {
			reads++
		}
	}
	if reads > 1+g.changing {
		g.t.Errorf("%d reads are under way for %d life-cycle operations", reads, g.changing)
	}
	for _, op := range g.done {
		g.notef("ended: %s begun at %v: %q %v", op.name, op.begun.Sub(epochStart), op.status, op.err)
		complaint := g.complain(&op)
		if op.name == "tenant" && op.err == nil {
			g.held = g.seq
		}
		if complaint != "" {
			g.t.Errorf("%s, from %v to %v: %q %v: %s", op.name, op.begun.Sub(epochStart), op.end.Sub(epochStart), op.status, op.err, complaint)
		}
	}
	g.done = nil
	return !g.t.Failed()
}

// complain says what is wrong with how an operation went, or nothing.
func (g *modelGame) complain(op *worldOperation) string {
	recent := op.end.Add(-g.suspend)
	switch {
	case op.name == "tenant" && op.err == nil:
		if !g.was(op, envelope.StateActive, recent) && !g.excused(op) {
			return "the tenant was not active"
		}
		if g.withdrawn && g.since.Before(op.end.Add(-g.reopen)) && !g.excused(op) && !g.unanswered("unwrap", op.end.Add(-g.reopen)) {
			return "the KEK provider has refused for longer than ReopenAfter"
		}
	case op.name == "tenant" && g.promised(op):
		return "nothing has changed since keys were handed out, and the policy serves them"
	case op.name == "status" && op.err == nil:
		state := map[keys.Status]envelope.State{keys.StatusActive: envelope.StateActive, keys.StatusSuspended: envelope.StateSuspended}[op.status]
		if !g.was(op, state, recent) && !g.excused(op) {
			return "that was not the state"
		}
	case op.err == nil:
	case errors.Is(op.err, keys.ErrSuspended):
		if !g.was(op, envelope.StateSuspended, recent) && !g.excused(op) {
			return "the tenant was not suspended"
		}
	case errors.Is(op.err, keys.ErrNotProvisioned):
		if g.told(op.seq) > 0 {
			return "it has a record, of which the keyring was told"
		}
	case strings.Contains(op.err.Error(), "later than is of use"), errors.Is(op.err, keys.ErrConflict):
	default:
		for _, f := range g.failures {
			if !f.answered.Before(op.begun.Add(-modelMemory)) && (f.kind == "get" || f.kind == "put" || op.name != "status") {
				return ""
			}
		}
		return "nothing failed that would explain it"
	}
	return ""
}

// told returns the newest version of which the keyring was told before seq.
func (g *modelGame) told(seq int) (version int64) {
	for _, s := range g.said {
		if s.seq < seq {
			version = max(version, s.version)
		}
	}
	return version
}

// was reports whether the tenant was in a state at some moment after the given one or, but for keys, since the operation
// began; and not before what the keyring knew then.
func (g *modelGame) was(op *worldOperation, state envelope.State, after time.Time) bool {
	told := g.told(op.seq)
	for _, e := range g.truth {
		since := e.endTime.IsZero() || e.endTime.After(after) || e.end > op.seq && (op.name != "tenant" || op.err != nil)
		if e.state == state && e.rec.Version >= told && since {
			return true
		}
	}
	return false
}

// excused reports whether the policy serves what cannot be confirmed, and a question had no answer in time. A refusal is
// an answer.
func (g *modelGame) excused(op *worldOperation) bool {
	return g.unanswered("", op.end.Add(-g.suspend))
}

// unanswered reports whether the policy serves what cannot be confirmed, and a question of a kind, or of any, that was
// asked since then had no answer.
func (g *modelGame) unanswered(kind string, since time.Time) bool {
	return g.stale && slices.ContainsFunc(g.failures, func(f worldFailure) bool {
		return !f.refusal && (kind == "" || f.kind == kind) && !f.asked.Before(since)
	})
}

// promised reports whether the policy has to serve what the operation was refused: the keys had been handed out when it
// began, and since then the record is the same, nothing was refused, and nobody tried to change it.
func (g *modelGame) promised(op *worldOperation) bool {
	if !g.stale || g.held == 0 || op.seq < g.held || !errors.Is(op.err, keys.ErrUnavailable) {
		return false
	}
	cur := g.now()
	return cur.state == envelope.StateActive && cur.begun < g.held && g.lastPut < g.held && g.lastRefusal < g.held && g.changing == 0 &&
		g.told(g.held) == cur.rec.Version
}

// settle has everything answered, and waits for what is under way.
func (g *modelGame) settle() {
	g.modelWorld.mu.Lock()
	g.calm = true
	for len(g.calls) > 0 {
		g.answer(0, "now")
		g.modelWorld.mu.Unlock()
		synctest.Wait()
		g.modelWorld.mu.Lock()
	}
	g.modelWorld.mu.Unlock()
	g.running.Wait()
	g.judge()
}

// wellAgain is what must be true once all answers come at once again.
func (g *modelGame) wellAgain() {
	g.withdraw(false)
	time.Sleep(g.suspend + modelMemory)
	if g.now().rec.Version == 0 {
		g.expect("tenant", "", keys.ErrNotProvisioned)
		g.expect("provision", "", nil)
	}
	for range 3 {
		g.expectTruth()
		g.flip()
		g.expectTruth()
		time.Sleep(time.Duration(g.rng.IntN(100)) * time.Second)
	}
	if g.now().state != envelope.StateActive {
		g.flip()
	}
	g.expectTruth()
	// Three quarters of ReopenAfter at most have passed since the keys were opened.
	g.hang("unwrap")
	for end := time.Now().Add(g.reopen/4 - g.suspend/4); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		begun := time.Now()
		g.expectTruth()
		if time.Since(begun) > 0 {
			g.t.Errorf("with the KEK provider away a hot tenant waits for %v", time.Since(begun))
		}
	}
	g.hang("")
	if g.stale {
		g.expectTruth()
		g.outage()
	}
}

// outage is what must be true with ServeStale while the store, the KEK provider or both have no answer.
func (g *modelGame) outage() {
	for _, what := range []string{"unwrap", "get", "get unwrap"} {
		g.hang(what)
		for range 20 {
			g.modelWorld.mu.Lock() // calls that hang draw too
			pause := time.Duration(1 + g.rng.Int64N(int64(2*max(g.suspend, g.reopen))))
			g.modelWorld.mu.Unlock()
			time.Sleep(pause)
			begun := time.Now()
			if _, err := g.ring.Tenant(context.Background(), idA); err != nil {
				g.t.Errorf("with no answer to %s: %v", what, err)
				return
			}
			if took, most := time.Since(begun), g.patience("get")+g.patience("unwrap"); took > most {
				g.t.Errorf("with no answer to %s a tenant in use waits for %v, over %v", what, took, most)
			}
		}
		g.hang("")
		g.settle()
		// What changes once they answer again is seen within the bound, whatever failed before.
		if strings.Contains(what, "get") {
			g.flip()
			g.expectTruth()
			g.flip()
		}
		g.withdraw(true)
		time.Sleep(g.reopen)
		g.expect("tenant", "", keys.ErrNotFound)
		g.withdraw(false)
		time.Sleep(g.suspend + modelMemory)
		g.expectTruth()
	}
}

// flip changes the state elsewhere, and waits for as long as that may take to be seen.
func (g *modelGame) flip() {
	g.modelWorld.mu.Lock()
	g.elsewhere()
	g.modelWorld.mu.Unlock()
	time.Sleep(g.suspend)
}

// withdraw has the KEK provider refuse from now on, or no longer.
func (g *modelGame) withdraw(on bool) {
	g.modelWorld.mu.Lock()
	defer g.modelWorld.mu.Unlock()
	g.refuse(on)
}

// hang has questions of some kinds hang, once what is under way has ended.
func (g *modelGame) hang(kinds string) {
	synctest.Wait()
	g.modelWorld.mu.Lock()
	defer g.modelWorld.mu.Unlock()
	g.mute = kinds
}

func (g *modelGame) expectTruth() {
	g.t.Helper()
	if g.now().state == envelope.StateActive {
		g.expect("status", keys.StatusActive, nil)
		g.expect("tenant", "", nil)
	} else {
		g.expect("status", keys.StatusSuspended, nil)
		g.expect("tenant", "", keys.ErrSuspended)
	}
	g.expect("sealer", "", nil)
}

func (g *modelGame) expect(name string, status keys.Status, err error) {
	g.t.Helper()
	op := worldOperation{name: name, begun: time.Now()}
	g.do(&op)
	g.modelWorld.mu.Lock()
	defer g.modelWorld.mu.Unlock()
	g.notef("when all is well: %s: %q %v", name, op.status, op.err)
	if op.status != status || !errors.Is(op.err, err) {
		g.t.Errorf("when all is well: %s: %q, %v; want %q, %v", name, op.status, op.err, status, err)
	}
}
