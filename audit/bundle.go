package audit

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/tenant"
)

// Bundle says what a tenant's bundle holds: see [WriteBundle].
type Bundle struct {
	Origin string // the log's
	Tenant tenant.ID
	// Events are the tenant's first so many events in this log, all of which are there; those of some minutes before the
	// bundle was made may have come later (see [Options.HeadAfter]). First and Last are their times.
	Events int64
	// After is how many of the tenant's first events are not in the bundle, which has those behind them: its writer's log had
	// deleted them by retention ([Log.Retain]). That it had, the bundle does not prove; [Verify] says so of the log.
	After       int64
	First, Last time.Time
	Root        [32]byte // of the tree of the tenant's events
	// Index is where the log states the tenant's events, and Log is the signed tree head that proves it does.
	Index      int64
	Log        TreeHead
	Checkpoint []byte // of that tree head; kept elsewhere, it is a pin
	// Behind are the tenant's events that the log had behind these when the bundle was written; 0 from [VerifyBundle],
	// which cannot know.
	Behind int64
}

// String returns the bundle's description as a table.
func (b *Bundle) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "log\t%s\n", b.Origin)
	fmt.Fprintf(w, "tenant\t%s\n", b.Tenant)
	if b.After > 0 {
		fmt.Fprintf(w, "events\t%d, numbers %d to %d, all that the log states from there up to its event %d\n", b.Events-b.After, b.After+1, b.Events, b.Index)
		fmt.Fprintf(w, "deleted\tthe tenant's first %d events are not here; that the log had them deleted by retention its verification shows, and not the bundle\n", b.After)
	} else {
		fmt.Fprintf(w, "events\t%d, all that the log states up to its event %d\n", b.Events, b.Index)
	}
	fmt.Fprintf(w, "from\t%s\n", b.First.Format(time.RFC3339Nano))
	fmt.Fprintf(w, "to\t%s\n", b.Last.Format(time.RFC3339Nano))
	if b.Behind > 0 {
		fmt.Fprintf(w, "behind\t%d events of the tenant that the log has not stated yet, and that are not in the bundle\n", b.Behind)
	}
	fmt.Fprintf(w, "tree\t%d %x\n", b.Log.Size, b.Log.Root)
	w.Flush()
	return text.String()
}

// The format of a bundle. Its lines are JSON objects:
//
//	{"format":"strongroom.audit.bundle","version":1,"origin":"…","tenant":"…"}
//	the exact lines of the tenant's events, number 1, 2, 3 …
//	{"head":"…","index":…,"path":["…"],"checkpoint":"…"}
//
// Where the log had deleted the first of them, version is 2, and the header has after, how many, and edge, the nodes of the
// frontier of their tree (largest subtree first, base64): with the events behind, they make the root that the head states, and
// no other nodes do.
//
// head is the exact line of a head leaf, whose size and root are those of the events above; path is its audit path
// (RFC 6962, section 2.1.1), base64, in the tree that the checkpoint, a C2SP signed note, signs.
const (
	bundleFormat  = "strongroom.audit.bundle"
	bundleVersion = 1
	// bundleVersionAfter is of bundles without the first events, which a program that knows 1 alone would take for whole.
	bundleVersionAfter = 2
	bundleName         = "bundle" // in a TamperError
	trailerBegin       = `{"head":`
	// maxTrailer bounds a trailer: a head leaf, a path of a hash a level, and a checkpoint are a few KiB.
	maxTrailer = 64 << 10
)

type bundleHeader struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Origin  string `json:"origin"`
	Tenant  string `json:"tenant"`

	After int64       `json:"after,omitempty"`
	Edge  []tlog.Hash `json:"edge,omitempty"`
}

type bundleTrailer struct {
	Head       string      `json:"head"`
	Index      int64       `json:"index"`
	Path       []tlog.Hash `json:"path"` // a tlog.Hash is base64 in JSON
	Checkpoint string      `json:"checkpoint"`
}

// bundleCheck checks a bundle as it goes by: that of VerifyBundle, and that which WriteBundle is about to hand out.
type bundleCheck struct {
	verifiers []string
	bundle    Bundle
	tree      frontier
	hasher    *leafHasher
}

func badBundle(format string, args ...any) error {
	return &TamperError{bundleName, -1, fmt.Sprintf(format, args...)}
}

// event takes the next event's exact line.
func (c *bundleCheck) event(line []byte) error {
	n := c.tree.size + 1
	m, ok := parseMeta(line)
	switch {
	case !ok:
		return badBundle("the tenant's event %d is not an event as this package writes them", n)
	case string(m.tenant) != c.bundle.Tenant.String():
		return badBundle("the event in place %d is not one of the tenant's", n)
	case m.sequence != n:
		return badBundle("number %d of the tenant's events stands in place %d: some were taken out, put in or moved", m.sequence, n)
	}
	when, ok := parseTime(line)
	if !ok {
		return badBundle("the tenant's event %d has no time", n)
	}
	if c.bundle.First.IsZero() {
		c.bundle.First = when
	}
	c.bundle.Last = when
	c.tree.add(c.hasher.leaf(line))
	return nil
}

// end checks the events against the trailer. The head leaf is what the log states of its tenant; that it stands in the log
// is what the path and the signature show.
func (c *bundleCheck) end(t *bundleTrailer) error {
	head := []byte(t.Head)
	m, ok := parseMeta(head)
	h, isHead := parseHead(head)
	switch {
	case !ok || !isHead || string(m.code) != string(CodeLogHead) || string(m.tenant) != c.bundle.Tenant.String():
		return badBundle("what it has for a head leaf is none of the tenant's")
	case h.size != c.tree.size:
		return badBundle("it has %d events and the log states %d: some were left out or added", c.tree.size, h.size)
	case h.root != c.tree.root():
		return badBundle("its events are not those that the log states; one of them was changed")
	}
	signed, err := ParseCheckpoint([]byte(t.Checkpoint), c.verifiers)
	if err != nil {
		return err
	}
	if origin, _, _ := strings.Cut(t.Checkpoint, "\n"); origin != c.bundle.Origin {
		return badBundle("its checkpoint is of another log, %q", origin)
	}
	if t.Index < 0 || t.Index >= signed.Size ||
		tlog.CheckRecord(t.Path, signed.Size, signed.Root, t.Index, c.hasher.leaf(head)) != nil {
		return badBundle("its head leaf is not event %d of the log that the checkpoint signs", t.Index)
	}
	c.bundle.Events, c.bundle.Root = h.size, h.root
	c.bundle.Index, c.bundle.Log, c.bundle.Checkpoint = t.Index, signed, []byte(t.Checkpoint)
	return nil
}

// parseTime returns the time at the beginning of a line that this package wrote.
func parseTime(line []byte) (time.Time, bool) {
	const most = 20 // digits and a sign
	number, ok := bytes.CutPrefix(line, []byte(`{"time":`))
	end := bytes.IndexByte(number[:min(len(number), most+1)], ',')
	if !ok || end < 1 || number[0] == '+' {
		return time.Time{}, false
	}
	ms, err := strconv.ParseInt(string(number[:end]), 10, 64)
	return time.UnixMilli(ms).UTC(), err == nil
}
