package audit

import (
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

var updateGolden = flag.Bool("golden", false, "write testdata/golden anew, when the format's version has changed")

// TestGolden verifies and reads logs of every form that a release has written, so that every later one still can:
// golden is without chains and the oldest, chained has them.
func TestGolden(t *testing.T) {
	if *updateGolden {
		writeGolden(t, filepath.Join("testdata", "chained"))
	}
	for _, name := range []string{"golden", "chained"} {
		t.Run(name, func(t *testing.T) { golden(t, filepath.Join("testdata", name)) })
	}
}

func golden(t *testing.T, dir string) {
	key := strings.TrimSpace(string(readFile(t, filepath.Join(dir, "verifier"))))
	pinText := readFile(t, filepath.Join(dir, "pin"))
	pin, err := ParseCheckpoint(pinText, []string{key})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Verify(t.Context(), filepath.Join(dir, "log"), &VerifyOptions{Verifiers: []string{key}, Pins: []TreeHead{pin}})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r)
	for _, e := range entries(t, filepath.Join(dir, "log"), nil) {
		e.Raw = nil
		fmt.Fprintf(&b, "\n%d %s %s", e.Index, e.Time.Format(time.RFC3339), e.Code)
		fmt.Fprintf(&b, "\n  %s %s %s %q %d", e.Phase, e.Status, e.Severity, e.Tenant, e.Sequence)
		fmt.Fprintf(&b, "\n  %q %q %q %q %q", e.Actor, e.Purpose, e.Request, e.Store, e.Name)
		fmt.Fprintf(&b, "\n  %q %q %q %q %q %d", e.Tables, e.Columns, e.SealedColumns, e.Statement, e.Fingerprint, e.KeyVersion)
		fmt.Fprintf(&b, "\n  %d %d %q %s %s %s %v\n", e.Rows, e.Bytes, e.Reason, e.UID, e.Correlation, base64.StdEncoding.EncodeToString(e.Sealed), e.Truncated)
	}
	want := filepath.Join(dir, "expected")
	if *updateGolden && strings.HasSuffix(dir, "chained") {
		writeFile(t, want, []byte(b.String()))
	}
	if got := b.String(); got != string(readFile(t, want)) {
		t.Errorf("the log reads\n%s\nwant\n%s", got, readFile(t, want))
	}
}

func writeGolden(t *testing.T, dir string) {
	opts := quiet()
	opts.Origin, opts.ReserveBytes, opts.SegmentBytes, opts.HeadEvery = "example.com/chained", -1, 6<<10, 2
	made := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, made, opts)
	sealed := query(acme, "sealed")
	sealed.Sealer, sealed.Details = newSealer(t), map[string]string{"key": "k"}
	denied := query(globex, "denied \"\u2028\x01é😀")
	denied.Phase, denied.Status, denied.Reason = Single, Denied, "unauthorized"
	blob := &Event{Code: CodeBlobRead, Phase: Outcome, Status: Success, Tenant: acme, Store: "blob", Name: "scans", Rows: -1, Bytes: 12345}
	mustRecord(t, l, sealed, denied, query(acme, "plain"), blob, &Event{Code: CodeKeyShred, Phase: Single, Status: Success, Tenant: acme, KeyVersion: 9})
	msg, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustRecord(t, l, query(acme, "unsealed"), query(globex, "unsealed"))
	// It crashes, is opened again, and hears of tenants that it does not know.
	made = copyDir(t, made)
	l = mustOpen(t, made, opts)
	mustRecord(t, l, denial(tenant.MustParse("invented")), query(globex, "second session"))
	mustClose(t, l)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Without its secrets, which nobody needs to read it.
	remove(t, filepath.Join(made, signerName))
	remove(t, filepath.Join(made, pseudonymName))
	if err := os.CopyFS(filepath.Join(dir, "log"), os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "verifier"), []byte(l.Verifier()+"\n"))
	writeFile(t, filepath.Join(dir, "pin"), msg)
}
