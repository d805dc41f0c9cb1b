package natslog

import (
	"fmt"
	"testing"
)

// TestLeapsAreBounded: what is remembered of messages that are left alone does not grow with them, nor with the recorders that came and
// went meanwhile.
func TestLeapsAreBounded(t *testing.T) {
	s := &Sealer{next: 2}
	s.leave(1, "other")
	for i := range uint64(100 * maxLeaps) { // each behind others that were sealed and deleted
		sequence := 10 * (i + 1)
		if err := s.believe(t.Context(), sequence, "other", true); err != nil {
			t.Fatal(err)
		}
		s.leave(sequence, "other")
		s.next = sequence + 1
	}
	if of := s.leaps.subject("other"); len(of.unasked) > maxLeaps || of.since == 0 || of.count != 100*maxLeaps || of.left != 1 {
		t.Errorf("%d leaps are remembered: %+v", len(of.unasked), of)
	}
	for i := range 3 * maxSubjects { // each sealed and deleted
		s.next++
		subject := fmt.Sprint("own", i)
		s.leaps.subject(subject).came = s.next - 1
		s.leaps.forget(subject)
	}
	if n := len(s.leaps.of); n > maxSubjects+1 || s.leaps.of["other"] == nil {
		t.Errorf("%d recorders are remembered", n)
	}
}
