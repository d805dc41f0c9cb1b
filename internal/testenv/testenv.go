package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	buildTimeout = 10 * time.Minute // the program that starts containers, where nothing of it is in the build cache
	startTimeout = 3 * time.Minute  // one server, from the first call to the container engine until it answers
	stopTimeout  = 2 * time.Minute  // removing all containers
	opTimeout    = 2 * time.Minute  // one administrative operation on a running server
	pollInterval = 50 * time.Millisecond
)

// running is what this process has started and must remove.
var running struct {
	sync.Mutex
	directory   string // where Run was called
	program     *program
	interrupted []func()
}

// Main is the TestMain of a package that uses servers: it runs the tests, removes every container they started and
// exits the process with their code.
func Main(m *testing.M) { os.Exit(Run(m.Run)) }

// Run calls run and, when it returns, panics or the process is interrupted, removes every container that was started
// meanwhile. It returns what run returned, or 1 if that was 0 and a container could not be removed. It is for
// programs that have no testing.M, such as benchmarks; tests use [Main].
func Run(run func() int) (code int) {
	directory, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	running.Lock()
	running.directory = directory
	running.Unlock()

	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		if err := removeAll(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		running.Lock()
		for _, f := range running.interrupted {
			f()
		}
		os.Exit(130)
	}()
	defer func() {
		tellSkipped(os.Stderr)
		signal.Stop(interrupted)
		if err := removeAll(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}()
	return run()
}

// AtInterrupt has f called when the process is interrupted, once the containers are removed and right before it ends: what run has deferred is
// not called then.
func AtInterrupt(f func()) {
	running.Lock()
	defer running.Unlock()
	running.interrupted = append(running.interrupted, f)
}

// skipped counts the tests that had no server.
var skipped atomic.Int64

// tellSkipped says in a line at the end what a test's own message says only where skipped tests are shown.
func tellSkipped(w io.Writer) {
	if n := skipped.Load(); n > 0 {
		fmt.Fprintf(w, "testenv: tests skipped that need a server in a container: %d; `go test -v` says what is missing, and "+
			"STRONGROOM_CONTAINERS=required makes it a failure\n", n)
	}
}

// Required reports whether STRONGROOM_CONTAINERS=required is set: a container test that cannot run is then a failure.
func Required() bool { return os.Getenv("STRONGROOM_CONTAINERS") == "required" }

func removeAll() error {
	running.Lock()
	defer running.Unlock()
	p := running.program
	if p == nil {
		return nil
	}
	running.program = nil
	return p.end()
}

// Shared is a server that all tests of the process use. The first test to ask starts it; if that fails every test
// that asks is told the same.
type Shared[T any] struct {
	once   sync.Once
	server T
	err    error
}

func (s *Shared[T]) Get(t testing.TB, start func(context.Context) (T, error)) T {
	t.Helper()
	s.once.Do(func() {
		if s.err = startProgram(); s.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		s.server, s.err = start(ctx)
	})
	var missing *missingError
	switch {
	case errors.As(s.err, &missing) && !Required():
		skipped.Add(1)
		t.Skipf("%v\n(STRONGROOM_CONTAINERS=required makes this a failure)", s.err)
	case s.err != nil:
		t.Fatal(s.err)
	}
	return s.server
}

// names counts what tests make on shared servers; several processes never share one.
var names atomic.Int64

// UniqueName is unique on every server of this process, and valid as a bucket, mount, role and database name.
func UniqueName(prefix string) string { return fmt.Sprintf("%s%d", prefix, names.Add(1)) }

// CleanupContext is for use inside t.Cleanup, where t.Context is cancelled already.
func CleanupContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), opTimeout)
}

// Poll calls try until it succeeds. When ctx ends first it returns ctx's error joined with try's last one.
func Poll(ctx context.Context, try func(context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}
