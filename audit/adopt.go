package audit

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/tenant"
)

// Adopter takes rows of streams into a log: it is the part of a sealer that knows no engine. It is not safe for concurrent
// use.
type Adopter struct {
	log     *Log
	signers map[uint32]note.Signer
	chains  map[openStream]*chain // each as far as its stream was read
	hasher  *leafHasher
}

// openStream is a stream under a key.
type openStream struct {
	key uint32
	id  string
}

// Adopted is what became of rows.
type Adopted struct {
	Events   int         // that are in the log now
	Repeated int         // rows of events that were in the log already
	Refused  []int       // the indexes of rows that are not authentic, and are not in the log; an event stream.gap says so
	Gaps     []StreamGap // numbers that were missing before one of the rows; an event stream.gap says so for each
}

const maxOpenChains = 4096

// Adopter returns an adopter of the streams that the signers authenticate: more than one while recorders change from one
// key to the next. The log must be [Durable].
func (l *Log) Adopter(signers ...note.Signer) (*Adopter, error) {
	a := &Adopter{log: l, signers: map[uint32]note.Signer{}, chains: map[openStream]*chain{}, hasher: newLeafHasher()}
	if l.opts.Durability != Durable {
		return nil, fmt.Errorf("audit: the log is %s: a loss of power could take events whose rows were deleted; open it with Options.Durability Durable", l.opts.Durability)
	}
	for _, given := range signers {
		if given == nil {
			return nil, errors.New("audit: one of the streams' signers is nil")
		}
		s, err := guardSigner(given)
		if err != nil {
			return nil, fmt.Errorf("audit: one of the streams' signers: %w", err)
		}
		if a.signers[s.hash] != nil {
			return nil, errors.New("audit: one of the streams' signers is there twice")
		}
		if _, err := deriveKey(s, streamText, ""); err != nil {
			return nil, fmt.Errorf("audit: the streams' signer authenticates nothing: %w", err)
		}
		a.signers[s.hash] = s
	}
	if len(signers) == 0 {
		return nil, errors.New("audit: the streams' signer is missing; pass the key that StreamOptions.Signer has")
	}
	return a, nil
}

// Keys returns the KeyHash of each signer. Rows under others are not for this adopter.
func (a *Adopter) Keys() []uint32 { return slices.Sorted(maps.Keys(a.signers)) }

// Adopt appends the events of rows to the log, in order. When it returns nil, they are on the log's disk, and the rows can be
// forgotten. Rows of one stream must be in the order of their numbers, with
// none left out that can still come; rows of several streams may be mixed. A row whose event is in the log already is not
// appended again, so a sealer that was interrupted gives the same rows once more.
//
// Numbers that are missing are recorded as such, for ever, and so is that a row is not authentic. An error that wraps
// [ErrUnavailable] or ctx's error means that not all are known to be in the log.
func (a *Adopter) Adopt(ctx context.Context, rows []Row) (*Adopted, error) {
	a.log.adopting.Lock()
	defer a.log.adopting.Unlock()
	done := &Adopted{}
	job := &adoption{done: make(chan error, 1)}
	ends := map[string]streamEnd{}
	var refused []string
	for i := range rows {
		r := &rows[i]
		e, why, err := a.check(r)
		if err != nil {
			return nil, err
		}
		if why != "" {
			done.Refused = append(done.Refused, i)
			if len(refused) < 8 {
				refused = append(refused, fmt.Sprintf("number %d of stream %s: %s", r.Number, quoteStream(r.Stream), why))
			}
			continue
		}
		end, ok := ends[r.Stream]
		if !ok {
			end = a.log.streams[r.Stream]
		}
		if r.Number <= end.Number {
			done.Repeated++
			continue
		}
		if missing := r.Number - end.Number - 1; missing > 0 {
			gap := StreamGap{r.Stream, end.Number + 1, missing}
			done.Gaps = append(done.Gaps, gap)
			job.lines = append(job.lines, adoptedLine{own: gapEvent(gap)})
		}
		job.lines = append(job.lines, adoptedLine{row: r, entry: e})
		ends[r.Stream] = streamEnd{r.Number, e.Code == CodeStreamStopped}
		done.Events++
	}
	if len(done.Refused) > 0 {
		reason := fmt.Sprintf("%d rows are not authentic and were left out", len(done.Refused))
		for _, r := range refused {
			reason += "; " + r
		}
		job.lines = append(job.lines, adoptedLine{own: &Event{Code: CodeStreamGap, Phase: Single, Status: Failure, Reason: reason}})
	}
	if len(job.lines) == 0 {
		return done, nil
	}
	return done, a.log.adopt(ctx, job)
}

// adopt hands rows to the writer. l.adopting is held until it has answered: where ctx ends first, the log is not asked
// again before that.
func (l *Log) adopt(ctx context.Context, job *adoption) error {
	select {
	case l.adoptions <- job:
	case <-l.stopped:
		return l.Err()
	case <-ctx.Done():
		return fmt.Errorf("audit: the rows were not taken in: %w", ctx.Err())
	}
	return <-job.done // the disk decides, as it does for Close
}

func gapEvent(g StreamGap) *Event {
	return &Event{Code: CodeStreamGap, Phase: Single, Status: Failure, own: own{gap: g},
		Reason: fmt.Sprintf("%d events are missing from number %d on of stream %s: they were taken away, or lost, before they were sealed", g.Count, g.First, g.Stream)}
}

// inCalendar tells whether a time has a year of four digits: other formats than the log's, and databases, have no place for
// others.
func inCalendar(t time.Time) bool { y := t.UTC().Year(); return 1 <= y && y <= 9999 }

// quoteStream returns a stream's id as it may stand in an event: a row that is not authentic may have anything there.
func quoteStream(id string) string {
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 {
		return "(malformed)"
	}
	return id
}

// check returns the event of a row, or why it is not authentic.
func (a *Adopter) check(r *Row) (e Entry, why string, err error) {
	if quoteStream(r.Stream) != r.Stream || r.Number < 1 || r.Batch < 0 || r.Batch >= r.Number || r.Batch > maxStreamBatch || len(r.MAC) != 32 {
		return e, "it is malformed", nil
	}
	signer, stream := a.signers[r.Key], openStream{r.Key, r.Stream}
	if signer == nil {
		return e, "it is under a key that is not the trail's", nil
	}
	c := a.chains[stream]
	if c == nil || c.position > r.Batch {
		if c, err = deriveChain(signer, streamText, r.Stream, streamEpoch); err != nil {
			return e, "", fmt.Errorf("%w: whether rows are authentic cannot be told: %w", ErrUnavailable, err)
		}
		if len(a.chains) >= maxOpenChains {
			clear(a.chains)
		}
	}
	c.skip(r.Batch)
	mac := c.rowMAC(a.hasher, r.Number, r.Line)
	if !hmac.Equal(mac[:], r.MAC) {
		return e, "its MAC is not that of the stream's recorder", nil
	}
	a.chains[stream] = c
	// The recorder's key vouches for the row. That it is a line which every reader of the log takes for one is checked all
	// the same: a log with another could not be verified any more, or not be delivered by a sink, which passes over none.
	m, ok := parseMeta(r.Line)
	e, err = parseEntry(r.Line, 0)
	var id tenant.ID
	if err == nil && e.Tenant != "" {
		err = id.UnmarshalText([]byte(e.Tenant))
	}
	if !ok || err != nil || !plainLine(r.Line) || m.sequence != 0 || string(m.stream) != r.Stream || m.number != r.Number ||
		string(m.uid) != r.UID || string(m.code) != string(e.Code) || string(m.tenant) != e.Tenant || !adoptable(e.Code) ||
		quoteStream(e.UID) != e.UID || !inCalendar(e.Time) {
		return e, "it is no event as recorders write them", nil
	}
	return e, "", nil
}

// plainLine tells whether a line can stand in a log, with a sequence number and a tag behind it.
func plainLine(line []byte) bool {
	return len(line)+len(sequenceKey)+20+tagRoom <= maxLine && bytes.HasPrefix(line, []byte(`{"time":`)) && bytes.HasSuffix(line, []byte(loggerEnd+"}}")) &&
		!bytes.ContainsFunc(line, func(c rune) bool { return c < 0x20 }) && utf8.Valid(line) && json.Valid(line) &&
		!bytes.Contains(line[max(0, lastMetadata(line)):], []byte(`"labels"`))
}

// adoptable tells whether a stream may bring an event of a code: not what a log says of itself.
func adoptable(c Code) bool {
	k, ok := kindOf(c)
	return ok && (k.class.uid != 1008 || c == CodeStreamStarted || c == CodeStreamStopped)
}

// adoption is what the writer appends for Adopt.
type adoption struct {
	lines []adoptedLine
	done  chan error // has room for one
}

// adoptedLine is a row, or an event of the log's own.
type adoptedLine struct {
	row   *Row
	entry Entry
	own   *Event
}

// adopt appends rows, in writes of their own: their order is that of their numbers, and no other event's.
func (w *writer) adopt(a *adoption) {
	w.commit()
	limit := min(maxBatch, int(w.log.opts.SegmentBytes)-spare)
	for lines := a.lines; len(lines) > 0 && !w.failed; {
		n, err := w.gather(lines, limit)
		if err == nil {
			err = w.write(&w.batch)
		}
		w.check(err, nil)
		if err == nil {
			for _, l := range lines[:n] {
				if l.row != nil {
					w.log.streams[l.row.Stream] = streamEnd{l.row.Number, l.entry.Code == CodeStreamStopped}
				}
			}
		}
		w.batch.reset()
		lines = lines[n:]
		for len(w.due) > 0 && !w.failed {
			w.commit()
		}
	}
	a.done <- w.log.failure()
}

// gather adds lines to the batch until it is full, at least one, and returns how many.
func (w *writer) gather(lines []adoptedLine, limit int) (n int, err error) {
	for _, l := range lines {
		if n > 0 && (len(w.batch.buf) > limit || l.row != nil && len(w.batch.buf)+len(l.row.Line) > limit) {
			return n, nil
		}
		if l.row == nil {
			err = w.own(l.own)
		} else {
			w.batch.add(append(l.row.Line[:len(l.row.Line)-len("}}"):len(l.row.Line)-len("}}")], sequenceKey...), w.adopted(&l.entry), nil,
				subject{l.entry.Code, l.entry.Tenant})
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// adopted returns the state of the tenant whose numbers an event takes part in, by the rule of [intake.tenant]: details that
// are sealed stand for a Sealer.
func (w *writer) adopted(e *Entry) *tenantState {
	var id tenant.ID
	if e.Tenant != "" && id.UnmarshalText([]byte(e.Tenant)) != nil {
		return nil // check has refused it
	}
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	t := w.log.tenantOf(id, e.Sealed != nil || e.Status == Success)
	if t == nil {
		w.log.stats.Unnumbered++
	}
	return t
}
