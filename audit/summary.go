package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// summary is what a segment's events have in common that filters ask for: between which times they are, of which tenants and
// with which codes. A reader that is asked for others need not read the segment.
//
// It says at most too much: an event that it does not cover is not there. Two tenants whose hashes begin alike cost a segment
// that is read in vain. Times are the earliest and the latest, wherever in the segment they stand, since a clock may go back and a
// caller or a stream bring older events.
type summary struct {
	first    int64 // index of the segment's first event
	events   int64
	from, to int64 // milliseconds since 1970: the earliest and the latest
	codes    map[string]struct{}
	tenants  map[uint32]struct{}
	code     string      // the newest, which the next one mostly has as well
	unknown  bool        // there is an event of which this cannot be told
	left     []tlog.Hash // of the complete subtrees that the events make, those that the log's tree has joined with what is before the segment
}

func newSummary(first int64) *summary {
	return &summary{first: first, codes: map[string]struct{}{}, tenants: map[uint32]struct{}{}}
}

// tenantHash is what a summary has of a tenant's id: the first four bytes of its SHA-256.
func tenantHash(id []byte) uint32 {
	sum := sha256.Sum256(id)
	return binary.BigEndian.Uint32(sum[:])
}

// subject is what a summary has of an event beside its time.
type subject struct {
	code   Code
	tenant string // "" for none
}

// add takes in the segment's next event, which was read. State is what is known of its tenant, nil for nothing. A nil summary is one of
// a segment whose first events were not seen; it stays so.
func (s *summary) add(line []byte, m *lineMeta, state *tenantState) {
	if s == nil {
		return
	}
	s.time(line)
	if s.code != string(m.code) {
		s.has(string(m.code))
	}
	if m.tenant != nil && (state == nil || state.noted != s.first+1) {
		s.of(m.tenant, state)
	}
}

// grow adds to the log's tree the hash of an event that the summary takes in.
func (s *summary) grow(tree *frontier, leaf tlog.Hash) {
	if s == nil {
		tree.add(leaf)
		return
	}
	s.left = tree.addTo(0, leaf, s.left, s.first)
}

// nodes returns the complete subtrees that the events make of the log's tree, which ends with them.
func (s *summary) nodes(tree *frontier) []byte {
	var packed []byte
	for _, h := range slices.Concat(s.left, tree.from(s.first)) {
		packed = append(packed, h[:]...)
	}
	return packed
}

// write takes in the segment's next event, which was written, and so is not taken apart for it.
func (s *summary) write(line []byte, about subject, state *tenantState) {
	if s == nil {
		return
	}
	s.time(line)
	if s.code != string(about.code) {
		s.has(string(about.code))
	}
	if about.tenant != "" && (state == nil || state.noted != s.first+1) {
		s.of([]byte(about.tenant), state)
	}
}

func (s *summary) time(line []byte) {
	s.events++
	when, ok := parseTime(line)
	if !ok {
		s.unknown = true
		return
	}
	ms := when.UnixMilli()
	if s.events == 1 {
		s.from, s.to = ms, ms
	}
	s.from, s.to = min(s.from, ms), max(s.to, ms)
}

func (s *summary) has(code string) {
	s.code = code
	s.codes[code] = struct{}{}
}

func (s *summary) of(tenant []byte, state *tenantState) {
	s.tenants[tenantHash(tenant)] = struct{}{}
	if state != nil {
		state.noted = s.first + 1
	}
}

// packedSummary is a summary as it is written: of a whole segment in a file of its own, and of the newest one's events under a
// checkpoint in the state.
type packedSummary struct {
	First  int64  `json:"first"`
	Events int64  `json:"events"`
	Root   []byte `json:"root,omitempty"` // of the log's tree up to the segment's end
	// Nodes are the roots of the complete subtrees that the events make of the log's tree, as few as can be, in their order. With those of
	// all segments, the tree's root is known, and so that each is of the events that a checkpoint seals, without reading one of them.
	Nodes   []byte   `json:"nodes,omitempty"`
	From    int64    `json:"from"`
	To      int64    `json:"to"`
	Codes   []string `json:"codes"`   // sorted
	Tenants []byte   `json:"tenants"` // four bytes each, sorted
}

// pack returns nil where nothing can be said of the events, with which the log's tree ends.
func (s *summary) pack(tree *frontier) *packedSummary {
	if s == nil || s.unknown {
		return nil
	}
	p := &packedSummary{First: s.first, Events: s.events, From: s.from, To: s.to, Codes: slices.Sorted(maps.Keys(s.codes)), Tenants: []byte{}, Nodes: s.nodes(tree)}
	for _, h := range slices.Sorted(maps.Keys(s.tenants)) {
		p.Tenants = binary.BigEndian.AppendUint32(p.Tenants, h)
	}
	return p
}

// packWhole packs the summary of a segment that has all its events.
func (s *summary) packWhole(tree *frontier) *packedSummary {
	p := s.pack(tree)
	if p != nil {
		root := tree.root()
		p.Root = root[:]
	}
	return p
}

// unpack makes a summary of one that is to be gone on with, where the log's tree ends with its events.
func (p *packedSummary) unpack(tree *frontier) *summary {
	s := newSummary(p.First)
	s.events, s.from, s.to = p.Events, p.From, p.To
	for h := range slices.Chunk(p.Nodes[:max(0, len(p.Nodes)-len(tree.from(p.First))*tlog.HashSize)], tlog.HashSize) {
		s.left = append(s.left, tlog.Hash(h))
	}
	for _, c := range p.Codes {
		s.codes[c] = struct{}{}
	}
	for h := range slices.Chunk(p.Tenants, 4) {
		s.tenants[binary.BigEndian.Uint32(h)] = struct{}{}
	}
	return s
}

// plausible tells whether it may be one of a segment with these events.
func (p *packedSummary) plausible(first, end int64) bool {
	return p != nil && p.First == first && p.Events == end-first && p.Events > 0 && len(p.Tenants)%4 == 0 && p.From <= p.To &&
		len(p.Nodes) == len(levels(first, end))*tlog.HashSize
}

// end is the index of the first event behind the segment.
func (p *packedSummary) end() int64 { return p.First + p.Events }

// body is a whole segment's summary as its file has it. It is the same whoever makes it.
func (p *packedSummary) body() ([]byte, error) {
	body, err := json.Marshal(p)
	return append(body, '\n'), err
}

// same tells whether both say the same.
func (p *packedSummary) same(as *packedSummary) bool {
	a, err1 := p.body()
	b, err2 := as.body()
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

// excludes tells whether the filter selects none of the events.
func (p *packedSummary) excludes(f *Filter) bool {
	switch {
	case f == nil:
		return false
	case !f.Since.IsZero() && time.UnixMilli(p.To).Before(f.Since),
		!f.Until.IsZero() && !time.UnixMilli(p.From).Before(f.Until):
		return true
	case f.Code != "" && !slices.ContainsFunc(p.Codes, func(c string) bool { return c == string(f.Code) || f.kind() && strings.HasPrefix(c, string(f.Code)) }):
		return true
	}
	return !f.Tenant.IsZero() && p.Tenants != nil && !p.hasTenant(tenantHash([]byte(f.Tenant.String())))
}

// hasTenant tells whether there may be events of a tenant.
func (p *packedSummary) hasTenant(tenant uint32) bool {
	want := binary.BigEndian.AppendUint32(nil, tenant)
	low, high := 0, len(p.Tenants)/4
	for low < high {
		middle := (low + high) / 2
		switch c := bytes.Compare(p.Tenants[4*middle:4*middle+4], want); {
		case c == 0:
			return true
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return false
}

// selective tells whether a summary can say of a segment that the filter selects nothing in it.
func (f *Filter) selective() bool {
	return f != nil && !f.Whole && (!f.Tenant.IsZero() || f.Code != "" || !f.Since.IsZero() || !f.Until.IsZero())
}
