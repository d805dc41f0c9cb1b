package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx", by which PostgreSQL's start is awaited
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// The engine is asked for a sign of life, and for a missing image, with limits of their own: a machine without
// either should skip before the start's time is up. One that is busy may take a while to answer.
const (
	engineTimeout = time.Minute
	pullTimeout   = 2 * time.Minute
	pollInterval  = 50 * time.Millisecond
)

// Start starts a container and waits until it is ready.
func (c *Containers) Start(spec Spec, started *Started) error {
	ctx, cancel := context.WithTimeout(c.ctx, spec.Timeout)
	defer cancel()
	if started.Missing = missing(ctx, spec); started.Missing != nil {
		return nil
	}
	container, err := testcontainers.Run(ctx, spec.Image, options(spec)...)
	if container != nil {
		c.add(container)
	}
	if err != nil {
		return fmt.Errorf("testenv: start %s: %w%s", spec.Image, err, tail(container))
	}
	started.ID = container.GetContainerID()
	if started.Address, err = container.PortEndpoint(ctx, spec.Port, ""); err != nil {
		return fmt.Errorf("testenv: find port %s of %s: %w", spec.Port, spec.Image, err)
	}
	if started.Inside, err = container.ContainerIP(ctx); err != nil {
		return fmt.Errorf("testenv: find the address of %s among containers: %w", spec.Image, err)
	}
	return nil
}

func options(spec Spec) []testcontainers.ContainerCustomizer {
	options := []testcontainers.ContainerCustomizer{
		testcontainers.WithExposedPorts(spec.Port),
		testcontainers.WithWaitStrategyAndDeadline(spec.Timeout, strategy(spec)),
		// By the label whoever started the tests finds what was left behind when this program was killed too.
		testcontainers.WithLabels(map[string]string{"strongroom.testenv": os.Getenv("STRONGROOM_CONTAINERS_RUN")}),
		testcontainers.WithEnv(spec.Env),
		testcontainers.WithTmpfs(spec.Tmpfs),
	}
	if len(spec.Entrypoint) > 0 {
		options = append(options, testcontainers.WithEntrypoint(spec.Entrypoint...))
	}
	if len(spec.Cmd) > 0 {
		options = append(options, testcontainers.WithCmd(spec.Cmd...))
	}
	for path, content := range spec.Files {
		options = append(options, testcontainers.WithFiles(testcontainers.ContainerFile{
			Reader: bytes.NewReader(content), ContainerFilePath: path, FileMode: 0o644,
		}))
	}
	if spec.Host != "" {
		options = append(options, testcontainers.WithHostConfigModifier(func(c *container.HostConfig) {
			c.ExtraHosts = append(c.ExtraHosts, spec.Host+":host-gateway")
		}))
	}
	return options
}

func strategy(spec Spec) wait.Strategy {
	switch {
	case spec.Ready.SQL != "":
		return wait.ForSQL(spec.Port, "pgx", func(host string, port network.Port) string {
			u, err := url.Parse(spec.Ready.SQL)
			if err != nil {
				return err.Error() // which no connection is made by
			}
			u.Host = host + ":" + port.Port()
			return u.String()
		}).WithStartupTimeout(spec.Timeout).WithPollInterval(pollInterval)
	case spec.Ready.Log != "":
		return wait.ForLog(spec.Ready.Log).WithStartupTimeout(spec.Timeout).WithPollInterval(pollInterval)
	default:
		return wait.ForHTTP(spec.Ready.HTTP).WithPort(spec.Port).WithStartupTimeout(spec.Timeout).WithPollInterval(pollInterval)
	}
}

// missing tells what this machine lacks, or returns nil.
func missing(ctx context.Context, spec Spec) *Missing {
	provider, err := testcontainers.NewDockerProvider()
	if err == nil {
		defer provider.Close()
		err = answers(ctx, provider)
	}
	if err != nil {
		return &Missing{"no container engine answers", "Start one (`docker info` shows whether it runs), or set DOCKER_HOST.", err.Error()}
	}
	if err := ensureImage(ctx, provider, spec.Image); err != nil {
		return &Missing{"no image for " + spec.Variable,
			"Set " + spec.Variable + ", or build the images here: eval \"$(internal/testenv/images/build)\".", err.Error()}
	}
	if !provider.Config().Config.RyukDisabled {
		//lint:ignore SA1019 there is no other way to ask which image that is
		if err := ensureImage(ctx, provider, testcontainers.ReaperDefaultImage); err != nil {
			return &Missing{"no clean-up image", "Set TESTCONTAINERS_RYUK_DISABLED=true: the tests remove what they start.", err.Error()}
		}
	}
	return nil
}

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

// Kill ends a container's process at once, as the loss of its machine does.
func (c *Containers) Kill(id string, _ *struct{}) error {
	if _, err := c.find(id); err != nil {
		return err
	}
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return err
	}
	defer provider.Close()
	ctx, cancel := context.WithTimeout(c.ctx, engineTimeout)
	defer cancel()
	_, err = provider.Client().ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"})
	return err
}

// Sum is the SHA-256 of a file in a container.
func (c *Containers) Sum(file File, sum *[]byte) error {
	container, err := c.find(file.ID)
	if err != nil {
		return err
	}
	content, err := container.CopyFileFromContainer(c.ctx, file.Path)
	if err != nil {
		return err
	}
	defer content.Close()
	h := sha256.New()
	if _, err := io.Copy(h, content); err != nil {
		return err
	}
	*sum = h.Sum(nil)
	return nil
}
