package audit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A line of a stream names it in metadata.loggers: the stream's id and the line's number there.
const (
	loggerBegin = `,"loggers":[{"uid":"`
	loggerMid   = `","event_uid":"`
	loggerEnd   = `"}]`
	loggerRoom  = len(loggerBegin) + 36 + len(loggerMid) + 19 + len(loggerEnd)
)

func appendLogger(dst []byte, stream string, number int64) []byte {
	dst = append(append(append(dst, loggerBegin...), stream...), loggerMid...)
	return append(strconv.AppendInt(dst, number, 10), loggerEnd...)
}

// parseLogger reads the value of metadata.loggers in the one spelling that appendLogger gives it.
func parseLogger(value []byte) (stream []byte, number int64, ok bool) {
	const before, between, after = `[{"uid":"`, loggerMid, loggerEnd
	if len(value) < len(before)+36+len(between)+len(after) || string(value[:len(before)]) != before {
		return nil, 0, false
	}
	stream, value = value[len(before):len(before)+36], value[len(before)+36:]
	if string(value[:len(between)]) != between || string(value[len(value)-len(after):]) != after {
		return nil, 0, false
	}
	number, ok = positive(value[len(between) : len(value)-len(after)])
	return stream, number, ok
}

// The pauses between attempts at an engine that fails.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// run hands what waits to the engine until the stream is closed.
func (s *Stream) run() {
	defer close(s.stopped)
	for {
		select {
		case <-s.wake:
			s.shared.yield()
			s.commit()
		case <-s.quit:
			s.closeErr = s.shutdown()
			return
		}
	}
}

// shutdown records what waits, and that the stream ends.
func (s *Stream) shutdown() error {
	for s.counters().Waiting > 0 && s.ctx.Err() == nil {
		s.commit()
	}
	it, err := s.own(CodeStreamStopped, "closed")
	if err == nil && s.ctx.Err() == nil {
		s.store([]*item{it})
	}
	if err == nil && s.ctx.Err() == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.down
	}
	err = fmt.Errorf("%w: %s did not take the stream's last events before it was closed: %w", ErrUnavailable, s.place, err)
	s.refuse(err)
	return err
}

// commit hands one batch of what waits to the engine.
func (s *Stream) commit() {
	items := s.take(nil, maxBatch)
	if len(items) == 0 {
		return
	}
	callers := 0
	for _, it := range items {
		if !it.lazy {
			callers++
		}
	}
	s.shared.note(callers)
	if s.chain.position >= s.opts.batches {
		s.end()
	}
	s.committed(s.store(items))
}

// end ends a stream that has had as many batches as one may have.
func (s *Stream) end() {
	it, err := s.own(CodeStreamStopped, "goes on in another stream")
	if err != nil {
		return // it is tried again with the next batch
	}
	s.store([]*item{it})
	s.leave = "goes on from stream " + s.id
}

// store tries until the engine has the items, or Close gives up. What is in doubt is never left behind: the engine gets the
// same rows again, and so nothing is missing between two rows of a stream that is there, and nothing is there twice. Callers
// do not wait for that longer than they want to.
//
// Where somebody else's row has a number of the stream's, the recorder goes on in another stream: a sealer finds that row not
// authentic.
func (s *Stream) store(items []*item) error {
	err := error(errClosed)
	leave := s.leave
	if s.leave = ""; leave == "" {
		s.assign(items)
	}
	tried := false // the rows may be there, under the numbers that they have now
	for pause := firstPause; s.ctx.Err() == nil; pause = min(2*pause, lastPause) {
		if leave != "" {
			if err = s.beginAnother(leave); err == nil {
				s.assign(items)
				leave, tried = "", false
			}
		}
		if leave == "" {
			err = s.attempt()
		}
		if errors.Is(err, ErrTaken) {
			leave = fmt.Sprintf("goes on from stream %s, where number %d is not this recorder's", s.id, s.number)
			continue
		}
		repeated := errors.Is(err, ErrRepeated)
		if repeated { // an answer was lost
			err = nil
		}
		s.mu.Lock()
		s.down, s.up = err, err == nil
		s.mu.Unlock()
		if err == nil {
			if !repeated || tried {
				s.advance()
			} // else they stand in the stream before
			break
		}
		tried = true
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: the stream was closed before %s had confirmed the event; it may get there yet: %w", ErrUnavailable, s.place, err)
	}
	for _, it := range items {
		it.done <- err
	}
	return err
}

func (s *Stream) beginAnother(why string) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.Timeout)
	defer cancel()
	return s.begin(ctx, why)
}

// attempt asks the engine once.
func (s *Stream) attempt() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.Timeout)
	defer cancel()
	return s.engine.Append(ctx, s.rows)
}

// assign makes the rows of a batch.
func (s *Stream) assign(items []*item) {
	const mac = 32
	size := 0
	for _, it := range items {
		size += len(it.line) + loggerRoom
	}
	if s.rows = s.rows[:0]; cap(s.lines) < size || cap(s.lines) > 2*maxBatch {
		s.lines = make([]byte, 0, max(size, 64<<10))
	}
	if s.lines = s.lines[:0]; cap(s.macs) < len(items)*mac {
		s.macs = make([]byte, 0, len(items)*mac)
	}
	s.macs = s.macs[:0]
	for i, it := range items {
		start, number := len(s.lines), s.number+int64(i)
		s.lines = append(s.lines, it.line[:len(it.line)-len(sequenceKey)]...)
		s.lines = append(appendLogger(s.lines, s.id, number), lineEnd[:len(lineEnd)-1]...)
		line := s.lines[start:len(s.lines):len(s.lines)]
		sum := s.chain.rowMAC(s.hasher, number, line)
		s.macs = append(s.macs, sum[:]...)
		m, _ := parseMeta(line)
		s.rows = append(s.rows, Row{
			Key: s.opts.Signer.KeyHash(), Stream: s.id, Number: number, Batch: s.chain.position, UID: string(m.uid), Line: line,
			MAC: s.macs[len(s.macs)-mac : len(s.macs) : len(s.macs)],
		})
	}
}

// advance forgets the key of the rows that are stored.
func (s *Stream) advance() {
	s.number += int64(len(s.rows))
	s.chain.advance()
}
