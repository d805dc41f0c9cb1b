// Containers starts containers for a test process, its parent, and removes them when its standard input ends: the
// parent closes it, or is gone. See package testenv, whose tests test it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

const stopTimeout = 2 * time.Minute // removing all containers

func main() {
	// An interrupt at a terminal reaches every process of the group, and a write to a parent that was killed raises
	// SIGPIPE: neither may keep the containers from being removed.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGPIPE)
	// testcontainers' running commentary is not wanted; what went wrong is in the errors.
	log.SetDefault(log.NewNoopLogger())

	ctx, cancel := context.WithCancel(context.Background())
	containers := &Containers{ctx: ctx, running: map[string]*testcontainers.DockerContainer{}}
	server := rpc.NewServer()
	if err := server.Register(containers); err != nil {
		fail(err)
	}
	server.ServeCodec(jsonrpc.NewServerCodec(&parent{ended: cancel}))
	if err := containers.removeAll(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// parent is the connection to the test process.
type parent struct{ ended func() }

// Read ends the starts that go on when the input ends: the server waits for them.
func (p *parent) Read(b []byte) (int, error) {
	n, err := os.Stdin.Read(b)
	if err != nil {
		p.ended()
		err = io.EOF
	}
	return n, err
}

func (*parent) Write(b []byte) (int, error) { return os.Stdout.Write(b) }
func (*parent) Close() error                { return os.Stdin.Close() }

// Containers are those that run, by ID.
type Containers struct {
	ctx     context.Context // ends with the input
	mu      sync.Mutex
	running map[string]*testcontainers.DockerContainer
}

// Ping tells that the program runs.
func (c *Containers) Ping(struct{}, *struct{}) error { return nil }

func (c *Containers) add(container *testcontainers.DockerContainer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[container.GetContainerID()] = container
}

func (c *Containers) find(id string) (*testcontainers.DockerContainer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if container := c.running[id]; container != nil {
		return container, nil
	}
	return nil, fmt.Errorf("testenv: there is no container %q", id)
}

func (c *Containers) removeAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	errs := make(chan error, len(c.running))
	for id, container := range c.running {
		go func() {
			// The data is not wanted: a kill, and no wait for an orderly shutdown.
			if err := container.Terminate(ctx, testcontainers.StopTimeout(0)); err != nil {
				errs <- fmt.Errorf("testenv: remove container %s: %w", id, err)
				return
			}
			errs <- nil
		}()
	}
	var all []error
	for range cap(errs) {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
