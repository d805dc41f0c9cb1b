package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// modelWorld is a store and a KEK provider whose every answer the test chooses: which call is answered next, whether by what
// was true when it was asked or by what is true now, with a failure, or not before it is too late. It keeps the history
// of what was true and of what was said, by which the model judges.
type modelWorld struct {
	modelBounds
	t   *testing.T
	kek keys.KEK

	mu   sync.Mutex
	rng  *rand.Rand
	log  []string
	seq  int // orders what happens at one time
	calm bool
	mute string // the kinds of questions that hang, though the world is calm

	truth    []worldEpoch
	calls    []*worldCall
	said     []worldNews
	failures []worldFailure
	changing int // life-cycle operations under way

	withdrawn   bool      // the KEK provider refuses
	since       time.Time // when that changed
	lastPut     int       // when a put was asked for or answered
	lastRefusal int
}

// worldEpoch is a time during which one record, or none, was the tenant's.
type worldEpoch struct {
	rec        keys.Record // of version 0: none
	state      envelope.State
	begun, end int
	endTime    time.Time // zero: it goes on
}

// worldNews is a version of the record of which the keyring was told.
type worldNews struct {
	version int64
	seq     int
}

// worldFailure is a question that had no answer.
type worldFailure struct {
	kind     string
	asked    time.Time
	answered time.Time
	refusal  bool
}

// worldCall is a question to the store or the KEK provider that waits for its answer.
type worldCall struct {
	kind     string
	asked    time.Time
	snapshot keys.Record // what was true when it was asked
	refused  bool        // the KEK provider refused then
	data     []byte
	version  int64
	wrapped  []byte
	overdue  bool // nobody can be asked to wait for it any more
	applied  bool // a put took place, with result
	result   error
	reply    chan worldReply
}

type worldReply struct {
	rec   keys.Record
	plain []byte
	err   error
}

func (w *modelWorld) notef(format string, args ...any) {
	w.seq++
	w.log = append(w.log, fmt.Sprintf("%4d %8v ", w.seq, time.Since(epochStart).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

var epochStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where synctest's clock begins

func (w *modelWorld) now() *worldEpoch { return &w.truth[len(w.truth)-1] }

// become makes a record the true one.
func (w *modelWorld) become(data []byte) keys.Record {
	rec := keys.Record{Data: bytes.Clone(data), Version: w.now().rec.Version + 1}
	parsed, err := envelope.ParseRecord(data)
	if err != nil {
		w.t.Fatal(err)
	}
	w.notef("true: version %d, state %d", rec.Version, parsed.State)
	w.now().end, w.now().endTime = w.seq, time.Now()
	w.truth = append(w.truth, worldEpoch{rec: rec, state: parsed.State, begun: w.seq})
	return rec
}

// elsewhere changes the state as another process would.
func (w *modelWorld) elsewhere() {
	cur := w.now()
	if cur.rec.Version == 0 {
		return
	}
	rec, err := envelope.ParseRecord(bytes.Clone(cur.rec.Data))
	if err != nil {
		w.t.Fatal(err)
	}
	rec.State = envelope.StateActive + envelope.StateSuspended - rec.State
	w.become(envelope.AppendRecord(nil, rec))
}

// ask parks a call until it is answered. Half of the calls do not listen to their context, as some drivers do.
func (w *modelWorld) ask(ctx context.Context, c *worldCall) worldReply {
	w.mu.Lock()
	c.asked, c.reply = time.Now(), make(chan worldReply, 1)
	c.snapshot, c.refused = w.now().rec, w.withdrawn
	w.notef("asked: %s", c.kind)
	if c.kind == "put" {
		w.lastPut = w.seq
	}
	w.calls = append(w.calls, c)
	mute := strings.Contains(w.mute, c.kind)
	if w.calm && !mute {
		w.answer(len(w.calls)-1, "now")
	}
	deaf := make(chan struct{})
	done := ctx.Done()
	var broken <-chan time.Time // no call hangs for ever
	if mute {
		broken = time.After(4 * w.patience(c.kind))
	}
	if (!w.calm || mute) && w.rng.IntN(2) == 0 {
		done = deaf
	}
	w.mu.Unlock()
	select {
	case r := <-c.reply:
		return r
	case <-broken:
	case <-done:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = slices.DeleteFunc(w.calls, func(o *worldCall) bool { return o == c })
	err := ctx.Err()
	if err == nil {
		err = errAway
	}
	w.fail(c, err, false)
	return worldReply{err: err}
}

func (w *modelWorld) fail(c *worldCall, err error, refusal bool) {
	w.failures = append(w.failures, worldFailure{c.kind, c.asked, time.Now(), refusal})
	w.notef("failed: %s asked at %v: %v", c.kind, c.asked.Sub(epochStart), err)
	if refusal {
		w.lastRefusal = w.seq
	}
	if c.kind == "put" {
		w.lastPut = w.seq
	}
}

// refuse has the KEK provider refuse from now on, or no longer.
func (w *modelWorld) refuse(on bool) {
	if w.withdrawn != on {
		w.withdrawn, w.since = on, time.Now()
		w.notef("the KEK is withdrawn: %v", on)
	}
}

// overtime notes the calls that the keyring may have given up by now.
func (w *modelWorld) overtime() {
	for _, c := range w.calls {
		if patience := w.patience(c.kind); !c.overdue && c.kind != "put" && time.Since(c.asked) >= patience {
			c.overdue = true
			w.failures = append(w.failures, worldFailure{c.kind, c.asked, c.asked.Add(patience), false})
		}
	}
}

var errRefusal = errors.New("permission denied for table strongroom_keys")

// answer answers a call: by what is true "now", or was "then", or with a failure.
func (w *modelWorld) answer(i int, how string) {
	w.overtime()
	c := w.calls[i]
	w.calls = append(w.calls[:i:i], w.calls[i+1:]...)
	if c.kind == "put" && !c.applied && (how != "away" || w.rng.IntN(2) == 0) {
		w.apply(c)
	}
	switch how {
	case "away", "refused":
		err := errAway
		if how == "refused" && c.kind == "get" {
			err = errRefusal
		}
		w.fail(c, err, err == errRefusal)
		c.reply <- worldReply{err: err}
		return
	}
	switch c.kind {
	case "unwrap":
		if how == "then" && c.refused || how == "now" && w.withdrawn {
			err := fmt.Errorf("%w: the KEK was withdrawn", keys.ErrNotFound)
			w.fail(c, err, true)
			c.reply <- worldReply{err: err}
			return
		}
		plain, err := w.kek.Unwrap(context.Background(), idA, c.wrapped)
		w.notef("answered: unwrap, %v", err)
		c.reply <- worldReply{plain: plain, err: err}
	case "put":
		w.notef("answered: put of version %d: %v", c.version+1, c.result)
		w.lastPut = w.seq
		if c.result == nil {
			w.said = append(w.said, worldNews{c.version + 1, w.seq})
		}
		c.reply <- worldReply{rec: keys.Record{Version: c.version + 1}, err: c.result}
	case "get":
		rec := c.snapshot
		if how == "now" {
			rec = w.now().rec
		}
		w.notef("answered: get asked at %v: version %d", c.asked.Sub(epochStart), rec.Version)
		if rec.Version == 0 {
			c.reply <- worldReply{err: fmt.Errorf("nothing there: %w", keys.ErrNotFound)}
			return
		}
		w.said = append(w.said, worldNews{rec.Version, w.seq})
		c.reply <- worldReply{rec: keys.Record{Data: bytes.Clone(rec.Data), Version: rec.Version}}
	}
}

// apply lets a put take place, without an answer yet.
func (w *modelWorld) apply(c *worldCall) {
	c.applied = true
	if w.now().rec.Version != c.version {
		c.result = keys.ErrConflict
		return
	}
	w.become(c.data)
}

func (w *modelWorld) Get(ctx context.Context, _ tenant.ID) (keys.Record, error) {
	r := w.ask(ctx, &worldCall{kind: "get"})
	return r.rec, r.err
}

func (w *modelWorld) Put(ctx context.Context, _ tenant.ID, data []byte, version int64) (int64, error) {
	r := w.ask(ctx, &worldCall{kind: "put", data: bytes.Clone(data), version: version})
	return r.rec.Version, r.err
}

func (w *modelWorld) Delete(context.Context, tenant.ID, int64) error { return errors.ErrUnsupported }

func (w *modelWorld) List(context.Context, tenant.ID, int) ([]tenant.ID, error) {
	return nil, errors.ErrUnsupported
}

// store returns the world's store, or one that can be asked about many tenants.
func (w *modelWorld) store(many bool) keys.Store {
	if many {
		return worldBatches{w}
	}
	return w
}

// worldBatches is the store as one that can be asked about many tenants, of which there is one.
type worldBatches struct{ *modelWorld }

func (w worldBatches) GetChanged(ctx context.Context, ids []tenant.ID, known []int64) ([]keys.Record, error) {
	rec, err := w.Get(ctx, ids[0])
	switch {
	case errors.Is(err, keys.ErrNotFound):
		return []keys.Record{{}}, nil
	case rec.Version == known[0]:
		rec.Data = nil
	}
	return []keys.Record{rec}, err
}

// worldKEK is the world's KEK provider.
type worldKEK struct {
	keys.KEK
	w *modelWorld
}

func (p worldKEK) Unwrap(ctx context.Context, _ tenant.ID, wrapped []byte) ([]byte, error) {
	r := p.w.ask(ctx, &worldCall{kind: "unwrap", wrapped: bytes.Clone(wrapped)})
	return r.plain, r.err
}
