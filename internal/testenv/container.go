package testenv

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/wait"
)

// The engine is asked for a sign of life, and for a missing image, with limits of their own: a machine without
// either should skip before the start's time is up. One that is busy may take a while to answer.
const (
	engineTimeout = time.Minute
	pullTimeout   = 2 * time.Minute
)

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

// run starts a container from the image that variable names and returns the host:port at which port (such as
// "5432/tcp") is published. Whatever happens, the container is removed when the process ends.
func run(ctx context.Context, variable, port string, ready wait.Strategy, options ...testcontainers.ContainerCustomizer) (string, error) {
	address, _, err := runContainer(ctx, variable, port, ready, options...)
	return address, err
}

// runContainer is run, and returns the container too.
func runContainer(ctx context.Context, variable, port string, ready wait.Strategy, options ...testcontainers.ContainerCustomizer) (string, *testcontainers.DockerContainer, error) {
	quiet()
	provider, err := testcontainers.NewDockerProvider()
	if err == nil {
		defer provider.Close()
		err = answers(ctx, provider)
	}
	if err != nil {
		return "", nil, &missingError{"no container engine answers", "Start one (`docker info` shows whether it runs), or set DOCKER_HOST.", err}
	}
	image := os.Getenv(variable)
	if image == "" {
		image = defaultImage(variable)
	}
	if err := ensureImage(ctx, provider, image); err != nil {
		return "", nil, &missingError{"no image for " + variable,
			"Set " + variable + ", or build the images here: eval \"$(internal/testenv/images/build)\".", err}
	}
	if !provider.Config().Config.RyukDisabled {
		//lint:ignore SA1019 there is no other way to ask which image that is
		if err := ensureImage(ctx, provider, testcontainers.ReaperDefaultImage); err != nil {
			return "", nil, &missingError{"no clean-up image", "Set TESTCONTAINERS_RYUK_DISABLED=true: the tests remove what they start.", err}
		}
	}

	options = append([]testcontainers.ContainerCustomizer{
		testcontainers.WithExposedPorts(port),
		testcontainers.WithWaitStrategyAndDeadline(startTimeout, ready),
		// By the label whoever started the tests finds what a killed process left behind.
		testcontainers.WithLabels(map[string]string{"strongroom.testenv": os.Getenv("STRONGROOM_CONTAINERS_RUN")}),
	}, options...)
	container, err := testcontainers.Run(ctx, image, options...)
	if container != nil {
		running.Lock()
		running.containers = append(running.containers, container)
		running.Unlock()
	}
	if err != nil {
		return "", nil, fmt.Errorf("testenv: start %s: %w%s", image, err, tail(container))
	}
	address, err := container.PortEndpoint(ctx, port, "")
	if err != nil {
		return "", nil, fmt.Errorf("testenv: find port %s of %s: %w", port, image, err)
	}
	return address, container, nil
}

// quiet keeps testcontainers' running commentary out of the tests' output; what went wrong is in the errors.
var quiet = sync.OnceFunc(func() { log.SetDefault(log.NewNoopLogger()) })

func answers(ctx context.Context, provider *testcontainers.DockerProvider) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	return provider.Health(ctx)
}

// ensureImage makes one attempt to pull an image that is not here. testcontainers would pull too, but repeat for as
// long as the context lets it.
func ensureImage(ctx context.Context, provider *testcontainers.DockerProvider, image string) error {
	if _, err := provider.Client().ImageInspect(ctx, image); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	pull, err := provider.Client().ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return fmt.Errorf("pull %s: %w", image, err)
	}
	defer pull.Close()
	if err := pull.Wait(ctx); err != nil {
		return fmt.Errorf("pull %s: %w", image, err)
	}
	return nil
}

// tail is the end of a container's output, to be appended to the error that it did not start.
func tail(container *testcontainers.DockerContainer) string {
	const limit = 4096
	if container == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	logs, err := container.Logs(ctx)
	if err != nil {
		return ""
	}
	defer logs.Close()
	var text []byte
	for buf := make([]byte, limit); err == nil; {
		var n int
		n, err = logs.Read(buf)
		text = append(text, buf[:n]...)
		text = text[max(0, len(text)-limit):]
	}
	return "\nIts output ends:\n" + string(text)
}
