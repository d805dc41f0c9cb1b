// Package sinktest makes logs for the tests of sinks.
package sinktest

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// Origin is that of the logs.
const Origin = "example.com/clinic"

// NewLog makes a log of n events of one tenant, closed, and returns what is in it. Each event is the intent of a query, which
// change may make into another.
func NewLog(t testing.TB, n int, change func(i int, e *audit.Event)) (dir string, list []audit.Entry) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir = filepath.Join(t.TempDir(), "log")
	l, err := audit.OpenLog(dir, &audit.Options{Origin: Origin, ReserveBytes: -1, Timeout: time.Minute})
	must(err)
	for i := range n {
		e := &audit.Event{Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success, Tenant: tenant.MustParse("acme"),
			Actor: "dr.okafor@example.org", Rows: -1, Bytes: -1}
		change(i, e)
		p, err := l.Queue(t.Context(), e)
		must(err)
		must(p.Wait(t.Context()))
	}
	must(l.Close())
	for e, err := range audit.Read(t.Context(), dir, nil) {
		must(err)
		list = append(list, e)
	}
	return dir, list
}
