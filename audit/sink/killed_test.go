package sink_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
)

const shipDir = "STRONGROOM_SINK_DIR"

// TestMain is also the process that TestKilled kills.
func TestMain(m *testing.M) {
	if tmp := os.Getenv(shipDir); tmp != "" {
		s, err := sink.Open(filepath.Join(tmp, "log"), filepath.Join(tmp, "cursor"), &fileSink{name: filepath.Join(tmp, "received")}, &sink.Options{Batch: 5})
		if err == nil {
			err = s.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, "shipper:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// fileSink appends uids to a file. When it has, it says so, and waits for an answer before it returns.
type fileSink struct{ name string }

func (f *fileSink) String() string { return "a file" }
func (f *fileSink) Close() error   { return nil }

func (f *fileSink) Deliver(_ context.Context, events []audit.Entry) (int, error) {
	file, err := os.OpenFile(f.name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for _, e := range events {
		if _, err := fmt.Fprintln(file, e.UID); err != nil {
			return 0, err
		}
	}
	fmt.Println("delivered")
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return len(events), err
}

// TestKilled kills a shipper when its sink has events and the cursor does not say so, and wherever
// it is else. All events arrive, in order once those that have come before are dropped by their
// uid.
func TestKilled(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "log")
	l := openLog(t, dir)
	received := func() []string {
		data, err := os.ReadFile(filepath.Join(tmp, "received"))
		must(t, err)
		return strings.Fields(string(data))
	}
	for round := range 12 {
		record(t, l, 20)
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), shipDir+"="+tmp)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		said := bufio.NewReader(out)
		for i := range 3 {
			if _, err := said.ReadString('\n'); err != nil {
				t.Fatalf("round %d: the shipper ended: %v", round, err)
			}
			if i == 2 && round%2 == 0 {
				break // the sink has them, and the cursor does not
			}
			_, err := fmt.Fprintln(in)
			must(t, err)
		}
		must(t, cmd.Process.Kill())
		cmd.Wait() // it was killed
	}
	must(t, l.Close())
	before := received()
	r := &receiver{}
	s, err := sink.Open(dir, filepath.Join(tmp, "cursor"), r, nil)
	must(t, err)
	all(t, s)
	must(t, s.Close())
	got := append(before, r.got...)
	if want := uids(t, dir); !slices.Equal(once(got), want) || len(got) < len(want)+6*5 {
		t.Errorf("%d events arrived, %d of them once, in order %v; %d are in the log", len(got), len(once(got)), slices.Equal(once(got), want), len(want))
	}
}
