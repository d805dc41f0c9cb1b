package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	openEvents = flag.Int("events", 500_000, "how many events the log of audit.open has: some 400 bytes each")
	openKept   = flag.Int64("kept", 0, "so many bytes of segments audit.open keeps while it records, deleting the oldest by retention; 0: all")
)

// auditOpenFigures say what it costs to open a log of many events: one that was closed, one whose process was killed, and one
// without its state, which is read whole.
func auditOpenFigures() []Figures { return []Figures{{"audit.open", auditOpen}} }

func auditOpen() (results []Result, err error) {
	dir, err := os.MkdirTemp("", "strongroom-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	whole, killed := filepath.Join(dir, "log"), filepath.Join(dir, "killed")
	n := *openEvents
	opts := &audit.Options{Durability: audit.Written, Timeout: time.Minute}
	if *openKept > 0 {
		opts.Retention, opts.RetainEvery = &audit.Retention{Bytes: *openKept}, time.Second
	}
	figure := func(what, unit string, value float64) {
		results = append(results, Result{ID: "audit.open." + what, Peer: fmt.Sprintf("of a log of %d events", n), Ours: value, Unit: unit})
	}
	log, err := audit.OpenLog(whole, opts)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := fillTrail(log, n); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	figure("record", "ns", float64(time.Since(began).Nanoseconds())/float64(n))
	if _, err := log.Checkpoint(context.Background()); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	if err := errors.Join(fillTrail(log, 1000), killedCopy(whole, killed), log.Close()); err != nil {
		return nil, err
	}
	open := func(dir string) error {
		began := time.Now()
		log, err := audit.OpenLog(dir, &audit.Options{Timeout: time.Minute})
		if err != nil {
			return err
		}
		figure(filepath.Base(dir), "ns", float64(time.Since(began).Nanoseconds()))
		return log.Close()
	}
	for range 3 {
		if err := open(whole); err != nil {
			return nil, err
		}
	}
	if err := open(killed); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(filepath.Join(whole, "state")), os.Rename(whole, filepath.Join(dir, "stateless"))); err != nil {
		return nil, err
	}
	return results, open(filepath.Join(dir, "stateless"))
}

// fillTrail records short events of a thousand tenants.
func fillTrail(log *audit.Log, n int) error {
	var ids [1000]tenant.ID
	for i := range ids {
		ids[i] = tenant.MustParse(fmt.Sprint("tenant-", i))
	}
	next := make(chan int, 1024)
	go func() {
		for i := range n {
			next <- i
		}
		close(next)
	}()
	return parallel(64, func() error {
		// Queued and not waited for, as outcomes are; now and then one is, so that the queue stays short.
		for range 100 {
			i, ok := <-next
			if !ok {
				return nil
			}
			e := &audit.Event{
				Code: audit.CodeQuery, Phase: audit.Outcome, Status: audit.Success, Tenant: ids[i%len(ids)], Store: "postgresql", Rows: 1, Bytes: -1,
			}
			p, err := log.Queue(context.Background(), e)
			if err == nil && i%100 == 0 {
				err = p.Wait(context.Background())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})(n/100 + 64)
}

// killedCopy copies a log that is open and idle as a killed process would leave it. What is not written any more is linked.
func killedCopy(from, to string) error {
	if err := errors.Join(os.Mkdir(to, 0o700), os.Mkdir(filepath.Join(to, "seg"), 0o700)); err != nil {
		return err
	}
	segments, err := filepath.Glob(filepath.Join(from, "seg", "*"))
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil {
		return err
	}
	const pair = 2 // of the newest segment
	for _, name := range segments[:max(0, len(segments)-pair)] {
		if err := os.Link(name, filepath.Join(to, "seg", filepath.Base(name))); err != nil {
			return err
		}
	}
	for _, name := range slices.Concat(files, segments[max(0, len(segments)-pair):]) {
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if rel == "seg" || rel == "LOCK" || rel == "reserve" {
			continue
		}
		if err := copyFile(name, filepath.Join(to, rel)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
