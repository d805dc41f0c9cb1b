package blobs

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
)

// queueing is a trail that takes events at once, and holds whoever waits for them.
type queueing struct {
	*recorder
	release chan error
	waits   chan struct{} // gets a token when somebody waits
}

type held struct{ q *queueing }

func (q *queueing) Queue(ctx context.Context, e *audit.Event) (audit.Pending, error) {
	return held{q}, q.Record(ctx, e)
}

func (h held) Wait(ctx context.Context) error {
	h.q.waits <- struct{}{}
	select {
	case err := <-h.q.release:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The store is asked for an object while the intent is on its way, and nothing that it says is released before that is in
// the trail: no byte, and not whether there is one.
func TestFirstByteWaitsForTheIntent(t *testing.T) {
	w := newWorld(t)
	q := &queueing{recorder: w.log, release: make(chan error), waits: make(chan struct{}, 1)}
	w.guard.Audit = q
	b, err := Wrap(memblob.OpenBucket(nil), w.guard, &Options{Label: "records"})
	must(t, err)
	defer b.Close()
	content := pattern(1000)
	must(t, b.WriteAll(w.a, "there", content, nil))
	type answer struct {
		content []byte
		err     error
	}
	for _, key := range []string{"there", "not there"} {
		answers := make(chan answer, 1)
		read := func(ctx context.Context) {
			got, err := b.ReadAll(ctx, key)
			answers <- answer{got, err}
		}
		go read(w.a)
		<-q.waits
		select {
		case a := <-answers:
			t.Fatalf("released before its intent is in the trail: %v", a.err)
		default:
		}
		q.release <- audit.ErrUnavailable
		if a := <-answers; a.content != nil || !errors.Is(a.err, audit.ErrUnavailable) || gcerrors.Code(a.err) == gcerrors.NotFound {
			t.Errorf("%s: %d bytes, %v", key, len(a.content), a.err)
		}
		ctx, cancel := context.WithCancel(w.a)
		go read(ctx)
		<-q.waits
		cancel()
		if a := <-answers; a.content != nil || gcerrors.Code(a.err) == gcerrors.NotFound || a.err == nil {
			t.Errorf("%s: %d bytes, %v", key, len(a.content), a.err)
		}
	}
	close(q.release)
	if got, err := b.ReadAll(w.a, "there"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// What was done to an object is in the trail even if who found it gives up before the intent is there, and is told nothing.
func TestAlertsOutliveTheirCaller(t *testing.T) {
	w := newWorld(t)
	q := &queueing{recorder: w.log, release: make(chan error), waits: make(chan struct{}, 1)}
	w.guard.Audit = q
	inner := memblob.OpenBucket(nil)
	b, err := Wrap(inner, w.guard, &Options{Label: "records"})
	must(t, err)
	defer b.Close()
	must(t, b.WriteAll(w.a, "k", pattern(1000), nil))
	name := w.nameOf(t, alice, "k")
	object := getRaw(t, inner, name)
	object.meta = map[string]string{}
	putRaw(t, inner, name, object)
	w.log.take()
	ctx, cancel := context.WithCancel(w.a)
	answer := make(chan error, 1)
	go func() {
		_, err := b.ReadAll(ctx, "k")
		answer <- err
	}()
	<-q.waits
	cancel()
	if err := <-answer; err == nil || errors.Is(err, storage.ErrIsolation) || gcerrors.Code(err) == gcerrors.FailedPrecondition {
		t.Errorf("released before its intent is in the trail: %v", err)
	}
	if n := alerts(w.log.take()); n != 1 {
		t.Errorf("%d alerts", n)
	}
}
