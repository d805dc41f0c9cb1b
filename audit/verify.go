package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// VerifyOptions are the optional settings of [Verify].
type VerifyOptions struct {
	// Verifiers are the log's public keys, in the form of golang.org/x/mod/sumdb/note, from a source that is trusted.
	// Without them those in log.json are used, which whoever can rewrite the log can rewrite too.
	Verifiers []string
	// Pins are tree heads that the log is known to have had: see [ParseCheckpoint] and [Log.Checkpoint].
	Pins []TreeHead
	// Progress is called now and then with the bytes read and the bytes there are, by the goroutine that called Verify: never by two at
	// once, and not after Verify has returned.
	Progress func(done, total int64)
}

// Report is what [Verify] found.
type Report struct {
	Dir         string
	Origin      string
	Segments    int
	Events      int64       // whole events, Sealed + Unsealed, and Deleted among them
	Deleted     int64       // the first ones, of which retention left the leaf hashes ([Log.Retain]); events from this index on are there
	Unhashed    int64       // the first ones of those, of which there are no leaf hashes either ([Retention].DropHashes)
	Sealed      int64       // under a signed checkpoint
	Unsealed    int64       // behind the newest checkpoint; normally the last second of a log that was not closed
	Torn        int64       // bytes of an unfinished event, leaf or checkpoint at the end; opening the log cuts them off
	Checkpoints int64       // the number of the newest
	Dropped     int64       // the first ones of those, which retention deleted ([Retention].DropCheckpoints)
	Tenants     int         // tenants with events
	Heads       int64       // head leaves, each of which proves a tenant's events complete up to it
	Uncovered   int64       // tenants' events behind their newest head leaf
	Unnumbered  int64       // events of tenants that the log does not number: see [Options.Tenants]
	Streams     int         // that a sealer took in: see [Stream]
	OpenStreams int         // of those, the ones without an end: still written, not sealed to their end, or their process was killed
	Missing     int64       // numbers that are missing in the streams
	Gaps        []StreamGap // the first 1,000 ranges of them
	Refusals    int64       // times that a sealer found rows that are not authentic; the events stream.gap say which
	Closed      bool        // the last event is the log's own, that it was closed
	Pins        int         // pins that the log agrees with
	TrustedKeys bool        // the keys came from VerifyOptions
	Head        TreeHead
	Checkpoint  []byte // the newest; kept elsewhere, it is a pin
	// Unauthenticated are events of which nothing shows that the log wrote them, oldest first: they stood behind the
	// last checkpoint after a crash, and the log was one without a chain (see "The tail" in the package documentation).
	// A checkpoint that seals them since then does not make them genuine.
	Unauthenticated []Span
	// Summaries is how many segments have a summary, by which readers pass over segments in which a filter selects nothing. Each says
	// what its segment's events say.
	Summaries int

	segments map[int64]*packedSummary // what Verify itself found in each, by its first index
}

// ParseCheckpoint checks a checkpoint's signature against verifier keys and returns its tree head, for use as a pin.
func ParseCheckpoint(msg []byte, verifiers []string) (TreeHead, error) {
	for _, key := range verifiers {
		v, err := note.NewVerifier(key)
		if err != nil {
			return TreeHead{}, errors.New("audit: a verifier key is not of the form name+hash+key")
		}
		c, err := parseCheckpoint(msg, v.Name())
		if err != nil {
			continue
		}
		if _, err := note.Open(c.note, note.VerifierList(v)); err == nil {
			return TreeHead{c.tree.N, c.tree.Hash}, nil
		}
	}
	return TreeHead{}, fmt.Errorf("%w: the note is not a checkpoint signed by any of the %d verifier keys", ErrTampered, len(verifiers))
}

// Verify checks a log offline: every byte of its segments against their recorded hashes, the tree against every
// checkpoint, every signature, each tenant's sequence numbers, and every head leaf. It needs no lock and changes
// nothing; opts may be nil. All processors hash, in a few MiB of memory and some hundred bytes for each tenant. It may read a copy, or a log that is being written.
//
// Of a log whose oldest events retention deleted ([Log.Retain]) it checks the leaf hashes that are left of them against every
// checkpoint and pin, and that an event of the log says how many they are; of what they held it can say nothing any more. Where
// leaf hashes were deleted, too ([Retention].DropHashes, [Report.Unhashed]), pins of fewer events are compared with the checkpoints
// alone; one that is none of them cannot be checked, which is an error that does not wrap [ErrTampered]. Where checkpoints were deleted,
// too ([Retention].DropCheckpoints, [Report.Dropped]), the first that is there must continue the last of those, as the record has it.
//
// The summaries of segments are compared with the events: one that says other things of them, by whomever it is signed, is found wrong
// when all else was checked, since it may have hidden events from [Read].
//
// An error that wraps [ErrTampered] is a [TamperError] about the first thing found wrong; the report then says how far
// all was well. Any other error means that the log could not be read.
//
// Without a pin two things cannot be seen, whoever looks: that the end of the log was cut off together with its
// checkpoints, and that all of it was written anew with its signing key. The report says "unpinned" then.
func Verify(ctx context.Context, dir string, opts *VerifyOptions) (*Report, error) {
	if opts == nil {
		opts = &VerifyOptions{}
	}
	var fsys vfs.FS = vfs.OS{}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("audit: %s is not the directory of a log: %w", dir, cmpErr(err, errors.New("not a directory")))
	}
	c, err := readConfig(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &TamperError{configName, -1, "the file is missing; it is the last one that a new log gets, so a log without it has lost it"}
	}
	if err != nil {
		return nil, err
	}
	keys := c.Verifiers
	if len(opts.Verifiers) > 0 {
		keys = opts.Verifiers
	}
	verifiers, err := verifierList(keys, c.Origin)
	if err != nil {
		return nil, err
	}
	for _, p := range opts.Pins {
		if p.Size < 1 {
			return nil, errors.New("audit: a pin has no size; take pins from ParseCheckpoint")
		}
	}
	r := &replay{fs: fsys, dir: dir, origin: c.Origin, verifiers: verifiers, pins: slices.Clone(opts.Pins), progress: opts.Progress, parallel: true}
	found := summaryCheck{fs: fsys, dir: dir, segments: map[int64]*packedSummary{}}
	r.whole = found.whole
	err = r.run(ctx)
	if err == nil {
		err = found.wrong
	}
	report := r.report()
	report.Summaries, report.segments = found.there, found.segments
	report.Pins = len(opts.Pins) - len(r.pins)
	report.TrustedKeys = len(opts.Verifiers) > 0
	return report, err
}

// droppedNow is how many checkpoints are not there.
func (r *replay) droppedNow() int64 {
	if r.checkpoints == nil {
		return 0
	}
	return max(0, r.checkpoints.first-1)
}

func cmpErr(err, otherwise error) error {
	if err == nil {
		return otherwise
	}
	return err
}

func (r *replay) report() *Report {
	p := &Report{
		Dir: r.dir, Origin: r.origin, Segments: len(r.segments),
		Events: r.tree.size, Deleted: min(r.pruned.first(), r.tree.size), Unhashed: min(r.pruned.firstHash(), r.tree.size),
		Sealed: r.sealed.tree.N, Unsealed: r.tree.size - r.sealed.tree.N,
		Torn: r.tail.torn + r.tail.stray + r.cpTorn, Checkpoints: r.sealed.number, Dropped: r.droppedNow(), Heads: r.heads,
		Closed: r.lastCode == CodeLogStopping && r.tail.torn == 0, Unnumbered: r.unnumbered,
		Head: TreeHead{r.tree.size, r.tree.root()}, Checkpoint: r.sealed.note,
	}
	p.Missing, p.Gaps, p.Refusals, p.Streams = r.gapped, r.gaps, r.refusals, len(r.streams)
	for _, end := range r.streams {
		if !end.Closed {
			p.OpenStreams++
		}
	}
	p.Unauthenticated = mergeSpans(append(slices.Clone(r.recovered), r.unproven()))
	for name, t := range r.tenants {
		if name != "" {
			p.Tenants++
			p.Uncovered += t.uncovered()
		}
	}
	return p
}

// mergeSpans returns what the spans cover, in order and without overlaps.
func mergeSpans(spans []Span) []Span {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.First, b.First) })
	var merged []Span
	for _, s := range spans {
		if n := len(merged) - 1; s.Count == 0 {
			continue
		} else if n >= 0 && s.First <= merged[n].First+merged[n].Count {
			merged[n].Count = max(merged[n].Count, s.First+s.Count-merged[n].First)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// String returns the report as a table.
func (p *Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	row("log", "%s (%s)", filepath.ToSlash(p.Dir), p.Origin)
	row("events", "%d in %d segments", p.Events, p.Segments)
	if p.Deleted > 0 {
		row("deleted", "%d by retention, as the log itself says: there is more than hashes from index %d on", p.Deleted, p.Deleted)
	}
	if p.Unhashed > 0 {
		row("hashes", "from index %d on; pins of fewer events were compared with the checkpoints alone", p.Unhashed)
	}
	row("sealed", "%d under %d checkpoints", p.Sealed, p.Checkpoints)
	if p.Dropped > 0 {
		row("checkpoints", "from number %d on; retention deleted those before, which sealed deleted events alone", p.Dropped+1)
	}
	if p.Summaries > 0 {
		row("summaries", "%d of %d segments have one, and each says what the events do", p.Summaries, p.Segments)
	}
	row("unsealed", "%d", p.Unsealed)
	row("torn", "%d bytes", p.Torn)
	for _, s := range p.Unauthenticated {
		row("finding", "NOT AUTHENTICATED: %d events from index %d on may have been put there by anybody who could write the files", s.Count, s.First)
	}
	for _, g := range p.Gaps {
		row("finding", "MISSING: %d events from number %d on of stream %s were taken away, or lost, before they were sealed", g.Count, g.First, g.Stream)
	}
	if p.Refusals > 0 {
		row("finding", "NOT AUTHENTIC: %d times rows of streams were left out that somebody without the key had written or changed; see the events stream.gap", p.Refusals)
	}
	if p.Streams > 0 {
		row("streams", "%d, of which %d have not ended: they are still written, or their process was killed", p.Streams, p.OpenStreams)
	}
	if p.Unnumbered > 0 {
		row("unnumbered", "%d events of tenants that the log does not number", p.Unnumbered)
	}
	row("tenants", "%d with %d head leaves; %d events behind their newest", p.Tenants, p.Heads, p.Uncovered)
	if p.Closed {
		row("state", "closed")
	} else {
		row("state", "open, or not closed properly")
	}
	if p.TrustedKeys {
		row("keys", "given, trusted")
	} else {
		row("keys", "from log.json, unauthenticated: whoever rewrites the log can rewrite them")
	}
	if p.Pins > 0 {
		row("pins", "agrees with %d", p.Pins)
	} else {
		row("pins", "unpinned: a log whose end was cut off with its checkpoints, or that was signed anew with its key, looks like this too")
	}
	row("tree", "%d %x", p.Head.Size, p.Head.Root)
	w.Flush()
	return b.String()
}
