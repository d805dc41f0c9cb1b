package audit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"encoding/hex"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/tenant"
)

var (
	acme   = tenant.MustParse("acme")
	globex = tenant.MustParse("globex")
)

// quiet keeps checkpoints and head leaves from happening by themselves, and waits for a disk that others keep busy.
func quiet() *Options {
	return &Options{CheckpointEvery: time.Hour, HeadAfter: time.Hour, ReserveBytes: 1 << 16, Timeout: time.Minute, AheadBytes: -1}
}

func mustOpen(t testing.TB, dir string, opts *Options) *Log {
	t.Helper()
	l, err := OpenLog(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustRecord(t testing.TB, l *Log, events ...*Event) {
	t.Helper()
	for _, e := range events {
		if err := l.Record(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func mustVerify(t testing.TB, dir string) *Report {
	t.Helper()
	r, err := Verify(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func entries(t testing.TB, dir string, f *Filter) []Entry {
	t.Helper()
	var all []Entry
	for e, err := range Read(context.Background(), dir, f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

var background = context.Background()

// query is an ordinary event.
func query(id tenant.ID, request string) *Event {
	return &Event{
		Code: CodeQuery, Phase: Intent, Status: Success, Tenant: id, Actor: "dr.okafor@example.org", Purpose: "treatment", Request: request,
		Correlation: "01a204e8-0f7f-7098-b286-6ac91e50c401", Store: "postgresql", Name: "clinic", Tables: []string{"patients"},
		Columns: []string{"patients.id", "patients.name"}, SealedColumns: []string{"patients.name"},
		Statement: "SELECT id, name FROM patients WHERE ssn = $1", Fingerprint: "d41d8cd98f00b204", KeyVersion: 77, Rows: -1, Bytes: -1,
	}
}

// tinkSealer is a Sealer as the keys package makes them.
type tinkSealer struct {
	prf  *prf.Set
	aead tink.AEAD
}

func newSealer(t testing.TB) *tinkSealer {
	t.Helper()
	ph, err1 := keyset.NewHandle(prf.AESCMACPRFKeyTemplate())
	ah, err2 := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	p, err1 := prf.NewPRFSet(ph)
	a, err2 := aead.New(ah)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &tinkSealer{p, a}
}

func (s *tinkSealer) Pseudonym(actor string) (string, error) {
	out, err := s.prf.ComputePrimaryPRF([]byte(actor), 16)
	return hex.EncodeToString(out), err
}

func (s *tinkSealer) SealDetails(details []byte, uid string) ([]byte, error) {
	return s.aead.Encrypt(details, []byte(uid))
}

// copyDir copies a log without its LOCK, as a reviewer would.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	copyInto(t, from, to)
	return to
}

// copyInto does what copyDir does in a directory that is there.
func copyInto(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if strings.HasSuffix(path, temporary) {
			return nil // comes and goes
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." || rel == lockName || rel == reserveName {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustSigner(t testing.TB, secret string) note.Signer {
	t.Helper()
	s, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// memoryDir returns a new directory in memory where the machine has such a file system, for tests that make thousands
// of files and lose power only by simulation; elsewhere one on the disk.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "audit")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// segmentPaths returns the paths of a log's segments.
func segmentPaths(dir string) (names []string, err error) {
	firsts, err := listSegments(dir)
	for _, first := range firsts {
		names = append(names, segmentPath(dir, first))
	}
	return names, err
}
