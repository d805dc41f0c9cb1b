package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// BundleOptions are the optional settings of [WriteBundle].
type BundleOptions struct {
	// Verifiers are the log's public keys; without them those in log.json are used.
	Verifiers []string
	// Progress is called now and then with the bytes read and the bytes there are, by the goroutine that called WriteBundle.
	Progress func(done, total int64)
}

// ErrNoEvents says that a log states no events of a tenant: it has none, or none has been sealed yet (see
// [Options.HeadAfter]; closing the log seals all).
var ErrNoEvents = errors.New("audit: the log states no events of the tenant")

// WriteBundle writes one tenant's events of the log in dir to w, with the proof that none is missing: for a customer or a
// reviewer who has nothing else but the log's public key, and may see nothing of other tenants. [VerifyBundle] checks it.
// opts may be nil. It needs no lock and no tenant's keys: what is sealed in the events stays so, and a tenant that was
// shredded has its bundle too.
//
// The bundle ends with the newest head leaf of the tenant's that a checkpoint seals. It shows of others how many events the
// log has and, by their salted hashes, nothing more. Events that the log does not number ([Options.Tenants]) are in no
// bundle. It is JSON Lines: a header, the events' exact lines (OCSF), and a last line with the proof.
//
// Of a log whose oldest events retention deleted ([Log.Retain]) a bundle has the tenant's events from a number on, and says so
// ([Bundle.After]): that none of those is missing, it proves all the same.
//
// The log is read once, and for the most part twice if the tenant's newest head leaf is old; of segments without an event of the tenant,
// as their signed summaries say, the leaf hashes alone, which must have the root that the summary has. What is written is checked as
// it is written, so that an error that wraps [ErrTampered] tells of a log that is not intact ([Verify] says more); the
// bundle then lacks its end. An error that wraps [ErrNoEvents] is one of a log without events of the tenant.
func WriteBundle(ctx context.Context, w io.Writer, dir string, id tenant.ID, opts *BundleOptions) (*Bundle, error) {
	if opts == nil {
		opts = &BundleOptions{}
	}
	if id.IsZero() {
		return nil, errors.New("audit: a bundle is of one tenant; give its id")
	}
	config, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		return nil, err
	}
	keys := config.Verifiers
	if len(opts.Verifiers) > 0 {
		keys = opts.Verifiers
	}
	verifiers, err := verifierList(keys, config.Origin)
	if err != nil {
		return nil, err
	}
	sealed, err := newestCheckpoint(dir, config.Origin, verifiers)
	if err != nil {
		return nil, err
	}
	log, err := listSealed(ctx, dir, config.Origin, id, sealed.tree.N, verifiers, opts.Progress)
	if err != nil {
		return nil, err
	}
	index, head, err := log.newestHead(id)
	if err != nil {
		return nil, err
	}
	size, _ := parseHead(head)
	edge := log.pruned.edge(id)
	if size.size <= edge.size {
		return nil, fmt.Errorf("%w %s that retention has not deleted", ErrNoEvents, id)
	}
	b := &bundleWriter{
		w:     bufio.NewWriterSize(w, 64<<10),
		check: bundleCheck{verifiers: keys, bundle: Bundle{Origin: config.Origin, Tenant: id}, hasher: newLeafHasher()},
		path:  newPathBuilder(index, sealed.tree.N),
		head:  index,
		stop:  size.size,
		roots: slices.ContainsFunc(log.skip, func(p *packedSummary) bool { return p != nil }),
	}
	header := bundleHeader{Format: bundleFormat, Version: bundleVersion, Origin: config.Origin, Tenant: id.String()}
	if edge.size > 0 {
		header.Version, header.After, header.Edge = bundleVersionAfter, edge.size, edge.nodes
		b.check.tree, b.check.bundle.After = edge.clone(), edge.size
	}
	if err := b.object(header); err != nil {
		return nil, err
	}
	hashed := log.pruned.edgeOfHashes()
	b.path.begin(hashed)
	b.log = hashed.clone()
	if err := readLeaves(ctx, dir, hashed.size, log.pruned.first(), b.leaf); err != nil {
		return nil, shortened(dir, verifiers, log.pruned, err)
	}
	if err := log.each(b.line, b.leaf, b.skipped); err != nil {
		return nil, shortened(dir, verifiers, log.pruned, err)
	}
	trailer := bundleTrailer{string(head), index, b.path.path(), string(sealed.note)}
	if err := b.check.end(&trailer); err != nil {
		return nil, err
	}
	if err := b.object(trailer); err != nil {
		return nil, err
	}
	if err := b.w.Flush(); err != nil {
		return nil, writingBundle(err)
	}
	return &b.check.bundle, nil
}

func writingBundle(err error) error { return fmt.Errorf("audit: writing the bundle: %w", err) }

// bundleWriter writes a bundle while all sealed lines of a log go by.
type bundleWriter struct {
	w     *bufio.Writer
	check bundleCheck
	path  *pathBuilder
	head  int64    // the index of the head leaf
	stop  int64    // the tenant's events that it states
	roots bool     // segments are skipped, and so log is needed
	log   frontier // of the log's tree
}

// leaf takes the log's next leaf hash.
func (b *bundleWriter) leaf(hash tlog.Hash) {
	if b.path.add(hash); b.roots {
		b.log.add(hash)
	}
}

// skipped checks, behind the leaf hashes of a segment that was skipped, that the summary is of these events. A key may have signed one of
// as many others: the log may have been made anew under it, or gone on from a copy.
func (b *bundleWriter) skipped(p *packedSummary) error {
	if root := b.log.root(); !bytes.Equal(p.Root, root[:]) {
		return &TamperError{summariesName, p.First, "the log's key signed the summary of the segment that begins with it, and for other events than are there, as in another " +
			"copy of the log; keep it as evidence and remove it: the log makes another"}
	}
	return nil
}

func (b *bundleWriter) line(index int64, line []byte, hash tlog.Hash, m lineMeta) error {
	b.leaf(hash)
	c := &b.check
	if string(m.tenant) != c.bundle.Tenant.String() {
		return nil
	}
	if index > b.head && string(m.code) == string(CodeLogHead) {
		return &TamperError{segmentsName, index, "it is a head leaf of the tenant that was not there just before: somebody changed the files in between"}
	}
	if m.sequence == 0 {
		return nil
	}
	if m.sequence > b.stop {
		c.bundle.Behind++
		return nil
	}
	if err := c.event(line); err != nil {
		return err
	}
	b.w.Write(line)
	if err := b.w.WriteByte('\n'); err != nil {
		return writingBundle(err)
	}
	return nil
}

func (b *bundleWriter) object(v any) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text) // ends with a newline
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	if _, err := b.w.Write(text.Bytes()); err != nil {
		return writingBundle(err)
	}
	return nil
}

// sealedLog is the lines of a log up to a checkpoint.
type sealedLog struct {
	ctx      context.Context
	dir      string
	segments []int64          // their first indexes, in order
	skip     []*packedSummary // of those without an event of the tenant, as these say, and nil for the others
	pruned   *pruned          // the record of what was deleted before them
	size     int64            // events
	hasher   *leafHasher
	progress func(int64)
}

func listSealed(ctx context.Context, dir, origin string, id tenant.ID, size int64, verifiers note.Verifiers, progress func(done, total int64)) (*sealedLog, error) {
	segments, pruned, err := retained(dir, verifiers, nil)
	if err != nil {
		return nil, err
	}
	by := summaries{dir: dir, origin: origin, verifiers: verifiers}
	l := &sealedLog{ctx: ctx, dir: dir, segments: segments, skip: by.excluded(segments, &Filter{Tenant: id}), pruned: pruned, size: size, hasher: newLeafHasher(), progress: func(int64) {}}
	for i, p := range l.skip {
		if p != nil && p.end() > size {
			l.skip[i] = nil // its leaf hashes could not be compared
		}
	}
	if progress != nil {
		var done, total int64
		for i, first := range segments {
			if l.skip[i] != nil {
				continue
			}
			s, err := l.open(first)
			if err != nil {
				return nil, err
			}
			total += s.content
			if err := s.Close(); err != nil {
				return nil, fmt.Errorf("audit: %w", err)
			}
		}
		const step = 16 << 20
		reported := int64(-step)
		l.progress = func(n int64) {
			if done += n; done-reported >= step || done == total {
				reported = done
				progress(done, total)
			}
		}
	}
	return l, nil
}

// newestHead returns the tenant's newest head leaf and where it stands. It looks from the end of the log on.
func (l *sealedLog) newestHead(id tenant.ID) (index int64, head []byte, err error) {
	for i, first := range slices.Backward(l.segments) {
		if l.skip[i] != nil {
			continue
		}
		err := l.segment(first, func(at int64, line []byte, m lineMeta) error {
			if string(m.code) == string(CodeLogHead) && string(m.tenant) == id.String() {
				index, head = at, bytes.Clone(line)
			}
			return nil
		})
		if err != nil || head != nil {
			return index, head, err
		}
	}
	return 0, nil, fmt.Errorf("%w %s up to its newest checkpoint", ErrNoEvents, id)
}

// each calls f for every line with its hash; and of segments in which the tenant has none, leaf with the hash of each, and then skipped.
func (l *sealedLog) each(f func(index int64, line []byte, hash tlog.Hash, m lineMeta) error, leaf func(tlog.Hash), skipped func(*packedSummary) error) error {
	next := l.pruned.first()
	for i, first := range l.segments {
		if p := l.skip[i]; p != nil && first == next {
			var err error
			if next, err = readLeafFile(l.ctx, leavesPath(l.dir, first), first, first, p.end(), leaf); err == nil {
				err = skipped(p)
			}
			if err != nil {
				return err
			}
			continue
		}
		err := l.segment(first, func(index int64, line []byte, m lineMeta) error {
			if index != next {
				return &TamperError{segmentsName, next, fmt.Sprintf("a segment before that of event %d is missing, was cut or has too much", first)}
			}
			next++
			l.progress(int64(len(line)) + 1)
			return f(index, line, l.hasher.leaf(line), m)
		})
		if err != nil {
			return err
		}
	}
	if next != l.size {
		return &TamperError{segmentsName, next, fmt.Sprintf("the newest checkpoint seals %d events and only %d are there", l.size, next)}
	}
	return nil
}

// open opens a segment.
func (l *sealedLog) open(first int64) (*segmentReader, error) {
	s, err := openSegment(vfs.OS{}, l.dir, first, math.MaxInt64, func(raw io.Reader) io.Reader { return ctxReader{l.ctx, raw} })
	var bad *frameError
	switch {
	case errors.As(err, &bad):
		return nil, &TamperError{segmentsName, first, err.Error()}
	case err != nil:
		return nil, fmt.Errorf("audit: %w", err)
	}
	return s, nil
}

func (l *sealedLog) segment(index int64, f func(int64, []byte, lineMeta) error) error {
	if index >= l.size {
		return nil
	}
	file, err := l.open(index)
	if err != nil {
		return err
	}
	defer file.Close()
	for lines := newLineReader(file); index < l.size; index++ {
		line, err := lines.next()
		if l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		m, ok := lineMeta{}, false
		if err == nil {
			line = line[:len(line)-1]
			m, ok = parseMeta(line)
		} else if err != io.EOF && err != errLongLine && file.damaged() {
			return &TamperError{segmentsName, index, "its segment does not decompress: " + err.Error()}
		} else if err != io.EOF && err != errLongLine {
			return fmt.Errorf("audit: reading %s: %w", file.name, err)
		}
		if !ok {
			return &TamperError{segmentsName, index, "it is not an event as this package writes them"}
		}
		if err := f(index, line, m); err != nil {
			return err
		}
	}
	return nil
}

// newestCheckpoint returns the last whole checkpoint of a log. Its signature vouches for all before it.
func newestCheckpoint(dir, origin string, verifiers note.Verifiers) (checkpoint, error) {
	name := filepath.Join(dir, checkpointsName)
	f, err := vfs.OS{}.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return checkpoint{}, fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return checkpoint{}, fmt.Errorf("audit: %w", err)
	}
	const enough = 64 << 10 // for many checkpoints and what is unfinished behind them
	from := max(0, info.Size()-enough)
	data, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return checkpoint{}, fmt.Errorf("audit: reading %s: %w", name, err)
	}
	lines := strings.Split(string(data), "\n")
	for at := len(lines) - checkpointLines - 1; at >= 0; at-- {
		if lines[at] != origin || lines[at+checkpointLines] != "" {
			continue
		}
		text := strings.Join(lines[at:at+checkpointLines], "\n") + "\n"
		if strings.Contains(text, "\x00") {
			continue // power was lost before it was on the disk
		}
		c, err := parseCheckpoint([]byte(text), origin)
		if err != nil {
			return c, &TamperError{checkpointsName, -1, "the last one: " + err.Error()}
		}
		if _, err := note.Open(c.note, verifiers); err != nil {
			return c, &TamperError{checkpointsName, -1, fmt.Sprintf("checkpoint %d: its signature is not by the log's key", c.number)}
		}
		return c, nil
	}
	return checkpoint{}, &TamperError{checkpointsName, -1, "the file does not end with a checkpoint of this log"}
}
