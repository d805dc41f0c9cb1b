package audit

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// TestReadVerified: what is read after Verify is what Verify saw, or an error says so.
func TestReadVerified(t *testing.T) {
	dir, _, _ := sample(t)
	report := mustVerify(t, dir)
	read := func(filter *Filter, reports ...*Report) (n int64, err error) {
		for _, err := range ReadVerified(t.Context(), reports, filter) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	if n, err := read(nil, report); err != nil || n != report.Events {
		t.Fatalf("%d of %d events, %v", n, report.Events, err)
	}
	if n, err := read(&Filter{Code: CodeQuery, Tenant: globex}, report); err != nil || n != 12 {
		t.Errorf("%d events of a tenant, %v", n, err)
	}
	if n, err := read(&Filter{Code: "nonsense"}, report); err == nil || n > 0 {
		t.Errorf("an unknown code: %d, %v", n, err)
	}
	if _, err := read(nil, report, report); err == nil {
		t.Error("one log twice")
	}
	other, _, _ := sample(t)
	if n, err := read(nil, report, mustVerify(t, other)); err != nil || n < 2*report.Events-4 {
		t.Errorf("of two logs: %d, %v", n, err)
	}

	// What came after the report is not in it.
	l := mustOpen(t, dir, quiet())
	mustRecord(t, l, query(acme, "later"))
	mustClose(t, l)
	if n, err := read(nil, report); err != nil || n != report.Events {
		t.Errorf("after the log grew: %d of %d, %v", n, report.Events, err)
	}

	// Changed behind the report's back, where the filter does not look, too.
	for what, change := range map[string]func(data []byte) []byte{
		"a word":      func(d []byte) []byte { return bytes.Replace(d, []byte("treatment"), []byte("treatmenT"), 1) },
		"a line less": func(d []byte) []byte { return d[bytes.IndexByte(d, '\n')+1:] },
		"two in a swap": func(d []byte) []byte {
			i := bytes.IndexByte(d, '\n') + 1
			j := i + bytes.IndexByte(d[i:], '\n') + 1
			return append(append(bytes.Clone(d[i:j]), d[:i]...), d[j:]...)
		},
	} {
		changed := copyDir(t, dir)
		r := mustVerify(t, changed)
		name := segments(t, changed)[1]
		writeFile(t, name, change(readFile(t, name)))
		for _, f := range []*Filter{nil, {Status: Denied}} {
			if _, err := read(f, r); !errors.Is(err, ErrTampered) {
				t.Errorf("%s changed after verification: %v", what, err)
			}
		}
	}
	cut := copyDir(t, dir)
	r := mustVerify(t, cut)
	name := segments(t, cut)[len(segments(t, cut))-1]
	writeFile(t, name, nil)
	if _, err := read(nil, r); !errors.Is(err, ErrTampered) {
		t.Errorf("cut after verification: %v", err)
	}
}

// TestFilters selects by who, why and what.
func TestFilters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	sealer := newSealer(t)
	for i, purpose := range []string{"treatment", "billing"} {
		for _, table := range []string{"patients", "invoices"} {
			e := query(acme, table)
			e.Actor, e.Sealer, e.Purpose, e.Tables = []string{"ann", "bob"}[i], sealer, purpose, []string{"clinics", table}
			mustRecord(t, l, e)
		}
	}
	mustClose(t, l)
	ann, err := sealer.Pseudonym("ann")
	if err != nil {
		t.Fatal(err)
	}
	for want, filters := range map[int][]Filter{
		0: {{Actor: "ann"}, {Purpose: "treat"}, {Object: "patient"}, {Object: "clinic", Purpose: "x"}},
		1: {{Actor: ann, Object: "patients"}, {Purpose: "billing", Object: "invoices"}},
		2: {{Actor: ann}, {Purpose: "billing"}, {Object: "patients"}},
		4: {{Object: "clinic"}, {Object: "clinics"}},
	} {
		for _, f := range filters {
			if got := entries(t, dir, &f); len(got) != want {
				t.Errorf("%+v selects %d events, want %d", f, len(got), want)
			}
		}
	}
}

// TestFilterPasses: what a filter passes over before a line is decoded is what it does not select.
func TestFilterPasses(t *testing.T) {
	all := eventsOfAllKinds(t)
	var filters []*Filter
	for _, id := range []tenant.ID{{}, acme, globex} {
		for _, status := range []Status{"", Success, Failure, Denied, Unknown} {
			for _, code := range append(Codes(), "", "sql.", "key.", "audit.", "alert.") {
				filters = append(filters, &Filter{Tenant: id, Status: status, Code: code})
			}
		}
	}
	hostile := query(acme, `"status_code":"denied"`)
	hostile.Purpose = `,"metadata":{"event_code":"key.shred","tenant_uid":"globex"}}`
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), quiet())
	mustRecord(t, l, hostile)
	mustClose(t, l)
	all = append(all, entries(t, l.dir, nil)...)
	for _, at := range []time.Time{time.UnixMilli(-5_000), time.UnixMilli(-4_999), time.UnixMilli(0), time.UnixMilli(1), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)} {
		e := all[0]
		e.Raw = append(fmt.Appendf(nil, `{"time":%d`, at.UnixMilli()), e.Raw[bytes.IndexByte(e.Raw, ','):]...)
		e.Time = at
		all = append(all, e)
	}
	for _, e := range slices.Clone(all) {
		filters = append(filters, &Filter{Since: e.Time}, &Filter{Until: e.Time}, &Filter{Since: e.Time, Until: e.Time.Add(time.Millisecond)}, &Filter{Tenant: acme, Since: e.Time})
		if when, ok := parseTime(e.Raw); !ok || !when.Equal(e.Time) {
			t.Errorf("%v, %v: want %v", when, ok, e.Time)
		}
	}
	for _, line := range []string{"", "{", `{"time":`, `{"time":1`, `{"time":,`, `{"time":+1,`, `{"time":1.5,`, `{"time":12345678901234567890123,`, `{"tame":1,`} {
		if when, ok := parseTime([]byte(line)); ok {
			t.Errorf("%s: %v", line, when)
		}
	}
	for _, f := range filters {
		for _, e := range all {
			if got, want := f.read(e.Raw).use, f.match(&e); got != want {
				t.Fatalf("%+v selects %s of %s, %s: %v, want %v", f, e.Code, e.Tenant, e.Status, got, want)
			}
		}
	}
	for _, f := range []*Filter{{Tenant: acme}, {Since: time.Unix(1, 0)}} {
		if s := f.read([]byte(`{"time":1}`)); s.err == nil {
			t.Error("what is no event is passed over")
		}
	}
}

// TestReadVerifiedWhileWritten: a log that somebody writes can be verified and read.
func TestReadVerifiedWhileWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes, opts.CheckpointEvery = 64<<10, 5*time.Millisecond
	l := mustOpen(t, dir, opts)
	mustRecord(t, l, query(acme, "first"))
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := l.Record(background, query(acme, "r")); err != nil {
				done <- err
				return
			}
		}
	}()
	last := int64(0)
	for i := 0; i < 20 || last < 1000; i++ {
		r := mustVerify(t, dir)
		n := int64(0)
		for _, err := range ReadVerified(t.Context(), []*Report{r}, nil) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != r.Head.Size || n < last {
			t.Errorf("%d of %d events, after %d", n, r.Head.Size, last)
		}
		last = n
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestReadVerifiedAfterRetention: of a log whose old segments are compressed or deleted, what is left is read, verified and
// followed.
func TestReadVerifiedAfterRetention(t *testing.T) {
	dir, _, _, _, _ := prunedLog(t)
	report := mustVerify(t, dir)
	if report.Deleted == 0 {
		t.Fatal("nothing was deleted")
	}
	all := entries(t, dir, nil)
	n := int64(0)
	for e, err := range ReadVerified(t.Context(), []*Report{report}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Index != report.Deleted+n {
			t.Fatalf("event %d is number %d behind those that were deleted", e.Index, n)
		}
		n++
	}
	if n != report.Head.Size-report.Deleted || n != int64(len(all)) {
		t.Errorf("%d events of %d, %d deleted", n, report.Head.Size, report.Deleted)
	}
	n = 0
	for e, err := range Watch(t.Context(), []string{dir}, &WatchOptions{Filter: &Filter{Since: time.Unix(1, 0)}}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Index != all[n].Index {
			t.Fatalf("followed, event %d comes in place of %d", e.Index, all[n].Index)
		}
		if n++; n == int64(len(all)) {
			break
		}
	}
	earlier := *report
	earlier.Deleted = 0
	for _, err := range ReadVerified(t.Context(), []*Report{&earlier}, nil) {
		if err == nil {
			t.Error("events that were deleted meanwhile are not missed")
		}
	}
}
