package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit"
)

const (
	// chunk is about how many bytes of lines are taken into the log at once.
	chunk = 1 << 20
	// maxFetch is how many messages are asked for at once.
	maxFetch = 500
	// keepRefused is how many messages that are not authentic are kept.
	keepRefused = 1000
	// roundTimeout bounds a request of a round.
	roundTimeout = 5 * time.Second
)

// portion is what is taken into the log at once.
type portion struct {
	rows  []audit.Row
	msgs  []message
	size  int
	after uint64 // the first sequence number behind it
}

// message is where a row came from.
type message struct {
	sequence uint64
	subject  string
	headers  nats.Header
}

// Round takes what is in the stream into the log, up to SealOptions.Rows, and deletes from the
// stream what the log has made durable. A round that was interrupted, wherever it was, loses
// nothing and doubles nothing: the log knows how far each recorder's stream is in it. After an
// error the next round reads again from the first message that is there.
func (s *Sealer) Round(ctx context.Context) (Sealed, error) {
	var sealed Sealed
	err := s.round(ctx, &sealed)
	s.failover.Ended(s.client.nc, err)
	if err != nil {
		s.consumer = nil
	}
	return sealed, err
}

func (s *Sealer) round(ctx context.Context, sealed *Sealed) error {
	var p portion
	left, taken := s.opts.Rows, 0
	for n := 1; n > 0 && left > 0; left -= n {
		var err error
		before := len(p.rows)
		if n, err = s.read(ctx, min(left, maxFetch), &p); err != nil {
			return err
		}
		taken += len(p.rows) - before
		late := time.Since(s.asked) > s.opts.Lease/3 // so that the consumer may be gone when it is asked again
		if len(p.rows) > 0 && (p.size >= chunk || n == 0 || left == n || late) {
			if err := s.adopt(ctx, &p, sealed); err != nil {
				return err
			}
			p = portion{}
		}
	}
	if sealed.More = left == 0; taken == 0 {
		sealed.OtherKeys = s.others
	}
	return nil
}

// read adds messages to a portion, and returns how many it has read.
func (s *Sealer) read(ctx context.Context, limit int, p *portion) (n int, err error) {
	asking, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	if err := s.take(asking); err != nil {
		return 0, err
	}
	for {
		n, err = s.fetch(ctx, limit, p)
		if n > 0 || !errors.Is(err, nats.ErrNoResponders) {
			break
		}
		// The server that this client has may not have heard of a consumer that is new, or has a new leader.
		select {
		case <-time.After(20 * time.Millisecond):
			continue
		case <-asking.Done():
		}
		break
	}
	if err != nil {
		return n, s.failed(err)
	}
	return n, nil
}

// fetch does the work of read: it asks the consumer once.
func (s *Sealer) fetch(ctx context.Context, limit int, p *portion) (n int, err error) {
	batch, err := s.consumer.FetchNoWait(limit)
	if err != nil {
		return 0, err
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return n, err
		}
		if meta.Sequence.Consumer != s.ordinal+1 {
			return n, errors.New("messages were lost on their way, or came to another sealer; they are read again")
		}
		r := s.names.row(m.Subject(), m.Headers(), m.Data())
		alone := r.MAC != nil && !s.keys[r.Key]
		if err := s.believe(ctx, meta.Sequence.Stream, m.Subject(), alone); err != nil {
			return n, err
		}
		s.ordinal, s.next, p.after = meta.Sequence.Consumer, meta.Sequence.Stream+1, meta.Sequence.Stream+1
		n++
		if alone {
			s.leave(meta.Sequence.Stream, m.Subject())
			continue
		}
		p.rows, p.size = append(p.rows, r), p.size+len(r.Line)
		p.msgs = append(p.msgs, message{meta.Sequence.Stream, m.Subject(), m.Headers()})
	}
	return n, batch.Error()
}

// adopt takes a portion into the log, and deletes it from the stream.
func (s *Sealer) adopt(ctx context.Context, p *portion, sealed *Sealed) error {
	a, err := s.adopter.Adopt(ctx, p.rows)
	if err != nil {
		return err
	}
	sealed.Add(a)
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	for _, i := range a.Refused {
		if err := s.moveAside(ctx, &p.rows[i], p.msgs[i]); err != nil {
			return s.failed(err)
		}
	}
	if err := s.forget(ctx, p); err != nil {
		return s.failed(err)
	}
	return nil
}

// moveAside keeps a message that is not authentic, where the stream has room for it. The log says
// of it all the same.
func (s *Sealer) moveAside(ctx context.Context, r *audit.Row, from message) error {
	const longest = 128 // of what should be a number, an id or a MAC
	cut := func(s string, n int) string { return s[:min(len(s), n)] }
	m := &nats.Msg{Subject: s.names.refused, Data: r.Line[:min(len(r.Line), 2<<20)], Header: nats.Header{
		headerStream: {s.names.stream}, headerID: {"refused-" + strconv.FormatUint(from.sequence, 10)},
		"Strongroom-Stream": {cut(r.Stream, longest)}, "Strongroom-Uid": {cut(r.UID, longest)},
	}}
	for _, h := range []string{headerKey, headerNumber, headerWrite, headerMAC} {
		m.Header.Set(h, cut(from.headers.Get(h), longest))
	}
	answer, err := s.client.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return err
	}
	var refusal *apiError
	if _, err := parseAck(answer.Data, s.names.stream); errors.As(err, &refusal) && refusal.ErrCode == codeStoreFailed {
		return nil
	} else if err != nil {
		return err
	}
	_, err = s.purge(ctx, jetstream.StreamPurgeRequest{Subject: s.names.refused, Keep: keepRefused})
	return err
}

// msgGet asks the stream's leader for the first message of a subject from a sequence number on. It
// returns 0 for none.
func (s *Sealer) msgGet(ctx context.Context, from uint64, subject string) (sequence uint64, err error) {
	answer, err := s.client.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.names.stream, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, from, subject))
	if err != nil {
		return 0, err
	}
	var doc struct {
		Error   *apiError `json:"error"`
		Message struct {
			Sequence uint64 `json:"seq"`
		} `json:"message"`
	}
	switch err := json.Unmarshal(answer.Data, &doc); {
	case err != nil:
		return 0, errors.New("the answer is not one of JetStream")
	case doc.Error != nil && doc.Error.ErrCode == codeNoMessage:
		return 0, nil
	case doc.Error != nil:
		return 0, doc.Error
	}
	return doc.Message.Sequence, nil
}

// forget deletes a portion from the stream: all up to its end at once; behind a message that was left alone, each recorder's stream at
// once; and behind one within that stream, one by one.
func (s *Sealer) forget(ctx context.Context, p *portion) error {
	i, until := 0, p.after
	if s.alone != 0 {
		until = min(until, s.alone)
	}
	for i < len(p.msgs) && p.msgs[i].sequence < until {
		i++
	}
	if i > 0 {
		purged, err := s.purge(ctx, jetstream.StreamPurgeRequest{Subject: s.names.events + "*", Sequence: until})
		if err != nil {
			return err
		}
		if purged > i {
			return s.tooMany(purged, i)
		}
	}
	rest, err := s.forgetStreams(ctx, p.msgs[i:])
	if err != nil {
		return err
	}
	for _, m := range rest {
		data, err := json.Marshal(map[string]any{"seq": m.sequence, "no_erase": true})
		if err != nil {
			return err
		}
		answer, err := s.client.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.DELETE."+s.names.stream, data)
		if err != nil {
			return err
		}
		var doc struct {
			Error *apiError `json:"error"`
		}
		if err := json.Unmarshal(answer.Data, &doc); err != nil {
			return errors.New("the answer is not one of JetStream")
		}
		if doc.Error != nil {
			return doc.Error
		}
	}
	return nil
}

// forgetStreams deletes messages up to the last one of each subject, and returns those that stand behind one of their subject that was
// left alone.
func (s *Sealer) forgetStreams(ctx context.Context, msgs []message) (rest []message, err error) {
	type part struct {
		until uint64
		count int
	}
	parts := map[string]*part{}
	for _, m := range msgs {
		if of := s.leaps.of[m.subject]; of != nil && of.left != 0 && of.left < m.sequence {
			rest = append(rest, m)
			continue
		}
		p := parts[m.subject]
		if p == nil {
			p = &part{}
			parts[m.subject] = p
		}
		p.until, p.count = m.sequence+1, p.count+1
	}
	for subject, p := range parts {
		purged, err := s.purge(ctx, jetstream.StreamPurgeRequest{Subject: subject, Sequence: p.until})
		if err != nil {
			return nil, err
		}
		if purged > p.count {
			return nil, s.tooMany(purged, p.count)
		}
		s.leaps.forget(subject)
	}
	return rest, nil
}

func (s *Sealer) tooMany(purged, sealed int) error {
	return fmt.Errorf("%d messages were deleted, and the log has %d of them: the stream's leader had some that its replica has not; stop the sealer, and see what became of the cluster's disks", purged, sealed)
}
