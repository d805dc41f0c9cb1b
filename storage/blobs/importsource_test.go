package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// changing is a source that somebody changes while it is read.
type changing struct {
	bucketDriver
	change func(calls int, key string)
	mu     sync.Mutex
	calls  int
}

func (c *changing) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	r, err := c.bucketDriver.NewRangeReader(ctx, key, offset, length, o)
	return &changingReader{r, c, key}, err
}

type changingReader struct {
	driver.Reader
	c   *changing
	key string
}

func (r *changingReader) Read(p []byte) (int, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.calls++
	r.c.change(r.c.calls, r.key)
	return r.Reader.Read(p)
}

// A source that changes while it is read leaves nothing in the destination, and stays.
func TestImportChangingSource(t *testing.T) {
	w := newWorld(t)
	old := pattern(3 * plainSegmentSize)
	for name, newer := range map[string][]byte{"same size": bytes.Repeat([]byte{7}, len(old)), "shorter": old[:10], "longer": append(bytes.Clone(old), 1), "same": old} {
		for at := 1; at < 4; at++ {
			to, store := w.mem(t, "records")
			source := memory()
			must(t, source.WriteAll(t.Context(), "k", old, nil))
			from := blob.NewBucket(&changing{bucketDriver: innerDriver(source), change: func(calls int, key string) {
				if calls == at {
					must(t, source.WriteAll(t.Context(), key, newer, nil))
				}
			}})
			r, err := Import(w.a, to, from, &ImportOptions{DeleteSource: true})
			wantIs(t, err, ErrSourceChanged)
			if names := rawNames(t, store); len(names) != 0 || r.Deleted != 0 || r.Actions[ImportFailed] != 1 {
				t.Errorf("%s: %+v; the destination has %q", name, r, names)
			}
			r, err = Import(w.a, to, from, &ImportOptions{DeleteSource: true})
			if got, readErr := to.ReadAll(w.a, "k"); err != nil || r.Deleted != 1 || readErr != nil || !bytes.Equal(got, newer) {
				t.Errorf("%s, when it has come to rest: %+v, %v, %v", name, r, err, readErr)
			}
		}
	}
	// Changed when it has been verified, and is about to be deleted.
	to, _ := w.mem(t, "records")
	from := memory()
	must(t, from.WriteAll(t.Context(), "k", old, nil))
	checkpoint := &notifying{on: func() { must(t, from.WriteAll(t.Context(), "k", []byte("newer"), nil)) }}
	r, err := Import(w.a, to, from, &ImportOptions{DeleteSource: true, Checkpoint: checkpoint})
	wantIs(t, err, ErrSourceChanged)
	if got, err := from.ReadAll(t.Context(), "k"); r.Deleted != 0 || err != nil || string(got) != "newer" {
		t.Errorf("%+v; the source has %q, %v", r, got, err)
	}
}

// notifying is a checkpoint that tells when an object was verified.
type notifying struct {
	buf bytes.Buffer
	on  func()
}

func (n *notifying) Read(p []byte) (int, error) { return n.buf.Read(p) }

func (n *notifying) Write(p []byte) (int, error) {
	n.on()
	return n.buf.Write(p)
}

// The deletion of a source is on record before it happens and after, and nothing is deleted that cannot be recorded or
// that the authorizer refuses.
func TestImportDeletionsAreInTheTrail(t *testing.T) {
	w := newWorld(t)
	refuse := false
	w.guard.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
		if refuse && a.Verb == tenant.Delete && a.Key == "k" {
			return errors.New("not yours to delete")
		}
		return nil
	})
	from := memory()
	to, _ := w.mem(t, "records")
	must(t, from.WriteAll(t.Context(), "k", []byte("content"), nil))
	run := func() error {
		_, err := Import(w.a, to, from, &ImportOptions{DeleteSource: true})
		return err
	}
	there := func(want bool) {
		t.Helper()
		if exists, err := from.Exists(t.Context(), "k"); exists != want || err != nil {
			t.Errorf("the source is there: %v, %v", exists, err)
		}
	}
	refuse = true
	wantIs(t, run(), tenant.ErrDenied)
	there(true)
	refuse = false
	w.log.set(func(e *audit.Event) bool { return e.Code == audit.CodeBlobSource && e.Phase == audit.Intent })
	wantIs(t, run(), audit.ErrUnavailable)
	there(true)
	w.log.set(nil)
	w.log.take()
	must(t, run())
	there(false)
	var got []string
	for _, e := range w.log.take() {
		if e.Code == audit.CodeBlobSource {
			got = append(got, fmt.Sprintf("%s %s %s %s", e.Phase, e.Status, e.Details["source"], e.Details["key"]))
			if e.Tenant != alice || e.Actor != "nurse@alice" || e.Name != "records" || e.Sealer == nil {
				t.Errorf("recorded %+v", e)
			}
		}
	}
	if want := []string{"intent success k k", "outcome success k k"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// A checkpoint says that an object was verified, not that it still opens: what the store did to it since does not cost the
// source.
func TestCheckpointIsNoReasonToDelete(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWorld(t)
		from, checkpoint := memory(), new(bytes.Buffer)
		must(t, from.WriteAll(t.Context(), "k", []byte("content"), nil))
		to, inner := w.mem(t, "records")
		_, err := Import(w.a, to, from, &ImportOptions{Checkpoint: checkpoint})
		must(t, err)
		lines := checkpoint.String()
		name := w.nameOf(t, alice, "k")
		damaged := getRaw(t, inner, name)
		damaged.body[len(damaged.body)-1] ^= 1
		putRaw(t, inner, name, damaged)
		r, err := Import(w.a, to, from, &ImportOptions{Checkpoint: bytes.NewBufferString(lines), DeleteSource: true})
		must(t, err)
		got, err := to.ReadAll(w.a, "k")
		if err != nil || string(got) != "content" {
			t.Errorf("%v, deleted %d sources, and what was imported is %q, %v", r.Actions, r.Deleted, got, err)
		}
	})
}
