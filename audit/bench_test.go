package audit

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// benchEvent is a point query with a tenant's sealer, as the gate records it.
func benchEvent(b *testing.B) *Event {
	e := query(acme, "req-01a204e8")
	e.Sealer = newSealer(b)
	return e
}

func benchLine(b *testing.B, l *Log) []byte {
	line, err := l.enc.event(nil, benchEvent(b))
	if err != nil {
		b.Fatal(err)
	}
	return append(line, "1234}}\n"...)
}

// goroutines runs n goroutines that share b.N calls of f.
func goroutines(b *testing.B, n int, f func() error) {
	b.ReportAllocs()
	work := make(chan struct{}, b.N)
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for range work {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	// The row is the time that one goroutine waits for one event.
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())*float64(min(n, b.N))/float64(b.N), "wait-ns/op")
}

// BenchmarkDurable records events; BenchmarkDurablePeer writes and syncs the same bytes, one event at a time.
func BenchmarkDurable(b *testing.B) {
	for _, n := range []int{1, 16, 128} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			l := mustOpen(b, filepath.Join(b.TempDir(), "log"), nil)
			e := benchEvent(b)
			goroutines(b, n, func() error { return l.Record(context.Background(), e) })
		})
	}
}

func BenchmarkDurablePeer(b *testing.B) {
	for _, n := range []int{1, 16, 128} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			line := benchLine(b, mustOpen(b, filepath.Join(b.TempDir(), "log"), nil))
			f, err := os.Create(filepath.Join(b.TempDir(), "peer"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			var mu sync.Mutex
			goroutines(b, n, func() error {
				mu.Lock()
				defer mu.Unlock()
				if _, err := f.Write(line); err != nil {
					return err
				}
				return unix.Fdatasync(int(f.Fd()))
			})
		})
	}
}

func BenchmarkWritten(b *testing.B) {
	for _, n := range []int{1, 16, 128} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			l := mustOpen(b, filepath.Join(b.TempDir(), "log"), &Options{Durability: Written})
			e := benchEvent(b)
			goroutines(b, n, func() error { return l.Record(context.Background(), e) })
		})
	}
}

// BenchmarkEncode is the part of Record that takes a processor: with a sealer, and without.
func BenchmarkEncode(b *testing.B) {
	l := mustOpen(b, filepath.Join(b.TempDir(), "log"), nil)
	for name, e := range map[string]*Event{"sealed": benchEvent(b), "unsealed": query(acme, "r")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var line []byte
			var err error
			for b.Loop() {
				if line, err = l.enc.event(line[:0], e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerify verifies a log of 100,000 events; BenchmarkVerifyPeer hashes the same bytes.
func BenchmarkVerify(b *testing.B) {
	dir := benchLog(b)
	b.ResetTimer()
	for range b.N {
		if _, err := Verify(context.Background(), dir, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEvents, "ns/event")
}

func BenchmarkVerifyPeer(b *testing.B) {
	dir := benchLog(b)
	b.ResetTimer()
	for range b.N {
		names, err := filepath.Glob(filepath.Join(dir, segmentsName, "*.jsonl"))
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			sha256.Sum256(data)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEvents, "ns/event")
}

// BenchmarkOpen opens a log of -audit.events events, of 64 or 10,000 tenants, that was closed; BenchmarkOpenPeer opens it
// without its state, which reads everything.
func BenchmarkOpen(b *testing.B)     { benchOpen(b, false) }
func BenchmarkOpenPeer(b *testing.B) { benchOpen(b, true) }

var openEvents = flag.Int("audit.events", benchEvents, "events of the log that BenchmarkOpen opens")

func benchOpen(b *testing.B, all bool) {
	for _, tenants := range []int{64, 10_000} {
		b.Run(strconv.Itoa(tenants), func(b *testing.B) {
			dir := benchLogOf(b, *openEvents, tenants)
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				if all {
					if err := os.Remove(filepath.Join(dir, stateName)); ignoreMissing(err) != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				l, err := OpenLog(dir, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				mustClose(b, l)
				b.StartTimer()
			}
		})
	}
}

const benchEvents = 100_000

func benchLog(b *testing.B) (dir string) { return benchLogOf(b, benchEvents, 64) }

func benchLogOf(b *testing.B, events, tenants int) (dir string) {
	dir = filepath.Join(b.TempDir(), "log")
	l := mustOpen(b, dir, &Options{Durability: Written, CheckpointEvery: 100 * time.Millisecond})
	var wg sync.WaitGroup
	for g := range 64 {
		e := benchEvent(b)
		wg.Go(func() {
			for i := range events / 64 {
				if err := e.Tenant.UnmarshalText(fmt.Appendf(nil, "tenant-%d", (i*64+g)%tenants)); err != nil {
					b.Error(err)
				}
				if err := l.Record(context.Background(), e); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	mustClose(b, l)
	return dir
}
