package audit

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

const crashDir = "STRONGROOM_AUDIT_CRASH_DIR"

// TestMain is also the process that TestSIGKILL and TestRetainSIGKILL kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		recordUntilKilled(dir)
	}
	if dir := os.Getenv(retainDir); dir != "" {
		retainUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// recordUntilKilled records from many goroutines and prints each event's request once it is acknowledged.
func recordUntilKilled(dir string) {
	durability := Durable
	if os.Getenv(crashDir+"_WRITTEN") != "" {
		durability = Written
	}
	l, err := OpenLog(dir, &Options{
		Durability: durability, SegmentBytes: 128 << 10, CheckpointEvery: 20 * time.Millisecond, HeadEvery: 50, ReserveBytes: 1 << 16,
		Timeout: time.Minute, // for a disk that others keep busy
	})
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for g := range 16 {
		go func() {
			id := tenant.MustParse(fmt.Sprintf("tenant-%d", g%5))
			for i := 0; ; i++ {
				request := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, i)
				if err := l.Record(context.Background(), query(id, request)); err != nil {
					fmt.Println("failed", err)
					os.Exit(1)
				}
				mu.Lock()
				os.Stdout.WriteString(request + "\n") // one system call: what the parent reads was acknowledged
				mu.Unlock()
			}
		}()
	}
	select {}
}

var kills = flag.Int("kills", 8, "how often TestSIGKILL kills a process that records")

// TestSIGKILL kills a process that records under load, again and again, in one log. What it had acknowledged is there,
// and the log stays one that verifies.
func TestSIGKILL(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, written := range []string{"", "1"} {
		dir := filepath.Join(t.TempDir(), "log")
		acked := map[string]bool{}
		rounds := max(*kills/2, 1)
		for round := range rounds {
			after := 300 + round*777
			if round >= 4 { // wherever it is, in a log that does not grow too long to be read each time
				after = round * 7919 % 311
			}
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), crashDir+"="+dir, crashDir+"_WRITTEN="+written)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for n := 0; lines.Scan(); n++ {
				if len(lines.Text()) > 6 && lines.Text()[:6] == "failed" {
					t.Fatal(lines.Text())
				}
				acked[lines.Text()] = true
				if n == after {
					if err := cmd.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			}
			cmd.Wait() // it was killed
			// The log as the killed process left it.
			if _, err := Verify(t.Context(), dir, nil); err != nil {
				t.Fatalf("round %d, before it is opened: %v", round, err)
			}
			mustClose(t, mustOpen(t, dir, quiet()))
			report := mustVerify(t, dir)
			if report.Unsealed+report.Torn != 0 {
				t.Errorf("round %d: %s", round, report)
			}
			seen := map[string]int{}
			for _, e := range entries(t, dir, &Filter{Code: CodeQuery}) {
				seen[e.Request]++
			}
			for request := range acked {
				if seen[request] != 1 {
					t.Errorf("round %d: %s was acknowledged and is there %d times", round, request, seen[request])
				}
			}
		}
		recovered := entries(t, dir, &Filter{Code: CodeLogRecovered})
		if len(recovered) != rounds || rounds >= 4 && len(acked) < 4000 {
			t.Errorf("%d events acknowledged, %d recoveries recorded", len(acked), len(recovered))
		}
		t.Logf("%d events acknowledged; the last recovery: %s", len(acked), recovered[len(recovered)-1].Reason)
	}
}
