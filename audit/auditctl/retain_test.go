package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestRetain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	log, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, SegmentBytes: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		e := &audit.Event{
			Code: audit.CodeQuery, Phase: audit.Outcome, Status: audit.Success, Tenant: tenant.MustParse("acme"), Actor: "ann", Purpose: "treatment",
			Request: fmt.Sprint("r", i, strings.Repeat("x", 500)), Store: "sqlite", Name: "db", Rows: 1,
		}
		if err := log.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if _, err := log.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][]string{{}, {"-age", "0d"}, {"-age", "soon"}, {"-size", "many"}, {"-size", "9999999999TiB"}, {"-needed", "-1"}, {"-drop-hashes"}, {"-drop-checkpoints"}} {
		try(t, 2, append(append([]string{"retain"}, wrong...), dir)...)
	}
	missing := filepath.Join(t.TempDir(), "none")
	try(t, 2, "retain", "-compress", missing)
	if _, err := audit.Retained(missing); err == nil {
		t.Error("a log was made")
	}
	if out, _ := try(t, 0, "retain", "-compress", "-age", "50d", "-size", "1", "-needed", "0", dir); strings.Contains(out, "compressed  0") || !strings.Contains(out, "deleted     0") {
		t.Error(out)
	}
	if _, errs := try(t, 0, "query", dir); strings.Contains(errs, "retention") {
		t.Error(errs)
	}
	out, _ := try(t, 0, "retain", "-size", "20KiB", dir)
	first, err := audit.Retained(dir)
	if err != nil || first == 0 || !strings.Contains(out, fmt.Sprintf("has the index %d", first)) {
		t.Errorf("%d, %v: %s", first, err, out)
	}
	if out, _ := try(t, 0, "verify", "-key", log.Verifier(), dir); !strings.Contains(out, fmt.Sprintf("hashes from index %d on", first)) || !strings.Contains(out, "intact") {
		t.Error(out)
	}
	for _, command := range []string{"query", "export"} {
		if out, errs := try(t, 0, command, dir); !strings.Contains(errs, fmt.Sprintf("from index %d on", first)) || !strings.Contains(out, "audit.pruned") {
			t.Errorf("%s: %s\n%s", command, errs, out)
		}
	}
	try(t, 0, "retain", "-size", "10KiB", "-drop-hashes", "-drop-checkpoints", dir)
	if first, err = audit.Retained(dir); err != nil {
		t.Fatal(err)
	}
	if out, _ := try(t, 0, "verify", "-key", log.Verifier(), dir); !strings.Contains(out, fmt.Sprintf("from index %d on; pins", first)) || !strings.Contains(out, "intact") {
		t.Error(out)
	}
	if out, _ := try(t, 0, "verify", "-key", log.Verifier(), dir); !strings.Contains(out, "checkpoints  from number ") || !strings.Contains(out, "intact") {
		t.Error(out)
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	try(t, 0, "bundle", "-tenant", "acme", "-o", bundle, dir)
	if out, _ := try(t, 0, "verify-bundle", "-key", log.Verifier(), bundle); !strings.Contains(out, "events are not here") {
		t.Error(out)
	}
}
