package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
)

type syncs struct {
	n   int
	err error
}

func (s *syncs) Sync() error {
	s.n++
	return s.err
}

// TestDeliveredIsOnDisk: a cursor is past nothing that a loss of power takes out of the file that standard output is.
func TestDeliveredIsOnDisk(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, c := range []struct {
		name string
		out  *os.File
		want bool
	}{{"file", f, true}, {"pipe", w, false}} {
		s := synced(lineSink{c.out}, c.out)
		if _, is := s.(syncedSink); is != c.want {
			t.Errorf("a %s: synced is %v", c.name, is)
		}
	}
	var out bytes.Buffer
	disk := &syncs{}
	s := syncedSink{lineSink{&out}, disk}
	events := []audit.Entry{{Raw: []byte("a")}, {Raw: []byte("b")}}
	if n, err := s.Deliver(t.Context(), events); n != 2 || err != nil || disk.n != 1 {
		t.Errorf("%d delivered, %v, %d syncs", n, err, disk.n)
	}
	disk.err = errors.New("input/output error")
	if n, err := s.Deliver(t.Context(), events); n != 0 || !errors.Is(err, disk.err) {
		t.Errorf("%d delivered although they may not be on disk, %v", n, err)
	}
}
