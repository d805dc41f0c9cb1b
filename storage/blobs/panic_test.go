package blobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

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

// TestWhatARunIsGivenBreaks: a callback that does not return, on a goroutine of the run's own, ends the run with an error that says so, and not the
// process, with all other tenants' requests; and the run has its outcome in the trail.
func TestWhatARunIsGivenBreaks(t *testing.T) {
	for broke, does := range map[string]func(){"panicked": func() { panic("of the application's") }, "ended its goroutine": runtime.Goexit} {
		ifMatch := func(func(any) bool, *blob.Attributes) error { does(); return nil }
		for name, run := range map[string]func(t *testing.T, l *leaver) error{
			"Import: Progress": func(t *testing.T, l *leaver) error {
				_, err := Import(l.ctx, l.b, plainSource(t), &ImportOptions{Progress: func(ImportProgress) { does() }})
				return err
			},
			"Import: IfMatch": func(t *testing.T, l *leaver) error {
				_, err := Import(l.ctx, l.b, blob.NewBucket(hooked{innerDriver(plainSource(t))}), &ImportOptions{DeleteSource: true, IfMatch: ifMatch})
				return err
			},
			"Import: Checkpoint": func(t *testing.T, l *leaver) error {
				_, err := Import(l.ctx, l.b, plainSource(t), &ImportOptions{Checkpoint: breaking{does}})
				return err
			},
			"Reseal: IfMatch": func(t *testing.T, l *leaver) error {
				_, err := Reseal(l.ctx, l.wrap(t, blob.NewBucket(hooked{innerDriver(l.inner)}), "records"), &ResealOptions{IfMatch: ifMatch})
				return err
			},
			"Offboard: Progress": func(t *testing.T, l *leaver) error {
				l.shred(t)
				_, err := Offboard(l.ctx, l.b, leaving, &OffboardOptions{Progress: func(OffboardProgress) { does() }})
				return err
			},
			"Offboard: Leftovers": func(t *testing.T, l *leaver) error {
				l.shred(t)
				_, err := Offboard(l.ctx, l.b, leaving, &OffboardOptions{Leftovers: breaking{does}})
				return err
			},
		} {
			t.Run(name+" "+broke, func(t *testing.T) {
				l := newLeaver(t, memory())
				err := errors.New("it did not return")
				over := make(chan struct{})
				go func() {
					defer close(over)
					defer func() { recover() }()
					err = run(t, l)
				}()
				<-over
				if err == nil || !strings.Contains(err.Error(), broke) || strings.Contains(err.Error(), "of the application's") {
					t.Errorf("got the error %v", err)
				}
				open := map[string]int{}
				for _, e := range l.log.take() {
					switch e.Phase {
					case audit.Intent:
						open[e.Correlation]++
					case audit.Outcome:
						open[e.Correlation]--
					}
				}
				for id, n := range open {
					if n != 0 {
						t.Errorf("%d of an operation's events, %s, have no outcome", n, id)
					}
				}
			})
		}
	}
}

func plainSource(t testing.TB) *blob.Bucket {
	source := memory()
	must(t, source.WriteAll(t.Context(), "source", []byte("x"), nil))
	return source
}

// breaking is what a run is given to write to, or to ask.
type breaking struct{ does func() }

func (breaking) Read([]byte) (int, error)                                 { return 0, io.EOF }
func (b breaking) Write(p []byte) (int, error)                            { b.does(); return len(p), nil }
func (b breaking) Clear(context.Context, string, bool) (n int64, _ error) { b.does(); return 0, nil }

// hooked calls the hooks that its options have.
type hooked struct{ bucketDriver }

func (h hooked) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	if o.BeforeWrite != nil {
		if err := o.BeforeWrite(noAs); err != nil {
			return nil, err
		}
	}
	return h.bucketDriver.NewTypedWriter(ctx, key, contentType, o)
}

func (h hooked) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	if o.BeforeDelete != nil {
		if err := o.BeforeDelete(noAs); err != nil {
			return err
		}
	}
	return h.bucketDriver.Delete(ctx, key, o)
}
