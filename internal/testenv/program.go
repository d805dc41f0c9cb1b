package testenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/strongroom-go/strongroom/internal/testenv/wire"
)

// program is what starts containers: a module of its own (directory containers), so that the library does not have its
// dependencies. It is built from its source, of which a second time costs little since the build cache has the
// executable too, and ends, removing its containers, when its standard input does: when this process is gone at the
// latest, whatever ended it.
type program struct {
	client *rpc.Client
	ended  chan error  // what Wait returned
	errors *lastOutput // the end of what it, or its build, wrote to standard error
}

// startProgram starts the process's program unless it runs.
func startProgram() error {
	running.Lock()
	defer running.Unlock()
	if running.program != nil {
		return nil
	}
	if running.directory == "" {
		return errors.New("testenv: nobody would remove the container: " +
			"add `func TestMain(m *testing.M) { testenv.Main(m) }` to the package's tests")
	}
	source, err := sourceOfProgram(running.directory)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	// One process builds what the others then find in the build cache. Without the lock they build it too. Not go.mod,
	// which go run locks itself.
	lock := flock.New(filepath.Join(source, "main.go"), flock.SetFlag(os.O_RDONLY))
	if locked, err := lock.TryLockContext(ctx, pollInterval); err == nil && locked {
		defer lock.Unlock()
	}
	p, err := runProgram(ctx, source)
	if err != nil {
		return &missingError{"no program that starts containers", "See whether `go build` works in internal/testenv/containers.", err}
	}
	running.program = p
	return nil
}

// sourceOfProgram is the directory of the program's source. Tests run in a directory of the repository.
func sourceOfProgram(directory string) (string, error) {
	for at := directory; ; at = filepath.Dir(at) {
		source := filepath.Join(at, "internal", "testenv", "containers")
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("testenv: %s is not within the repository, of which internal/testenv/containers is needed", directory)
		}
	}
}

func runProgram(ctx context.Context, source string) (*program, error) {
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	p := &program{ended: make(chan error, 1), errors: &lastOutput{}}
	cmd.Stderr = p.errors
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// Wait closes out, and may be called when nothing more is read of it only.
	read := make(chan struct{})
	p.client = jsonrpc.NewClient(&pipes{Reader: &untilEnd{out, read}, WriteCloser: in})
	go func() {
		<-read
		p.ended <- cmd.Wait()
	}()
	if err := p.call(ctx, wire.Ping, struct{}{}, &struct{}{}); err != nil {
		return nil, cmp.Or(p.end(), err) // how it ended says more
	}
	return p, nil
}

// call calls a method. When ctx ends it returns, while the program goes on.
func (p *program) call(ctx context.Context, method string, arg, reply any) error {
	call := p.client.Go(method, arg, reply, make(chan *rpc.Call, 1))
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-call.Done:
	}
	if call.Error == nil {
		return nil
	}
	if text, is := call.Error.(rpc.ServerError); is {
		return errors.New(string(text))
	}
	return fmt.Errorf("testenv: the program that starts containers has ended: %w", call.Error)
}

// end closes the program's input and waits until it has removed its containers.
func (p *program) end() error {
	p.client.Close()
	select {
	case err := <-p.ended:
		if err != nil {
			return fmt.Errorf("testenv: the program that starts containers: %w:\n%s", err, p.errors)
		}
		return nil
	case <-time.After(stopTimeout + opTimeout):
		return errors.New("testenv: the program that starts containers does not end; they may be left behind")
	}
}

// pipes are the program's standard output and input.
type pipes struct {
	io.Reader
	io.WriteCloser
}

// untilEnd closes a channel when there is nothing more to read.
type untilEnd struct {
	io.Reader
	ended chan struct{}
}

func (r *untilEnd) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && r.ended != nil {
		close(r.ended)
		r.ended = nil
	}
	return n, err
}

// lastOutput keeps the end of what is written.
type lastOutput struct{ text []byte }

func (t *lastOutput) Write(b []byte) (int, error) {
	const limit = 8192
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-limit):]
	return len(b), nil
}

func (t *lastOutput) String() string { return strings.TrimSpace(string(t.text)) }
