package testenv

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/strongroom-go/strongroom/internal/testenv/wire"
)

// anyHost stands for a published address in a URL that is given before the container has one.
const anyHost = "published.invalid:1"

//go:embed images/defaults
var defaults string

// defaultImage is the public image that images/defaults gives for a variable, empty if it gives none.
func defaultImage(variable string) string {
	for line := range strings.Lines(defaults) {
		if value, ok := strings.CutPrefix(line, variable+"="); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// missingError says that a test cannot run on this machine as it is, and what would change that.
type missingError struct {
	what   string
	remedy string
	err    error
}

func (e *missingError) Error() string {
	return fmt.Sprintf("testenv: %s: %v\n%s", e.what, e.err, e.remedy)
}

func (e *missingError) Unwrap() error { return e.err }

// Container is one that was started. It is removed when the process ends.
type Container struct {
	Address string // host:port at which its port is published
	Inside  string // the address among containers, without the port

	id string
}

// Start starts a container from the image that spec.Variable names.
func Start(ctx context.Context, spec wire.Spec) (*Container, error) {
	spec.Image = cmp.Or(os.Getenv(spec.Variable), defaultImage(spec.Variable))
	spec.Timeout = startTimeout
	var started wire.Started
	if err := call(ctx, wire.Start, spec, &started); err != nil {
		return nil, err
	}
	if m := started.Missing; m != nil {
		return nil, &missingError{m.What, m.Remedy, errors.New(m.Err)}
	}
	return &Container{started.Address, started.Inside, started.ID}, nil
}

// kill ends the container's process at once.
func (c *Container) kill(ctx context.Context) error {
	return call(ctx, wire.Kill, c.id, &struct{}{})
}

// sum is the SHA-256 of a file in the container.
func (c *Container) sum(ctx context.Context, path string) (sum []byte, err error) {
	err = call(ctx, wire.Sum, wire.File{ID: c.id, Path: path}, &sum)
	return sum, err
}

func call(ctx context.Context, method string, arg, reply any) error {
	running.Lock()
	p := running.program
	running.Unlock()
	if p == nil {
		return errors.New("testenv: the containers have been removed")
	}
	return p.call(ctx, method, arg, reply)
}
