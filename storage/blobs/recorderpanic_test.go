package blobs

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/audit"
)

// TestARecorderThatPanicsHasFailed: who reads, writes, copies, lists or deletes has the error of a trail that is away, nothing is left half
// done in the store, and what was written before is there.
func TestARecorderThatPanicsHasFailed(t *testing.T) {
	for event, like := range map[string]func(*audit.Event) bool{
		"an intent":  func(e *audit.Event) bool { return e.Phase == audit.Intent },
		"an outcome": func(e *audit.Event) bool { return e.Phase == audit.Outcome },
	} {
		for _, store := range stores {
			t.Run(event+" on "+store.name, func(t *testing.T) {
				w := newWorld(t)
				inner := store.open(t)
				b := w.wrap(t, inner, "records")
				must(t, b.WriteAll(w.a, "k", []byte("before"), nil))
				before := rawNames(t, inner)
				var panicked bool
				for what, call := range map[string]func(context.Context) error{
					"a read": func(ctx context.Context) error {
						r, err := b.NewReader(ctx, "k", nil)
						if err != nil {
							return err
						}
						_, err = io.Copy(io.Discard, r)
						return errors.Join(err, r.Close())
					},
					"a write": func(ctx context.Context) error { return b.WriteAll(ctx, "k", []byte("before"), nil) },
					"a source": func(ctx context.Context) error {
						return b.Upload(ctx, "k", strings.NewReader("before"), &blob.WriterOptions{ContentType: "text/plain"})
					},
					"a copy":     func(ctx context.Context) error { return b.Copy(ctx, "k", "k", nil) },
					"a list":     func(ctx context.Context) error { _, err := b.List(nil).Next(ctx); return err },
					"attributes": func(ctx context.Context) error { _, err := b.Attributes(ctx, "k"); return err },
					"a delete":   func(ctx context.Context) error { return b.Delete(ctx, "absent") },
				} {
					w.log.set(func(e *audit.Event) bool {
						if like(e) {
							panicked = true
							panic("of the application's")
						}
						return false
					})
					err := errors.New("the panic reached the caller")
					func() {
						defer func() { recover() }()
						err = call(w.a)
					}()
					w.log.set(nil)
					if !panicked {
						t.Errorf("%s: nothing panicked", what)
					}
					if !errors.Is(err, audit.ErrUnavailable) || strings.Contains(err.Error(), "of the application's") {
						t.Errorf("%s: %v; want that the trail is unavailable, and nothing of what the panic says", what, err)
					}
					if after := rawNames(t, inner); len(after) != len(before) {
						t.Errorf("%s: the store has %q, and had %q", what, after, before)
					}
					if got, err := b.ReadAll(w.a, "k"); err != nil || string(got) != "before" {
						t.Errorf("%s: got %q, %v", what, got, err)
					}
				}
			})
		}
	}
}
