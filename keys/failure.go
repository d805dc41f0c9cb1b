package keys

import (
	"errors"
	"math"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// failure is a remembered failure. It is an answer only for a while: until is when the question may be asked again, and
// at is when it was asked, from which its age is counted.
type failure struct {
	err    error
	at     time.Duration
	until  time.Duration
	answer uint64
	kek    bool // the KEK provider's, who need not be asked for the state
}

// asked is when the question was asked; for none, before all times that count.
func (f *failure) asked() time.Duration {
	if f == nil {
		return math.MinInt64 / 2
	}
	return f.at
}

// negativeSize bounds the remembered failures of tenants that have no entry. They have a place of their own so that
// invented ids push no tenant out.
const negativeSize = 4096

// negativeTTL is how long a failure is remembered, so that a flood of requests for a tenant that cannot be opened
// does not become a flood on the store and the KEK provider.
const negativeTTL = time.Second

func (b *book) failure(q question, err error) *failure {
	return &failure{err: err, at: q.at, until: b.opts.clock() + negativeTTL, answer: q.number}
}

// unanswered enters that a question to the store had no answer, or a refusal. What was asked later may be known by now.
func (b *book) unanswered(t *inflight, q question, err error) {
	f := b.failure(q, err)
	if errors.Is(err, ErrUnavailable) && (b.trouble == nil || b.trouble.answer < q.number) {
		b.trouble = f
	}
	switch e := t.e; {
	case e == nil:
		if m, ok := b.negative.Peek(t.id); !ok || m.answer < q.number {
			b.negative.Add(t.id, f)
		}
	case e.answer < q.number && (e.readFailed == nil || e.readFailed.answer < q.number):
		e.readFailed = f
		e.arm(b.opts.clock(), b.opts)
	}
}

// unopened enters that a question to the KEK provider about e had no answer.
func (b *book) unopened(e *entry, q question, err error) {
	f := b.failure(q, err)
	f.kek = true
	e.openFailed = f
	if b.kekTrouble == nil || b.kekTrouble.at < q.at {
		b.kekTrouble = f
	}
}

// forgive lets everything be asked again that failed a moment ago.
func (b *book) forgive(id tenant.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.negative.Remove(id)
	if e := b.known(id); e != nil {
		e.readFailed, e.openFailed = nil, nil
	}
}

// remember keeps the failures of an entry that nothing holds any more, nil for none, while they are answers.
func (b *book) remember(e *entry) {
	if e == nil {
		return
	}
	f := e.readFailed
	if now := b.opts.clock(); f == nil || now >= f.until {
		if e.openFailed == nil || now >= e.openFailed.until {
			return
		}
		ofKEK := *e.openFailed
		ofKEK.kek = true
		f = &ofKEK
	}
	if m, ok := b.negative.Peek(e.id); !ok || m.answer < f.answer {
		b.negative.Add(e.id, f)
	}
}
