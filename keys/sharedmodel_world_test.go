package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// sharedWorld is the key, with Transit's rules, and the records.
type sharedWorld struct {
	mu       sync.Mutex
	newest   int
	oldest   int // that is available
	opens    int // the oldest that decrypts
	encrypts int // the oldest that encrypts; 0 for none set
	records  map[tenant.ID]keys.Record
	seq      int64                  // of records' versions
	waiting  map[string]*sharedStep // by process
	log      []string
	begun    time.Time
}

// sharedStep is a step that a process is about to take.
type sharedStep struct {
	what string
	let  chan struct{}
}

func (w *sharedWorld) note(process, format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8v %s: ", time.Since(w.begun), process)+fmt.Sprintf(format, args...))
}

// step waits until the test lets the process go on, and leaves the world locked, unless there is an error.
func (w *sharedWorld) step(ctx context.Context, process, what string, deaf bool) error {
	s := &sharedStep{what, make(chan struct{})}
	w.mu.Lock()
	w.waiting[process] = s
	w.mu.Unlock()
	done := ctx.Done()
	if deaf {
		done = nil
	}
	select {
	case <-s.let:
		w.mu.Lock()
		return nil
	case <-done:
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.waiting[process] == s {
			delete(w.waiting, process)
		}
		w.note(process, "%s: %v", what, ctx.Err())
		return ctx.Err()
	}
}

// sharedProcess is the world as one process sees it.
type sharedProcess struct {
	*sharedWorld
	name  string
	gated bool
	late  bool // what it stores is stored when the test says so
}

var _ keys.SharedKEK = (*sharedProcess)(nil)

func (p *sharedProcess) about(ctx context.Context, what string) error {
	if p.gated {
		return p.step(ctx, p.name, what, false)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	return nil
}

func (p *sharedProcess) SharedKey(ctx context.Context) (keys.SharedKey, error) {
	if err := p.about(ctx, "read the key"); err != nil {
		return keys.SharedKey{}, err
	}
	defer p.mu.Unlock()
	k := keys.SharedKey{Name: "shared", Oldest: p.oldest, Newest: p.newest}
	if p.opens > p.oldest {
		k.Enabled, k.Proving = p.opens, p.opens == p.encrypts
	}
	p.note(p.name, "the key is %+v", k)
	return k, nil
}

func (p *sharedProcess) RotateSharedKey(ctx context.Context) error {
	if err := p.about(ctx, "rotate"); err != nil {
		return err
	}
	defer p.mu.Unlock()
	p.newest++
	p.note(p.name, "rotated to %d", p.newest)
	return nil
}

func (p *sharedProcess) DisableVersions(ctx context.Context, oldest int) error {
	if err := p.about(ctx, fmt.Sprint("disable below ", oldest)); err != nil {
		return err
	}
	defer p.mu.Unlock()
	if oldest < p.oldest || oldest > p.newest {
		return errors.New("out of range")
	}
	p.opens, p.encrypts = oldest, max(oldest, p.encrypts)
	p.note(p.name, "opens from %d on", p.opens)
	return nil
}

func (p *sharedProcess) DestroyVersions(ctx context.Context, oldest int) error {
	if err := p.about(ctx, fmt.Sprint("destroy below ", oldest)); err != nil {
		return err
	}
	defer p.mu.Unlock()
	if oldest > p.opens || oldest > p.encrypts {
		p.note(p.name, "not destroyed below %d: not disabled", oldest)
		return errors.New("not disabled")
	}
	p.oldest = max(oldest, p.oldest)
	p.note(p.name, "destroyed below %d", p.oldest)
	return nil
}

func wrappedAs(version int, id tenant.ID, plaintext []byte) []byte {
	return append(fmt.Appendf(nil, "v%d:%s:", version, id), plaintext...)
}

func versionOf(wrapped []byte) int {
	v, _, _ := strings.Cut(strings.TrimPrefix(string(wrapped), "v"), ":")
	n, _ := strconv.Atoi(v)
	return n
}

func (p *sharedProcess) Needs(wrapped []byte, through int) bool { return versionOf(wrapped) <= through }

func (p *sharedProcess) Create(context.Context, tenant.ID) error { return nil }

func (p *sharedProcess) Wrap(_ context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return wrappedAs(p.newest, id, plaintext), nil
}

// unwrap is under the lock.
func (w *sharedWorld) unwrap(id tenant.ID, wrapped []byte) ([]byte, error) {
	v := versionOf(wrapped)
	plaintext, ok := bytes.CutPrefix(wrapped, wrappedAs(v, id, nil))
	if !ok || v < w.opens || v < w.oldest {
		return nil, fmt.Errorf("%w: version %d of %s", keys.ErrIntegrity, v, id)
	}
	return bytes.Clone(plaintext), nil
}

func (p *sharedProcess) Unwrap(_ context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unwrap(id, wrapped)
}

func (p *sharedProcess) Rewrap(_ context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	plaintext, err := p.unwrap(id, wrapped)
	if err != nil {
		return nil, err
	}
	return wrappedAs(p.newest, id, plaintext), nil
}

func (p *sharedProcess) Rotate(context.Context, tenant.ID) error { return nil }

func (p *sharedProcess) Destroy(ctx context.Context, _ tenant.ID) error {
	return &keys.SharedKeyError{Keys: []keys.SharedKey{{Name: "shared", Oldest: 1, Newest: 1}}}
}

func (p *sharedProcess) Group(context.Context, keys.Wrapped) string { return "shared" }

func (p *sharedProcess) UnwrapBatch(ctx context.Context, all []keys.Wrapped) (results []keys.Result, err error) {
	for _, w := range all {
		b, err := p.Unwrap(ctx, w.Tenant, w.Bytes)
		results = append(results, keys.Result{Bytes: b, Err: err})
	}
	return results, nil
}

func (p *sharedProcess) RewrapBatch(ctx context.Context, all []keys.Wrapped) (results []keys.Result, err error) {
	for _, w := range all {
		b, err := p.Rewrap(ctx, w.Tenant, w.Bytes)
		results = append(results, keys.Result{Bytes: b, Err: err})
	}
	return results, nil
}

// sharedRecords is the store, as one process sees it.
type sharedRecords struct{ *sharedProcess }

func (s sharedRecords) Get(_ context.Context, id tenant.ID) (keys.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, ok := s.records[id]
	if !ok {
		return rec, keys.ErrNotFound
	}
	return rec, nil
}

func (s sharedRecords) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	if s.late && version == 0 {
		_ = s.step(ctx, s.name, "store", true)
	} else {
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.records[id].Version != version {
		return 0, keys.ErrConflict
	}
	s.seq++
	s.records[id] = keys.Record{Data: bytes.Clone(data), Version: s.seq}
	s.note(s.name, "stored %s", id)
	return s.seq, nil
}

func (s sharedRecords) Delete(_ context.Context, id tenant.ID, version int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[id].Version != version {
		return keys.ErrConflict
	}
	delete(s.records, id)
	s.note(s.name, "deleted %s", id)
	return nil
}

func (s sharedRecords) List(ctx context.Context, after tenant.ID, limit int) (ids []tenant.ID, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.records {
		if id.String() > after.String() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b tenant.ID) int { return strings.Compare(a.String(), b.String()) })
	return ids[:min(len(ids), limit)], nil
}
