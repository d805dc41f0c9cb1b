package audit

import "testing"

// TestReadVerifiedEndsWithASegment: a log whose newest segment was begun, and had nothing written to it yet, when it was verified. What is
// recorded there since is no part of the report, and nobody's tampering, also where the segment before it is passed over.
func TestReadVerifiedEndsWithASegment(t *testing.T) {
	dir, opts := phased(t)
	end := mustVerify(t, dir).Head.Size
	writeFile(t, segmentPath(dir, end), make([]byte, 4096)) // as the log's writer begins one
	writeFile(t, leavesPath(dir, end), nil)
	report := mustVerify(t, dir)
	if report.Head.Size != end {
		t.Fatalf("%d events, want %d", report.Head.Size, end)
	}
	l := mustOpen(t, dir, opts)
	mustRecord(t, l, query(globex, "later"))
	mustCheckpoint(t, l)
	first := entries(t, dir, nil)[0].Time
	for name, f := range map[string]*Filter{"all": nil, "what is in the first segment": {Until: first.Add(1)}} {
		for e, err := range ReadVerified(background, []*Report{report}, f) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if e.Index >= end {
				t.Errorf("%s: event %d came after the report", name, e.Index)
			}
		}
	}
}
