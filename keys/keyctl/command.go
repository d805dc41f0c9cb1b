package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/tenant"
)

// commands are all commands, in the order in which help lists them. To add one, write a function that returns it and name
// it here: flags that every command has, help, -json, errors, interruption and what to close are seen to.
func commands() []command {
	return []command{
		initCommand(), listCommand(), statusCommand(),
		provisionCommand(), rotateCommand(), rewrapCommand(), retireCommand(), resealCommand(), migrateCommand(), versionsCommand(),
		suspendCommand(), resumeCommand(), shredCommand(), offboardCommand(), sharedKEKCommand(), certificateCommand(), reviewCommand(), doctorCommand(),
	}
}

// command is one command.
type command struct {
	name  string
	args  string // as in help, such as "TENANT"
	usage string // one line
	about string // paragraphs
	// examples are command lines, without the program's name.
	examples []string
	flags    []cli.Flag
	// most is how many arguments there can be.
	most int
	run  func(context.Context, *call) error
}

// call is a command that is being run.
type call struct {
	*tool
	*cli.Command
	session *session // nil until open
}

func commonFlags(t *tool) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "the configuration's `FILE`; default: the variable KEYCTL_CONFIG", OnlyOnce: true},
		&cli.BoolFlag{Name: "json", Usage: "print JSON, one object a line, and errors likewise on standard error", Destination: &t.json},
		&cli.StringFlag{Name: "actor", Usage: "`WHO` does it, for the audit trail; default: the variable KEYCTL_ACTOR, or the operating system's user", OnlyOnce: true},
		&cli.StringFlag{Name: "request", Usage: "the `ID` of a ticket, for the audit trail, in the clear", OnlyOnce: true},
	}
}

func reasonFlag(need string) cli.Flag {
	return &cli.StringFlag{Name: "reason", Usage: "`WHY`, for the audit trail, sealed; " + need, OnlyOnce: true}
}

func (c command) cli(t *tool) *cli.Command {
	return &cli.Command{
		Name: c.name, Usage: c.usage, ArgsUsage: c.args, Flags: c.flags, HideHelpCommand: true,
		OnUsageError: usageError, CustomHelpTemplate: literal(c.help()),
		Action: func(ctx context.Context, cmd *cli.Command) (err error) {
			if cmd.NArg() > c.most {
				return usagef("%s takes at most %d arguments and got %d; %q shows how", c.name, c.most, cmd.NArg(), "keyctl "+c.name+" -h")
			}
			k := &call{tool: t, Command: cmd}
			defer func() {
				if k.session != nil {
					err = errors.Join(err, k.session.close())
				}
			}()
			return c.run(ctx, k)
		},
	}
}

// tenant returns the tenant that the first argument names.
func (c *call) tenant() (tenant.ID, error) {
	if c.NArg() == 0 {
		return tenant.ID{}, usagef("%s needs the tenant's id; %q shows how", c.Name, "keyctl "+c.Name+" -h")
	}
	id, err := tenant.Parse(c.Args().First())
	if err != nil {
		return id, usagef("the tenant's id: %w", err)
	}
	return id, nil
}

// reason returns the reason, which must be there.
func (c *call) reason() (string, error) {
	if r := c.String("reason"); r != "" {
		return r, nil
	}
	return "", usagef("%s needs a -reason, for the audit trail", c.Name)
}

// as returns a context in which the operator acts for a tenant.
func (c *call) as(ctx context.Context, id tenant.ID) (context.Context, error) {
	actor, err := c.operator()
	if err != nil {
		return nil, err
	}
	a := tenant.Access{Tenant: id, Actor: actor, Purpose: operations, Request: c.String("request")}
	if err := a.Validate(); err != nil {
		return nil, usagef("-actor and -request: %w", err)
	}
	return tenant.NewContext(ctx, a), nil
}

// operations is what the tool's accesses are for.
const operations = "operations"

// operator is who acts.
func (c *call) operator() (string, error) {
	if actor := cmp.Or(c.String("actor"), os.Getenv("KEYCTL_ACTOR")); actor != "" {
		return actor, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", usagef("the operating system does not say who you are; set -actor: %w", err)
	}
	return "os:" + u.Username, nil
}

// begin is how a command about one tenant begins: it returns the tenant, a context in which the operator acts for it, and
// what the configuration names, opened.
func (c *call) begin(ctx context.Context, what opening) (context.Context, tenant.ID, *session, error) {
	id, err := c.tenant()
	if err != nil {
		return nil, id, nil, err
	}
	if ctx, err = c.as(ctx, id); err != nil {
		return nil, id, nil, err
	}
	s, err := c.open(ctx, what)
	return ctx, id, s, err
}

// rootHelp is what keyctl -h prints.
func rootHelp() string {
	var b strings.Builder
	b.WriteString("usage: keyctl COMMAND [flags]\n\nKeyctl manages tenants' keys.\n\ncommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-11s  %s\n", c.name, c.usage)
	}
	fmt.Fprintf(&b, "  %-11s  %s\n", "completion", "print completion for a shell: bash, zsh, fish, pwsh")
	b.WriteString("\n\"keyctl COMMAND -h\" shows a command's flags and examples.\n\n")
	b.WriteString("flags of every command:\n")
	writeFlags(&b, commonFlags(&tool{}))
	b.WriteString(statusHelp)
	return b.String()
}

const statusHelp = `
exit status: 0 when all is well; 1 when a command looked and found what is not; 2 when the command line or the
configuration is wrong, or something was refused or could not be done; 130 when it was interrupted.
`

func (c command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: keyctl %s [flags]", c.name)
	if c.args != "" {
		b.WriteString(" " + c.args)
	}
	fmt.Fprintf(&b, "\n\n%s\n\nexamples:\n", strings.TrimSpace(c.about))
	for _, e := range c.examples {
		b.WriteString("  keyctl " + e + "\n")
	}
	if len(c.flags) > 0 {
		b.WriteString("\nflags:\n")
		writeFlags(&b, c.flags)
	}
	b.WriteString("\nflags of every command:\n")
	writeFlags(&b, commonFlags(&tool{}))
	return b.String()
}

func writeFlags(b *strings.Builder, flags []cli.Flag) {
	names, usages, width := make([]string, len(flags)), make([]string, len(flags)), 0
	for i, f := range flags {
		names[i], usages[i] = f.Names()[0], f.(cli.DocGenerationFlag).GetUsage()
		if before, rest, ok := strings.Cut(usages[i], "`"); ok {
			value, after, _ := strings.Cut(rest, "`")
			names[i], usages[i] = names[i]+" "+value, before+value+after
		}
		width = max(width, len(names[i]))
	}
	for i, name := range names {
		fmt.Fprintf(b, "  -%-*s  %s\n", width, name, usages[i])
	}
}

// literal is a template that prints a text.
func literal(text string) string { return strings.ReplaceAll(text, "{{", `{{"{{"}}`) }

// word is cmp.Or for texts that are shown where there is nothing.
func word(s string) string { return cmp.Or(s, "-") }
