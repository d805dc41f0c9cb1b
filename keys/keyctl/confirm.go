package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// confirmFlags are those of commands that destroy.
func confirmFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "yes", Usage: "do not ask; needs -confirm"},
		&cli.StringFlag{Name: "confirm", Usage: "the tenant's `NAME` once more, where nobody can be asked to type it", OnlyOnce: true},
	}
}

// confirm makes sure that what cannot be undone is meant for this tenant and no other. On a terminal the tenant's name has to
// be typed; elsewhere -yes and -confirm have to be given. Where another tenant's name looks alike, the name alone does not do.
func (c *call) confirm(ctx context.Context, s *session, id tenant.ID, what string) error {
	alike, err := lookAlikes(ctx, s.store, id)
	if err != nil {
		return err
	}
	want := id.String()
	if len(alike) > 0 {
		want += " " + tag(id)
	}
	given := c.String("confirm")
	switch {
	case given != "" && given != want:
		return c.mismatch(id, given, alike)
	case c.Bool("yes") && given == want:
		return nil
	case !isTerminal(c.stdin) || !isTerminal(c.stderr.w):
		if len(alike) > 0 {
			return c.mismatch(id, "", alike)
		}
		return notConfirmed("it cannot be undone, and there is no terminal to ask on: give -yes and -confirm %s", id)
	}
	fmt.Fprintf(c.stderr, "%s\nIt cannot be undone. The tenant is %s\n", what, spelled(id))
	for _, other := range alike {
		fmt.Fprintf(c.stderr, "and not       %s\n", spelled(other))
	}
	if len(alike) > 0 {
		fmt.Fprintf(c.stderr, "Type the name, a space and the tag %s to go on: ", tag(id))
	} else {
		fmt.Fprint(c.stderr, "Type the name to go on: ")
	}
	typed, err := readLine(ctx, c.stdin)
	if err != nil {
		return err
	}
	if typed != want {
		return c.mismatch(id, typed, alike)
	}
	return nil
}

func notConfirmed(format string, args ...any) error {
	return &failure{"not-confirmed", fmt.Errorf("nothing was done: "+format, args...)}
}

// mismatch says why a name is not the one. What was typed is shown so that letters which look alike do not.
func (c *call) mismatch(id tenant.ID, given string, alike []tenant.ID) error {
	why := ""
	if given != "" {
		why = fmt.Sprintf("%+q is not the tenant %s; ", given, spelled(id))
	}
	if len(alike) == 0 {
		return notConfirmed("%sthe name has to be given exactly as it is", why)
	}
	others := make([]string, len(alike))
	for i, a := range alike {
		others[i] = spelled(a)
	}
	return notConfirmed("%sthere are tenants with a name that looks alike (%s), so a tag has to follow it: %q", why, strings.Join(others, "; "), id.String()+" "+tag(id))
}

// tag tells tenants apart whose names look alike.
func tag(id tenant.ID) string {
	sum := sha256.Sum256([]byte(id.String()))
	return fmt.Sprintf("%x", sum[:4])
}

// letters are what is hard to tell from something else.
var letters = map[rune]string{
	'0': "the digit 0", 'O': "capital O", 'o': "small o", '1': "the digit 1", 'l': "small L", 'I': "capital i", 'i': "small i", '5': "the digit 5", 'S': "capital S",
	's': "small s", '8': "the digit 8", 'B': "capital B", '2': "the digit 2", 'Z': "capital Z", 'z': "small z", '-': "hyphen", '_': "underscore", '.': "full stop", ':': "colon",
}

// spelled shows a name, with its tag and what is easily misread in it.
func spelled(id tenant.ID) string {
	var hard []string
	seen := map[rune]bool{}
	for _, r := range id.String() {
		if name := letters[r]; name != "" && !seen[r] {
			seen[r] = true
			hard = append(hard, name)
		}
	}
	out := id.String() + " [" + tag(id) + "]"
	if len(hard) > 0 {
		out += ", with " + strings.Join(hard, ", ")
	}
	return out
}

// skeleton is what names that look alike have in common. Names are ASCII letters, digits and five marks. A letter that looks like two
// becomes these, for of two of them in a row either may be meant.
func skeleton(id tenant.ID) string {
	return strings.NewReplacer("m", "rn", "w", "vv", "d", "cl", "i", "l", "1", "l", "0", "o", "5", "s", "8", "b", "2", "z", "_", "-", ".", "-", ":", "-").
		Replace(strings.ToLower(strings.ReplaceAll(id.String(), "I", "l")))
}

// maxAlike bounds how many names are shown.
const maxAlike = 5

// lookAlikes returns other tenants of the store whose names look like the tenant's.
func lookAlikes(ctx context.Context, store keys.Store, id tenant.ID) (alike []tenant.ID, err error) {
	const page = 10_000
	for after, want := (tenant.ID{}), skeleton(id); ; {
		ids, err := store.List(ctx, after, page)
		if err != nil {
			return nil, err
		}
		for _, other := range ids {
			if other != id && skeleton(other) == want && len(alike) < maxAlike {
				alike = append(alike, other)
			}
		}
		if len(ids) == 0 {
			return alike, nil
		}
		after = ids[len(ids)-1]
	}
}

// maxLine bounds what is typed, in bytes.
const maxLine = 1024

// readLine reads a line, without its end. An end of the input before that is a refusal.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1) // the reader is left behind when ctx ends, as the process is about to be
	go func() {
		text, err := bufio.NewReader(io.LimitReader(in, maxLine)).ReadString('\n')
		read <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case l := <-read:
		if errors.Is(l.err, io.EOF) {
			return "", notConfirmed("the input ended")
		}
		return strings.TrimRight(l.text, "\r\n"), l.err
	}
}
