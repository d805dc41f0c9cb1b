package localkek_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	idA = tenant.MustParse("a")
	idB = tenant.MustParse("b")
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got the error %v, want one that wraps %v", err, want)
	}
}

func TestReopening(t *testing.T) {
	for _, passphrase := range []string{"", "correct horse"} {
		o := &localkek.Options{Passphrase: passphrase, WorkFactor: 10}
		path := filepath.Join(t.TempDir(), "kek")
		k := open(t, path, o)
		must(t, k.Create(t.Context(), idA))
		wrapped, err := k.Wrap(t.Context(), idA, []byte("x"))
		must(t, err)
		if got, err := open(t, path, o).Unwrap(t.Context(), idA, wrapped); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
		info, err := os.Stat(path)
		must(t, err)
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("the file has mode %v", info.Mode())
		}
	}
}

// TestWhatCannotBeOpenedIsLeftAlone: each refusal is clear, and the file is the same afterwards.
func TestWhatCannotBeOpenedIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	plainPath, sealedPath := filepath.Join(dir, "plain"), filepath.Join(dir, "sealed")
	secret := &localkek.Options{Passphrase: "correct horse", WorkFactor: 10}
	must(t, open(t, plainPath, nil).Create(t.Context(), idA))
	must(t, open(t, sealedPath, secret).Create(t.Context(), idA))
	plain, err := os.ReadFile(plainPath)
	must(t, err)
	sealed, err := os.ReadFile(sealedPath)
	must(t, err)
	for _, c := range []struct {
		what    string
		content []byte
		o       *localkek.Options
		want    error
		text    string
	}{
		{"wrong passphrase", sealed, &localkek.Options{Passphrase: "battery staple"}, localkek.ErrPassphrase, "does not open the file"},
		{"no passphrase", sealed, nil, localkek.ErrPassphrase, "Options.Passphrase"},
		{"a passphrase too many", plain, secret, localkek.ErrPassphrase, "not protected"},
		{"empty", nil, nil, keys.ErrIntegrity, "restore it from a backup"},
		{"cut short", plain[:len(plain)/2], nil, keys.ErrIntegrity, "restore it from a backup"},
		{"cut short by the last brace", bytes.TrimRight(plain, "}\n"), nil, keys.ErrIntegrity, "restore it from a backup"},
		{"cut short, sealed", sealed[:len(sealed)/2], secret, keys.ErrIntegrity, "restore it from a backup"},
		{"followed by more", append(bytes.Clone(plain), "{}"...), nil, keys.ErrIntegrity, "restore it from a backup"},
		{"an unknown field", bytes.Replace(plain, []byte(`"format"`), []byte(`"x": 1, "format"`), 1), nil, keys.ErrIntegrity, "restore it from a backup"},
		{"a newer version", bytes.Replace(plain, []byte(`"version": 1`), []byte(`"version": 2`), 1), nil, keys.ErrIntegrity, "upgrade"},
		{"something else", []byte("hello"), nil, keys.ErrIntegrity, "restore it from a backup"},
		{"a damaged master", edited(t, plain, "master", func(b []byte) []byte { return b[:len(b)-4] }), nil, keys.ErrIntegrity, "master key is damaged"},
		{"a damaged sealed master", edited(t, sealed, "sealed_master", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), secret, keys.ErrIntegrity, "master key is damaged"},
	} {
		path := filepath.Join(dir, "file")
		must(t, os.WriteFile(path, c.content, 0o600))
		k, err := localkek.Open(path, c.o)
		if k != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", c.what, err)
		}
		if err != nil && (strings.Contains(err.Error(), "horse") || strings.Contains(err.Error(), "staple")) {
			t.Errorf("%s: the error shows the passphrase", c.what)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, c.content) {
			t.Errorf("%s: the file was changed: %v", c.what, err)
		}
		leftovers(t, dir)
	}
}

// edited changes a byte string in the file.
func edited(t *testing.T, file []byte, field string, edit func([]byte) []byte) []byte {
	t.Helper()
	var c map[string]any
	must(t, json.Unmarshal(file, &c))
	var b []byte
	raw, err := json.Marshal(c[field])
	must(t, err)
	must(t, json.Unmarshal(raw, &b))
	c[field] = edit(b)
	out, err := json.Marshal(c)
	must(t, err)
	return out
}

func leftovers(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.Contains(e.Name(), ".tmp-") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func TestOthersMayNotRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes on Windows")
	}
	path := filepath.Join(t.TempDir(), "kek")
	open(t, path, nil)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o666} {
		must(t, os.Chmod(path, mode))
		if _, err := localkek.Open(path, nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if _, err := localkek.Open(filepath.Dir(path), nil); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := localkek.Open(filepath.Join(t.TempDir(), "kek"), &localkek.Options{MustExist: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file that must exist: %v", err)
	}
}

// TestDestroyedMeansGoneFromTheFile: nothing in the file, nor in another process that had it open, opens what the KEK
// wrapped, though the master key and everything else is there.
func TestDestroyedMeansGoneFromTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	k, other := open(t, path, nil), open(t, path, nil)
	must(t, k.Create(t.Context(), idA))
	must(t, k.Create(t.Context(), idB))
	wrapped, err := k.Wrap(t.Context(), idA, []byte("x"))
	must(t, err)
	if _, err := other.Unwrap(t.Context(), idA, wrapped); err != nil {
		t.Fatal(err) // and now it has it in memory
	}
	before, err := os.ReadFile(path)
	must(t, err)
	must(t, k.Destroy(t.Context(), idA))
	after, err := os.ReadFile(path)
	must(t, err)
	var was, is struct{ Tenants map[string][]byte }
	must(t, json.Unmarshal(before, &was))
	must(t, json.Unmarshal(after, &is))
	if len(was.Tenants) != 2 || len(is.Tenants) != 1 || is.Tenants[idB.Segment()] == nil {
		t.Fatalf("%d tenants before, %d after", len(was.Tenants), len(is.Tenants))
	}
	_, err = other.Unwrap(t.Context(), idA, wrapped)
	wantErr(t, err, keys.ErrNotFound)
	_, err = open(t, path, nil).Unwrap(t.Context(), idA, wrapped)
	wantErr(t, err, keys.ErrNotFound)
}

func TestAReplacedFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	path, foreign := filepath.Join(dir, "kek"), filepath.Join(dir, "foreign")
	k := open(t, path, nil)
	must(t, k.Create(t.Context(), idA))
	must(t, open(t, foreign, nil).Create(t.Context(), idA))
	must(t, os.Rename(foreign, path))
	_, err := k.Wrap(t.Context(), idA, []byte("x"))
	wantErr(t, err, keys.ErrIntegrity)
	wantErr(t, k.Create(t.Context(), idB), keys.ErrIntegrity)
	must(t, os.Remove(path))
	_, err = k.Wrap(t.Context(), idA, []byte("x"))
	wantErr(t, err, keys.ErrUnavailable)
	wantErr(t, k.Create(t.Context(), idB), keys.ErrUnavailable)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file that went away was made anew, without its keys")
	}
}

func TestSwappedKEKsAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	k := open(t, path, nil)
	must(t, k.Create(t.Context(), idA))
	must(t, k.Create(t.Context(), idB))
	wrapped, err := k.Wrap(t.Context(), idA, []byte("x"))
	must(t, err)
	b, err := os.ReadFile(path)
	must(t, err)
	var c map[string]any
	must(t, json.Unmarshal(b, &c))
	tenants := c["tenants"].(map[string]any)
	tenants[idB.Segment()] = tenants[idA.Segment()]
	b, err = json.Marshal(c)
	must(t, err)
	must(t, os.WriteFile(path, b, 0o600))
	_, err = open(t, path, nil).Unwrap(t.Context(), idB, wrapped)
	wantErr(t, err, keys.ErrIntegrity)
}

// TestSeveralProcesses has processes create KEKs in one new file at once: all must be there afterwards.
func TestSeveralProcesses(t *testing.T) {
	const variable = "STRONGROOM_TEST_LOCALKEK"
	names := []string{"p0", "p1", "p2", "p3"}
	if spec := os.Getenv(variable); spec != "" {
		path, name, _ := strings.Cut(spec, "|")
		k := open(t, path, nil)
		for i := range 5 {
			must(t, k.Create(t.Context(), tenant.MustParse(name+string(rune('a'+i)))))
		}
		return
	}
	path := filepath.Join(t.TempDir(), "kek")
	var running []*exec.Cmd
	for _, name := range names {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestSeveralProcesses$")
		cmd.Env = append(os.Environ(), variable+"="+path+"|"+name)
		must(t, cmd.Start())
		running = append(running, cmd)
	}
	for _, cmd := range running {
		must(t, cmd.Wait())
	}
	k := open(t, path, &localkek.Options{MustExist: true})
	for _, name := range names {
		for i := range 5 {
			if _, err := k.Wrap(context.Background(), tenant.MustParse(name+string(rune('a'+i))), []byte("x")); err != nil {
				t.Error(err)
			}
		}
	}
}
