package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"syscall"
)

const canary = "canary-7f3a9c.Adaeze.Okafor@example.org"

// badSealer fails, or worse, in one way.
type badSealer struct {
	pseudonym string
	err       error
	sealed    []byte
	sealErr   error
}

func (b badSealer) Pseudonym(string) (string, error)               { return b.pseudonym, b.err }
func (b badSealer) SealDetails(d []byte, _ string) ([]byte, error) { return b.sealed, b.sealErr }

// TestCanary records an actor and details in every way there is, good and bad, and looks for them in all that the log
// writes and says.
func TestCanary(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	fsys := faultfs.New()
	opts := quiet()
	opts.fs = fsys
	l := mustOpen(t, dir, opts)
	var said []string
	record := func(change func(*Event)) error {
		e := query(acme, "r")
		e.Actor, e.Details = canary, map[string]string{"key": canary, canary: "x"}
		change(e)
		err := l.Record(t.Context(), e)
		if err != nil {
			said = append(said, err.Error(), fmt.Sprintf("%+v %#v", err, err))
		}
		return err
	}
	sealer := newSealer(t)
	if err := errors.Join(
		record(func(e *Event) { e.Sealer = sealer }),
		record(func(e *Event) { e.Sealer, e.Phase, e.Status = sealer, Single, Denied }),
		record(func(*Event) {}), // no Sealer
	); err != nil {
		t.Fatal(err)
	}
	leak := errors.New("cannot seal " + canary)
	bad := []badSealer{
		{err: leak, sealed: []byte("x")}, {pseudonym: canary, sealed: []byte("x")}, {pseudonym: "user:" + canary, sealed: []byte("x")},
		{pseudonym: "", sealed: []byte("x")},
		{pseudonym: "p", sealErr: leak}, {pseudonym: "p", sealed: nil},
	}
	for i, s := range bad {
		if err := record(func(e *Event) { e.Sealer = s }); !errors.Is(err, ErrUnavailable) {
			t.Errorf("an intent with the bad sealer %d: %v", i, err)
		}
		// Where there is no access to refuse, the event is worth more than its details.
		if err := record(func(e *Event) { e.Sealer, e.Phase = s, Outcome }); err != nil {
			t.Errorf("an outcome with the bad sealer %d: %v", i, err)
		}
	}
	big := func(e *Event) { e.Sealer, e.Details["big"] = sealer, strings.Repeat(canary, maxDetails/len(canary)) }
	if err := record(big); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an intent with large details: %v", err)
	}
	if err := record(func(e *Event) { big(e); e.Status, e.Phase = Denied, Single }); err != nil {
		t.Errorf("a denial with large details: %v", err)
	}
	record(func(e *Event) { e.Phase = "wrong" })
	record(func(e *Event) { e.Code = "wrong" })
	mustClose(t, l)

	count := 0
	for _, e := range entries(t, dir, &Filter{Code: CodeQuery}) {
		count++
		if e.Actor == "" || strings.HasPrefix(e.Actor, "log:") != (e.Sealed == nil) || e.Truncated != (e.Sealed == nil) {
			t.Errorf("event %d: actor %q, %d sealed bytes, truncated %v", e.Index, e.Actor, len(e.Sealed), e.Truncated)
		}
		if e.Sealed != nil {
			plain, err := sealer.aead.Decrypt(e.Sealed, []byte(e.UID))
			var got struct {
				Actor   string
				Details map[string]string
			}
			if err != nil || json.Unmarshal(plain, &got) != nil || got.Actor != canary || got.Details["key"] != canary {
				t.Errorf("event %d does not open to what was sealed: %v, %s", e.Index, err, plain)
			}
		}
	}
	if count != 3+len(bad)+1 {
		t.Errorf("%d events recorded", count)
	}
	// A disk that fails while it is written, and a log that is read back and found changed.
	l = mustOpen(t, dir, opts)
	fsys.Before = func(s faultfs.Step) error { return &faultfs.Short{N: 700, Err: syscall.EIO} }
	record(func(e *Event) { e.Sealer = sealer })
	said = append(said, fmt.Sprint(l.Close()), fmt.Sprint(l.Err()))
	fsys.Before = nil
	writeFile(t, segmentPath(dir, 0), bytes.Replace(readFile(t, segmentPath(dir, 0)), []byte("treatment"), []byte("marketing"), 1))
	report, err := Verify(t.Context(), dir, nil)
	_, openErr := OpenLog(dir, opts)
	said = append(said, fmt.Sprint(err), report.String(), fmt.Sprint(openErr))
	if len(said) < 20 || !errors.Is(openErr, ErrTampered) {
		t.Fatalf("the test provoked too little: %q", said)
	}

	hides := func(what string, data []byte) {
		for _, part := range []string{canary, "Adaeze", strings.ToUpper(canary)} {
			if bytes.Contains(data, []byte(part)) {
				t.Errorf("%s holds %q", what, part)
			}
		}
	}
	for _, s := range said {
		hides("an error or report", []byte(s))
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			hides(path, readFile(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPseudonyms: stable within a tenant and a log, different across tenants, actors and logs, whatever the split of
// the bytes between tenant and actor.
func TestPseudonyms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	name := func(l *Log, tenantID, actor string) string {
		t.Helper()
		id := acme
		if err := id.UnmarshalText([]byte(tenantID)); err != nil {
			t.Fatal(err)
		}
		p, err := l.enc.pseudonym(id, actor)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := name(l, "acme", "ann")
	seen := map[string]bool{first: true}
	for _, p := range []string{
		name(l, "acme", "bob"), name(l, "globex", "ann"), name(l, "acmea", "nn"), name(l, "acm", "eann"),
		name(mustOpen(t, filepath.Join(t.TempDir(), "log"), quiet()), "acme", "ann"),
	} {
		if seen[p] {
			t.Errorf("%s stands for two", p)
		}
		seen[p] = true
	}
	mustClose(t, l)
	if again := name(mustOpen(t, dir, quiet()), "acme", "ann"); again != first {
		t.Errorf("after reopening it is %s, before %s", again, first)
	}
}

// TestLongTexts: what is too long is cut, and says so.
func TestLongTexts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	e := query(acme, strings.Repeat("\x01", 5000))
	e.Statement = strings.Repeat("é", maxSQL)
	e.Reason, e.Name = strings.Repeat("\"", 5000), strings.Repeat("n", 5000)
	for i := range 5000 {
		e.Columns = append(e.Columns, fmt.Sprintf("patients.column_%d", i))
	}
	e.Tables, e.SealedColumns = []string{strings.Repeat("t", 2000)}, e.Columns
	e.Code, e.Fingerprint = CodeExec, strings.Repeat("f", 5000)
	mustRecord(t, l, e, query(acme, "next"))
	mustClose(t, l)
	mustVerify(t, dir)
	got := entries(t, dir, &Filter{Code: "sql."})
	if len(got) != 2 || !got[0].Truncated || got[1].Truncated || len(got[0].Statement) != maxSQL || !utf8.ValidString(got[0].Statement) ||
		len(got[0].Request) != maxText || len(got[0].Columns) < 1000 || len(got[0].Raw) > maxLine {
		t.Errorf("recorded: %d entries, statement of %d bytes, line of %d", len(got), len(got[0].Statement), len(got[0].Raw))
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", `quote " and \`, "a\nb\r\x00\x7f", "\u2028\u2029\u202e\ufeff", "é漢😀", "\xff\xfe", "\xed\xa0\x80", "</script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := appendString(nil, s)
		var back string
		if err := json.Unmarshal(out, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && back != replaceEach(s) {
			t.Fatalf("%q became %s and reads %q: %v", s, out, back, err)
		}
		for _, r := range string(out) {
			if r < 0x20 || r == 0x7f || r == 0x2028 || r == 0x202e {
				t.Fatalf("%q left %U as it is", s, r)
			}
		}
	})
}

// replaceEach replaces every byte that is not UTF-8 by a U+FFFD of its own.
func replaceEach(s string) string { return string([]rune(s)) }

// FuzzParseMeta compares the reader of metadata with encoding/json on whatever both accept.
func FuzzParseMeta(f *testing.F) {
	l := mustOpen(f, filepath.Join(f.TempDir(), "log"), quiet())
	line, err := l.enc.event(nil, query(acme, `,"metadata":{"sequence":9,"tenant_uid":"globex"`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(line, "12}}"...))
	head, err := l.enc.tenantHead(nil, acme, 3, [32]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.TrimSuffix(head, []byte("\n")))
	f.Add([]byte(`{"time":1,"metadata":{"event_code":"x","sequence":0}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, ok := parseMeta(line)
		beginsLine(line)
		beginsCheckpoint(line, "o")
		e, err := parseEntry(line, 0)
		if !ok || err != nil || bytes.Count(line, []byte(`"metadata"`)) != 1 || bytes.Count(line, []byte(`"sequence"`)) > 1 ||
			bytes.Count(line, []byte(`"tenant_uid"`)) > 1 || bytes.Count(line, []byte(`"event_code"`)) > 1 {
			return
		}
		if string(m.code) != string(e.Code) || string(m.tenant) != e.Tenant || m.sequence != e.Sequence {
			t.Fatalf("%s\nreads %s %s %d here and %s %s %d there", line, m.code, m.tenant, m.sequence, e.Code, e.Tenant, e.Sequence)
		}
	})
}
