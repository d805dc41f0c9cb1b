package story

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
)

// shown is how many of the newest events are shown.
const shown = 15

// trail shows the end of the audit trail and counts all of it.
func (s *story) trail(ctx context.Context) (string, error) {
	type kind struct {
		code   audit.Code
		status audit.Status
	}
	counts := map[kind]int{}
	var newest []audit.Entry
	for e, err := range audit.Read(ctx, s.AuditDir, nil) {
		if err != nil {
			return "", err
		}
		if e.Phase != audit.Intent {
			counts[kind{e.Code, e.Status}]++
		}
		newest = append(newest, e)
		newest = newest[max(0, len(newest)-shown):]
	}
	for _, must := range []kind{
		{audit.CodeExec, audit.Success}, {audit.CodeQuery, audit.Denied}, {audit.CodeIsolation, audit.Failure},
		{audit.CodeKeySuspend, audit.Success}, {audit.CodeBlobRead, audit.Denied}, {audit.CodeBlobWrite, audit.Success},
	} {
		if counts[must] == 0 {
			return "", fmt.Errorf("the trail has no %s event with status %s", must.code, must.status)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the last %d events; actors are pseudonyms, and no value is ever recorded", len(newest))
	for _, e := range newest {
		b.WriteString("\n" + row(e))
	}
	b.WriteString("\nall accesses, by outcome:")
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(a.status, b.status))
	})
	for _, k := range kinds {
		fmt.Fprintf(&b, "\n%-16s %-8s %5d", k.code, k.status, counts[k])
	}
	return b.String(), nil
}

// row is an event as a line of a table.
func row(e audit.Entry) string {
	what := strings.Join(e.Tables, " ")
	if e.Code == audit.CodeIsolation {
		what = strings.Join(e.SealedColumns, " ")
	}
	if e.Rows >= 0 && e.Phase == audit.Outcome {
		what += fmt.Sprintf(" rows=%d", e.Rows)
	}
	if e.Reason != "" {
		what += " (" + e.Reason + ")"
	}
	return strings.TrimRight(fmt.Sprintf("%s  %-14s %-7.7s %-10s %-15s %-7s %-7s %s", e.Time.Format("15:04:05.000"),
		cmp.Or(e.Tenant, "-"), e.Actor, e.Purpose, e.Code, e.Phase, e.Status, strings.TrimSpace(what)), " ")
}

// alerts checks that each of the three values that somebody moved is in the trail.
func (s *story) alerts(ctx context.Context) (string, error) {
	alerts, columns := 0, map[string]int{}
	for e, err := range audit.Read(ctx, s.AuditDir, &audit.Filter{Code: audit.CodeIsolation, Tenant: North}) {
		if err != nil {
			return "", err
		}
		alerts++
		for _, c := range e.SealedColumns {
			columns[c]++
		}
	}
	if alerts != 3 || columns["patients.notes"] != 1 || columns["patients.name"] != 1 {
		return "", fmt.Errorf("there are %d isolation alerts, about the columns %v", alerts, columns)
	}
	return "an alert for each of the three values that were moved", nil
}

// verify checks the log as a reviewer would.
func (s *story) verify(ctx context.Context) (string, error) {
	if _, err := s.Log.Checkpoint(ctx); err != nil {
		return "", err
	}
	report, err := audit.Verify(ctx, s.AuditDir, nil)
	if err != nil {
		return "", err
	}
	if report.Sealed == 0 {
		return "", errors.New("no event is under a signed checkpoint")
	}
	return fmt.Sprintf("audit.Verify: %d events, %d under signed checkpoints, every byte as it was written", report.Events, report.Sealed), nil
}

// forge changes one byte in a copy of the log.
func (s *story) forge(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "strongroom-forged-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	forged := filepath.Join(dir, "audit")
	if err := os.CopyFS(forged, os.DirFS(s.AuditDir)); err != nil {
		return "", err
	}
	if _, err := audit.Verify(ctx, forged, nil); err != nil {
		return "", fmt.Errorf("the copy before it was changed: %w", err)
	}
	if err := flip(forged); err != nil {
		return "", err
	}
	_, err = audit.Verify(ctx, forged, nil)
	if err := s.expectError(err, audit.ErrTampered); err != nil {
		return "", err
	}
	return "in a copy, one byte of a denial changed\n" + s.lastRefusal(), nil
}

// flip changes one byte of the first denial in the log.
func flip(dir string) error {
	segments, err := filepath.Glob(filepath.Join(dir, "seg", "*.jsonl"))
	if err != nil {
		return err
	}
	for _, name := range segments {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		changed := strings.Replace(string(b), `"status_code":"denied"`, `"status_code":"Denied"`, 1)
		if changed != string(b) {
			return os.WriteFile(name, []byte(changed), 0o600)
		}
	}
	return errors.New("the log has no denial")
}
