package keys

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/tenant"
)

// Status is the state of a tenant's keys.
type Status string

// The statuses.
const (
	StatusActive    Status = "active"
	StatusSuspended Status = "suspended"
	StatusShredded  Status = "shredded"
)

// Policy says what a keyring does with a tenant it has opened when it can no longer confirm the tenant's state,
// because the store or the KEK provider is away.
type Policy int

const (
	// FailNow refuses with [ErrUnavailable] once a state is older than [Options.SuspendWithin]. The default.
	FailNow Policy = iota
	// ServeStale goes on serving opened keys until [Options.StaleLimit], and records each use. A suspension made
	// meanwhile is not seen before the store is back. Past the bound somebody has to wait until the store has failed to
	// answer: with one that hangs, that is for as long as a read may take, or twice that where this process is so busy that it learns
	// too late of the failure to serve by it.
	ServeStale
)

// Options are the optional settings of [Open]. The zero value of each field means its default.
type Options struct {
	// Label names the keyring inside what is encrypted, so that the records of two environments that share a KEK
	// provider are never mistaken for each other: 1 to 64 of a-z, 0-9 and "-". Default "main". Their tenants of one id have one KEK there,
	// which shredding destroys for both: give each environment keys of its own, as by another vaultkek.Options.Prefix.
	Label string
	// Audit records every life-cycle operation and every use of keys past their confirmation. Required, unless
	// InsecureWithoutAudit is set.
	Audit audit.Recorder
	// InsecureWithoutAudit admits a keyring without Audit: nobody can tell afterwards who provisioned, suspended, resumed
	// or shredded a tenant. It is for tests and measurements. With Audit it has no effect.
	InsecureWithoutAudit bool
	// Actor stands in recorded events where the context carries no [tenant.Access]. Default "keyring".
	Actor string
	// CacheSize is how many tenants are kept opened, about 2.5 KB each; one not used for a while makes room.
	// Default 10,000.
	CacheSize int
	// SuspendWithin is how old the store's confirmation of a tenant's state may be when its keys are handed out, and
	// so the time within which another process's change takes effect. Default 5 s.
	SuspendWithin time.Duration
	// ReopenAfter is how long opened keys are served before the KEK provider has to unwrap them again, and so the
	// time within which what is revoked there takes effect. Default 15 min.
	ReopenAfter time.Duration
	// WhenUnavailable is what happens when either confirmation cannot be had in time. Default [FailNow].
	WhenUnavailable Policy
	// StaleLimit ends [ServeStale], counted from the last confirmation by whom has no answer: the store, the KEK provider, or
	// of both the one that answered longer ago. With ServeStale it must be longer than SuspendWithin and ReopenAfter, and
	// those at least 200 ms. Default 1 h.
	StaleLimit time.Duration
	// OnStale, if set, is told of each use of keys past their confirmation and its age, before the keys are handed
	// out. It must be quick and safe for concurrent use: it is meant for a metric.
	OnStale func(id tenant.ID, age time.Duration)
	// Timeout bounds one store read, which has no longer than 17 twentieths of SuspendWithin either, and one KEK call,
	// which has no longer than 17 twentieths of ReopenAfter (but each has 100 ms). Where many wait for their turn the
	// waiting is bounded by itself: four times Timeout. So is the time between wrapping a root keyset and storing it; where the KEK
	// is shared ([SharedKEK]) Timeout has to be the same in all processes. Default 5 s.
	Timeout time.Duration
	// MaxKEKCalls bounds the KEK calls in flight for opening tenants. Tenants in use have a quarter of them to
	// themselves, tenants to be opened for the first time another, and tenants whose last call had no answer share a
	// quarter. Default 32.
	MaxKEKCalls int
	// RotateAfterSeals is how many values one data key may seal, in all processes together, before the keyring rotates it
	// by itself (see [Keyring.Rotate]), and at most 2^31. At 2^32, the limit of NIST SP 800-38D for the random
	// initialization vectors of AES-GCM, it seals no more ([ErrExhausted]). The count is in the tenant's record: a
	// process reserves seals in the store before it uses them. An audit key is rotated by the same number of events; those are counted
	// afterwards, so that none waits for the store, and up to a thousand, or an eighth, of each time that a process has the tenant open are
	// not. Where it seals no more no access of the tenant's is recorded, and so none admitted; what is done about its keys is, without
	// details. Default 2^31.
	RotateAfterSeals int64
	// MaxStoreReads bounds the reads of records in flight, which are shared out likewise. Default 64.
	MaxStoreReads int

	// Telemetry gets spans, metrics and log lines. Default: none.
	Telemetry *audit.Telemetry

	clock func() time.Duration // monotonic; tests set it
}

// leastStale is the shortest bound within which a question can be asked, have no answer and be given up ([Options.within]),
// which takes at least leastTime, with some to spare.
const leastStale = 2 * leastTime

// Keyring opens tenants' keys and manages their life cycle. It is safe for concurrent use, and any number of
// processes may have keyrings on the same store.
type Keyring struct {
	door  // for the library's own packages
	kek   KEK
	store Store
	opts  Options

	retirer Retirer // the provider, where it is one
	// sharedOf finds the provider whose key tenants share; nil where there is none.
	sharedOf func(context.Context, Wrapped) (SharedKEK, []byte, error)

	book    *book
	batch   batch
	workers *workers
	reads   *limiter // of store reads for lookups
	calls   *limiter // of KEK calls for opening tenants
	crowd   crowd    // of tenants that are to be opened together

	telemetry *telemetry.Keyring // nil where it is off

	hearing  hearing  // of tenants about which there is news
	rotating sync.Map // tenant.ID of those of whom a key is being rotated by itself
	disabled sync.Map // by disabledKey: see seenDisabled

	base   context.Context // of flights, which outlive the callers that begin them
	cancel context.CancelFunc
}

// Open returns a keyring on a KEK provider and a store. It reads nothing yet. opts is required for its Audit. The error
// lists every option that is missing or out of range.
func Open(ctx context.Context, kek KEK, store Store, opts *Options) (*Keyring, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.complete(kek, store); err != nil {
		return nil, err
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &Keyring{kek: guardedKEK{kek}, store: guardedStore{store}, opts: o, base: base, cancel: cancel,
		workers: newWorkers(base.Done()), reads: newLimiter(o.MaxStoreReads, o.Timeout), calls: newLimiter(o.MaxKEKCalls, o.Timeout)}
	r.door = tenantkeys.NewDoor(r.openOwn)
	var err error
	if r.book, err = newBook(&r.opts); err != nil {
		cancel()
		return nil, fmt.Errorf("keys: make the cache: %w", err)
	}
	r.batch = newBatch(store, &r.opts)
	r.crowd.init(kek)
	r.retirer, _ = kek.(Retirer)
	r.sharedOf = sharedBehind(kek)
	if err := r.observe(); err != nil {
		cancel()
		return nil, err
	}
	if w, ok := store.(Watcher); ok {
		go r.watch(w)
	}
	return r, nil
}

// complete fills in defaults and reports all problems at once.
func (o *Options) complete(kek KEK, store Store) error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if kek == nil {
		problem("kek is nil; pass one from vaultkek.Open or localkek.Open")
	}
	if store == nil {
		problem("store is nil; pass one from filestore.Open or sqlstore.Open")
	}
	if o.Audit == nil && !o.InsecureWithoutAudit {
		problem("Options.Audit is nil; pass the log of storage.Guard, from audit.OpenLog, or set Options.InsecureWithoutAudit in a test")
	}
	if o.Label == "" {
		o.Label = "main"
	}
	if !validLabel(o.Label) {
		problem("Options.Label must be 1 to 64 of a-z, 0-9 and \"-\"")
	}
	if o.Actor == "" {
		o.Actor = "keyring"
	}
	if len(o.Actor) > tenant.MaxActorLength {
		problem("Options.Actor is longer than %d bytes", tenant.MaxActorLength)
	}
	positive := func(name string, v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			problem("Options.%s is negative; leave it zero for %v", name, def)
		}
	}
	positive("SuspendWithin", &o.SuspendWithin, 5*time.Second)
	positive("ReopenAfter", &o.ReopenAfter, 15*time.Minute)
	positive("StaleLimit", &o.StaleLimit, time.Hour)
	positive("Timeout", &o.Timeout, 5*time.Second)
	count := func(name string, v *int, def int) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			problem("Options.%s is negative; leave it zero for %d", name, def)
		}
	}
	count("CacheSize", &o.CacheSize, 10_000)
	count("MaxKEKCalls", &o.MaxKEKCalls, 32)
	count("MaxStoreReads", &o.MaxStoreReads, 64)
	if o.RotateAfterSeals == 0 {
		o.RotateAfterSeals = maxSeals / 2
	}
	if o.RotateAfterSeals < 0 || o.RotateAfterSeals > maxSeals/2 {
		problem("Options.RotateAfterSeals must be 1 to %d; leave it zero for that", maxSeals/2)
	}
	if o.WhenUnavailable != FailNow && o.WhenUnavailable != ServeStale {
		problem("Options.WhenUnavailable is %d; use FailNow or ServeStale", o.WhenUnavailable)
	}
	if o.WhenUnavailable == ServeStale {
		for _, b := range []struct {
			name  string
			bound time.Duration
		}{{"SuspendWithin", o.SuspendWithin}, {"ReopenAfter", o.ReopenAfter}} {
			if b.bound < leastStale && b.bound > 0 {
				problem("Options.%s is %v; with ServeStale make it %v or more, or no question can have failed within it", b.name, b.bound, leastStale)
			}
			if o.StaleLimit <= b.bound && o.StaleLimit > 0 {
				problem("Options.StaleLimit is %v and Options.%s %v; with ServeStale make the limit the longer one, or nothing is ever served past the bound",
					o.StaleLimit, b.name, b.bound)
			}
		}
	}
	if o.clock == nil {
		start := time.Now()
		o.clock = func() time.Duration { return time.Since(start) }
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("keys: the keyring cannot be opened: %w", errors.Join(problems...))
}

func validLabel(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}

// Close forgets all keys and makes every later call fail with [ErrClosed]. Keys that are held stay usable. The KEK
// provider and the store are the caller's to close.
func (r *Keyring) Close() error {
	r.book.close()
	r.telemetry.Close()
	r.cancel()
	return nil
}
