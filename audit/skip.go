package audit

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// summaries are what a reader knows of a log's segments without reading them.
type summaries struct {
	dir       string
	origin    string
	verifiers note.Verifiers // nil: there is no key to check them by, so none is gone by
	sealed    tlog.Tree      // by the newest checkpoint, whose events the summaries must be of
}

// summariesOf goes by summaries that one of the filter's keys signed, or, where it has none, one of those in log.json. Where neither are
// any, or the newest checkpoint is by none of them, it goes by none; a key that is none is an error. It is called before the segments are
// listed, which then have what the checkpoint seals.
func summariesOf(dir string, filter *Filter) (*summaries, error) {
	s := &summaries{dir: dir}
	if !filter.selective() {
		return s, nil
	}
	config, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		return s, nil // it is no business of who reads segments
	}
	given := len(filter.Verifiers) > 0
	keys := config.Verifiers
	if given {
		keys = keysFor(config.Origin, filter.Verifiers)
	}
	verifiers, err := verifierList(keys, config.Origin)
	switch {
	case err != nil && given:
		return nil, err
	case err == nil && len(keys) > 0:
		if c, err := newestCheckpoint(dir, config.Origin, verifiers); err == nil {
			s.origin, s.verifiers, s.sealed = config.Origin, verifiers, c.tree
		}
	}
	return s, nil
}

// trusted returns the verifiers of the filter's keys that are for the log in dir, and nil where the filter has no keys: then those in
// log.json are used. Of a log that none of them is for, nothing signed is believed.
func (f *Filter) trusted(dir string) (note.Verifiers, error) {
	if f == nil || len(f.Verifiers) == 0 {
		return nil, nil
	}
	origin, err := Origin(dir)
	if err != nil {
		return nil, err
	}
	return verifierList(keysFor(origin, f.Verifiers), origin)
}

// keysFor returns those of the verifier keys that are named for a log.
func keysFor(origin string, keys []string) (own []string) {
	for _, k := range keys {
		if strings.HasPrefix(k, origin+"+") {
			own = append(own, k)
		}
	}
	return own
}

// skipped tells of each segment whether its summary says that the filter selects nothing in it, and is of the events that the log's newest
// checkpoint seals there. The newest has none, and what is not certain is to be read. Deleted is what was deleted before the first.
func (s *summaries) skipped(ctx context.Context, segments []int64, deleted *pruned, filter *Filter) []bool {
	skip := make([]bool, len(segments))
	if s.verifiers == nil || !filter.selective() {
		return skip
	}
	nodes := make([][]byte, len(segments))
	for i := range nodes[:len(nodes)-1] {
		if p, err := readSummary(vfs.OS{}, s.dir, s.origin, s.verifiers, segments[i], segments[i+1]); err == nil {
			nodes[i], skip[i] = p.Nodes, p.excludes(filter)
		}
	}
	if slices.Contains(skip, true) {
		s.bind(ctx, segments, deleted, nodes)
		for i := range skip {
			skip[i] = skip[i] && nodes[i] != nil
		}
	}
	return skip
}

// excluded returns the summaries, without their tenants, of the segments in which they say that the filter selects nothing, and nil for
// the others. What events they are of is for the caller to compare.
func (s *summaries) excluded(segments []int64, filter *Filter) []*packedSummary {
	all := make([]*packedSummary, len(segments))
	if s.verifiers == nil || !filter.selective() {
		return all
	}
	for i := range all[:len(all)-1] {
		p, err := readSummary(vfs.OS{}, s.dir, s.origin, s.verifiers, segments[i], segments[i+1])
		if err == nil && p.excludes(filter) {
			p.Tenants = nil
			all[i] = p
		}
	}
	return all
}

// bind leaves out the nodes of those summaries that are not of the events that the checkpoint seals. A key may have signed one of as many
// others: the log may have gone on from a copy, or have been made anew under it.
//
// What it costs does not grow with the events of segments that have a right one. Only where one is wrong, or leaf hashes are, all leaf
// hashes are read to find out which.
func (s *summaries) bind(ctx context.Context, segments []int64, deleted *pruned, nodes [][]byte) {
	if !s.hold(ctx, segments, deleted, nodes, false) && !s.hold(ctx, segments, deleted, nodes, true) {
		clear(nodes)
	}
}

// hold tells whether the segments' nodes make the tree that the checkpoint seals. Of segments without, it makes them of the leaf hashes;
// and of all, where each is to be compared, and then leaves out those that are others.
func (s *summaries) hold(ctx context.Context, segments []int64, deleted *pruned, nodes [][]byte, each bool) bool {
	var tree frontier
	if deleted != nil {
		tree = deleted.tree.clone()
	}
	for i, first := range segments {
		end := s.sealed.N
		if i+1 < len(segments) {
			end = segments[i+1]
		}
		if end > s.sealed.N {
			nodes[i], end = nil, s.sealed.N
		}
		if first >= end {
			continue
		}
		if first != tree.size {
			return false
		}
		if nodes[i] != nil && !each {
			tree.addNodes(end, nodes[i])
			continue
		}
		made := newSummary(first)
		if _, err := readLeafFile(ctx, leavesPath(s.dir, first), first, first, end, func(leaf tlog.Hash) { made.grow(&tree, leaf) }); err != nil {
			return false
		}
		if nodes[i] != nil && !bytes.Equal(nodes[i], made.nodes(&tree)) {
			nodes[i] = nil
		}
	}
	return tree.size == s.sealed.N && tree.root() == s.sealed.Hash
}

// tellSkipped tells the filter's Skipped.
func (f *Filter) tellSkipped(skip []bool) {
	if f == nil || f.Skipped == nil {
		return
	}
	n := 0
	for _, s := range skip {
		if s {
			n++
		}
	}
	f.Skipped(n, len(skip))
}
