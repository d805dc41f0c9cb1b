package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
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

// asks are the questions to the store that are sent while the intent is on its way. Each returns whether anything came of it.
func asks(b *blob.Bucket, key string) map[string]func(context.Context) (bool, error) {
	return map[string]func(context.Context) (bool, error){
		"read": func(ctx context.Context) (bool, error) {
			got, err := b.ReadAll(ctx, key)
			return got != nil, err
		},
		"attributes": func(ctx context.Context) (bool, error) {
			got, err := b.Attributes(ctx, key)
			return got != nil, err
		},
		"exists": func(ctx context.Context) (bool, error) {
			return b.Exists(ctx, key)
		},
		"list": func(ctx context.Context) (bool, error) {
			got, _, err := b.ListPage(ctx, blob.FirstPageToken, 10, &blob.ListOptions{Prefix: key})
			return got != nil, err
		},
		"list with a forged token": func(ctx context.Context) (bool, error) {
			got, _, err := b.ListPage(ctx, []byte("forged"), 10, &blob.ListOptions{Prefix: key})
			return got != nil, err
		},
	}
}

// asked is a store that says when it is asked.
type asked struct {
	bucketDriver
	questions chan string
}

func (a *asked) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	a.questions <- "attributes"
	return a.bucketDriver.Attributes(ctx, key)
}

func (a *asked) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	a.questions <- "list"
	return a.bucketDriver.ListPaged(ctx, opts)
}

// The store is asked while the intent is on its way to the trail, and nothing that it says is released before that is in
// the trail: no byte, no attribute, no name, and not whether there is an object.
func TestAnswersWaitForTheIntent(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		t.Run(fmt.Sprint("sealed names ", sealed), func(t *testing.T) { answersWait(t, sealed) })
	}
}

func answersWait(t *testing.T, sealNames bool) {
	w := newWorld(t)
	q := &queueing{recorder: w.log, release: make(chan error), waits: make(chan struct{}, 1)}
	w.guard.Audit = q
	b, err := Wrap(memblob.OpenBucket(nil), w.guard, &Options{Label: "records", SealNames: sealNames})
	must(t, err)
	defer b.Close()
	content := pattern(1000)
	must(t, b.WriteAll(w.a, "there", content, nil))
	type answer struct {
		something bool
		err       error
	}
	for _, key := range []string{"there", "not there"} {
		for name, ask := range asks(b, key) {
			answers := make(chan answer, 1)
			send := func(ctx context.Context) {
				something, err := ask(ctx)
				answers <- answer{something, err}
			}
			go send(w.a)
			select {
			case <-q.waits:
			case a := <-answers:
				t.Fatalf("%s: released before its intent is in the trail: %v", name, a.err)
			}
			q.release <- audit.ErrUnavailable
			if a := <-answers; a.something || !errors.Is(a.err, audit.ErrUnavailable) || tells(a.err) {
				t.Errorf("%s of %s: %v, %v", name, key, a.something, a.err)
			}
			ctx, cancel := context.WithCancel(w.a)
			go send(ctx)
			<-q.waits
			cancel()
			if a := <-answers; a.something || a.err == nil || tells(a.err) {
				t.Errorf("%s of %s: %v, %v", name, key, a.something, a.err)
			}
		}
	}
	close(q.release)
	if got, err := b.ReadAll(w.a, "there"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// tells reports whether an error says what the store answered.
func tells(err error) bool {
	code := gcerrors.Code(err)
	return code == gcerrors.NotFound || code == gcerrors.InvalidArgument
}

// Attributes and listings do not wait for their intent before they ask the store.
func TestTheStoreIsAskedMeanwhile(t *testing.T) {
	w := newWorld(t)
	q := &queueing{recorder: w.log, release: make(chan error), waits: make(chan struct{}, 1)}
	w.guard.Audit = q
	store := &asked{innerDriver(memory()), make(chan string, 100)}
	b, err := Wrap(blob.NewBucket(store), w.guard, &Options{Label: "records"})
	must(t, err)
	defer b.Close()
	must(t, b.WriteAll(w.a, "there", pattern(1000), nil))
	for len(store.questions) > 0 {
		<-store.questions
	}
	for name, ask := range map[string]func() error{
		"attributes": func() error { _, err := b.Attributes(w.a, "there"); return err },
		"list": func() error {
			_, _, err := b.ListPage(w.a, blob.FirstPageToken, 10, nil)
			return err
		},
	} {
		done := make(chan error, 1)
		go func() { done <- ask() }()
		if question := <-store.questions; question != name { // the trail has not answered yet, and does not before release
			t.Errorf("%s: asked for %s", name, question)
		}
		select {
		case <-q.waits:
			q.release <- nil
		case err := <-done:
			t.Fatalf("%s: the intent was not waited for: %v", name, err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for len(store.questions) > 0 {
			<-store.questions
		}
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
