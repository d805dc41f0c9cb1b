package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	openEvents = flag.Int("events", 500_000, "how many events the log of audit.open has: some 400 bytes each")
	openKept   = flag.Int64("kept", 0, "so many bytes of segments audit.open keeps while it records, deleting the oldest by retention; 0: all")
	openPacked = flag.Bool("compress", false, "audit.open compresses segments while it records, to some 15 % of their size")
	openDays   = flag.Int("days", 0, "the events of audit.open are spread over so many days up to now; 0: they have the time at which they are recorded")
	openLog    = flag.String("log", "", "the log of audit.open is kept in this directory, and where there is one it is opened and not made; empty: it is made and deleted")
)

// auditOpenFigures say what it costs to open a log of many events: one that was closed, one whose process was killed, and one
// without its state, which is read whole.
func auditOpenFigures() []Figures { return []Figures{{"audit.open", auditOpen}} }

func auditOpen() (results []Result, err error) {
	whole := *openLog
	if whole == "" {
		dir, err := tempDir()
		if err != nil {
			return nil, err
		}
		defer func() {
			if rerr := os.RemoveAll(dir); rerr != nil {
				fmt.Fprintln(os.Stderr, "bench:", rerr)
			}
		}()
		whole = filepath.Join(dir, "log")
	}
	n := *openEvents
	figure := func(what, unit string, value float64) {
		results = append(results, Result{ID: "audit.open." + what, Peer: fmt.Sprintf("of a log of %d events", n), Ours: value, Unit: unit})
	}
	killed := whole + ".killed"
	if _, err := os.Lstat(filepath.Join(whole, "log.json")); errors.Is(err, fs.ErrNotExist) {
		took, err := recordLong(whole, n)
		if err != nil {
			return nil, err
		}
		figure("record", "ns", float64(took.Nanoseconds())/float64(n))
	} else if err != nil {
		return nil, err
	}
	if err := killLong(whole, killed); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(killed)) }()
	open := func(what, dir string) error {
		began := time.Now()
		log, err := audit.OpenLog(dir, &audit.Options{Timeout: time.Minute})
		if err != nil {
			return err
		}
		figure(what, "ns", float64(time.Since(began).Nanoseconds()))
		return log.Close()
	}
	for range 3 {
		if err := open("log", whole); err != nil {
			return nil, err
		}
	}
	if err := open("killed", killed); err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(killed, "state")); err != nil {
		return nil, err
	}
	return results, open("stateless", killed)
}

// recordLong makes a log of n events.
func recordLong(dir string, n int) (time.Duration, error) {
	opts := &audit.Options{Durability: audit.Written, Timeout: time.Minute, RetainEvery: time.Second}
	if *openKept > 0 || *openPacked {
		opts.Retention = &audit.Retention{Bytes: *openKept, Compress: *openPacked}
	}
	log, err := audit.OpenLog(dir, opts)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	at := func(int) time.Time { return time.Time{} }
	if *openDays > 0 {
		first, all := began.AddDate(0, 0, -*openDays), float64(*openDays)*24*float64(time.Hour)
		at = func(i int) time.Time { return first.Add(time.Duration(all * float64(i) / float64(n))) }
	}
	err = fillTrail(log, n, at)
	if err == nil {
		err = log.Stats().Retention
	}
	if err == nil && *openPacked {
		_, err = log.Retain(context.Background(), opts.Retention)
	}
	return time.Since(began), errors.Join(err, log.Close())
}

// killLong makes a copy of a log as a killed process would leave it, with events behind the last state.
func killLong(whole, killed string) error {
	log, err := audit.OpenLog(whole, &audit.Options{Durability: audit.Written, Timeout: time.Minute})
	if err != nil {
		return err
	}
	now := func(int) time.Time { return time.Time{} }
	err = fillTrail(log, 50_000, now)
	if err == nil {
		_, err = log.Checkpoint(context.Background())
	}
	if err == nil {
		err = fillTrail(log, 1000, now)
	}
	if err == nil {
		err = killedCopy(whole, killed)
	}
	return errors.Join(err, log.Close())
}

// fillTrail records short events of a thousand tenants.
func fillTrail(log *audit.Log, n int, at func(int) time.Time) error {
	var ids [1000]tenant.ID
	for i := range ids {
		ids[i] = tenant.MustParse(fmt.Sprint("tenant-", i))
	}
	var next atomic.Int64
	return parallel(64, func() error {
		// Queued and not waited for, as outcomes are; now and then one is, so that the queue stays short.
		for range 100 {
			i := int(next.Add(1)) - 1
			if i >= n {
				return nil
			}
			e := &audit.Event{
				Code: audit.CodeQuery, Phase: audit.Outcome, Status: audit.Success, Time: at(i), Tenant: ids[i%len(ids)], Store: "postgresql", Rows: 1, Bytes: -1,
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
	if err := os.CopyFS(filepath.Join(to, "summaries"), os.DirFS(filepath.Join(from, "summaries"))); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
		if rel == "seg" || rel == "summaries" || rel == "LOCK" || rel == "reserve" {
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
