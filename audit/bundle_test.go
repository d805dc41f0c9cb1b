package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/tenant"
)

// TestPathBuilder compares with the library that checks the paths.
func TestPathBuilder(t *testing.T) {
	for size := int64(1); size <= 70; size++ {
		var tree frontier
		for i := range size {
			tree.add(tlog.RecordHash([]byte{byte(i)}))
		}
		for index := range size {
			p := newPathBuilder(index, size)
			for i := range size {
				p.add(tlog.RecordHash([]byte{byte(i)}))
			}
			if err := tlog.CheckRecord(p.path(), size, tree.root(), index, tlog.RecordHash([]byte{byte(index)})); err != nil {
				t.Fatalf("leaf %d of %d: %v", index, size, err)
			}
		}
	}
}

// bundled makes a log of several segments, in which tenants take turns, and returns its directory and verifier key.
func bundled(t *testing.T, close bool) (dir, key string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes, opts.HeadEvery, opts.Origin, opts.Durability = 64<<10, 16, "audit.example.com/a", Written
	l := mustOpen(t, dir, opts)
	for i := range 150 {
		for _, id := range []tenant.ID{acme, globex, tenant.MustParse("acme2")} {
			e := query(id, fmt.Sprintf("canary-%s-%d.", id, i))
			e.Purpose, e.Statement, e.Sealer = "canary-"+id.String()+".", strings.Repeat("SELECT "+id.String()+".x ", 60), newSealer(t)
			mustRecord(t, l, e)
		}
	}
	if _, err := l.Checkpoint(background); err != nil {
		t.Fatal(err)
	}
	if close {
		mustClose(t, l)
	}
	if names, err := segmentPaths(dir); err != nil || len(names) < 2 {
		t.Fatalf("%d segments, %v: the test wants several", len(names), err)
	}
	return dir, l.Verifier()
}

func writeBundle(t *testing.T, dir string, id tenant.ID) ([]byte, *Bundle) {
	t.Helper()
	var b bytes.Buffer
	about, err := WriteBundle(background, &b, dir, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), about
}

func TestBundle(t *testing.T) {
	for _, closed := range []bool{true, false} {
		dir, key := bundled(t, closed)
		bundle, wrote := writeBundle(t, dir, acme)
		got, err := VerifyBundle(background, bytes.NewReader(bundle), []string{key})
		if err != nil {
			t.Fatal(err)
		}
		if closed == (wrote.Behind > 0) || wrote.Behind+wrote.Events != 150 {
			t.Errorf("closed %v: %d events, and %d behind them", closed, wrote.Events, wrote.Behind)
		}
		wrote.Behind = 0
		if fmt.Sprint(*got) != fmt.Sprint(*wrote) {
			t.Errorf("read as\n%v\nwritten as\n%v", *got, *wrote)
		}
		var want []string
		for _, e := range entries(t, dir, &Filter{Tenant: acme}) {
			if e.Sequence > 0 && e.Sequence <= got.Events {
				want = append(want, string(e.Raw))
			}
		}
		lines := strings.Split(strings.TrimSuffix(string(bundle), "\n"), "\n")
		if !slices.Equal(lines[1:len(lines)-1], want) {
			t.Error("the bundle's events are not the tenant's")
		}
		for _, other := range []string{"globex", "acme2"} {
			if bytes.Contains(bundle, []byte(other)) {
				t.Errorf("the bundle speaks of %s", other)
			}
		}
		if head, err := ParseCheckpoint(got.Checkpoint, []string{key}); err != nil || head != got.Log {
			t.Errorf("its checkpoint is no pin: %v, %v", head, err)
		}
	}
}

func TestBundleTampering(t *testing.T) {
	dir, key := bundled(t, true)
	bundle, _ := writeBundle(t, dir, acme)
	foreign, _ := writeBundle(t, dir, globex)
	lines := strings.SplitAfter(string(bundle), "\n")
	lines = lines[:len(lines)-1]
	others := strings.SplitAfter(string(foreign), "\n")
	last := len(lines) - 1
	// trailer changes the last line.
	trailer := func(change func(*bundleTrailer)) func([]string) []string {
		return func(l []string) []string {
			var tr bundleTrailer
			if err := json.Unmarshal([]byte(l[last]), &tr); err != nil {
				t.Fatal(err)
			}
			change(&tr)
			data, err := json.Marshal(tr)
			if err != nil {
				t.Fatal(err)
			}
			l[last] = string(data) + "\n"
			return l
		}
	}
	var theirs bundleTrailer
	if err := json.Unmarshal([]byte(others[len(others)-2]), &theirs); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]string) []string{
		"event left out":         func(l []string) []string { return slices.Delete(l, 5, 6) },
		"first event left out":   func(l []string) []string { return slices.Delete(l, 1, 2) },
		"last event left out":    func(l []string) []string { return slices.Delete(l, last-1, last) },
		"all events left out":    func(l []string) []string { return slices.Delete(l, 1, last) },
		"event twice":            func(l []string) []string { return slices.Insert(l, 5, l[5]) },
		"events exchanged":       func(l []string) []string { l[5], l[6] = l[6], l[5]; return l },
		"event changed":          func(l []string) []string { l[5] = strings.Replace(l[5], `"intent"`, `"extent"`, 1); return l },
		"event's text changed":   func(l []string) []string { l[5] = strings.Replace(l[5], "SELECT", "DELETE", 1); return l },
		"event of another":       func(l []string) []string { l[5] = others[5]; return l },
		"event of another added": func(l []string) []string { return slices.Insert(l, last, others[last]) },
		"event made up": func(l []string) []string {
			return slices.Insert(l, last, strings.Replace(l[last-1], `"sequence":150`, `"sequence":151`, 1))
		},
		"something else added":     func(l []string) []string { return slices.Insert(l, 5, "{}\n") },
		"empty line":               func(l []string) []string { return slices.Insert(l, 5, "\n") },
		"tenant changed":           func(l []string) []string { l[0] = strings.Replace(l[0], "acme", "globex", 1); return l },
		"origin changed":           func(l []string) []string { l[0] = strings.Replace(l[0], "com/a", "com/b", 1); return l },
		"header with more":         func(l []string) []string { l[0] = strings.Replace(l[0], "{", `{"x":1,`, 1); return l },
		"no header":                func(l []string) []string { return l[1:] },
		"no trailer":               func(l []string) []string { return l[:last] },
		"something behind the end": func(l []string) []string { return append(l, l[1]) },
		"end twice":                func(l []string) []string { return append(l, l[last]) },
		"newline behind the end":   func(l []string) []string { return append(l, "\n") },
		"trailer of another":       func(l []string) []string { l[last] = others[len(others)-2]; return l },
		"head of another":          trailer(func(tr *bundleTrailer) { tr.Head = theirs.Head }),
		"head of another, whole": trailer(func(tr *bundleTrailer) {
			tr.Head, tr.Index, tr.Path = theirs.Head, theirs.Index, theirs.Path
		}),
		"head forged":           trailer(func(tr *bundleTrailer) { tr.Head = strings.Replace(tr.Head, `"size":150`, `"size":149`, 1) }),
		"head that is an event": trailer(func(tr *bundleTrailer) { tr.Head = strings.TrimSuffix(lines[1], "\n") }),
		"head elsewhere":        trailer(func(tr *bundleTrailer) { tr.Index-- }),
		"head below the log":    trailer(func(tr *bundleTrailer) { tr.Index = -1 }),
		"head behind the log":   trailer(func(tr *bundleTrailer) { tr.Index = 1 << 40 }),
		"path changed":          trailer(func(tr *bundleTrailer) { tr.Path[1][0] ^= 1 }),
		"path too short":        trailer(func(tr *bundleTrailer) { tr.Path = tr.Path[1:] }),
		"path too long":         trailer(func(tr *bundleTrailer) { tr.Path = append(tr.Path, tlog.Hash{}) }),
		"no path":               trailer(func(tr *bundleTrailer) { tr.Path = nil }),
		"checkpoint changed": trailer(func(tr *bundleTrailer) {
			tr.Checkpoint = strings.Replace(tr.Checkpoint, "strongroom ", "strongroom 1", 1)
		}),
		"checkpoint unsigned":     trailer(func(tr *bundleTrailer) { tr.Checkpoint, _, _ = strings.Cut(tr.Checkpoint, "\n\n") }),
		"checkpoint of the start": trailer(func(tr *bundleTrailer) { tr.Checkpoint = firstCheckpoint(t, dir) }),
	} {
		changed := strings.Join(change(slices.Clone(lines)), "")
		if changed == string(bundle) {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := VerifyBundle(background, strings.NewReader(changed), []string{key}); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for cut := 0; cut < len(bundle); cut += 1 + len(bundle)/500 {
		if _, err := VerifyBundle(background, bytes.NewReader(bundle[:cut]), []string{key}); !errors.Is(err, ErrTampered) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
}

func firstCheckpoint(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, checkpointsName))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.SplitAfter(string(data), "\n")[:checkpointLines], "")
}

func TestBundleKeys(t *testing.T) {
	dir, key := bundled(t, true)
	bundle, _ := writeBundle(t, dir, acme)
	_, stranger, err := note.GenerateKey(nil, "audit.example.com/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyBundle(background, bytes.NewReader(bundle), []string{stranger}); !errors.Is(err, ErrTampered) {
		t.Errorf("under another's key: %v", err)
	}
	if _, err := VerifyBundle(background, bytes.NewReader(bundle), nil); err == nil || errors.Is(err, ErrTampered) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := VerifyBundle(background, bytes.NewReader(bundle), []string{stranger, key}); err != nil {
		t.Errorf("under the newer of two keys: %v", err)
	}
	newer := bytes.Replace(bundle, []byte(`"version":1`), []byte(`"version":3`), 1)
	if _, err := VerifyBundle(background, bytes.NewReader(newer), []string{key}); err == nil || errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "newer") {
		t.Errorf("of a newer version: %v", err)
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, err := VerifyBundle(ctx, bytes.NewReader(bundle), []string{key}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := WriteBundle(ctx, &bytes.Buffer{}, dir, acme, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("writing, cancelled: %v", err)
	}
}

// TestBundleOfDamagedLog: what is handed out has been checked.
func TestBundleOfDamagedLog(t *testing.T) {
	dir, _ := bundled(t, true)
	names, err := segmentPaths(dir)
	if err != nil {
		t.Fatal(err)
	}
	change := func(name string, change func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			name := filepath.Join(dir, name)
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, change(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	segment := func(i int) string { return filepath.Join(segmentsName, filepath.Base(names[i])) }
	for name, damage := range map[string]func(t *testing.T, dir string){
		"tenant's event changed":   change(segment(0), func(b []byte) []byte { return bytes.Replace(b, []byte("canary-acme."), []byte("canary-acne."), 1) }),
		"another's event changed":  change(segment(0), func(b []byte) []byte { return bytes.Replace(b, []byte("canary-globex."), []byte("canary-globes."), 1) }),
		"tenant's event taken out": change(segment(0), func(b []byte) []byte { return cutLine(b, `"tenant_uid":"acme"`) }),
		"last segment cut":         change(segment(len(names)-1), func(b []byte) []byte { return b[:len(b)/2] }),
		"first segment missing":    func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, segment(0))) },
		"checkpoint changed": change(checkpointsName, func(b []byte) []byte {
			at := bytes.LastIndex(b, []byte("\n"+extension+" "))
			b[at-3] ^= 16 // which is no base64 for some digits, and another digit for others
			return b
		}),
		"checkpoints gone": change(checkpointsName, func([]byte) []byte { return nil }),
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, dir)
			damage(t, dir)
			var b bytes.Buffer
			if _, err := WriteBundle(background, &b, dir, acme, nil); !errors.Is(err, ErrTampered) {
				t.Errorf("%v", err)
			}
			if bytes.Contains(b.Bytes(), []byte(trailerBegin)) {
				t.Error("the bundle has an end")
			}
		})
	}
	for _, id := range []tenant.ID{tenant.MustParse("nobody"), tenant.MustParse("acm")} {
		if _, err := WriteBundle(background, &bytes.Buffer{}, dir, id, nil); !errors.Is(err, ErrNoEvents) {
			t.Errorf("of %s: %v", id, err)
		}
	}
	if _, err := WriteBundle(background, &bytes.Buffer{}, dir, tenant.ID{}, nil); err == nil {
		t.Error("of no tenant")
	}
	if _, err := WriteBundle(background, failingWriter{}, dir, acme, nil); err == nil || errors.Is(err, ErrTampered) {
		t.Errorf("onto a full disk: %v", err)
	}
}

func cutLine(b []byte, with string) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	i := slices.IndexFunc(lines, func(l []byte) bool { return bytes.Contains(l, []byte(with)) })
	return bytes.Join(slices.Delete(lines, i, i+1), nil)
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestBundleWhileWritten makes bundles of a log that goes on.
func TestBundleWhileWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes, opts.HeadEvery, opts.CheckpointEvery, opts.Durability = 64<<10, 4, time.Millisecond, Written
	l := mustOpen(t, dir, opts)
	mustRecord(t, l, query(acme, "first"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 60 {
			for _, id := range []tenant.ID{acme, globex} {
				if err := l.Record(background, query(id, "r")); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		var b bytes.Buffer
		about, err := WriteBundle(background, &b, dir, acme, nil)
		if errors.Is(err, ErrNoEvents) {
			continue // no head leaf is sealed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := VerifyBundle(background, &b, []string{l.Verifier()}); err != nil || got.Events != about.Events {
			t.Fatalf("%d events: %v", about.Events, err)
		}
	}
}
