package keys_test

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/strongroom-go/strongroom/tenant"
)

// The model of destroying the versions of a key that tenants share, by several runs at once. Each run is a process of its own, and is
// stopped before each step by which one can disturb another. The test lets them go on one by one, in an order that a number names, and
// time pass in between. Meanwhile a record is stored that was wrapped long ago, and another is put back from a backup. What must hold in
// every order: a tenant that was said to be provisioned, and one whose record opened once, opens in the end.

// TestDestructionsAtOnce plays random orders. STRONGROOM_TEST_WORLDS is how many, or "=n" for one.
func TestDestructionsAtOnce(t *testing.T) {
	first, worlds := 0, 1500
	if s := os.Getenv("STRONGROOM_TEST_WORLDS"); s != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(s, "="))
		must(t, err)
		if worlds = n; s[0] == '=' {
			first, worlds = n, n+1
		}
	}
	destroyed := 0
	for n := first; n < worlds && !t.Failed(); n++ {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(n), 2))
			destroyed += playDestructions(t, fmt.Sprintf("world %d", n), rng, randomly(rng))
		})
	}
	t.Logf("%d destructions succeeded in %d worlds", destroyed, worlds-first)
	if worlds-first > 100 && destroyed < (worlds-first)/4 {
		t.Error("too few destructions succeed to say anything")
	}
}

// randomly goes on with the same process more or less often, and mostly keeps each of them from going on at one of its steps for a while: it
// is rare otherwise that somebody is overtaken by all that others do.
func randomly(rng *rand.Rand) func([]string) string {
	sticky := []float64{0, 0.5, 0.8, 0.9}[rng.IntN(4)]
	taken, at, span := map[string]int{}, map[string]int{}, map[string]int{}
	for _, name := range []string{"A", "B", "C", "late", "backup"} {
		at[name], span[name] = rng.IntN(12), []int{0, 5, 10, 20, 40}[rng.IntN(5)]
		if name == "late" || name == "backup" {
			at[name] = 0
		}
	}
	last := ""
	return func(from []string) string {
		var free []string
		for _, name := range from {
			if span[name] > 0 && taken[name] == at[name] {
				span[name]--
			} else {
				free = append(free, name)
			}
		}
		if len(free) == 0 {
			free = from
		}
		if !slices.Contains(free, last) || rng.Float64() >= sticky {
			last = free[rng.IntN(len(free))]
		}
		taken[last]++
		return last
	}
}

// TestDestructionsInAnExactOrder plays orders that were found by thinking, which random ones hardly ever are.
func TestDestructionsInAnExactOrder(t *testing.T) {
	for what, order := range map[string]string{
		// A has proved that nobody needs the versions, and is stopped. B finds that a record that was stored meanwhile does, and enables them:
		// with that the record opens. C, which began long before, disables them again, and A destroys them.
		"the third disables for the first, which looks afterwards":  "B C A A A A time time time time B B B late time time time time B B A C C A A",
		"the third disables for the first, which has looked before": "B C A A A A time time time time B B B late time time time time B B A A C C A",
		// A is about to destroy the versions, and has made sure that they are disabled. B enables them for a record that was stored
		// meanwhile, when another is put back, and disables them again.
		"the second enables and disables": "A A A A A A time time time time A A late A B B B B B backup B B B A",
		// A has proved it, and is stopped. B enables versions for a record that was stored meanwhile. C rewraps that, another is put back, and C
		// disables them again.
		"the third disables behind its back": "A A A A A A time time time time A B B B B B B late time time time time B B B B C C C backup C C C A A A",
		// All begin at once. A has proved it, C enables versions, and B disables them.
		"all begin at once": "A B C A B C A B C A A A time time time time A C C C late time time time time C C C C B B B A A A",
	} {
		synctest.Test(t, func(t *testing.T) {
			steps := strings.Fields(order)
			playDestructions(t, what, rand.New(rand.NewPCG(1, 2)), func(from []string) string {
				for len(steps) > 0 {
					name := steps[0]
					steps = steps[1:]
					if slices.Contains(from, name) {
						return name
					}
				}
				return from[len(from)-1]
			})
		})
	}
}

const sharedTimeout = 1250 * time.Millisecond

// playDestructions plays one order, which next chooses.
func playDestructions(t *testing.T, name string, rng *rand.Rand, next func([]string) string) (destroyed int) {
	w := &sharedWorld{newest: 1, oldest: 1, opens: 1, records: map[tenant.ID]keys.Record{}, waiting: map[string]*sharedStep{}, begun: time.Now()}
	defer func() {
		if t.Failed() {
			t.Logf("%s:\n%s", name, strings.Join(w.log, "\n"))
		}
	}()
	ring := func(p *sharedProcess) *keys.Keyring {
		r, err := keys.Open(t.Context(), p, sharedRecords{p}, &keys.Options{InsecureWithoutAudit: true, Timeout: sharedTimeout})
		must(t, err)
		t.Cleanup(func() { r.Close() })
		return r
	}
	calm := &sharedProcess{sharedWorld: w, name: "calm"}
	quiet := ring(calm)
	stays, restored, late := tenant.MustParse("stays"), tenant.MustParse("restored"), tenant.MustParse("late")
	provision(t, quiet, stays, restored)
	backup := w.records[restored]
	said := map[tenant.ID]bool{stays: true, restored: true} // that it opens
	var running sync.WaitGroup
	var ended sync.Map
	begin := func(name string, do func() error) {
		running.Go(func() {
			err := do()
			w.mu.Lock()
			w.note(name, "ended: %v", err)
			w.mu.Unlock()
			ended.Store(name, err)
		})
	}
	slow := &sharedProcess{sharedWorld: w, name: "late", late: true}
	lateRing := ring(slow)
	names := []string{"late", "backup", "A", "B", "C"}
	begin("late", func() error { return lateRing.Provision(t.Context(), late) })
	synctest.Wait()
	if rng.IntN(2) == 0 {
		must(t, calm.RotateSharedKey(t.Context()))
	}
	begin("backup", func() error {
		must(t, w.step(t.Context(), "backup", "put back", true))
		defer w.mu.Unlock()
		if w.oldest > 1 {
			return errors.New("what it needs is destroyed")
		}
		w.seq++
		w.records[restored] = keys.Record{Data: backup.Data, Version: w.seq}
		w.note("backup", "put back %s", restored)
		delete(said, restored) // behind a proof's back it opens no more, as every backup
		return nil
	})
	for _, name := range names[2:] {
		p := &sharedProcess{sharedWorld: w, name: name, gated: true}
		r, through := ring(p), 1+rng.IntN(w.newest)
		begin(name, func() error {
			_, err := r.DestroySharedKEK(t.Context(), p, through, &keys.DestroySharedOptions{Progress: func(keys.DestroySharedProgress) {
				_ = w.step(t.Context(), name, "go on after a page", true) // it was stopped for a time
				w.mu.Unlock()
			}})
			return err
		})
	}
	for {
		synctest.Wait()
		w.mu.Lock()
		var from []string
		timers := false
		for _, name := range names {
			_, over := ended.Load(name)
			if w.waiting[name] != nil {
				from = append(from, name)
			} else if !over {
				timers = true
			}
		}
		for id, rec := range w.records { // a record that opens where it is found must open for good
			parsed, err := envelope.ParseRecord(rec.Data)
			must(t, err)
			if _, err := w.unwrap(id, parsed.WrappedRoot); err == nil && id != stays && !said[id] {
				w.note("reader", "%s opens", id)
				said[id] = true
			}
		}
		if err, over := ended.Load("late"); over && err == nil && !said[late] {
			said[late] = true
		}
		if timers {
			from = append(from, "time")
		}
		w.mu.Unlock()
		if len(from) == 0 {
			break
		}
		if name := next(from); name == "time" {
			time.Sleep(sharedTimeout)
		} else {
			w.mu.Lock()
			s := w.waiting[name]
			delete(w.waiting, name)
			w.mu.Unlock()
			close(s.let)
		}
	}
	running.Wait()
	for _, name := range names[2:] {
		if err, _ := ended.Load(name); err == nil {
			destroyed++
		}
	}
	// Then it is repeated, as the errors say, and at last somebody enables by hand what is said to be disabled by hand.
	through := 1
	for again := 0; ; again++ {
		_, err := quiet.DestroySharedKEK(t.Context(), calm, through, nil)
		if err == nil {
			break
		}
		switch key, kerr := calm.SharedKey(t.Context()); {
		case kerr != nil || again == 4:
			t.Errorf("nothing can be destroyed any more: %v", err)
		case key.Proving:
			through = key.Enabled - 1
			continue
		case key.Enabled > 0:
			must(t, calm.DisableVersions(t.Context(), key.Oldest))
			continue
		default:
			continue
		}
		break
	}
	fresh := ring(calm)
	for id := range said {
		if _, err := fresh.Tenant(t.Context(), id); err != nil {
			t.Errorf("%s is lost: %v", id, err)
		}
	}
	if err := fresh.Provision(t.Context(), late); err != nil && (said[late] || !errors.Is(err, keys.ErrIntegrity)) {
		t.Errorf("the tenant that was late: %v", err) // of one that never opened it was said to delete the record
	}
	return destroyed
}

// lagging tells of the key as it was.
type lagging struct {
	keys.SharedKEK
	was keys.SharedKey
}

func (l lagging) SharedKey(context.Context) (keys.SharedKey, error) { return l.was, nil }

// TestADestructionThatSeesAnOldKey: where a copy that lags answers, a run does not take the version that it has made for another's, and
// changes nothing.
func TestADestructionThatSeesAnOldKey(t *testing.T) {
	w := &sharedWorld{newest: 1, oldest: 1, opens: 1, records: map[tenant.ID]keys.Record{}}
	p := &sharedProcess{sharedWorld: w}
	ring := openRing(t, p, sharedRecords{p}, nil)
	provision(t, ring, idA)
	was, err := p.SharedKey(t.Context())
	must(t, err)
	_, err = ring.DestroySharedKEK(t.Context(), lagging{p, was}, 1, nil)
	wantErr(t, err, keys.ErrUnavailable)
	if w.oldest != 1 || w.opens != 1 {
		t.Errorf("the versions below %d are destroyed, and those below %d disabled", w.oldest, w.opens)
	}
}

// lowest notes the lowest version from which on a key was made to open.
type lowest struct {
	keys.SharedKEK
	oldest int
}

func (l *lowest) DisableVersions(ctx context.Context, oldest int) error {
	l.oldest = min(l.oldest, oldest)
	return l.SharedKEK.DisableVersions(ctx, oldest)
}

// TestAResumedDestructionEnablesNoMoreThanIsNeeded: an operator had disabled the first version, and the run that was interrupted did not leave
// word of it. A record needs the second one, which alone is enabled; the tenant opens, and the versions are destroyed.
func TestAResumedDestructionEnablesNoMoreThanIsNeeded(t *testing.T) {
	w := &sharedWorld{newest: 2, oldest: 1, opens: 2, records: map[tenant.ID]keys.Record{}}
	p := &sharedProcess{sharedWorld: w}
	ring := openRing(t, p, sharedRecords{p}, &keys.Options{Timeout: 100 * time.Millisecond})
	provision(t, ring, idA, idB)
	backup := w.records[idA]
	must(t, p.RotateSharedKey(t.Context()))
	for _, id := range []tenant.ID{idA, idB} {
		must(t, ring.Rewrap(t.Context(), id, ""))
	}
	must(t, p.DisableVersions(t.Context(), 3)) // and there it was interrupted
	backup.Version = w.records[idA].Version + 1
	w.records[idA] = backup
	k := &lowest{p, 3}
	done, err := ring.DestroySharedKEK(t.Context(), k, 2, nil)
	must(t, err)
	if k.oldest != 2 || done.Key.Oldest != 3 {
		t.Errorf("the versions from %d on were enabled, and the key is %+v", k.oldest, done.Key)
	}
	open(t, openRing(t, p, sharedRecords{p}, nil), idA)
}
