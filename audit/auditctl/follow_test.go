package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestFollow prints what comes, of two logs, until it is interrupted.
func TestFollow(t *testing.T) {
	var dirs []string
	var logs []*audit.Log
	for range 2 {
		dir := filepath.Join(t.TempDir(), "log")
		l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dirs, logs = append(dirs, dir), append(logs, l)
	}
	record := func(i int, status audit.Status) {
		t.Helper()
		err := logs[i].Record(t.Context(), &audit.Event{Code: audit.CodeQuery, Phase: audit.Single, Status: status, Tenant: tenant.MustParse("acme"),
			Purpose: "\x1b[2Jtreatment", Store: "sqlite", Name: "db", Tables: []string{"patients"}, Rows: -1, Bytes: -1})
		if err != nil {
			t.Fatal(err)
		}
	}
	record(0, audit.Denied)
	for _, asJSON := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		read, write := io.Pipe()
		args := []string{"follow", "-status", "denied", "-since", "2020-01-01"}
		if asJSON {
			args = append(args, "-json")
		}
		var errs bytes.Buffer
		status := make(chan int, 1)
		go func() {
			status <- run(ctx, append(args, dirs...), write, &errs)
			write.Close()
		}()
		lines := bufio.NewScanner(read)
		next := func() string {
			t.Helper()
			if !lines.Scan() {
				t.Fatalf("it ended: %s", &errs)
			}
			return lines.Text()
		}
		n := 1
		if asJSON {
			n = 2
		}
		for range n {
			next()
		}
		record(1-n%2, audit.Success)
		record(n%2, audit.Denied)
		line := next()
		if strings.Contains(line, "\x1b") || !strings.Contains(line, "patients") || !strings.Contains(line, "denied") || asJSON != json.Valid([]byte(line)) {
			t.Errorf("%q", line)
		}
		cancel()
		go io.Copy(io.Discard, read)
		if got := <-status; got != exitOK {
			t.Errorf("exit status %d: %s", got, &errs)
		}
	}
	try(t, 2, "follow")
	try(t, 2, "follow", "-until", "2026-01-01", dirs[0])
	try(t, 2, "follow", "-code", "sql", dirs[0])
	try(t, 2, "follow", dirs[0], dirs[0])
}
