package audit

import (
	"context"
	"time"
)

// Sealed is what one round of a sealer found: of one that takes what an [Engine] keeps into a [Log].
type Sealed struct {
	Events   int         // that the log has now, and the engine no more
	Repeated int         // rows of events that the log had already: an earlier round had been interrupted
	Refused  int         // rows that are not authentic, and stay out of the log
	Gaps     []StreamGap // numbers that are missing for good
	// OtherKeys is how many rows a round that found nothing for it left alone because they name a
	// key that the sealer has not.
	OtherKeys int
	More      bool // there are rows that the round had no room for
}

func (s *Sealed) found() bool { return s.Events+s.Repeated+s.Refused+len(s.Gaps) > 0 }

// Add counts what became of rows that were given to [Adopter.Adopt].
func (s *Sealed) Add(a *Adopted) {
	s.Events += a.Events
	s.Repeated += a.Repeated
	s.Refused += len(a.Refused)
	s.Gaps = append(s.Gaps, a.Gaps...)
}

// Seal calls round again and again until ctx ends, and then returns nil. Where a round found
// nothing more, or failed, it pauses: for every, and after failures for up to 5 s. An error is one
// of the log: others may mend themselves. Progress, which may be nil, is called after every round
// that found something new, and every failure that Seal goes on after.
func (l *Log) Seal(ctx context.Context, every time.Duration, round func(context.Context) (Sealed, error), progress func(Sealed, error)) error {
	const lastPause = 5 * time.Second
	pause, other := every, 0
	for {
		sealed, err := round(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && l.Err() != nil:
			return err
		case err != nil:
			pause = min(2*pause, lastPause)
		default:
			pause = every
		}
		if progress != nil && (err != nil || sealed.found() || sealed.OtherKeys != other) {
			progress(sealed, err)
			other = sealed.OtherKeys
		}
		if err == nil && sealed.More {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
