package blobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/tenant"
)

// replacement replaces an object by one that is sealed anew, if it still is the version that was read; see [Reseal].
type replacement interface {
	put(ctx context.Context, n *renewal) (moved int64, unknown bool, err error)
	// alone returns once a name can be written or deleted on conditions, and what ends that.
	alone(ctx context.Context, name string) (done func(), err error)
	// deletion makes a deletion conditional on the version that was read.
	deletion(read *blob.Attributes) *blob.DeleteOptions
}

// replacement returns the way that the options ask for, once it was tried in this store.
func (r *resealer) replacement(ctx context.Context, id tenant.ID) (replacement, error) {
	dir := stagingPrefix(id)
	if r.opts.IfMatch != nil {
		c := &conditional{bucket: r.bucket, dir: dir, ifMatch: r.opts.IfMatch}
		if err := c.clean(ctx); err != nil {
			return nil, err
		}
		return c, c.try(ctx, 0)
	}
	if r.onFiles {
		f := &files{sole: sole{r.bucket}, dir: dir}
		return f, f.try(ctx)
	}
	return sole{r.bucket}, nil
}

// stagingPrefix is what the names begin with of what is no object of a tenant's, or not yet. No name of an object does: see
// markSegments.
func stagingPrefix(id tenant.ID) string { return scopeOf(id).prefix + ".reseal/" }

// staged are the names that are in use by runs of Reseal in this process, without the prefix.
type staged struct {
	mu    sync.Mutex
	names map[string]bool
}

// add returns a new name, without the prefix.
func (s *staged) add() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = map[string]bool{}
	}
	name := strings.ToLower(rand.Text()) // where case is folded it is one name too
	s.names[name] = true
	return name
}

func (s *staged) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
}

func (s *staged) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

// conditional leaves it to the store that nothing is replaced but the version that was read.
type conditional struct {
	*bucket
	dir     string
	ifMatch func(as func(any) bool, read *blob.Attributes) error

	large    sync.Once // guards largeErr
	largeErr error     // why no large object can be replaced
}

func (c *conditional) options(read *blob.Attributes) *blob.WriterOptions {
	return &blob.WriterOptions{BeforeWrite: matched(c.ifMatch, read)}
}

func (c *conditional) put(ctx context.Context, n *renewal) (int64, bool, error) {
	if n.src.stat.stored.Size >= largeObject {
		c.large.Do(func() { c.largeErr = c.try(ctx, largeObject) })
		if c.largeErr != nil {
			return 0, false, c.largeErr
		}
	}
	d, err := n.seal(ctx, n.target, c.options(n.replaces))
	if err != nil {
		return 0, false, err
	}
	err = d.commit()
	if conditionFailed(err) {
		return 0, false, errReplaced
	}
	return d.written, d.unknown, err
}

func (c *conditional) alone(context.Context, string) (func(), error) { return func() {}, nil }

func (c *conditional) deletion(read *blob.Attributes) *blob.DeleteOptions {
	return &blob.DeleteOptions{BeforeDelete: matched(c.ifMatch, read)}
}

// conditionFailed reports whether a store's error says that a condition did not hold.
func conditionFailed(err error) bool {
	code := gcerrors.Code(err)
	var store *storeError
	if errors.As(err, &store) {
		code = store.code
	}
	return code == gcerrors.FailedPrecondition || code == gcerrors.NotFound
}

// largeObject is from what size on s3blob uploads an object in parts, in bytes: what makes an object of those is a request of
// its own, with a condition of its own. It is tried before the first object of that size, at the cost of one upload.
const largeObject = 16 << 20

// tryGrace is how long a run that is cancelled waits for a request with which it tries the store.
const tryGrace = 10 * time.Second

// graceful returns a context that ends a while after another.
func graceful(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(grace):
			cancel()
		case <-later.Done():
		}
	})
	return later, func() {
		stop()
		cancel()
	}
}

// try finds out whether the store keeps the conditions of writes of a size: one that takes a write whose condition does not
// hold, as some do that know nothing of conditions, would destroy what others write.
//
// A request that is given up may be served after the deletion of what it writes, which then is left. So each is waited for, if the store
// answers within tryGrace; what is left of one that does not, a later run deletes, as what is left of a process that was killed.
func (c *conditional) try(cancelled context.Context, size int64) (err error) {
	ctx, done := graceful(cancelled, tryGrace)
	defer done()
	name := c.dir + c.staged.add()
	defer c.staged.remove(strings.TrimPrefix(name, c.dir))
	defer func() {
		if deleted := c.inner.Delete(context.WithoutCancel(ctx), name); deleted != nil && gcerrors.Code(deleted) != gcerrors.NotFound {
			err = errors.Join(err, fromStore(deleted))
		}
	}()
	write := func(text string, o *blob.WriterOptions) error {
		if cancelled.Err() != nil {
			return context.Cause(cancelled)
		}
		return c.inner.WriteAll(ctx, name, []byte(text), o)
	}
	var versions [2]*blob.Attributes
	for i := range versions {
		if err := write(fmt.Sprintf("Reseal tries this store: %d", i), nil); err != nil {
			return fmt.Errorf("blobs: try the store's conditional writes: %w", fromStore(err))
		}
		if versions[i], err = c.inner.Attributes(ctx, name); err != nil {
			return fmt.Errorf("blobs: try the store's conditional writes: %w", fromStore(err))
		}
	}
	if cancelled.Err() != nil {
		return context.Cause(cancelled)
	}
	o := c.options(versions[0])
	o.ContentType = storedContentType
	if err := c.inner.Upload(ctx, name, io.LimitReader(zeros{}, size), o); !conditionFailed(err) {
		return unconditionalStore("of a version that was replaced", err)
	}
	if size > 0 {
		return nil
	}
	if c.sealNames { // whose marks are deleted on conditions
		if err := c.inner.DeleteWithOptions(ctx, name, c.deletion(versions[0])); !conditionFailed(err) {
			return unconditionalStore("of a version that was replaced", err)
		}
	}
	if err := write("", c.options(versions[1])); err != nil {
		return fmt.Errorf("blobs: the store refuses a write although its condition holds: %w", fromStore(err))
	}
	if err := c.inner.Delete(ctx, name); err != nil {
		return fmt.Errorf("blobs: try the store's conditional writes: %w", fromStore(err))
	}
	if err := write("", c.options(versions[1])); !conditionFailed(err) {
		return unconditionalStore("of an object that was deleted", err)
	}
	return nil
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func unconditionalStore(what string, err error) error {
	if err != nil {
		return fmt.Errorf("blobs: try the store's conditional writes: a write in the place %s was to be refused, and failed otherwise: %w", what, fromStore(err))
	}
	return &codedError{gcerrors.Unimplemented, "refused: a store without conditional writes", fmt.Sprintf(
		"blobs: the store took a conditional write in the place %s; Reseal would destroy there what others write, and does nothing", what)}
}

// leftoverAge is how old what is staged must be before it is taken for what a process left that was killed.
const leftoverAge = time.Hour

// clean deletes what runs left that were killed.
func (c *conditional) clean(ctx context.Context) error {
	return c.each(ctx, c.dir, func(name string) error {
		a, err := c.inner.Attributes(ctx, name)
		if err == nil && time.Since(a.ModTime) > leftoverAge && !c.staged.has(strings.TrimPrefix(name, c.dir)) {
			err = c.inner.Delete(ctx, name)
		}
		if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return fromStore(err)
		}
		return nil
	})
}

// sole keeps the writers of this process apart itself. It is for memory: a version comes to be at once when it is complete.
type sole struct{ *bucket }

func (s sole) alone(ctx context.Context, name string) (func(), error) {
	return s.exclusion.alone(ctx, name)
}

func (sole) deletion(*blob.Attributes) *blob.DeleteOptions { return nil }

func (s sole) put(ctx context.Context, n *renewal) (int64, bool, error) {
	d, err := n.seal(ctx, n.target, &blob.WriterOptions{})
	if err != nil {
		return 0, false, err
	}
	done, err := s.alone(ctx, n.target)
	if err == nil {
		defer done()
		err = n.unchanged(ctx, n.target, n.replaces)
	}
	if err != nil {
		return 0, false, errors.Join(err, d.drop())
	}
	err = d.commit()
	return d.written, d.unknown, err
}
