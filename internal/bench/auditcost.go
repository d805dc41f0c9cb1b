package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strongroom-go/strongroom/audit"
)

// auditCostFigures say how long callers wait for an event and how many there are in a second, of each recorder and of what
// writes the same bytes otherwise. The recorder on NATS is in internal/natstest, where its servers are: go test -run '^$' -bench
// Record there.
func auditCostFigures() []Figures { return []Figures{{"audit.cost", auditCost}} }

// contender is one way to write an event.
type contender struct {
	name, what string
	record     func() error
	took       []time.Duration
	spent      time.Duration
}

func auditCost() (results []Result, err error) {
	for _, n := range []int{1, 16, 128} {
		all, cleanup, err := contenders(n)
		if err != nil {
			return nil, err
		}
		err = compete(all, n)
		cleanup()
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			slices.Sort(c.took)
			at := func(q float64) float64 { return float64(c.took[int(q*float64(len(c.took)-1))].Nanoseconds()) }
			id := fmt.Sprintf("audit.cost.%s.%d.", c.name, n)
			results = append(results,
				Result{ID: id + "p50", Ours: at(.5), Peer: c.what, Unit: "ns"},
				Result{ID: id + "p99", Ours: at(.99), Peer: c.what, Unit: "ns"},
				Result{ID: id + "rate", Ours: float64(len(c.took)) / c.spent.Seconds(), Peer: c.what, Unit: "events/s"})
		}
	}
	return results, nil
}

// compete lets each write from n goroutines, in turns of a tenth of a second, so that what else the machine does is shared.
func compete(all []*contender, n int) error {
	const rounds, turn = 12, 100 * time.Millisecond
	for round := range rounds {
		for _, c := range all {
			var mu sync.Mutex
			var failed error
			var wg sync.WaitGroup
			began := time.Now()
			for range n {
				wg.Go(func() {
					var took []time.Duration
					var err error
					for err == nil && time.Since(began) < turn {
						start := time.Now()
						err = c.record()
						took = append(took, time.Since(start))
					}
					mu.Lock()
					defer mu.Unlock()
					if failed == nil && err != nil {
						failed = fmt.Errorf("%s: %w", c.name, err)
					}
					if round > 0 { // the first is for connecting
						c.took = append(c.took, took...)
					}
				})
			}
			wg.Wait()
			if failed != nil {
				return failed
			}
			if round > 0 {
				c.spent += time.Since(began)
			}
		}
	}
	return nil
}

// contenders opens all of them for n goroutines.
func contenders(n int) (all []*contender, cleanup func(), err error) {
	var undo []func()
	cleanup = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	defer func() {
		if err != nil {
			cleanup()
		}
	}()
	add := func(name, what string, record func() error) {
		all = append(all, &contender{name: name, what: what, record: record})
	}
	e, cleanKeys, err := query()
	if err != nil {
		return nil, cleanup, err
	}
	undo = append(undo, cleanKeys)
	dir := ""
	for _, opts := range []*audit.Options{{Timeout: time.Minute}, {Timeout: time.Minute, AheadBytes: -1}, {Timeout: time.Minute, Durability: audit.Written}} {
		log, at, cleanLog, err := openTrail(opts)
		if err != nil {
			return nil, cleanup, err
		}
		undo, dir = append(undo, cleanLog), at
		name, what := opts.Durability.String(), "a log in a file"
		if opts.AheadBytes < 0 {
			name, what = name+"-append", what+", without zeros ahead"
		}
		add("file."+name, what, func() error { return log.Record(context.Background(), e) })
	}
	record, insert, cleanPG, err := pgTrail(n)
	if err != nil {
		return nil, cleanup, err
	}
	undo = append(undo, cleanPG)
	add("pg", "a table in PostgreSQL, which does not sync here", record)
	add("insert", "a plain row of the same length in it", insert)
	line := bytes.Repeat([]byte("x"), 1<<10)
	peer, err := os.OpenFile(filepath.Join(dir, "peer"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, cleanup, err
	}
	undo = append(undo, func() { peer.Close() })
	var mu sync.Mutex
	add("append", "1 KiB appended and synced, one at a time", func() error {
		mu.Lock()
		defer mu.Unlock()
		if _, err := peer.Write(line); err != nil {
			return err
		}
		return unix.Fdatasync(int(peer.Fd()))
	})
	text, err := os.Create(filepath.Join(dir, "slog"))
	if err != nil {
		return nil, cleanup, err
	}
	undo = append(undo, func() { text.Close() })
	logger := slog.New(slog.NewJSONHandler(text, nil))
	add("slog", "log/slog as JSON into a file, which nobody syncs", func() error {
		logger.Info(string(e.Code), "tenant", e.Tenant.String(), "actor", e.Actor, "purpose", e.Purpose, "request", e.Request, "store", e.Store,
			"name", e.Name, "tables", e.Tables, "columns", e.Columns, "statement", e.Statement, "fingerprint", e.Fingerprint)
		return nil
	})
	return all, cleanup, nil
}
