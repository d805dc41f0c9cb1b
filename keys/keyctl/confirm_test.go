//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strongroom-go/strongroom/tenant"
)

// terminal is the two ends of a terminal: what a person types and sees, and what a program reads and writes.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	must(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	must(t, err)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	t.Cleanup(func() { program.Close(); person.Close() })
	return person, program
}

// typed runs a command on a terminal, where a person types a line once it is asked for, or with interrupt presses Ctrl-C. It
// returns what the person saw.
func (w *world) typed(want int, line string, interrupt bool, args ...string) string {
	w.t.Helper()
	person, program := terminal(w.t)
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	status := make(chan int)
	go func() {
		status <- run(ctx, append(args, "-config", w.config), program, io.Discard, program)
	}()
	var seen bytes.Buffer
	var b [1]byte
	for !strings.HasSuffix(seen.String(), "to go on: ") {
		if _, err := person.Read(b[:]); err != nil {
			w.t.Fatalf("%v after %q", err, &seen)
		}
		seen.Write(b[:])
	}
	if interrupt {
		cancel()
	} else if _, err := person.WriteString(line + "\n"); err != nil {
		w.t.Fatal(err)
	}
	if got := <-status; got != want {
		w.t.Errorf("keyctl %q, where %q was typed: exit status %d, want %d", args, line, got, want)
	}
	return seen.String()
}

func (w *world) wantStatus(id, want string) {
	w.t.Helper()
	out, _ := w.try(exitOK, "status", id)
	if out != id+" is "+want+"\n" {
		w.t.Errorf("want %s, got %s", want, out)
	}
}

func TestTyped(t *testing.T) {
	w := newWorld(t, embedded)
	w.try(exitOK, "init")
	w.try(exitOK, "provision", "acme")
	shred := []string{"shred", "-reason", "left", "acme"}
	for _, line := range []string{"", "y", "yes", "Acme", " acme", "acme ", "acme\t", "\u0430cme", "acme\u200b", "acm", "acme\x1b[D"} {
		w.typed(exitError, line, false, shred...)
		w.wantStatus("acme", "active")
	}
	w.typed(exitInterrupted, "", true, shred...)
	w.wantStatus("acme", "active")
	// -yes alone does not spare the typing, and a -confirm that is wrong is refused before it.
	w.typed(exitError, "y", false, append(shred, "-yes")...)
	w.try(exitError, append(shred, "-yes", "-confirm", "acmE")...)
	w.wantStatus("acme", "active")
	if seen := w.typed(exitOK, "acme", false, shred...); !strings.Contains(seen, "destroys the keys of a tenant that is active") {
		t.Errorf("the person saw %q", seen)
	}
	w.wantStatus("acme", "shredded")
}

// TestMigrateTyped: a person is told what a stage does, and types the database's name.
func TestMigrateTyped(t *testing.T) {
	m := newMoving(t)
	m.try(exitOK, "provision", "acme")
	m.try(exitOK, "provision", "globex")
	before := m.names()
	for _, line := range []string{"", "y", "Clinics", "clinics "} {
		m.typed(exitError, line, false, "migrate", "run", "-until", "drop", "clinics")
	}
	m.typed(exitInterrupted, "", true, "migrate", "run", "-until", "drop", "clinics")
	if out, _ := m.try(exitOK, "migrate", "status"); !strings.Contains(out, "clinics has the stage none; the services' role cannot open it") || m.names() != before {
		t.Errorf("something was done: %s", out)
	}
	for _, c := range []struct {
		until string
		says  []string
	}{{"switch", []string{"the application has to be stopped"}}, {"drop", []string{"This destroys the plaintexts"}}} {
		seen := m.typed(exitOK, "clinics", false, "migrate", "run", "-until", c.until, "clinics")
		for _, text := range c.says {
			if !strings.Contains(seen, text) {
				t.Errorf("to %s the person saw %q", c.until, seen)
			}
		}
	}
	m.served(acme, 20)
}

// TestLookAlikes: what is typed for one tenant never destroys another whose name looks alike.
func TestLookAlikes(t *testing.T) {
	w := newWorld(t, embedded)
	w.try(exitOK, "init")
	for _, id := range []string{"cl1nic-l", "clinic-1", "other"} {
		w.try(exitOK, "provision", id)
	}
	_, errs := w.try(exitError, "shred", "-reason", "left", "-yes", "-confirm", "clinic-1", "clinic-1")
	id := tenant.MustParse("clinic-1")
	for _, text := range []string{"cl1nic-l [" + tag(tenant.MustParse("cl1nic-l")) + "], with", "the digit 1", "small L", tag(id)} {
		if !strings.Contains(errs, text) {
			t.Errorf("%q is not in %q", text, errs)
		}
	}
	w.try(exitError, "shred", "-reason", "left", "-yes", "-confirm", "clinic-1 "+tag(tenant.MustParse("cl1nic-l")), "clinic-1")
	w.typed(exitError, "clinic-1", false, "shred", "-reason", "left", "clinic-1")
	w.wantStatus("clinic-1", "active")
	seen := w.typed(exitOK, "clinic-1 "+tag(id), false, "shred", "-reason", "left", "clinic-1")
	if !strings.Contains(seen, "and not       cl1nic-l ") {
		t.Errorf("the person saw %q", seen)
	}
	w.wantStatus("clinic-1", "shredded")
	w.wantStatus("cl1nic-l", "active")
	w.try(exitOK, "shred", "-reason", "left", "-yes", "-confirm", "other", "other")
}

// TestProgress: a bar on a terminal, and what is printed beside it is safe; else a line now and then, and none under -json.
func TestProgress(t *testing.T) {
	person, program := terminal(t)
	p := (&tool{stderr: &safeWriter{program}}).progress("rewrap \x1b[2J", 10)
	p.at(5, "acme")
	var seen strings.Builder
	var b [1]byte
	for !strings.Contains(seen.String(), "50%") {
		_, err := person.Read(b[:])
		must(t, err)
		seen.Write(b[:])
	}
	if !strings.Contains(seen.String(), `rewrap \x1b[2J`) {
		t.Errorf("the bar is %q", &seen)
	}
	for _, json := range []bool{false, true} {
		var out bytes.Buffer
		p := (&tool{stderr: &safeWriter{&out}, json: json}).progress("rewrap", 10)
		p.at(1, "acme") // too soon
		p.last = time.Time{}
		p.at(2, "bcme\x1b[2J")
		p.at(3, "ccme")
		p.done()
		want := "keyctl: rewrap: 2 of 10, at bcme\\x1b[2J\n"
		if json {
			want = ""
		}
		if out.String() != want {
			t.Errorf("json %t: %q", json, &out)
		}
	}
}

func TestSkeleton(t *testing.T) {
	for _, pair := range [][2]string{{"l", "1"}, {"I", "l"}, {"i", "1"}, {"O", "0"}, {"o", "0"}, {"rn", "m"}, {"vv", "w"}, {"Acme", "acme"}, {"a-b", "a_b"}, {"a.b", "a:b"}, {"S5", "5s"}, {"B8", "8b"}, {"Z2", "2z"},
		{"cl", "c1"}, {"cI", "cl"}, {"ci", "d"}, {"C1", "d"}, {"vvv", "vw"}, {"vw", "wv"}, {"rnrn", "mrn"}} {
		if a, b := skeleton(tenant.MustParse("x"+pair[0])), skeleton(tenant.MustParse("x"+pair[1])); a != b {
			t.Errorf("%q and %q do not look alike: %q, %q", pair[0], pair[1], a, b)
		}
	}
	seen := map[string]string{}
	for i := range 2000 { // numbers are what tenants are often called
		id := tenant.MustParse(fmt.Sprint(i))
		if other := seen[skeleton(id)]; other != "" {
			t.Errorf("%s and %s look alike", id, other)
		}
		seen[skeleton(id)] = id.String()
	}
}
