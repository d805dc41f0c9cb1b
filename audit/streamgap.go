package audit

import "encoding/json"

// StreamGap is a range of numbers of a [Stream] that are missing in a log.
type StreamGap struct {
	Stream string
	First  int64
	Count  int64
}

// maxGaps bounds the gaps that a [Report] lists; it counts all.
const maxGaps = 1000

// streamEnd is how far a log has taken in a stream.
type streamEnd struct {
	Number int64 `json:"number"` // of the last line
	Closed bool  `json:"closed,omitempty"`
}

// streamLine takes in that a line came with a stream. Numbers that are left out are a gap for ever; one that is not above
// all before it was never written by a log.
func (r *replay) streamLine(file string, m lineMeta) error {
	id := string(m.stream)
	end := r.streams[id]
	if m.number <= end.Number {
		return r.tampered(file, r.tree.size, "it is number %d of stream %s, and number %d stands before it", m.number, id, end.Number)
	}
	if missing := m.number - end.Number - 1; missing > 0 {
		r.gapped += missing
		if len(r.gaps) < maxGaps {
			r.gaps = append(r.gaps, StreamGap{id, end.Number + 1, missing})
		}
	}
	r.streams[id] = streamEnd{m.number, Code(m.code) == CodeStreamStopped}
	return nil
}

// parseGap reads what an event stream.gap says beside its reason.
func parseGap(line []byte) StreamGap {
	var doc struct {
		Unmapped struct {
			Gap struct {
				Stream string `json:"stream"`
				First  int64  `json:"first"`
				Count  int64  `json:"count"`
			} `json:"gap"`
		} `json:"unmapped"`
	}
	if json.Unmarshal(line, &doc) != nil {
		return StreamGap{}
	}
	return StreamGap(doc.Unmapped.Gap)
}
