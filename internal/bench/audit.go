package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strongroom-go/strongroom/audit"
)

func auditRows() []Row {
	var rows []Row
	for _, n := range []int{1, 16, 128} {
		rows = append(rows, Row{fmt.Sprintf("audit.durable.%d", n), "write and fdatasync of the same bytes, one event at a time",
			func() (*Pair, error) { return durable(n) }})
	}
	return append(rows, Row{"audit.verify", "SHA-256 of the same bytes", verify})
}

// query is the event of a point query, as the gate records it, its actor and purpose sealed under the tenant's key.
func query() (*audit.Event, func(), error) {
	t, cleanup, err := hot()
	if err != nil {
		return nil, nil, err
	}
	return &audit.Event{
		Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success, Correlation: "018f2a3c-7b1d-7c3e-9a55-0b1c2d3e4f50",
		Tenant: t.ID(), Actor: "dr.adams", Purpose: "treatment", Request: "req-01a204e8",
		Store: "postgresql", Name: "clinic", Tables: []string{"patients"}, Columns: []string{"patients.id", "patients.name", "patients.ssn"},
		SealedColumns: []string{"patients.name", "patients.ssn"}, Statement: "SELECT id, name, ssn FROM patients WHERE ssn = $1",
		Fingerprint: "50fde20626009aba", Rows: -1, Bytes: -1, KeyVersion: t.DataKeyID(), Sealer: t.Audit(),
	}, cleanup, nil
}

// openTrail opens a log in a directory that the returned function removes.
func openTrail(opts *audit.Options) (log *audit.Log, dir string, cleanup func(), err error) {
	if dir, err = tempDir(); err != nil {
		return nil, "", nil, err
	}
	if log, err = audit.OpenLog(filepath.Join(dir, "log"), opts); err != nil {
		return nil, "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return log, dir, func() { log.Close(); os.RemoveAll(dir) }, nil
}

// recorded is what a log's segments hold.
func recorded(dir string) ([]byte, error) {
	var all []byte
	names, err := filepath.Glob(filepath.Join(dir, "*", "*.jsonl"))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, data...)
	}
	if err == nil && len(all) == 0 {
		err = errors.New("the log has no segments")
	}
	return all, err
}

// durable records events from n goroutines; the alternative writes and syncs a line of the same length under a mutex.
func durable(n int) (*Pair, error) {
	e, cleanKeys, err := query()
	if err != nil {
		return nil, err
	}
	log, dir, cleanLog, err := openTrail(nil)
	if err != nil {
		return nil, err
	}
	record := func() error { return log.Record(context.Background(), e) }
	if err := record(); err != nil {
		return nil, err
	}
	data, err := recorded(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	line := append(lines[len(lines)-1], '\n')
	f, err := os.Create(filepath.Join(dir, "peer"))
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	peer := func() error {
		mu.Lock()
		defer mu.Unlock()
		if _, err := f.Write(line); err != nil {
			return err
		}
		return unix.Fdatasync(int(f.Fd()))
	}
	cleanup := func() { f.Close(); cleanLog(); cleanKeys() }
	return &Pair{Ours: parallel(n, record), Peer: parallel(n, peer), Cleanup: cleanup}, nil
}

// verify is per event, of a log of so many.
func verify() (*Pair, error) {
	const events = 20_000
	e, cleanKeys, err := query()
	if err != nil {
		return nil, err
	}
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	log, err := audit.OpenLog(dir, &audit.Options{Durability: audit.Written, CheckpointEvery: 100 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	if err := parallel(64, func() error { return log.Record(context.Background(), e) })(events); err != nil {
		return nil, err
	}
	if err := log.Close(); err != nil {
		return nil, err
	}
	data, err := recorded(dir)
	if err != nil {
		return nil, err
	}
	ours := func() error { _, err := audit.Verify(context.Background(), dir, nil); return err }
	peer := func() error { sha256.Sum256(data); return nil }
	return &Pair{Ours: parallel(1, ours), Peer: parallel(1, peer), Each: events, Cleanup: func() { os.RemoveAll(dir); cleanKeys() }}, nil
}
