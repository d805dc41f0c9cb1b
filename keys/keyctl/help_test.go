package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestCompletion: the scripts are there, and what they ask for is answered with commands and flags.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "pwsh"} {
		var out, errs bytes.Buffer
		if got := run(t.Context(), []string{"completion", shell}, strings.NewReader(""), &out, &errs); got != exitOK || !strings.Contains(out.String(), "generate-shell-completion") {
			t.Errorf("completion %s: %d\n%s%s", shell, got, &out, &errs)
		}
	}
	for line, want := range map[string]string{"": "suspend", "shred -": "--confirm", "rotate --pur": "--purpose"} {
		var out, errs bytes.Buffer
		args := append(strings.Fields(line), "--generate-shell-completion")
		if got := run(t.Context(), args, strings.NewReader(""), &out, &errs); got != exitOK || !strings.Contains(out.String(), want) {
			t.Errorf("completing %q: %d, without %s\n%s%s", line, got, want, &out, &errs)
		}
	}
}

// TestHelp: every command has help with an example, and it is as it was.
func TestHelp(t *testing.T) {
	w := newWorld(t, embedded)
	var all strings.Builder
	show := func(args ...string) {
		out, errs := w.try(exitOK, args...)
		if errs != "" || !strings.HasPrefix(out, "usage: keyctl ") {
			t.Errorf("keyctl %q prints %q and %q", args, out, errs)
		}
		for line := range strings.Lines(out) {
			if len(line) > 130 {
				t.Errorf("keyctl %q: a line has %d characters: %s", args, len(line), line)
			}
		}
		all.WriteString(out + "\n----\n")
	}
	show("-h")
	show()
	for _, c := range commands() {
		show(c.name, "-h")
		if len(c.examples) == 0 || c.usage == "" || c.about == "" {
			t.Errorf("%s has no example, usage or text", c.name)
		}
		for _, e := range c.examples {
			if !strings.HasPrefix(e, c.name) {
				t.Errorf("%s has the example %q", c.name, e)
			}
		}
	}
	golden(t, "help.txt", all.String())
}
