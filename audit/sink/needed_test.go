package sink_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
)

// TestNeeded: what retention has to keep is what the slowest of the sinks has not.
func TestNeeded(t *testing.T) {
	dir, cursor := newPaths(t)
	l := openLog(t, dir)
	record(t, l, 10)
	must(t, l.Close())
	for name, batch := range map[string]int{cursor: 4, cursor + "2": 6} {
		s, err := sink.Open(dir, name, &receiver{}, &sink.Options{Batch: batch})
		must(t, err)
		_, err = s.Round(t.Context())
		must(t, err)
		must(t, s.Close())
	}
	for _, c := range []struct {
		names []string
		want  int64
	}{{[]string{cursor}, 4}, {[]string{cursor + "2", cursor}, 4}, {[]string{cursor + "2"}, 6}, {[]string{cursor, cursor + "3"}, 0}} {
		if n, err := sink.Needed(dir, c.names...)(t.Context()); n != c.want || err != nil {
			t.Errorf("%d, %v; want %d", n, err, c.want)
		}
	}
	// The cursor of another log says nothing about this one, of which the sink may have nothing.
	other := filepath.Join(t.TempDir(), "other")
	l, err := audit.OpenLog(other, &audit.Options{Origin: "example.com/other", ReserveBytes: -1})
	must(t, err)
	must(t, l.Close())
	must(t, os.WriteFile(cursor+"4", []byte("{"), 0o600))
	for dir, names := range map[string][]string{dir: nil, dir + "/": {cursor + "4"}, other: {cursor}} {
		if n, err := sink.Needed(dir, names...)(t.Context()); err == nil {
			t.Errorf("%s, %v: %d, and no error", dir, names, n)
		}
	}
}

// TestNeededOfAnotherLife: a cursor from before a log was put back from a backup says nothing about what the log went on with, of which the
// sink has nothing: retention deletes none of it.
func TestNeededOfAnotherLife(t *testing.T) {
	dir, cursor := newPaths(t)
	l := openLog(t, dir)
	record(t, l, 10)
	must(t, l.Close())
	backup := filepath.Join(t.TempDir(), "backup")
	must(t, os.CopyFS(backup, os.DirFS(dir)))
	for _, key := range []string{"signer.key", "pseudonym.key"} {
		must(t, os.Chmod(filepath.Join(backup, key), 0o600))
	}
	l = openLog(t, dir)
	record(t, l, 10)
	must(t, l.Close())
	s, err := sink.Open(dir, cursor, &receiver{}, nil)
	must(t, err)
	all(t, s)
	must(t, s.Close())
	want := int64(len(uids(t, dir)))
	if n, err := sink.Needed(dir, cursor)(t.Context()); n != want || err != nil {
		t.Fatalf("%d, %v; want %d", n, err, want)
	}
	for range 2 { // as it was put back, and with more events than before
		if n, err := sink.Needed(backup, cursor)(t.Context()); !errors.Is(err, audit.ErrTampered) {
			t.Errorf("%d of %d events, %v", n, len(uids(t, backup)), err)
		}
		l = openLog(t, backup)
		record(t, l, 30)
		must(t, l.Close())
	}
}
