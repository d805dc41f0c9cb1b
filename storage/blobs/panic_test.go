package blobs

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"strings"
	"testing"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/audit"
)

type panicking struct{ does func() }

func (p panicking) Read([]byte) (int, error) { p.does(); return 0, nil }

// TestWhatTheApplicationPanicsInIsRecorded: an operation in whose midst code of the application's panics, or ends the goroutine, has an outcome
// in the trail, and leaves nothing open or half done behind.
func TestWhatTheApplicationPanicsInIsRecorded(t *testing.T) {
	t.Run("panics", func(t *testing.T) { recordsWhatBreaks(t, func() { panic("of the application's") }) })
	t.Run("ends the goroutine", func(t *testing.T) { recordsWhatBreaks(t, runtime.Goexit) })
}

func recordsWhatBreaks(t *testing.T, does func()) {
	hook := func(func(any) bool) error { does(); return nil }
	for _, c := range []struct {
		name string
		do   func(context.Context, *blob.Bucket) error
	}{
		{"a source", func(ctx context.Context, b *blob.Bucket) error {
			source := io.MultiReader(bytes.NewReader(pattern(fourSegments)), panicking{does})
			return b.Upload(ctx, "k", source, &blob.WriterOptions{ContentType: "text/plain"})
		}},
		{"BeforeRead", func(ctx context.Context, b *blob.Bucket) error {
			_, err := b.NewReader(ctx, "k", &blob.ReaderOptions{BeforeRead: hook})
			return err
		}},
		{"BeforeWrite", func(ctx context.Context, b *blob.Bucket) error {
			return b.WriteAll(ctx, "k", []byte("x"), &blob.WriterOptions{BeforeWrite: hook})
		}},
		{"BeforeCopy", func(ctx context.Context, b *blob.Bucket) error {
			return b.Copy(ctx, "k", "k", &blob.CopyOptions{BeforeCopy: hook})
		}},
		{"BeforeList", func(ctx context.Context, b *blob.Bucket) error {
			_, err := b.List(&blob.ListOptions{BeforeList: hook}).Next(ctx)
			return err
		}},
	} {
		for _, store := range stores {
			t.Run(c.name+" on "+store.name, func(t *testing.T) {
				w := newWorld(t)
				inner := store.open(t)
				b := w.wrap(t, inner, "records")
				must(t, b.WriteAll(w.a, "k", []byte("before"), nil))
				before := rawNames(t, inner)
				w.log.take()
				over := make(chan struct{})
				go func() {
					defer close(over)
					defer func() { recover() }()
					if err := c.do(w.a, b); err == nil || strings.Contains(err.Error(), "of the application's") {
						t.Errorf("got the error %v", err)
					}
				}()
				<-over
				left := map[string]int{}
				for _, e := range w.log.take() {
					if e.Phase == audit.Intent {
						left[e.Correlation]++
					} else if left[e.Correlation]--; e.Status != audit.Failure || e.Reason != "error" {
						t.Errorf("the outcome is %s, %q", e.Status, e.Reason)
					}
				}
				for id, n := range left {
					if n != 0 {
						t.Errorf("%d of an operation's events, %s, have no outcome", n, id)
					}
				}
				if len(left) == 0 {
					t.Error("the trail has nothing")
				}
				if err := b.WriteAll(w.a, "other", nil, nil); err != nil { // and nothing is held
					t.Error(err)
				}
				must(t, b.Delete(w.a, "other"))
				if after := rawNames(t, inner); len(after) != len(before) {
					t.Errorf("the store has %q, and had %q", after, before)
				}
				if got, err := b.ReadAll(w.a, "k"); err != nil || string(got) != "before" {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
	}
}
