package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
)

// The exit statuses. The first three are those of auditctl.
const (
	exitOK          = 0
	exitFindings    = 1 // it looked, and not all is well
	exitError       = 2
	exitInterrupted = 130 // as shells have it for SIGINT
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program. It reads the environment, and nothing of the process beside it and its arguments.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := &tool{stdin: stdin, stdout: stdout, stderr: &safeWriter{stderr}}
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD"} { // that libraries read
		if v := os.Getenv(name); v != "" {
			t.hide(v)
		}
	}
	root := t.root()
	err := root.Run(ctx, append([]string{root.Name}, args...))
	if err == nil {
		return exitOK
	}
	return t.fail(ctx, err)
}

// tool is one run of the program.
type tool struct {
	stdin  io.Reader
	stdout io.Writer
	stderr *safeWriter

	printing sync.Mutex // a line

	json    bool
	secrets []string // that were read, and are never printed
	resume  string   // what to do after an interruption
}

func (t *tool) root() *cli.Command {
	root := &cli.Command{
		Name: "keyctl", HideVersion: true, HideHelpCommand: true, EnableShellCompletion: true,
		Flags:          commonFlags(t),
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		OnUsageError:   usageError,
		Writer:         t.stdout, ErrWriter: t.stderr, Reader: t.stdin,
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usagef(`there is no command %q; "keyctl -h" lists them`, c.Args().First())
			}
			_, err := io.WriteString(t.stdout, rootHelp())
			return err
		},
		ShellComplete: func(_ context.Context, c *cli.Command) { // the library's own looks at the process's arguments
			for _, sub := range c.VisibleCommands() {
				fmt.Fprintf(t.stdout, "%s:%s\n", sub.Name, sub.Usage)
			}
		},
		ConfigureShellCompletionCommand: func(c *cli.Command) {
			c.HideHelpCommand, c.OnUsageError = true, usageError
		},
	}
	for _, c := range commands() {
		root.Commands = append(root.Commands, c.cli(t))
	}
	root.CustomRootCommandHelpTemplate = literal(rootHelp())
	return root
}

func usageError(_ context.Context, c *cli.Command, err error, _ bool) error {
	return usagef("%w; %q shows how", err, c.FullName()+" -h")
}

// failure is an error with the class that -json and the exit status show.
type failure struct {
	class string
	error
}

func (f *failure) Unwrap() error { return f.error }

func usagef(format string, args ...any) error { return &failure{"usage", fmt.Errorf(format, args...)} }

// classes are the short names of errors, the first that fits.
var classes = []struct {
	is    error
	class string
}{
	{keys.ErrSuspended, "suspended"}, {keys.ErrNotShredded, "not-shredded"}, {keys.ErrShredded, "shredded"}, {keys.ErrNotProvisioned, "not-provisioned"},
	{keys.ErrKeyNeeded, "key-needed"}, {keys.ErrKeyDisabled, "key-disabled"}, {keys.ErrIntegrity, "integrity"}, {storage.ErrIsolation, "integrity"},
	{audit.ErrTampered, "tampered"}, {audit.ErrUnavailable, "audit-unavailable"}, {keys.ErrUnavailable, "unavailable"},
	{keys.ErrNotFound, "not-found"}, {keys.ErrConflict, "conflict"},
}

func classOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.class
	}
	for _, c := range classes {
		if errors.Is(err, c.is) {
			return c.class
		}
	}
	return "error"
}

// fail prints an error and returns the exit status.
func (t *tool) fail(ctx context.Context, err error) int {
	class, status := classOf(err), exitError
	switch {
	case ctx.Err() != nil && class != "findings":
		class, status = "interrupted", exitInterrupted
		if t.resume == "" {
			t.resume = "repeat the command; what is done already is not done again"
		}
		err = fmt.Errorf("interrupted; %s: %w", t.resume, err)
	case class == "findings", class == "integrity", class == "tampered":
		status = exitFindings
	}
	text := t.withheld(err.Error())
	if t.json {
		t.stderr.json(errorShape{text, class})
	} else {
		fmt.Fprintln(t.stderr, "keyctl: "+text)
	}
	return status
}

// errorShape is how -json shows an error, on standard error.
type errorShape struct {
	Error string `json:"error"`
	Class string `json:"class"`
}
