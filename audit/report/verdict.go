package report

import (
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
)

// verdict is what stands on top. Class is good, mixed or bad.
type verdict struct{ Class, Word, Text string }

// logView is what verification found of one log.
type logView struct {
	Name, Dir, Word, Class, Text string
	Facts                        []fact
}

// verdictOf judges all logs: the worst counts.
func verdictOf(logs []Log, damage error) verdict {
	but, deleted := "", int64(0)
	for _, l := range logs {
		if l.Report != nil {
			deleted += l.Report.Deleted
		}
	}
	if deleted > 0 {
		but = " but the oldest " + plural(deleted, "event") + ", which retention deleted on record"
	}
	v := verdict{"good", "Intact", "Every event in this report is as it was written, none is missing up to the newest pin" + but + ", and the keys that say so were given by whoever made the report."}
	if len(logs) == 0 {
		v = verdict{"mixed", "Not verified", "Nobody checked the logs that these events are from. They may have been changed."}
	}
	for _, l := range logs {
		switch {
		case l.Err != nil && errors.Is(l.Err, audit.ErrTampered):
			return verdict{"bad", "Not intact", "A log was changed, cut or damaged. What stands here holds up to the first fault, and says nothing about what comes after it."}
		case l.Err != nil || l.Report == nil:
			v = verdict{"mixed", "Not verified", "A log could not be verified to its end."}
		case v.Class == "good" && len(reservations(l)) > 0:
			v = verdict{"mixed", "Intact, with reservations", "Nothing was found changed. What the check could not see stands below."}
		}
	}
	if damage != nil {
		return verdict{"bad", "Not intact", "The events changed while they were read, or are not those that were verified."}
	}
	return v
}

// reservations are what keeps a log that is intact from being proven whole.
func reservations(l Log) (list []string) {
	r := l.Report
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, s := range r.Unauthenticated {
		say("Nothing shows that the log wrote %s from index %d on: whoever could write the files may have put them there.", plural(s.Count, "event"), s.First)
	}
	if r.Missing > 0 {
		say("%s of streams were taken away, or lost, before they were sealed.", plural(r.Missing, "event"))
	}
	if r.Refusals > 0 {
		say("%s, rows were left out that somebody without the key had written or changed.", plural(r.Refusals, "time"))
	}
	if l.Pinned == 0 {
		say("There is no pin: a log whose end was cut off with its checkpoints, or that was signed anew with its key, looks like this one.")
	} else if behind := r.Events - l.Pinned; behind > 0 {
		say("The newest %s came after the newest pin: if others came after them and were cut off with their checkpoints, nothing shows it.", plural(behind, "event"))
	}
	if !r.TrustedKeys {
		say("The log's public keys were taken from the log itself: whoever rewrites the log can rewrite them.")
	}
	if r.Unsealed > 0 {
		say("%s behind the newest checkpoint: they are not signed yet.", plural(r.Unsealed, "event"))
	}
	return list
}

// gaps are what is not covered although the log is as it should be.
func gaps(l Log) (list []string) {
	r := l.Report
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if r.Deleted > 0 {
		say("The oldest %s were deleted by retention: that they were in the log is proven, and what they said is not here.", plural(r.Deleted, "event"))
	}
	if r.Uncovered > 0 {
		say("%s of tenants behind the tenant's newest head leaf: a tenant's bundle does not reach them yet.", plural(r.Uncovered, "event"))
	}
	if r.Unnumbered > 0 {
		say("%s of tenants that the log does not number, such as denials of invented ids: they are sealed, and not part of a tenant's proof.", plural(r.Unnumbered, "event"))
	}
	if r.OpenStreams > 0 {
		say("%s without an end: still written, or their process was killed.", plural(int64(r.OpenStreams), "stream"))
	}
	if r.Torn > 0 {
		say("%s of an event that was never finished, and so was acknowledged to nobody.", plural(r.Torn, "byte"))
	}
	return list
}

func viewLog(l Log) logView {
	if l.Report == nil {
		return logView{Name: "A log", Class: "mixed", Word: "not verified", Text: shown(fmt.Sprint(l.Err))}
	}
	r := l.Report
	v := logView{Name: shown(r.Origin), Dir: shown(r.Dir), Class: "good", Word: "intact"}
	switch {
	case l.Err != nil && errors.Is(l.Err, audit.ErrTampered):
		v.Class, v.Word, v.Text = "bad", "not intact", clean(l.Err.Error())
	case l.Err != nil:
		v.Class, v.Word, v.Text = "mixed", "not verified", clean(l.Err.Error())
	case len(reservations(l)) > 0:
		v.Class, v.Word = "mixed", "intact, with reservations"
	}
	pin := "none"
	if l.Pinned > 0 {
		pin = "up to event " + number(l.Pinned) + " of " + number(r.Events)
	}
	witness := "none asked for"
	if len(l.Witnesses) > 0 {
		var list []string
		for _, w := range l.Witnesses {
			list = append(list, clean(w))
		}
		witness = strings.Join(list, "; ")
	}
	keys := "from the log itself"
	if r.TrustedKeys {
		keys = "given, trusted"
	}
	state := "open, or not closed properly"
	if r.Closed {
		state = "closed"
	}
	v.Facts = []fact{{"Events", number(r.Events) + " in " + plural(int64(r.Segments), "segment"), ""}}
	if r.Deleted > 0 {
		v.Facts = append(v.Facts, fact{"Deleted", "the oldest " + number(r.Deleted) + " of these, by retention", ""})
	}
	if r.Dropped > 0 {
		v.Facts = append(v.Facts, fact{"Checkpoints", "from number " + number(r.Dropped+1) + " on; retention deleted those of deleted events", ""})
	}
	v.Facts = append(v.Facts, []fact{
		{"Signed", number(r.Sealed) + " under " + plural(r.Checkpoints, "checkpoint"), ""},
		{"Keys", keys, ""}, {"Pin", pin, ""}, {"Witness", witness, ""},
		{"Tenants", number(int64(r.Tenants)) + ", with " + plural(r.Heads, "head leaf"), ""},
		{"State", state, ""},
		{"Tree", fmt.Sprintf("%d %x", r.Head.Size, r.Head.Root), "code"},
	}...)
	return v
}
