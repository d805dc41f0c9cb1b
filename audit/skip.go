package audit

import (
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// summaries are what a reader knows of a log's segments without reading them.
type summaries struct {
	dir       string
	origin    string
	verifiers note.Verifiers // nil: there is no key to check them by, so none is gone by
}

// summariesOf goes by summaries that one of the filter's keys signed, or, where it has none, one of those in log.json. Where neither are
// any it goes by none; a key that is none is an error.
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
		s.origin, s.verifiers = config.Origin, verifiers
	}
	return s, nil
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

// skipped tells of each segment whether its summary says that the filter selects nothing in it. The newest has none, and what is not
// certain is to be read.
func (s *summaries) skipped(segments []int64, filter *Filter) []bool {
	skip := make([]bool, len(segments))
	for i, p := range s.excluded(segments, filter) {
		skip[i] = p != nil
	}
	return skip
}

// excluded returns the summaries, without their tenants, of the segments in which they say that the filter selects nothing, and nil for
// the others.
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
