package natstest

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/natslog"
)

// TestOtherKeysAmong: a stream in which every other event is under a key that the sealer has not costs as many requests as there are
// recorders, and not as there are events: when they are sealed and deleted, and when what is left is read again.
func TestOtherKeysAmong(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	other := *tr
	other.newKey(t)
	var requests atomic.Int64
	for _, api := range []string{"MSG.GET", "MSG.DELETE"} {
		sub, err := tr.admin.Subscribe("$JS.API.STREAM."+api+"."+tr.name, func(*nats.Msg) { requests.Add(1) })
		must(t, err)
		defer sub.Unsubscribe()
	}
	must(t, tr.admin.Flush())
	own, strange := tr.open(t, tr.recorder(), time.Minute), other.open(t, tr.recorder(), time.Minute)
	const events = 40
	for i := range events {
		record(t, strange, fmt.Sprint("other", i))
		record(t, own, fmt.Sprint("own", i))
	}
	l := openLog(t, dir)
	taken := 0
	seal := func(opts natslog.SealOptions, events int) {
		t.Helper()
		s, err := natslog.OpenSealer(t.Context(), tr.sealer(), l, opts)
		must(t, err)
		taken += roundsFor(t, s, events).Events
		must(t, s.Close())
	}
	asked := func(when string, most int64) {
		t.Helper()
		must(t, tr.admin.Flush())
		if n := requests.Swap(0); n > most {
			t.Errorf("%s: %d single messages were looked up or deleted, want at most %d", when, n, most)
		}
	}
	seal(tr.sealOptions(), 1+events) // with the recorder's audit.started
	asked("sealing", 3)
	left := len(tr.messages(t))
	requests.Store(0) // those were the test's
	if left != 1+events || taken != 1+events {
		t.Fatalf("%d events are sealed, %d messages left", taken, left)
	}
	record(t, own, "later")
	record(t, strange, "later")
	record(t, own, "and later")
	seal(tr.sealOptions(), 2) // which reads all that was left alone, and what was deleted is missing between
	asked("reading again", 3)
	must(t, errors.Join(own.Close(), strange.Close()))
	both := tr.sealOptions()
	both.Signers = append(both.Signers, other.signer)
	seal(both, events+4) // the other recorder's, and both ends
	left = len(tr.messages(t))
	must(t, l.Close())
	report, err := audit.Verify(t.Context(), dir, nil)
	if err != nil || left != 0 || taken != 2*events+7 || report.Missing+report.Refusals != 0 || report.Streams != 2 || report.OpenStreams != 0 {
		t.Errorf("%v, %d events, %d messages left\n%s", err, taken, left, report)
	}
	if seen := read(t, dir, &audit.Filter{Code: audit.CodeStreamGap}); len(seen) != 0 {
		t.Errorf("%d events about what is missing", len(seen))
	}
	var names []string
	for _, e := range read(t, dir, &audit.Filter{Code: audit.CodeQuery}) {
		names = append(names, e.Request)
	}
	if all := strings.Join(names, " "); len(names) != 2*events+3 || !strings.Contains(all, "own39 later and later other0 other1") {
		t.Errorf("the log has %s", all)
	}
}
