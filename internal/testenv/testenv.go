package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
)

const (
	startTimeout = 3 * time.Minute // one server, from the first call to the container engine until it answers
	stopTimeout  = 2 * time.Minute // removing all containers
	opTimeout    = 2 * time.Minute // one administrative operation on a running server
	pollInterval = 50 * time.Millisecond
)

// running is what this process has started and must remove.
var running struct {
	sync.Mutex
	managed    bool // inside Run, so that somebody will remove it
	containers []testcontainers.Container
}

// Main is the TestMain of a package that uses servers: it runs the tests, removes every container they started and
// exits the process with their code.
func Main(m *testing.M) { os.Exit(Run(m.Run)) }

// Run calls run and, when it returns, panics or the process is interrupted, removes every container that was started
// meanwhile. It returns what run returned, or 1 if that was 0 and a container could not be removed. It is for
// programs that have no testing.M, such as benchmarks; tests use [Main].
func Run(run func() int) (code int) {
	running.Lock()
	running.managed = true
	running.Unlock()

	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		if err := removeAll(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(130)
	}()
	defer func() {
		signal.Stop(interrupted)
		if err := removeAll(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}()
	return run()
}

// Required reports whether STRONGROOM_CONTAINERS=required is set: a container test that cannot run is then a failure.
func Required() bool { return os.Getenv("STRONGROOM_CONTAINERS") == "required" }

func removeAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	running.Lock()
	defer running.Unlock()
	var errs []error
	for _, c := range running.containers {
		// The data is not wanted: a kill, and no wait for an orderly shutdown.
		if err := c.Terminate(ctx, testcontainers.StopTimeout(0)); err != nil {
			errs = append(errs, fmt.Errorf("testenv: remove container %s: %w", c.GetContainerID(), err))
		}
	}
	running.containers = nil
	return errors.Join(errs...)
}

// shared is a server that all tests of the process use. The first test to ask starts it; if that fails every test
// that asks is told the same.
type shared[T any] struct {
	once   sync.Once
	server T
	err    error
}

func (s *shared[T]) get(t testing.TB, start func(context.Context) (T, error)) T {
	t.Helper()
	s.once.Do(func() {
		running.Lock()
		managed := running.managed
		running.Unlock()
		if !managed {
			s.err = errors.New("testenv: nobody would remove the container: " +
				"add `func TestMain(m *testing.M) { testenv.Main(m) }` to the package's tests")
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		s.server, s.err = start(ctx)
	})
	var missing *missingError
	switch {
	case errors.As(s.err, &missing) && !Required():
		t.Skipf("%v\n(STRONGROOM_CONTAINERS=required makes this a failure)", s.err)
	case s.err != nil:
		t.Fatal(s.err)
	}
	return s.server
}

// names counts what tests make on shared servers; several processes never share one.
var names atomic.Int64

// uniqueName is unique on every server of this process, and valid as a bucket, mount, role and database name.
func uniqueName(prefix string) string { return fmt.Sprintf("%s%d", prefix, names.Add(1)) }

// cleanupContext is for use inside t.Cleanup, where t.Context is cancelled already.
func cleanupContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), opTimeout)
}

// poll calls try until it succeeds. When ctx ends first it returns ctx's error joined with try's last one.
func poll(ctx context.Context, try func(context.Context) error) error {
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
