package natstest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkRecord records events from so many goroutines into a stream of three replicas on this machine, and beside it has each
// publish a message of the same length for itself, in turns. It reports how long callers wait and how many events there are in a
// second; the message is "plain".
func BenchmarkRecord(b *testing.B) {
	for _, n := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tr := newTrail(b)
			s := tr.open(b, tr.recorder(), time.Minute)
			const plain = "PLAIN"
			_, err := tr.js.CreateStream(b.Context(), jetstream.StreamConfig{Name: plain, Subjects: []string{"plain"}, Replicas: nodes})
			must(b, err)
			b.Cleanup(func() { tr.js.DeleteStream(context.Background(), plain) })
			message := make([]byte, 1<<10)
			var took [2][]time.Duration
			var spent [2]time.Duration
			const turn = 500
			for done := 0; done < b.N; done += turn {
				for side, write := range []func() error{
					func() error { return s.Record(b.Context(), event("acme", "x")) },
					func() error { _, err := tr.js.Publish(b.Context(), "plain", message); return err },
				} {
					began := time.Now()
					took[side] = append(took[side], times(b, n, min(turn, b.N-done), write)...)
					spent[side] += time.Since(began)
				}
			}
			for side, name := range []string{"", "plain-"} {
				slices.Sort(took[side])
				at := func(q float64) float64 { return float64(took[side][int(q*float64(len(took[side])-1))].Microseconds()) }
				b.ReportMetric(at(.5), name+"p50-µs")
				b.ReportMetric(at(.99), name+"p99-µs")
				b.ReportMetric(float64(len(took[side]))/spent[side].Seconds(), name+"events/s")
			}
			must(b, s.Close())
		})
	}
}

// times does something so often from n goroutines, and returns how long it took each time.
func times(b *testing.B, n, often int, do func() error) (all []time.Duration) {
	var left atomic.Int64
	left.Store(int64(often))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			var took []time.Duration
			for left.Add(-1) >= 0 {
				began := time.Now()
				if err := do(); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	wg.Wait()
	return all
}
