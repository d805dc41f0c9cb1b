// Command count reads the output of `go test -json` and prints of it a line per package, everything that failed
// tests wrote, and what skipped tests gave as their reason. It appends "passed failed skipped" to the file named by
// its argument. Subtests count; a package that fails without a failed test (it does not compile, or it exits) counts
// as one failure.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is one line of the stream; see `go doc test2json` and `go help buildjson`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

type test struct{ pkg, name string }

type counts struct{ passed, failed, skipped int }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | count FILE")
		os.Exit(2)
	}
	n, err := count(os.Stdin, os.Stdout)
	if err == nil {
		err = record(os.Args[1], n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", n.passed, n.failed, n.skipped)
}

func count(in io.Reader, out io.Writer) (n counts, err error) {
	output := map[test]*strings.Builder{} // of tests that have not ended
	broken := map[string]bool{}           // packages with a failed test
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				out.Write(line) // not of the stream, such as a word from the go command itself
			} else {
				n.add(e, output, broken, out)
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read the test output: %w", err)
		}
	}
}

func (n *counts) add(e event, output map[test]*strings.Builder, broken map[string]bool, out io.Writer) {
	if e.Test == "" {
		switch {
		case e.Action == "output" || e.Action == "build-output":
			if e.Output != "PASS\n" { // the package's line says so too
				io.WriteString(out, e.Output)
			}
		case e.Action == "fail":
			if !broken[e.Package] {
				n.failed++
			}
			unfinished(e.Package, output, out)
		}
		return
	}
	key := test{e.Package, e.Test}
	text := output[key]
	if text == nil {
		text = new(strings.Builder)
		output[key] = text
	}
	switch e.Action {
	case "output":
		if !strings.HasPrefix(e.Output, "=== ") {
			text.WriteString(e.Output)
		}
		return
	case "pass":
		n.passed++
	case "fail":
		n.failed++
		broken[e.Package] = true
		io.WriteString(out, text.String())
	case "skip":
		n.skipped++
		io.WriteString(out, text.String())
	default:
		return
	}
	delete(output, key)
}

// unfinished writes what tests wrote that had not ended when their package did: one that hangs, or whose process was killed,
// leaves nothing else.
func unfinished(pkg string, output map[test]*strings.Builder, out io.Writer) {
	for key, text := range output {
		if key.pkg != pkg {
			continue
		}
		fmt.Fprintf(out, "--- UNFINISHED: %s\n%s", key.name, text)
		delete(output, key)
	}
}

func record(name string, n counts) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("record the counts: %w", err)
	}
	_, err = fmt.Fprintln(f, n.passed, n.failed, n.skipped)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("record the counts: %w", err)
	}
	return nil
}
