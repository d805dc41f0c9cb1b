package natslog

import (
	"context"
	"fmt"
)

const (
	// maxLeaps is how many leaps of one subject are remembered before messages that are left alone.
	maxLeaps = 64
	// maxSubjects is how many recorders' streams are remembered that have nothing left in the stream.
	maxSubjects = 4096
)

// leaps are what is known of messages that are not there, behind the first that was left alone: there they are many, for what is
// between messages that are left alone was sealed and deleted.
type leaps struct {
	last uint64 // the sequence number that the newest one led to; 0 for none
	of   map[string]*subjectLeaps
}

// subjectLeaps are those in one subject.
type subjectLeaps struct {
	came    uint64 // the newest message
	left    uint64 // the first message that was left alone; 0 for none
	unasked []leap // before messages that were left alone, the oldest first
	since   uint64 // where there are too many of them, the place from which on the subject's messages are to be counted; 0 for not
	count   int    // of those that came from there on
}

// leap is from behind one message of a subject to the next one that came, with others missing between that may be the subject's.
type leap struct{ from, to uint64 }

// subject returns what is known of one.
func (l *leaps) subject(name string) *subjectLeaps {
	if l.of == nil {
		l.of = map[string]*subjectLeaps{}
	}
	if l.of[name] == nil {
		l.of[name] = &subjectLeaps{}
	}
	return l.of[name]
}

// forget leaves out a subject of which all that came is deleted, where there are many: the leader is then asked about it from the first
// message that was left alone, and has nothing there before the next that comes.
func (l *leaps) forget(subject string) {
	if of := l.of[subject]; of != nil && of.left == 0 && len(l.of) > maxSubjects {
		delete(l.of, subject)
	}
}

// leave notes a message that is left alone.
func (s *Sealer) leave(sequence uint64, subject string) {
	s.others++
	if s.alone == 0 {
		s.alone, s.leaps = sequence, leaps{}
		s.leaps.subject(subject).came = sequence
	}
	if of := s.leaps.subject(subject); of.left == 0 {
		of.left = sequence
	}
}

// believe returns an error where the consumer's replica has left out a message that the stream's
// leader has. What was taken for a gap would be one for ever.
//
// Behind a message that was left alone it asks only before an event that is to be sealed, and only of the event's own subject, since in
// that alone can it bring a gap about: once for each recorder's stream, and not for each message that is missing. Then it asks about
// all leaps in that subject, also those before messages that were left alone: behind such a one an event may have been left out, too.
// Where somebody has put very many such messages into a recorder's subject, it asks about each of them instead, and counts them.
func (s *Sealer) believe(ctx context.Context, sequence uint64, subject string, alone bool) error {
	if s.alone == 0 {
		if sequence == s.next {
			return nil
		}
		return s.leapt(ctx, leap{s.next, sequence}, s.names.events+"*")
	}
	if sequence != s.next {
		s.leaps.last = sequence
	}
	of := s.leaps.subject(subject)
	before := max(of.came, s.alone)
	of.came = sequence
	of.count++
	if before < s.leaps.last && of.since == 0 {
		if len(of.unasked) == 0 {
			of.count = 1
		}
		of.unasked = append(of.unasked, leap{before + 1, sequence})
		if len(of.unasked) > maxLeaps {
			of.since, of.unasked = of.unasked[0].from, nil
		}
	}
	if alone {
		return nil
	}
	if of.since != 0 {
		if err := s.counted(ctx, of, subject); err != nil {
			return err
		}
	}
	for _, l := range of.unasked {
		if err := s.leapt(ctx, l, subject); err != nil {
			return err
		}
	}
	of.since, of.unasked = 0, nil
	return nil
}

// leapt returns an error where the stream's leader has a message of a subject between.
func (s *Sealer) leapt(ctx context.Context, l leap, subject string) error {
	first, err := s.lookUp(ctx, l.from, subject)
	if err != nil {
		return err
	}
	if first != l.to {
		return leftOut(first)
	}
	return nil
}

// counted returns an error where the stream's leader has other messages of a subject than came.
func (s *Sealer) counted(ctx context.Context, of *subjectLeaps, subject string) error {
	for from, n := of.since, 1; ; n++ {
		next, err := s.lookUp(ctx, from, subject)
		if err != nil {
			return err
		}
		if (next == of.came) != (n == of.count) || next == 0 || next > of.came {
			return leftOut(next)
		}
		if next == of.came {
			return nil
		}
		from = next + 1
	}
}

func leftOut(sequence uint64) error {
	return fmt.Errorf("a replica has left out message %d, which the stream's leader has, or has deleted meanwhile; they are read again", sequence)
}

// lookUp asks the leader, each time anew for roundTimeout: how many questions there are others may have brought about.
func (s *Sealer) lookUp(ctx context.Context, from uint64, subject string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	return s.msgGet(ctx, from, subject)
}
