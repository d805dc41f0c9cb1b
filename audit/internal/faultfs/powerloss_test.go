package faultfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

type world struct {
	t   *testing.T
	fs  *FS
	dir string
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) open(name string) vfs.File { return w.openWith(name, os.O_APPEND) }

func (w *world) openWith(name string, flag int) vfs.File {
	w.t.Helper()
	f, err := w.fs.OpenFile(w.path(name), os.O_RDWR|os.O_CREATE|flag, 0o600)
	w.must(err)
	w.t.Cleanup(func() { f.Close() })
	return f
}

func (w *world) write(f vfs.File, s string) {
	w.t.Helper()
	_, err := f.Write([]byte(s))
	w.must(err)
}

// ahead opens old with two zeros behind its four bytes, which are synced.
func (w *world) ahead() vfs.File {
	f := w.openWith("old", 0)
	w.must(f.Zero(4, 6))
	w.must(f.Datasync())
	return f
}

func (w *world) at(f vfs.File, off int64, s string) {
	w.t.Helper()
	_, err := f.WriteAt([]byte(s), off)
	w.must(err)
}

// want compares the directory with pairs of names and contents.
func (w *world) want(pairs ...string) {
	w.t.Helper()
	var got []string
	w.must(fs.WalkDir(os.DirFS(w.dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(w.path(path))
		got = append(got, path, string(data))
		return err
	}))
	if !slices.Equal(got, pairs) {
		w.t.Errorf("the disk holds %q, want %q", got, pairs)
	}
}

// TestPowerLoss: what was synced stays, and of the rest what the test says.
func TestPowerLoss(t *testing.T) {
	all := func(_ string, b []byte) []byte { return b }
	none := func(string, []byte) []byte { return nil }
	half := func(_ string, b []byte) []byte { return b[:len(b)/2] }
	for name, c := range map[string]struct {
		act      func(w *world)
		survives func(Op, string) bool
		damage   func(string, []byte) []byte
		want     []string
	}{
		"a name without a sync": {func(w *world) { f := w.open("new"); w.write(f, "x"); w.must(f.Datasync()) }, nil, all, []string{"old", "1234"}},
		"a name that survives": {func(w *world) { w.write(w.open("new"), "x") },
			func(Op, string) bool { return true }, all, []string{"new", "x", "old", "1234"}},
		"a synced name":          {func(w *world) { w.write(w.open("new"), "x"); w.must(w.fs.SyncDir(w.dir)) }, nil, none, []string{"new", "", "old", "1234"}},
		"bytes without a sync":   {func(w *world) { w.write(w.open("old"), "5678") }, nil, half, []string{"old", "123456"}},
		"bytes with a sync":      {func(w *world) { f := w.open("old"); w.write(f, "5678"); w.must(f.Datasync()) }, nil, none, []string{"old", "12345678"}},
		"a removal":              {func(w *world) { w.must(w.fs.Remove(w.path("old"))) }, nil, none, []string{"old", "1234"}},
		"a removal that is done": {func(w *world) { w.must(w.fs.Remove(w.path("old"))); w.must(w.fs.SyncDir(w.dir)) }, nil, none, nil},
		"a rename": {func(w *world) {
			f := w.open("tmp")
			w.write(f, "new")
			w.must(f.Datasync())
			w.must(w.fs.SyncDir(w.dir))
			w.must(w.fs.Rename(w.path("tmp"), w.path("old")))
		}, nil, none, []string{"old", "1234", "tmp", "new"}},
		"a rename that survives": {func(w *world) {
			f := w.open("tmp")
			w.write(f, "new")
			w.must(f.Datasync())
			w.must(w.fs.Rename(w.path("tmp"), w.path("old")))
		}, func(op Op, _ string) bool { return op == Rename }, none, []string{"old", "new"}},
		"a cut":                   {func(w *world) { w.must(w.open("old").Truncate(1)) }, nil, none, []string{"old", "1234"}},
		"a synced cut":            {func(w *world) { f := w.open("old"); w.must(f.Truncate(1)); w.must(f.Datasync()) }, nil, none, []string{"old", "1"}},
		"zeros":                   {func(w *world) { w.must(w.openWith("old", 0).Zero(4, 6)) }, nil, all, []string{"old", "1234"}},
		"synced zeros":            {func(w *world) { w.ahead() }, nil, none, []string{"old", "1234\x00\x00"}},
		"bytes in place of zeros": {func(w *world) { w.at(w.ahead(), 4, "56") }, nil, half, []string{"old", "12345\x00"}},
		"the same, all lost":      {func(w *world) { w.at(w.ahead(), 4, "5") }, nil, none, []string{"old", "1234\x00\x00"}},
		"the same, synced":        {func(w *world) { f := w.ahead(); w.at(f, 4, "5"); w.must(f.Datasync()) }, nil, none, []string{"old", "12345\x00"}},
		"bytes beyond the zeros":  {func(w *world) { w.at(w.ahead(), 4, "5678") }, nil, all, []string{"old", "12345678"}},
		"the same bytes again":    {func(w *world) { w.at(w.openWith("old", 0), 1, "23") }, nil, none, []string{"old", "1234"}},
		"zeros that were cut off": {func(w *world) { w.must(w.ahead().Truncate(4)) }, nil, all, []string{"old", "1234\x00\x00"}},
		"the same, surviving": {func(w *world) { w.must(w.ahead().Truncate(4)) },
			func(Op, string) bool { return true }, all, []string{"old", "1234"}},
		"a directory": {func(w *world) { w.must(w.fs.Mkdir(w.path("sub"), 0o700)); w.write(w.open("sub/new"), "x") }, nil, all, []string{"old", "1234"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t, New(), t.TempDir()}
			w.must(os.WriteFile(w.path("old"), []byte("1234"), 0o600))
			c.act(w)
			w.fs.Survives = c.survives
			w.must(w.fs.PowerLoss(c.damage))
			w.want(c.want...)
		})
	}
}
