package main

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Row is one comparison.
type Row struct {
	ID   string
	Peer string // what the alternative is, in a few words
	// Setup makes both sides. It is called once, and what it returns is measured in turns.
	Setup func() (*Pair, error)
}

// Figures are figures of many kinds that stand beside nothing. Their ids begin with this one.
type Figures struct {
	ID      string
	Measure func() ([]Result, error)
}

// Pair is the two sides of a comparison. Each function does n operations.
type Pair struct {
	Ours, Peer func(n int) error
	// Each is how many operations count as n = 1, where they come in batches only; 0 means 1.
	Each int
	// Turns, if set, is how many turns are taken, of one operation each and nothing besides, where one takes minutes.
	Turns int
	// Cleanup, if set, is called after measuring.
	Cleanup func()
	// Bytes, if set, is measured instead: the bytes that each side retains per item, by makers of items.
	Bytes *Retained
}

// Retained says how to measure memory: each function makes n items and returns something that keeps them alive.
type Retained struct {
	N          int
	Ours, Peer func(n int) (keep any, err error)
}

// Result is one measured row.
type Result struct {
	ID     string  `json:"id"`
	Ours   float64 `json:"ours_ns"`
	Peer   string  `json:"peer"`
	PeerNS float64 `json:"peer_ns"`
	Ratio  float64 `json:"ratio"`
	Spread float64 `json:"spread"`
	Allocs float64 `json:"allocs"` // per operation of ours
	// Unit is that of a figure which stands beside nothing: Ours is in it, and Peer says what it is of.
	Unit string `json:"unit,omitempty"`
}

const (
	turns    = 15
	turnTime = 30 * time.Millisecond
	// A row whose operations take very long has fewer turns.
	rowTime  = 5 * time.Second
	minTurns = 5
)

func (row Row) measure() (Result, error) {
	pair, err := row.Setup()
	if err != nil {
		return Result{}, err
	}
	if pair.Cleanup != nil {
		defer pair.Cleanup()
	}
	r := Result{ID: row.ID, Peer: row.Peer}
	if pair.Bytes != nil {
		return r, r.retained(pair.Bytes)
	}
	return r, r.timed(pair)
}

// timed measures both sides in turns, the first of a turn alternating.
func (r *Result) timed(p *Pair) error {
	runtime.GC()
	nOurs, nPeer, least, most := 1, 1, p.Turns, p.Turns
	var err error
	if p.Turns == 0 {
		least, most = minTurns, turns
		if nOurs, err = calibrate(p.Ours); err != nil {
			return fmt.Errorf("ours: %w", err)
		}
		if nPeer, err = calibrate(p.Peer); err != nil {
			return fmt.Errorf("the alternative: %w", err)
		}
	}
	var ours, peer []float64
	for turn, start := 0, time.Now(); turn < most && (turn < least || time.Since(start) < rowTime); turn++ {
		for side := range 2 {
			if (turn+side)%2 == 0 {
				ours, err = appendTime(ours, p.Ours, nOurs)
			} else {
				peer, err = appendTime(peer, p.Peer, nPeer)
			}
			if err != nil {
				return err
			}
		}
	}
	each := float64(max(p.Each, 1))
	for i := range ours {
		ours[i], peer[i] = ours[i]/each, peer[i]/each
	}
	r.summarize(ours, peer)
	if p.Turns > 0 {
		return nil
	}
	r.Allocs, err = allocations(p.Ours, max(nOurs/10, 1))
	r.Allocs /= each
	return err
}

func (r *Result) summarize(ours, peer []float64) {
	ratios := make([]float64, len(ours))
	for i := range ratios {
		ratios[i] = ours[i] / peer[i]
	}
	r.Ours, r.PeerNS = quantile(ours, 0.5), quantile(peer, 0.5)
	r.Ratio = r.Ours / r.PeerNS
	r.Spread = (quantile(ratios, 0.75) - quantile(ratios, 0.25)) / quantile(ratios, 0.5)
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(math.Round(q*float64(len(sorted)-1)))]
}

// calibrate returns how many operations take about turnTime.
func calibrate(f func(int) error) (int, error) {
	for n := 1; ; {
		start := time.Now()
		if err := f(n); err != nil {
			return 0, err
		}
		took := time.Since(start)
		if took >= turnTime || n >= 1<<30 {
			return n, nil
		}
		grow := min(max(float64(turnTime)/float64(max(took, 1))*1.1, 1.5), 100)
		n = int(float64(n)*grow) + 1
	}
}

func appendTime(times []float64, f func(int) error, n int) ([]float64, error) {
	start := time.Now()
	err := f(n)
	return append(times, float64(time.Since(start))/float64(n)), err
}

// allocations counts the allocations of one operation, those of its goroutines included.
func allocations(f func(int) error, n int) (float64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := f(n)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n), err
}

// retained measures the heap that each side keeps per item.
func (r *Result) retained(b *Retained) error {
	const rounds = 3
	var ours, peer []float64
	for range rounds {
		for _, side := range []struct {
			make func(int) (any, error)
			into *[]float64
		}{{b.Ours, &ours}, {b.Peer, &peer}} {
			before := heap()
			keep, err := side.make(b.N)
			if err != nil {
				return err
			}
			after := heap()
			runtime.KeepAlive(keep)
			if after <= before {
				return errors.New("the heap shrank")
			}
			*side.into = append(*side.into, float64(after-before)/float64(b.N))
		}
	}
	r.summarize(ours, peer)
	return nil
}

func heap() uint64 {
	for range 3 { // finalizers and pools take more than one cycle
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// figure shows a figure in its unit, or the one that its row's id implies.
func figure(id, unit string, v float64) string {
	switch {
	case unit != "" && unit != "ns":
		return fmt.Sprintf("%.4g %s", v, unit)
	case strings.HasSuffix(id, ".memory"):
		return fmt.Sprintf("%.0f B", v)
	case v < 1e4:
		return fmt.Sprintf("%.0f ns", v)
	case v < 1e7:
		return fmt.Sprintf("%.1f µs", v/1e3)
	default:
		return fmt.Sprintf("%.1f ms", v/1e6)
	}
}
